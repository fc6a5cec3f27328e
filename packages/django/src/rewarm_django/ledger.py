"""The ledger in one of Django's caches: each record is read, changed and written under a lock of its own."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from rewarm import StoreError
from rewarm.stores import base as b
from rewarm.stores.memory_ledger import Task, Tasks
from rewarm.stores.memory_lists import Dead, Gate, Journaled, Lists

if TYPE_CHECKING:
    from .store import CacheStore

HELD = 5  # s: a process that dies with the lock holds up others for so long
KEPT = 30 * 86_400  # s: dead letters and journals are kept
LIKE: dict[type, type] = {
    **dict.fromkeys((b.Enter, b.Strike, b.Overdue, b.Backlog), b.Enter),
    **dict.fromkeys((b.Admit, b.Report), b.Admit),
    **dict.fromkeys((b.Bury, b.Resolve, b.Letters, b.Letter, b.Exhume, b.Clear), b.Bury),
}
"""Which steps are about a journal, a gate, dead letters; the others are about one task's record."""


def safe(key: str) -> str:
    """A key that every backend takes: memcached wants at most 250 printable ASCII characters."""
    return key if re.fullmatch(r"[!-~]{1,160}", key) else "#" + blake2b(key.encode(), digest_size=16).hexdigest()


class CacheLedger:
    """Caches may forget: a lost record costs a load or a count, never freshness."""

    def __init__(self, store: CacheStore) -> None:
        self._store = store

    def run(self, step: Any) -> Any:
        """The answer to one step of `rewarm.stores.base`: the memory store's own, on one record."""
        named: str = step[0]
        name, now = f"rewarm:d:{safe(named)}", self._store.now
        with self._locked(name):
            found = self._store.cache.get(name)
            lists, tasks = Lists(now), Tasks(now)
            tables: dict[type, dict[str, Any]] = {
                b.Enter: lists._journals, b.Admit: lists._gates, b.Bury: lists._dead, b.Start: tasks._tasks,
            }  # fmt: skip
            like = LIKE.get(type(step), b.Start)
            table, handlers = tables[like], tasks.handlers if like is b.Start else lists.handlers
            before = copy.deepcopy(found)
            if found is not None:
                table[named] = _thaw(like, found)
            answer = handlers[type(step)](step)
            self._write(name, before, table.get(named))
        return answer

    def _write(self, name: str, before: Any, record: Any) -> None:
        after = _freeze(record)
        if not after:
            if before is not None:
                self._store.cache.delete(name)
        elif after != before:
            left = (record.expires - self._store.now()) // 1000 + 1 if isinstance(record, Task) else KEPT
            self._store.cache.set(name, after, max(1, left))

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


def _freeze(record: Any) -> Any:
    """Plain data: another release may read it."""
    if isinstance(record, dict):
        return {id: asdict(one) for id, one in record.items()}
    return None if record is None else asdict(record)


def _thaw(like: type, data: Any) -> Any:
    match like:
        case b.Enter:
            return {id: Journaled(**one) for id, one in data.items()}
        case b.Admit:
            return Gate(**data)
        case b.Bury:
            return Dead(**data)
    return Task(**data)
