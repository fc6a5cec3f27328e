"""Rescue: what a queue lost is sent again, from the journal that was written before it was sent.

Opt-in (`Rewarm(rescue=seconds)`), for queues that lose tasks. The journal is part of the ledger: a task enters it
before it is sent and is struck from it when it has ended. Whoever rescues sends again what is overdue and still needed;
of several rescuers one gets each task. Where the queue cannot delay, a delayed task waits in the journal alone.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from . import events
from .burial import bury_raw
from .effects import Flow
from .errors import PayloadError
from .steps import Drop, Look, Step
from .stores.base import Backlog, Overdue, Recall, Strike
from .task import Task, received

if TYPE_CHECKING:
    from .runtime import Runtime

EVERY = 1.0
"""Seconds between two looks of a worker into the journal."""

SLICE = 100
"""Tasks taken from the journal at a time."""


class Repost(NamedTuple):
    """Effect -> None. Hand a task to the queue that is in the journal already. Raises EnqueueError."""

    task: Task


def rescue(host: Runtime) -> Flow[int]:
    """Send again what is overdue -> how many tasks. Raises StoreError, EnqueueError."""
    patience, sent = host.patience, 0
    if not patience:
        return 0
    (backlog,) = yield [Backlog(host.journal)]
    for _ in range(backlog // SLICE + 1):  # each at most once, however short the patience
        (overdue,) = yield [Overdue(host.journal, patience, SLICE)]
        for id, payload in overdue:
            try:
                task = received(payload, host.name, host.signing_keys)
            except PayloadError as error:
                yield from bury_raw(host, payload, error)
                yield [Strike(host.journal, id)]
                continue
            if task.app != host.name:  # a stray that only waited here; its own application has a journal
                yield Repost(task)
                yield [Strike(host.journal, id)]
            elif (yield from _needed(host, task, id)):
                yield Repost(task)
                host.emit(events.Rescued(app=host.name, task=task))
                sent += 1
        if len(overdue) < SLICE:
            break
    return sent


def _needed(host: Runtime, task: Task, id: str) -> Flow[bool]:
    """Nobody runs the task, and somebody still wants it to run. What is over is struck."""
    over: list[Step] = [Strike(host.journal, id)]
    (record,) = yield [Recall(host.record(id))]
    ended = record is not None and (record.cancelled or record.status in ("done", "dead"))
    if task.key and task.born:  # a refresh: it is needed for as long as it holds its place
        born, late = bytes.fromhex(task.born), bool(task.not_after and host.now() > task.not_after)
        ((seen, _),) = yield [Look(task.key)]
        placed = seen is not None and seen.born == born and seen.q == task.q
        if placed and seen.r and seen.due > seen.now:  # it is running
            return False
        if placed and (ended or late):
            over.append(Drop(task.key, born, task.q))
        ended = ended or late or not placed
    if ended:
        yield over
    return not ended


class Rescuer:
    """Rescues for as long as this process works: a daemon thread, started with its first task or by the queue."""

    def __init__(self, host: Runtime) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._pid = 0
        self._ended = threading.Event()

    def start(self) -> None:
        """At most one thread in a process; a forked child has its own."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._ended = os.getpid(), threading.Event()
                threading.Thread(target=self._work, args=(self._ended,), name="rewarm-rescue", daemon=True).start()

    def _work(self, ended: threading.Event) -> None:
        while not ended.wait(min(EVERY, self._host.patience / 1000)):
            try:
                self._host.drive(rescue(self._host))
            except Exception as error:  # mostly the outage of a server: the next look may find it back
                self._host.emit(events.RescueFailed(app=self._host.name, error=error))

    def close(self) -> None:
        self._ended.set()
        self._pid = 0
