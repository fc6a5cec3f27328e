"""The store inside one process: the same steps as the scripts of `redis.py`, under one lock."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ..steps import Step
from .base import Ledger, Store
from .limits import check
from .memory_entries import Entries
from .memory_ledger import Tasks


class MemoryStore(Store, Ledger):
    """Entries, stamps and the ledger of one process. Keeps bytes: every read decodes a new object.

    `max_entries` bounds their number: the least recently read goes first, one with a live lease last.
    """

    shared = False

    def __init__(self, *, max_entries: int | None = None) -> None:
        # Instants look like a server's, but the clock never jumps.
        self._offset = time.time() - time.monotonic()
        self._entries = Entries(self.now, max_entries)
        self._tasks = Tasks(self.now)
        self._handlers: dict[type, Callable[[Any], Any]] = self._entries.handlers | self._tasks.handlers
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            store = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _unlock(store()))

    def now(self) -> int:
        """The store's clock in milliseconds."""
        return int((time.monotonic() + self._offset) * 1000)

    def advance(self, seconds: float) -> None:
        """Move the clock: a test need not wait for an expiry."""
        with self._lock:
            self._offset += seconds

    def run(self, steps: Sequence[Step]) -> list[Any]:
        """The answer to each step; here a batch is atomic. Raises ValueError, TypeError for a bad step."""
        check(steps)
        with self._lock:
            return [self._handler(step)(step) for step in steps]

    async def arun(self, steps: Sequence[Step]) -> list[Any]:
        """`run`: nothing here waits, so no thread is needed."""
        return self.run(steps)

    def raw(self, key: str) -> bytes | None:
        """An entry as a server would hold it: the header of 64 bytes and the payload."""
        with self._lock:
            return self._entries.raw(key)

    def _handler(self, step: Step) -> Callable[[Any], Any]:
        try:
            return self._handlers[type(step)]
        except KeyError:
            raise TypeError(f"not a step: {step!r}") from None


def _unlock(store: MemoryStore | None) -> None:
    # A thread that does not exist in the forked child may have held the lock.
    if store is not None:
        store._lock = threading.Lock()
