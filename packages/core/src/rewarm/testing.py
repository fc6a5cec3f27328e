"""Helpers for tests: run tasks in place, capture them, drain them, move the clock, bypass the cache."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from .adapter import Adapter, Capability
from .app import Rewarm
from .errors import ConfigurationError, OutcomeTimeout
from .local import AsyncioAdapter, InlineAdapter, ThreadAdapter
from .runtime import Runtime
from .stores import MemoryStore
from .task import Route, Task, loads


class Captured(list[Task]):
    """The tasks that were queued, in order, and their payloads."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: list[str] = []


class CaptureAdapter(Adapter):
    """Keeps what is queued."""

    name: ClassVar[str] = "capture"
    capabilities = frozenset({Capability.DELAY, Capability.DEPTH})
    in_process = True

    def __init__(self) -> None:
        self.tasks = Captured()

    def install(self) -> None:
        pass

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        task = loads(payload)
        self.tasks.append(task)
        self.tasks.payloads.append(payload)
        return task.id

    def depth(self, queue: str | None = None) -> int:
        return len(self.tasks.payloads)


@contextmanager
def _instead(app: Rewarm, adapter: Adapter) -> Iterator[Runtime]:
    """The application on an empty memory store and another queue, for a while."""
    store = MemoryStore()
    before, now = app._runtime, app.travelled
    app._runtime = runtime = Runtime(app, store, store, adapter)
    adapter.apps[app.name] = app
    try:
        yield runtime
    finally:
        app._runtime, app.travelled = before, now
        runtime.close()


@contextmanager
def inline(app: Rewarm) -> Iterator[None]:
    """Tasks run in place, retries without sleeping; one that ends dead raises TaskDead from the load's own error.

    The application has an empty memory store and ledger meanwhile.
    """
    with _instead(app, InlineAdapter(raises=True)):
        yield


@contextmanager
def capture(app: Rewarm) -> Iterator[Captured]:
    """`with capture(app) as tasks:` a list of the tasks that are queued, none of which runs (see `drain`).

    The application has an empty memory store and ledger meanwhile.
    """
    adapter = CaptureAdapter()
    with _instead(app, adapter):
        yield adapter.tasks


def drain(app: Rewarm, timeout: float = 10) -> int:
    """Run what was captured and what that queues, due or not; or wait until a local adapter has nothing left to do.

    Returns how many tasks ran (0 for a local adapter). Raises OutcomeTimeout after `timeout` seconds.
    """
    adapter = app.runtime.adapter
    if isinstance(adapter, ThreadAdapter):
        if not adapter.join(timeout):
            raise OutcomeTimeout(f"{app.name} still has tasks after {timeout} s")
        return 0
    if isinstance(adapter, InlineAdapter) or (isinstance(adapter, AsyncioAdapter) and not adapter.depth()):
        return 0
    if not isinstance(adapter, CaptureAdapter):
        raise ConfigurationError(f"drain() cannot empty {adapter.name!r}: use capture(), or a local adapter")
    deadline, ran = time.monotonic() + timeout, 0
    while adapter.tasks.payloads:
        if time.monotonic() > deadline:
            raise OutcomeTimeout(f"{app.name} still queues tasks after {timeout} s")
        payload = adapter.tasks.payloads.pop(0)
        if due := loads(payload).due:
            travel(app, max(0.0, due - app.runtime.now()))
        app.run(payload)
        ran += 1
    return ran


def travel(app: Rewarm, seconds: float) -> None:
    """Move the clock of the application's memory store and tasks. Raises ConfigurationError on another store."""
    store = app.runtime.store
    if not isinstance(store, MemoryStore):
        raise ConfigurationError("travel() moves the memory store's clock; this application has another store")
    store.advance(seconds)
    app.travelled += seconds


@contextmanager
def bypass(app: Rewarm) -> Iterator[None]:
    """Every read loads, and neither looks at the store nor writes to it."""
    runtime = app.runtime
    before, runtime.bypass = runtime.bypass, True
    try:
        yield
    finally:
        runtime.bypass = before
