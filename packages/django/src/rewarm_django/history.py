"""What happened in each minute, in small rows: opt-in, for the admin's dashboard.

Each process counts in memory and adds to the rows every few seconds, from a thread of its own; a worker also after a
task, since some queues end their processes without a word. No read waits for the database.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connections, router
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from rewarm import events

if TYPE_CHECKING:
    from .applications import Application

logger = logging.getLogger("rewarm.django")
EVERY = 10.0  # s between two writes of a process
AFTER_TASK = 1.0  # s between two writes after tasks
GRACE = 5.0  # s that closing waits for a write
SLICE = 5000  # rows that are forgotten at once
STATES = {"HIT": "hits", "STALE": "stales", "MISS": "misses"}


class History:
    """Counts one application's events. `days`: how long rows are kept."""

    def __init__(self, app: Application, days: float) -> None:
        self.app, self.days = app, days
        self._reset()
        history = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _forked(history()))

    def _reset(self) -> None:
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._written = -EVERY
        self._counts: dict[tuple[int, str], Counter[str]] = {}

    def __call__(self, event: events.Event) -> None:
        """A listener of `Rewarm.listen`."""
        match event:
            case events.Read():
                self._count(event.job, **{STATES[event.state]: 1})
            case events.Loaded():
                self._count(event.job, loads=1)
            case events.LoadFailed():
                self._count(event.job, failures=1)
            case events.TaskEnded() if event.outcome == "done" and event.task.kind == "refresh":
                took = max(0.0, time.time() - max(event.task.enqueued_at or 0.0, event.task.due or 0.0))
                self._count(event.task.job or "", refreshes=1, waited=round(took * 1000))

    def _count(self, job: str, waited: int = 0, **more: int) -> None:
        minute = int(time.time() // 60)
        if self._thread is None:
            self._start()
        with self._lock:
            counts = self._counts.setdefault((minute, job), Counter())
            counts.update(more)
            if waited:
                counts["waited"] += waited
                counts["slowest"] = max(counts["slowest"], waited)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._ended = threading.Event()
                self._thread = threading.Thread(
                    target=self._work, args=(self._ended,), name="rewarm-history", daemon=True
                )
                self._thread.start()

    def _work(self, ended: threading.Event) -> None:
        while not ended.wait(EVERY):
            try:
                self.write()
            finally:
                connections.close_all()

    def after_task(self) -> None:
        """In a worker's own thread, outside of transactions."""
        if time.monotonic() - self._written > AFTER_TASK:
            self.write()

    def close(self) -> None:
        """Write what is counted, and end the thread."""
        self._ended.set()
        if (thread := self._thread) is not None:
            thread.join(GRACE)
            self._thread = None
        if self._counts:
            self.write()

    def write(self) -> None:
        """Add what was counted to the rows. What a database does not take is told, and not counted."""
        from .models import Minute

        self._written = time.monotonic()
        with self._lock:
            counts, self._counts = self._counts, {}
        alias = router.db_for_write(Minute)
        if connections[alias].in_atomic_block:
            with self._lock:
                for one, found in counts.items():
                    self._counts.setdefault(one, Counter()).update(found)
            return
        try:
            for (minute, job), found in sorted(counts.items()):
                self._add(Minute.objects.using(alias), instant(minute * 60), job, found)
            if counts:
                self._measure(Minute.objects.using(alias))
        except Exception as error:  # counts must not change how a task ends
            logger.warning("%s: a part of the history is not written: %s", self.app.name, error)

    def _add(self, rows: Any, at: datetime, job: str, found: Counter[str]) -> None:
        rows.bulk_create([rows.model(app=self.app.name, job=job, at=at)], ignore_conflicts=True)
        slowest = found.pop("slowest", 0)
        more: dict[str, Any] = {name: F(name) + number for name, number in found.items()}
        rows.filter(app=self.app.name, job=job, at=at).update(**more, slowest=Greatest(F("slowest"), slowest))

    def _measure(self, rows: Any) -> None:
        """How long the queue is: once a minute, by whoever comes first. And forget what is too old."""
        at = instant(time.time() // 60 * 60)
        if rows.filter(app=self.app.name, job="", at=at, depth__isnull=False).exists():
            return
        depth: int | None = None
        with suppress(Exception):  # each queue has its own errors, and this is no task
            depth = self.app.runtime.adapter.depth()
        if depth is not None:
            self._add(rows, at, "", Counter())
            rows.filter(app=self.app.name, job="", at=at).update(depth=depth)
        old = rows.filter(at__lt=at - timedelta(days=self.days)).order_by("pk").values_list("pk", flat=True)
        rows.filter(pk__in=list(old[:SLICE]))._raw_delete(rows.db)


def instant(seconds: float) -> datetime:
    """Seconds since the epoch as the database takes them: naive where the project has no time zones."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at if settings.USE_TZ else timezone.make_naive(at)


def _forked(history: History | None) -> None:
    # The child counts its own; a thread that does not exist there may have held the lock.
    if history is not None:
        history._reset()
