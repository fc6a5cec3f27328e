"""For tests: the core's helpers, which take an alias of `REWARM` as well."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from rewarm import Rewarm, testing
from rewarm.testing import Captured

from .applications import caches


def inline(app: Rewarm | str = "default") -> AbstractContextManager[None]:
    """Tasks run in place, on an empty memory store; one that ends dead raises."""
    return testing.inline(_app(app))


def capture(app: Rewarm | str = "default") -> AbstractContextManager[Captured]:
    """A list of the tasks that are queued, on an empty memory store."""
    return testing.capture(_app(app))


def drain(app: Rewarm | str = "default", timeout: float = 10) -> int:
    """Run what was captured, and what that queues."""
    return testing.drain(_app(app), timeout)


def travel(seconds: float, app: Rewarm | str = "default") -> None:
    """Move the clock of the memory store."""
    testing.travel(_app(app), seconds)


def bypass(app: Rewarm | str = "default") -> AbstractContextManager[None]:
    """Every read loads."""
    return testing.bypass(_app(app))


def _app(given: Any) -> Rewarm:
    return caches[given] if isinstance(given, str) else given
