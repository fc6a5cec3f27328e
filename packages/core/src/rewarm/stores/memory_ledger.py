"""The ledger of the memory store. What `ledger.lua` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import base as b
from .base import Record, Started, Verdict
from .memory_lists import Lists

ENDED = frozenset({"done", "skipped", "dead"})
"""The statuses after which a task can no longer be cancelled."""

ERRORS_KEPT = 10


@dataclass(slots=True)
class Task:
    """A record. `claim`: until when a delivery holds the task, in milliseconds; 0: none does."""

    status: str = ""
    attempt: int = 0
    deliveries: int = 0
    cancelled: bool = False
    claim: int = 0
    errors: list[str] = field(default_factory=list)
    expires: int = 0


class Tasks:
    """Runs the steps of `stores.base`. Not locked: `MemoryStore` does that. `now` gives milliseconds."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._tasks: dict[str, Task] = {}
        self._crowded = 1024
        self.handlers: dict[type, Callable[[Any], Any]] = {
            b.Start: self._start, b.Settle: self._settle, b.Extend: self._extend, b.Recall: self._recall,
            b.Cancel: self._cancel, b.Forget: self._forget, **Lists(now).handlers,
        }  # fmt: skip

    def _get(self, name: str) -> Task | None:
        task = self._tasks.get(name)
        return task if task is not None and task.expires > self._now() else None

    def _kept(self, name: str, keep: int) -> Task:
        """The task's record, or a new one; it lives at least `keep` longer."""
        task = self._get(name)
        if task is None:
            self._sweep()
            task = self._tasks[name] = Task()
        task.expires = max(task.expires, self._now() + keep)
        return task

    def _sweep(self) -> None:
        # As for entries: constant work per record.
        if len(self._tasks) >= self._crowded:
            now = self._now()
            self._tasks = {name: task for name, task in self._tasks.items() if task.expires > now}
            self._crowded = max(1024, 2 * len(self._tasks))

    def _start(self, step: b.Start) -> Started:
        task, now = self._kept(step.task, max(step.keep, step.lease)), self._now()
        if task.cancelled:
            return Started(Verdict.CANCELLED, task.deliveries)
        if task.status == "done" and step.lease:
            return Started(Verdict.DONE, task.deliveries)
        task.deliveries += 1
        if task.claim > now:
            return Started(Verdict.BUSY, task.deliveries, task.claim - now)
        if step.attempt > task.attempt:
            task.attempt, task.deliveries = step.attempt, 1
        if task.deliveries > step.cap:
            task.claim = now + b.BURIAL
            return Started(Verdict.POISON, task.deliveries)
        if task.status != "done":
            task.status = "running"
        if step.lease:
            task.claim = now + step.lease
        return Started(Verdict.GO, task.deliveries)

    def _settle(self, step: b.Settle) -> None:
        if step.status == "deferred":
            if (deferred := self._get(step.task)) is not None and deferred.deliveries:
                deferred.deliveries -= 1
            return
        task = self._kept(step.task, step.keep)
        task.expires = self._now() + step.keep
        task.claim = task.deliveries = 0
        if step.status != "skipped" or task.status != "done":
            task.status = step.status
        if step.error:
            task.errors = [*task.errors, step.error][-ERRORS_KEPT:]

    def _extend(self, step: b.Extend) -> bool:
        task = self._get(step.task)
        if task is None or not task.claim:
            return False
        task.claim = self._now() + step.lease
        task.expires = max(task.expires, task.claim)
        return True

    def _recall(self, step: b.Recall) -> Record | None:
        if (task := self._get(step.task)) is None:
            return None
        return Record(task.status, task.attempt, task.deliveries, task.cancelled, list(task.errors))

    def _cancel(self, step: b.Cancel) -> bool:
        task = self._get(step.task)
        if task is not None and task.status in ENDED:
            return False
        self._kept(step.task, step.keep).cancelled = True
        return True

    def _forget(self, step: b.Forget) -> None:
        self._tasks.pop(step.task, None)
