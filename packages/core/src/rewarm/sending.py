"""Hand tasks to the queue: with a route, in hops, and written into the journal first where tasks are rescued."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import events
from .adapter import Capability
from .errors import EnqueueError, StoreError
from .redact import redact
from .stores.base import Enter, Strike
from .task import Task

if TYPE_CHECKING:
    from .runtime import Runtime

JOURNALED = 100_000
"""Tasks in one journal; one more is refused: nobody works off what is there."""


class Sender:
    """The way to one application's queue."""

    def __init__(self, host: Runtime) -> None:
        self._host = host

    def route(self, task: Task, asked: Any = None, job: Any = None) -> Task:
        """A new task with its route: as asked, else the host's, else the job's, else the kind's."""
        route = self._host.app.route(task, asked, job)
        return replace(task, queue=route.queue, priority=route.priority, options=route.options)

    def follow(self, task: Task, job: Any) -> Task:
        """A task that was read from its payload: it goes where it was sent; a route's options are not on the wire."""
        return replace(task, options=self._host.app.route(task, None, job).options)

    def send(self, task: Task, delay: float) -> None:
        """Journal a task and hand it to the queue. Raises EnqueueError, with an event."""
        if self._host.adapter.eager:
            self._host.eager.run(task)
            return
        payload, hop, enter = self._ready(task, delay)
        try:
            if enter:
                _admitted(self._host.ledger.run([enter]))
            if hop is not None:
                self._host.adapter.enqueue(payload, route=task.route, delay=hop)
        except Exception as error:
            if enter:
                with suppress(StoreError):
                    self._host.ledger.run([Strike(enter.journal, enter.id)])
            raise self._refused(task, error) from error
        self._host.emit(events.Enqueued(app=self._host.name, task=task, delay=delay))

    async def asend(self, task: Task, delay: float) -> None:
        """`send` on the running event loop."""
        if self._host.adapter.eager:
            await self._host.eager.arun(task)
            return
        payload, hop, enter = self._ready(task, delay)
        try:
            if enter:
                _admitted(await self._host.ledger.arun([enter]))
            if hop is not None:
                await self._post(payload, task, hop)
        except Exception as error:
            if enter:
                with suppress(StoreError):
                    await self._host.ledger.arun([Strike(enter.journal, enter.id)])
            raise self._refused(task, error) from error
        self._host.emit(events.Enqueued(app=self._host.name, task=task, delay=delay))

    def repost(self, task: Task) -> None:
        """Hand over a task that is in the journal. Raises EnqueueError."""
        try:
            self._host.adapter.enqueue(self._signed(task), route=task.route, delay=0.0)
        except Exception as error:
            raise self._refused(task, error) from error

    async def arepost(self, task: Task) -> None:
        """`repost` on the running event loop."""
        try:
            await self._post(self._signed(task), task, 0.0)
        except Exception as error:
            raise self._refused(task, error) from error

    async def _post(self, payload: str, task: Task, hop: float) -> None:
        if self._host.adapter.in_process:
            self._host.adapter.enqueue(payload, route=task.route, delay=hop)
        else:  # a queue's client may block on its socket
            await self._host.app.in_thread(self._host.adapter.enqueue, payload, route=task.route, delay=hop)

    def _signed(self, task: Task) -> str:
        """The payload; a stray of another application is sent on as it came."""
        return task.dumps(self._host.signing_keys if task.app == self._host.name else ())

    def _ready(self, task: Task, delay: float) -> tuple[str, float | None, Enter | None]:
        """The payload; how far its next hop goes, None if it is left to the journal; what the journal is told."""
        hop, patience = max(0.0, delay), self._host.patience
        can_delay = Capability.DELAY in self._host.adapter.capabilities
        if hop and not (can_delay or patience):
            error = EnqueueError(f"queue {self._host.adapter.name!r} cannot delay, and a task must not run early")
            raise self._refused(task, error)
        payload = self._signed(task)
        waits = bool(hop) and not can_delay
        enter = None
        if patience and (waits or task.app == self._host.name):  # a stray's own application has a journal
            wait = max(1, round(hop * 1000)) + (0 if waits else patience)
            enter = Enter(self._host.journal, journal_id(task), payload, wait, JOURNALED)
        if self._host.adapter.max_hop is not None:
            hop = min(hop, self._host.adapter.max_hop)
        return payload, None if waits else hop, enter

    def _refused(self, task: Task, error: Exception) -> EnqueueError:
        self._host.emit(events.EnqueueFailed(app=self._host.name, task=task, error=error))
        if isinstance(error, EnqueueError):
            return error
        told = redact(str(error))
        return EnqueueError(f"queue {self._host.adapter.name!r} did not take {task.kind} {task.id}: {told}")


def journal_id(task: Task) -> str:
    """A task's name in journal and ledger: each slice of a sweep is a task of its own."""
    return f"{task.id}.{task.args.get('slice', 0)}" if task.kind == "sweep" and isinstance(task.args, dict) else task.id


def _admitted(answers: list[bool]) -> None:
    if not answers[0]:
        raise EnqueueError(f"the journal is full: {JOURNALED} tasks have not ended; do workers run?")
