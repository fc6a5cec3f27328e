"""Mutants: for each rule one broken adapter, queue, testbed or core. They prove that the checks can fail.

`seen` is a regular expression: the sentence with which the rule's own check has to fail.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from ..testbed import Testbed

T = TypeVar("T", bound=type[Testbed])


class Mutant(NamedTuple):
    """A testbed, and what its check must see."""

    testbed: str
    seen: str


MUTANTS: dict[str, Mutant] = {}


def breaks(id: str, seen: str) -> Callable[[T], T]:
    """Make a testbed the mutant of a rule."""

    def decorate(testbed: T) -> T:
        if id in MUTANTS:
            raise ValueError(f"{id} has a mutant: {MUTANTS[id].testbed}")
        MUTANTS[id] = Mutant(f"{testbed.__module__}:{testbed.__qualname__}", seen)
        return testbed

    return decorate


def mutants() -> dict[str, Mutant]:
    """All of them, by rule."""
    for name in ("adapters", "queues", "cores", "eager", "noisy"):
        importlib.import_module(f"{__name__}.{name}")
    return MUTANTS
