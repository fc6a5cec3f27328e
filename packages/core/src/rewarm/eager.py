"""Eager mode, the core's own: a task runs in place, through the same JSON, and its retries do not sleep."""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from . import worker
from .errors import EnqueueError, TaskDead
from .task import Task

if TYPE_CHECKING:
    from .runtime import Runtime

NESTED = 16
"""How deep eager tasks may queue eager tasks."""

_stack: ContextVar[tuple[tuple[str, deque[str]], ...]] = ContextVar("rewarm_eager", default=())


class Eager:
    """Runs tasks for one application where they are queued."""

    def __init__(self, host: Runtime) -> None:
        self.host = host

    def run(self, task: Task) -> None:
        """Run a task to its last attempt. Raises TaskDead if it ends dead and the adapter raises."""
        if (waiting := self._enter(task)) is None:
            return
        token = _stack.set((*_stack.get(), (task.id, waiting)))
        try:
            while waiting:
                ended = self.host.drive(worker.deliver(self.host, waiting.popleft(), eager=True))
        finally:
            _stack.reset(token)
        self._leave(task, ended)

    async def arun(self, task: Task) -> None:
        """`run` on the running event loop."""
        if (waiting := self._enter(task)) is None:
            return
        token = _stack.set((*_stack.get(), (task.id, waiting)))
        try:
            while waiting:
                ended = await self.host.adrive(worker.deliver(self.host, waiting.popleft(), eager=True))
        finally:
            _stack.reset(token)
        self._leave(task, ended)

    def _enter(self, task: Task) -> deque[str] | None:
        """The payloads to run; None for a follow-up, which whoever runs the task already will run next."""
        payload, stack = task.dumps(self.host.signing_keys), _stack.get()
        for running, waiting in stack:
            if running == task.id:
                waiting.append(payload)
                return None
        if len(stack) >= NESTED:
            raise EnqueueError(f"eager tasks are nested {NESTED} deep: {task.kind} {task.job or ''} is not run")
        return deque([payload])

    def _leave(self, task: Task, ended: Any) -> None:
        if ended.outcome == worker.Outcome.DEAD and self.host.adapter.eager_raises:
            raise TaskDead(f"{task.kind} {task.job or task.id} is dead: {ended.reason}") from ended.error
