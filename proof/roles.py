"""Who takes part in a scenario: a production flow each, with the ghosts that judge it.

`start` is glued before the first move and `finish` behind the last, so that noting a floor or checking a value adds no
interleaving. A write of the source is glued before the first move of its invalidation: in between nothing can go wrong
that could not go wrong before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rewarm import Capability, freshness, worker
from rewarm import task as wire
from rewarm.effects import Loaded, Packed
from rewarm.errors import EnqueueError, StoreError
from rewarm.steps import Seen, Unlink

from . import flows
from .model import KEY, LIFE, NOW, World, put_at

FAILED = RuntimeError("the source failed")
REFUSED = EnqueueError("the queue refused")
AWAY = StoreError("the store is away")
VOUCHED = "vouched"
"""A payload that stands for the version its role has noted."""


class Violation(Exception):
    """An invariant does not hold; says which and how."""


@dataclass(frozen=True, eq=False)
class Case:
    """One entry as the flows see it: `effects.Target`."""

    key: str = KEY
    index: int = 0
    stamps: tuple[str, ...] = ()
    expires: bool = False
    queues_on_miss: bool = False
    transactional: bool = False
    ahead: bool = False  # early refresh: every HIT queues
    on_store_error: str = "raise"
    on_enqueue_error: str = "log"
    patience: int = 2
    lease: int = 1
    place: int = LIFE  # as the model holds one: a queued task is joined; less, and it counts as due later: overtaken
    throttle: int = 0
    stamp_ttl: int = 1
    empty: Any = None
    keeps_if_error: bool = False
    release: int = 0
    contents: tuple[int, ...] = ()  # of the source's versions, where two may be alike

    def unpack(self, seen: Seen) -> tuple[bool, Any]:
        return True, seen.payload

    def pack(self, value: Any) -> Packed:
        return Packed(1, 1, value, self.release)

    def stale_for(self, value: Any) -> int:
        return LIFE

    def error_for(self, value: Any) -> int:
        return 2 * LIFE if self.keeps_if_error else 0

    def early(self, seen: Seen) -> bool:
        return self.ahead

    def loaded(self, got: Loaded) -> None: ...
    def failed(self, error: BaseException) -> None: ...
    def store_failed(self, error: Exception) -> None: ...

    def right(self, value: int, floor: int, version: int) -> bool:
        """Is it what the source said at some time since `floor`?"""
        if self.contents:
            return any(self.contents[value] == self.contents[v] for v in range(floor, version + 1))
        return value >= floor


@dataclass(frozen=True)
class Role:
    """`group`: the name under which its processes draw."""

    group: ClassVar[str] = "process"

    @property
    def release(self) -> int:
        """Of the code that runs here."""
        return self.case.release if hasattr(self, "case") else 0

    def flow(self) -> Any:
        raise NotImplementedError

    def start(self, w: World) -> tuple[World, Any]:
        return w, None

    def passed(self, w: World, note: Any, trips: int) -> Any:
        """The note after a move, so many of the flow's requests being answered."""
        return note

    def finish(self, w: World, note: Any, result: Any) -> tuple[World, tuple[Role, ...]]:
        """The world afterwards, and who is there in its place. Raises Violation."""
        if isinstance(result, Exception) and result not in (FAILED, REFUSED, AWAY):
            raise Violation(f"{self.group} raised {result!r}")
        return w, ()

    def crashed(self) -> tuple[Role, ...]:
        """What comes back after the process was killed: nothing."""
        return ()

    def waits(self, w: World) -> bool:
        """It cannot begin yet."""
        return False


@dataclass(frozen=True)
class Reader(Role):
    case: Case
    near: bool = False  # through the layer in the process
    group: ClassVar[str] = "reader"

    def flow(self) -> Any:
        return (flows.near_read if self.near else freshness.read)(self.case)

    def start(self, w: World) -> tuple[World, Any]:
        return w, (w.floor[self.case.index], w.gone[self.case.index])

    def finish(self, w: World, note: Any, result: Any) -> tuple[World, tuple[Role, ...]]:
        super().finish(w, note, result)
        if isinstance(result, freshness.Found) and not result.empty:
            floor, gone = note
            if result.state != freshness.STALE and not self.case.right(result.value, floor, w.version):
                raise Violation(f"I1: {result.state} {result.value}, though {floor} was written and invalidated before")
            if not self.case.right(result.value, gone, w.version):
                raise Violation(f"I1x: {result.state} {result.value}, though all before {gone} was expired or deleted")
        return w, ()


@dataclass(frozen=True)
class Task(Role):
    """The delivery of a queued refresh. `tries`: attempts left after this one."""

    case: Case
    born: bytes
    q: int
    tries: int = 0
    deferred: bool = False
    runs: Callable[..., Any] = flows.refresh_task

    @property
    def group(self) -> str:  # type: ignore[override]
        return f"task {self.born.decode()}/{self.q}:"

    def flow(self) -> Any:
        return self.runs(self.case, self.born, self.q, not self.tries)

    def waits(self, w: World) -> bool:
        return self.deferred and busy(w, self.case)

    def crashed(self) -> tuple[Role, ...]:
        return (self,)  # no acknowledgement: it is delivered again

    def finish(self, w: World, note: Any, result: Any) -> tuple[World, tuple[Role, ...]]:
        super().finish(w, note, result)
        if result is AWAY:  # later, when it is back
            return w, (replace(self, deferred=True),)
        match result.how:
            case "failed":
                return w, (replace(self, deferred=True),)
            case "busy":
                return w, (replace(self, deferred=True),)
            case "raised" if self.tries:
                return w, (replace(self, tries=self.tries - 1, deferred=False),)
        return w, ()


@dataclass(frozen=True)
class Queuer(Role):
    """`refresh()`: queue a load whether or not anything is stored. `again`: what a transaction put off, on commit."""

    case: Case
    again: bool = False
    group: ClassVar[str] = "warmer"

    def flow(self) -> Any:
        return (freshness.requeue if self.again else freshness.queue)(self.case)


@dataclass(frozen=True)
class Invalidator(Role):
    """Write the source, then invalidate. `deletes`: remove the entries; `expires`: nothing older may be seen."""

    keys: tuple[str, ...]
    tags: tuple[str, ...]
    covers: tuple[int, ...]
    expires: bool = False
    deletes: bool = False
    writes: bool = True  # else it is a copy of one that has written
    label: str = "writer"
    near: bool = False  # through the layer in the process

    @property
    def group(self) -> str:  # type: ignore[override]
        return self.label

    def flow(self) -> Any:
        if self.deletes:
            return flows.one_trip([Unlink(key) for key in self.keys])
        return (flows.near_invalidate if self.near else freshness.invalidate)(self.keys, self.tags)

    def start(self, w: World) -> tuple[World, Any]:
        return (w._replace(version=w.version + 1), w.version + 1) if self.writes else (w, 0)

    def finish(self, w: World, note: Any, result: Any) -> tuple[World, tuple[Role, ...]]:
        super().finish(w, note, result)
        if isinstance(result, Exception):  # its caller knows
            return w, ()
        return raised(w, self.covers, note, self.expires or self.deletes), ()


def raised(w: World, covers: Sequence[int], version: int, gone: bool) -> World:
    """The floors, after an invalidation that began at `version` has completed."""
    for index in covers:
        w = w._replace(floor=put_at(w.floor, index, max(version, w.floor[index])))
        if gone:
            w = w._replace(gone=put_at(w.gone, index, max(version, w.gone[index])))
    return w


@dataclass(frozen=True)
class Writing(Role):
    """`with entry.writing() as w: save(); w.set(value)`; what it returns from is the newest invalidation."""

    case: Case
    gives: bool = True  # calls `set`
    group: ClassVar[str] = "writing"

    def flow(self) -> Any:
        return flows.writing(self.case, self.gives)

    def finish(self, w: World, note: Any, result: Any) -> tuple[World, tuple[Role, ...]]:
        super().finish(w, note, result)
        return (w if isinstance(result, Exception) else raised(w, (self.case.index,), result, self.case.expires)), ()


@dataclass(frozen=True)
class Setter(Role):
    """Write the source, then `set()`: the caller vouches that the value is current when its fence stands.

    Without tags that is the `Put` itself; with tags, the end of the first trip.
    """

    case: Case
    group: ClassVar[str] = "set"

    def flow(self) -> Any:
        return freshness.put(self.case, self.case.pack(VOUCHED))

    def start(self, w: World) -> tuple[World, Any]:
        return w._replace(version=w.version + 1), w.version + 1

    def passed(self, w: World, note: Any, trips: int) -> Any:
        return w.version if trips == 1 and self.case.stamps else note

    def finish(self, w: World, note: Any, result: Any) -> tuple[World, tuple[Role, ...]]:
        super().finish(w, note, result)
        return (w if isinstance(result, Exception) else raised(w, (self.case.index,), note, self.case.expires)), ()


@dataclass(frozen=True)
class Reloader(Role):
    case: Case
    group: ClassVar[str] = "reload"

    def flow(self) -> Any:
        return freshness.reload(self.case)

    def start(self, w: World) -> tuple[World, Any]:
        return w, w.floor[self.case.index]

    def finish(self, w: World, note: Any, result: Any) -> tuple[World, tuple[Role, ...]]:
        super().finish(w, note, result)
        if not isinstance(result, Exception) and not self.case.right(result, note, w.version):
            raise Violation(f"I1: reload gave {result}, though {note} was written and invalidated before")
        return w, ()


class Host:
    """As much of the runtime as the worker needs for tasks that fence or sweep."""

    name, dead_key, jobs, patience, capabilities = "app", "app::dead", (), 0, frozenset({Capability.DELAY})
    app: Any = property(lambda self: self)

    def record(self, id: str) -> str:
        return id

    def now(self) -> float:
        return 1.0

    def stray(self, task: Any) -> str:
        return ""

    def stamps(self, tags: Sequence[str], jobs: Sequence[str]) -> list[str]:
        return [*tags, *jobs]

    def renew(self, task: Any, args: dict[str, Any], delay: float) -> Any:
        return replace(task, args=args, attempt=1, due=None)

    def sweep_pause(self, keys: int) -> float:
        return 0.0

    def holding(self, record: str, claim: int) -> Any:
        return nullcontext()

    def emit(self, event: Any) -> None: ...


HOST: Any = Host()


@dataclass(frozen=True)
class Sender(Role):
    """Write the source and leave the invalidation, or a sweep, to the worker."""

    kind: str
    args: str
    covers: tuple[int, ...]
    group: ClassVar[str] = "sender"

    def flow(self) -> Any:
        return flows.post(wire.Task(id="t", app="app", kind=self.kind, args=json.loads(self.args)).dumps())

    def start(self, w: World) -> tuple[World, Any]:
        return w._replace(version=w.version + 1), w.version + 1

    def posted(self, payload: str, version: int) -> Role:
        return Delivered(payload, self.covers, version)


@dataclass(frozen=True)
class Delivered(Role):
    """The worker's own flow for a task that fences or sweeps. It has completed when the ledger says so."""

    payload: str
    covers: tuple[int, ...]
    version: int
    deferred: bool = False

    @property
    def group(self) -> str:  # type: ignore[override]
        return "fence" if '"invalidate"' in self.payload else "sweep"

    def flow(self) -> Any:
        return worker.Delivery(HOST, wire.loads(self.payload), False).run()

    def crashed(self) -> tuple[Role, ...]:
        return (replace(self, deferred=False),)

    def waits(self, w: World) -> bool:
        return self.deferred and any(claimed for _, (_, _, claimed) in w.ledger)

    def resent(self, task: Any) -> Role:
        same = task.args == wire.loads(self.payload).args
        plain = replace(task, due=None, attempt=1, enqueued_at=None).dumps()
        return replace(self, payload=plain, deferred=same)

    def finish(self, w: World, note: Any, result: Any) -> tuple[World, tuple[Role, ...]]:
        super().finish(w, note, result)
        if result.outcome in (worker.Outcome.RETRIED, worker.Outcome.DEAD):
            raise Violation(f"{self.group} ended as {result}")
        completed = dict(w.ledger).get("t", ("",))[0] == "done"
        return (raised(w, self.covers, self.version, False) if completed else w), ()


def busy(w: World, case: Case) -> bool:
    """A load runs that is still respected."""
    e = w.entries[case.index]
    return e is not None and bool(e.r) and e.due > NOW
