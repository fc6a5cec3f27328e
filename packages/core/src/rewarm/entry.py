"""Entry: a job with its arguments, and what reading it returns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from . import freshness
from .effects import Packed
from .errors import BlockingCall
from .freshness import Found
from .gather import Gathered
from .receipt import Receipt
from .steps import Look, Unlink
from .target import Target
from .task import Route

if TYPE_CHECKING:
    from .job import BoundJob

R = TypeVar("R")
Fence = Literal["now", "task"]


class State(StrEnum):
    """How a read went: fresh; old, while one refresh runs or is queued; or nothing that could be served."""

    HIT = "HIT"
    STALE = "STALE"
    MISS = "MISS"


@dataclass(frozen=True, slots=True)
class Read(Generic[R]):
    """A value and how it was come by.

    age: seconds since it was stored, 0 if it was just loaded.   expires_in: seconds; not above 0 once stale.
    refreshing: a refresh is queued or running.   error: why a stale value was served (stale-if-error).
    """

    value: R
    state: State
    age: float = 0.0
    expires_in: float = 0.0
    refreshing: bool = False
    error: BaseException | None = None


class Entry(Generic[R]):
    """One entry of a job. Has the job's verbs without arguments, and those that take options."""

    def __init__(self, job: BoundJob[..., R], target: Target) -> None:
        self._job, self._target, self._app = job, target, job.app

    def __repr__(self) -> str:
        return f"<Entry {self.key}>"

    @property
    def key(self) -> str:
        """The entry's key in the store."""
        return self._target.key

    @property
    def tags(self) -> tuple[str, ...]:
        """The entry's tags."""
        return tuple(self._target.tags)

    @property
    def job(self) -> BoundJob[..., R]:
        """The job that this is an entry of."""
        return self._job

    # --- reading

    def get(self) -> R:
        """The value: fresh, stale while a refresh is queued, or loaded. Raises what the load raises."""
        self._may_load("get")
        value: R = self._app.runtime.read(self._target).value
        return value

    async def aget(self) -> R:
        """`get` on the running event loop."""
        value: R = (await self._app.runtime.aread(self._target)).value
        return value

    def read(self) -> Read[R]:
        """The value, and how it was come by."""
        self._may_load("read")
        return self._told(self._app.runtime.read(self._target))

    async def aread(self) -> Read[R]:
        """`read` on the running event loop."""
        return self._told(await self._app.runtime.aread(self._target))

    def peek(self) -> Read[R] | None:
        """What a read would serve without loading or queuing anything; None if there is nothing."""
        return self._peeked(self._app.runtime.run([Look(self.key, self._target.stamps)]))

    async def apeek(self) -> Read[R] | None:
        """`peek` on the running event loop."""
        return self._peeked(await self._app.runtime.arun([Look(self.key, self._target.stamps)]))

    def reload(self) -> R:
        """Load here and now, store, return. Whatever was queued or running is void.

        Inside a transaction nothing is stored, and a refresh is queued after the commit.
        """
        self._may_load("reload")
        value: R = self._app.runtime.drive(freshness.reload(self._target))
        self._reload_when_committed()
        return value

    async def areload(self) -> R:
        """`reload` on the running event loop."""
        value: R = await self._app.runtime.adrive(freshness.reload(self._target))
        self._reload_when_committed()
        return value

    # --- refreshing and invalidating

    def refresh(self, delay: float | timedelta = 0, route: Route | dict[str, Any] | None = None) -> Receipt:
        """Queue a load, also where nothing is stored; joins one that is queued or running.

        delay: seconds to wait at least.   route: overrides the job's. Raises EnqueueError, and ConfigurationError for a
        delay that is none. Inside a transaction the task is sent after the commit; until then the receipt has no id.
        """
        gathered = Gathered(self._app)
        receipt = gathered.refresh(self._target, self._target.checked("delay", delay, least=0), route)
        self._app.submit(gathered)
        return receipt

    async def arefresh(self, delay: float | timedelta = 0, route: Route | dict[str, Any] | None = None) -> Receipt:
        """`refresh` on the running event loop."""
        gathered = Gathered(self._app)
        receipt = gathered.refresh(self._target, self._target.checked("delay", delay, least=0), route)
        await self._app.asubmit(gathered)
        return receipt

    def invalidate(self, refresh: bool = False, fence: Fence = "now") -> Receipt:
        """Fence: from now on the value is no HIT, and a load that runs is refused.

        refresh: queue a refresh too, instead of leaving it to the next read.   fence: "task" leaves even the fence
        to the worker, for writers who cannot afford the round trip.
        """
        gathered = Gathered(self._app)
        receipt = gathered.invalidate([self._target], (), (), fence, refresh)
        self._app.submit(gathered)
        return receipt

    async def ainvalidate(self, refresh: bool = False, fence: Fence = "now") -> Receipt:
        """`invalidate` on the running event loop."""
        gathered = Gathered(self._app)
        receipt = gathered.invalidate([self._target], (), (), fence, refresh)
        await self._app.asubmit(gathered)
        return receipt

    def delete(self) -> None:
        """Remove the entry. The next read is a MISS, and a load that runs is refused."""
        self._app.when_committed(lambda: self._app.runtime.run([Unlink(self.key)]))

    async def adelete(self) -> None:
        """`delete` on the running event loop."""
        if self._app.in_transaction():
            self.delete()
            return
        await self._app.runtime.arun([Unlink(self.key)])

    # --- storing

    def set(self, value: R) -> None:
        """Store a value that is current at this instant. After a write of your own use `writing()`: of two writers
        that both `set`, the older may come last. Raises SerializeError."""
        packed = self._target.pack(value)
        self._app.when_committed(lambda: self._app.runtime.drive(freshness.put(self._target, packed)))

    async def aset(self, value: R) -> None:
        """`set` on the running event loop."""
        if self._app.in_transaction():
            self.set(value)
            return
        await self._app.runtime.adrive(freshness.put(self._target, self._target.pack(value)))

    def writing(self) -> Writing[R]:
        """`with entry.writing() as w: save(); w.set(value)`: the fence first, then the write, then the value.

        Without `set`, or if the block raises, or if somebody else wrote meanwhile, the entry is invalidated.
        """
        return Writing(self)

    # --- helpers

    def _may_load(self, verb: str) -> None:
        self._job.may_load(verb)

    def _reload_when_committed(self) -> None:
        if self._app.in_transaction():
            flow = freshness.requeue(self._target, replace=True)
            self._app.when_committed(lambda: self._app.runtime.drive(flow))

    def _peeked(self, answers: Sequence[Any]) -> Read[R] | None:
        found = freshness.judge(self._target, *answers[0])
        return None if found is None else self._told(found)

    def _told(self, found: Found) -> Read[R]:
        seen = found.seen
        if seen is None:
            fresh = 0.0 if found.empty else self._target.ttl_of(found.value) / 1000
            return Read(found.value, State(found.state), 0.0, fresh, found.refreshing, found.error)
        now = max(seen.now, seen.loaded)  # our idea of the server's clock may be a little late
        left = (seen.soft - now) / 1000 if seen.soft else 0.0
        if found.state != freshness.HIT:
            left = min(left, 0.0)
        age = (now - seen.loaded) / 1000
        return Read(found.value, State(found.state), age, left, found.refreshing, found.error)


class Writing(AbstractContextManager["Writing[R]"], AbstractAsyncContextManager["Writing[R]"], Generic[R]):
    """An open write: see `Entry.writing`."""

    def __init__(self, entry: Entry[R]) -> None:
        self._entry, self._app, self._target = entry, entry._app, entry._target
        self._packed: Packed | None = None

    def set(self, value: R) -> None:
        """The value that the write made current. Raises SerializeError."""
        self._packed = self._target.pack(value)

    def __enter__(self) -> Writing[R]:
        self._fence = self._app.runtime.drive(freshness.open_writing(self._target))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        flow = self._closing(kind)
        self._app.when_committed(lambda: self._app.runtime.drive(flow))

    async def __aenter__(self) -> Writing[R]:
        self._fence = await self._app.runtime.adrive(freshness.open_writing(self._target))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        flow = self._closing(kind)
        if self._app.in_transaction():
            self._app.when_committed(lambda: self._app.runtime.drive(flow))
        else:
            await self._app.runtime.adrive(flow)

    def _closing(self, kind: type[BaseException] | None) -> Any:
        grant, stamps = self._fence
        return freshness.close_writing(self._target, grant, stamps, None if kind else self._packed)


def refuse_blocking(job: str, verb: str) -> None:
    """Raise BlockingCall if an event loop runs in this thread."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BlockingCall(f"{job}.{verb}() would block the running event loop: await {job}.a{verb}()")
