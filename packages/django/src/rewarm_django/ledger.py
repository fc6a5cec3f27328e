"""The ledger in one of Django's caches: each record is read, changed and written under a lock of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from rewarm import StoreError
from rewarm.stores.memory_ledger import Task, Tasks

if TYPE_CHECKING:
    from .store import CacheStore

HELD = 5  # s: a process that dies with the lock holds up others for so long
DEAD = 30 * 86_400  # s: dead letters are kept


def safe(key: str) -> str:
    """A key that every backend takes: memcached wants at most 250 printable ASCII characters."""
    return key if re.fullmatch(r"[!-~]{1,160}", key) else "#" + blake2b(key.encode(), digest_size=16).hexdigest()


class CacheLedger:
    """Caches may forget: a lost record costs a load or a count, never freshness."""

    def __init__(self, store: CacheStore) -> None:
        self._store = store

    def run(self, step: Any) -> Any:
        """The answer to one step of `rewarm.stores.base`."""
        letters = hasattr(step, "dead")
        name = f"rewarm:d:{safe(step.dead if letters else step.task)}"
        cache = self._store.cache
        with self._locked(name):
            tasks, found = Tasks(self._store.now), cache.get(name)
            table: dict[str, Any] = tasks._dead if letters else tasks._tasks
            key = step.dead if letters else step.task
            if found is not None:
                table[key] = found if letters else Task(**found)
            before = found if found is None or letters else dict(found)
            answer = tasks.handlers[type(step)](step)
            after = table.get(key) if letters else asdict(table[key]) if key in table else None
            if after is None:
                if before is not None:
                    cache.delete(name)
            elif letters or after != before:
                left = DEAD if letters else max(1, (after["expires"] - self._store.now()) // 1000 + 1)
                cache.set(name, after, left)
        return answer

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        cache, lock, deadline = self._store.cache, f"{name}:lock", time.monotonic() + 2 * HELD
        while not cache.add(lock, 1, HELD):
            if time.monotonic() > deadline:
                raise StoreError(f"cache {self._store.alias!r}: the ledger's lock {lock!r} is not given back")
            time.sleep(0.002)
        try:
            yield
        finally:
            cache.delete(lock)
