"""Cell: one adapter on one queue and one broker, with the versions of everything, as a report names it."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bed import Lab


@dataclass(frozen=True, slots=True)
class Cell:
    """`name`: as in the matrix.   `testbed`: its module and class.   `versions`: name -> version, in reading order."""

    name: str
    testbed: str
    adapter: str
    distribution: str
    broker: str
    capabilities: tuple[str, ...]
    versions: Mapping[str, str]


def describe(lab: Lab) -> Cell:
    """Ask a fresh adapter of the testbed, and the installed distributions."""
    bed = lab.bed()
    adapter, native = bed.adapter, bed.probe.native
    owner = distribution(type(adapter).__module__)
    versions = {
        name: version(name)
        for name in (owner, distribution(type(native).__module__), "rewarm")
        if name and name != "builtins"
    }
    versions |= lab.testbed.versions()
    broker = lab.broker.version() if lab.broker else "none"
    kind, _, number = broker.partition(" ")
    versions |= {kind: number, "Python": platform.python_version()}
    name = lab.testbed.name or re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(lab.testbed).__name__).lower()
    return Cell(name, lab.path, adapter.name, owner, broker, tuple(sorted(map(str, adapter.capabilities))), versions)


def distribution(module: str) -> str:
    """The distribution that a module belongs to; "" if it is in none."""
    found = packages_distributions().get(module.partition(".")[0], [])
    return found[0] if found else ""
