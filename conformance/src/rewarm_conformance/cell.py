"""Cell: one adapter on one queue and one broker, with the versions of everything, as a report names it."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions, version
from typing import TYPE_CHECKING

from rewarm import Adapter

if TYPE_CHECKING:
    from .lab import Lab


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


def describe(lab: Lab, called: str | None = None) -> Cell:
    """Ask a fresh adapter of the testbed, and the installed distributions. `called`: its name; None: the testbed's."""
    bed = lab.bed()
    adapter, native = bed.adapter, bed.probe.native
    owner = distribution(type(adapter).__module__)
    queue = next((name for one in modules(adapter, native) if (name := distribution(one)) not in (owner, "")), "")
    versions = {name: version(name) for name in (owner, queue, "rewarm", "rewarm-conformance") if name}
    versions |= lab.testbed.versions()
    broker = lab.broker.version() if lab.broker else "none"
    for server in (broker, lab.store.version()):
        kind, _, number = server.partition(" ")
        versions |= {kind: number} if number else {}
    versions["Python"] = platform.python_version()
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z][a-z0-9]*", type(lab.testbed).__name__.removesuffix("Testbed"))
    called = called or lab.testbed.name or "-".join(words).lower() or "testbed"
    return Cell(called, lab.path, adapter.name, owner, broker, tuple(sorted(map(str, bed.app.capabilities))), versions)


def modules(adapter: Adapter, native: object) -> list[str]:
    """The modules that may be the queue's own: of its object, which may be a class or a mere dict, or of its name."""
    kind = native if isinstance(native, type) else type(native)
    return [*(cls.__module__ for cls in kind.__mro__), adapter.name]


def distribution(module: str) -> str:
    """The distribution that a module belongs to; "" if it is in none."""
    top = module.partition(".")[0]
    candidates = [*owners().get(top, ()), top.replace("_", "-")]  # an editable install lists no modules
    for name in candidates:
        with suppress(PackageNotFoundError):
            return str(metadata(name)["Name"])
    return ""


@cache
def owners() -> Mapping[str, Sequence[str]]:
    """Top-level package -> its distributions. Asked once: it reads the list of files of all that is installed."""
    return packages_distributions()
