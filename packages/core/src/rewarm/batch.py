"""Batch: what a block invalidates and refreshes, merged, deduplicated and sent when the block has ended well."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import events, freshness
from .effects import Flow
from .errors import EnqueueError
from .receipt import Receipt
from .target import Target
from .worker import Resend

if TYPE_CHECKING:
    from .app import Rewarm

LIMIT = 500
"""Names and entries that one task carries; more are split."""


class Gathered:
    """What one call, or one batch of calls, invalidates and refreshes."""

    def __init__(
        self,
        app: Rewarm,
        targets: Sequence[Target] = (),
        tags: Sequence[str] = (),
        jobs: Sequence[str] = (),
        fence: str = "now",
        refresh: bool = False,
    ) -> None:
        if fence not in ("now", "task"):
            raise ValueError(f"fence is {fence!r}, neither 'now' nor 'task'")
        self.app = app
        names = [("keys", target.key) for target in targets] + [("tags", t) for t in tags] + [("jobs", j) for j in jobs]
        self.now = dict.fromkeys(names if fence == "now" else ())
        self.later = dict.fromkeys(names if fence == "task" else ())
        self.refreshes = {target.key: target for target in targets if refresh}
        self.sent = False  # or given up: a task that outlives the batch it was started in still has it in its context
        self.receipts = [Receipt(app, "refresh" if refresh and fence == "now" else "invalidate")]

    def merge(self, other: Gathered) -> None:
        self.now.update(other.now)
        self.later.update(other.later)
        self.refreshes.update(other.refreshes)
        self.receipts += other.receipts

    def flow(self) -> Flow[None]:
        """Fence in one round trip, then queue the rest. Raises StoreError; EnqueueError if the fence is in a task,
        else by `on_enqueue_error`."""
        names = self.sorted(self.now)
        if self.now:
            yield from freshness.invalidate(names["keys"], self.app.runtime.stamps(names["tags"], names["jobs"]))
            named = {kind: tuple(some) for kind, some in names.items()}
            self.app.emit(events.Invalidated(app=self.app.name, **named))
        if self.later:
            yield from self.send(list(self.later), list(self.refreshes.values()))
        elif self.refreshes:
            yield from self.rewarm()
        else:
            for receipt in self.receipts:
                receipt._ended = "done"

    def rewarm(self) -> Flow[None]:
        """Queue the refreshes: one as itself, many as one task that queues them."""
        targets, policy = list(self.refreshes.values()), self.app.settings.on_enqueue_error
        if len(targets) == 1:
            place = yield from freshness.queue(targets[0], 0, None, policy)
            for receipt in self.receipts:
                receipt._took(targets[0], place)
            return
        try:
            yield from self.send([], targets)
        except EnqueueError:
            if policy == "raise":
                raise
            for target in targets if policy == "inline" else ():
                yield from freshness.queue(target, 0, None, policy)
            for receipt in self.receipts:  # no task will ever end: what was fenced is done
                receipt._ended = "done" if policy == "inline" or receipt.kind == "invalidate" else "unknown"

    def send(self, names: Sequence[tuple[str, str]], targets: Sequence[Target]) -> Flow[None]:
        runtime = self.app.runtime
        warm = [[target.job.name, target.job.signature.encode(target.values)] for target in targets]
        for start in range(0, max(len(names), len(warm)), LIMIT):
            args: dict[str, Any] = self.sorted(names[start : start + LIMIT])
            args["refresh"] = warm[start : start + LIMIT]
            task = runtime.routed(runtime.new_task("invalidate", args))
            for receipt in self.receipts:
                receipt.id = task.id
            yield Resend(task, 0.0)

    @staticmethod
    def sorted(names: Any) -> dict[str, list[str]]:
        kinds: dict[str, list[str]] = {"keys": [], "tags": [], "jobs": []}
        for kind, name in names:
            kinds[kind].append(name)
        return kinds


class Batch(AbstractContextManager["Batch"], AbstractAsyncContextManager["Batch"]):
    """`with app.batch():`. A batch within a batch joins the outer one."""

    def __init__(self, app: Rewarm) -> None:
        self.app = app
        self._stack: ContextVar[tuple[Gathered, ...]] = ContextVar(f"rewarm_batch_{app.name}", default=())

    @property
    def open(self) -> Gathered | None:
        """What has been gathered in this context; None outside of a batch."""
        stack = self._stack.get()
        return stack[0] if stack and not stack[0].sent else None

    def take(self, gathered: Gathered) -> bool:
        """Keep work for the end of the batch, if one is open."""
        if (into := self.open) is None:
            return False
        into.merge(gathered)
        return True

    def _push(self) -> None:
        if (outer := self.open) is not None:
            self._stack.set((*self._stack.get(), outer))
            return
        outer = Gathered(self.app)
        outer.receipts.clear()
        self._stack.set((outer,))

    def _pop(self, kind: type[BaseException] | None) -> Gathered | None:
        stack = self._stack.get()
        self._stack.set(stack[:-1])
        if len(stack) > 1:
            return None
        stack[0].sent = True
        return stack[0] if kind is None and stack[0].receipts else None

    def __enter__(self) -> Batch:
        self._push()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (gathered := self._pop(kind)) is not None:
            self.app.when_committed(lambda: self.app.runtime.drive(gathered.flow()))

    async def __aenter__(self) -> Batch:
        self._push()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (gathered := self._pop(kind)) is None:
            return
        if self.app.in_transaction():
            self.app.when_committed(lambda: self.app.runtime.drive(gathered.flow()))
        else:
            await self.app.runtime.adrive(gathered.flow())
