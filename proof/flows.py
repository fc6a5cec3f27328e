"""Flows around production's: what `Entry` and the worker do with them, and what no code of ours does yet.

Modelled here alone, as production has no such flow: `revalidate` (a source that can say "not modified"; the step
`Touch` exists in every store), and a layer in the process (`Near`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rewarm import freshness
from rewarm.effects import Flow, Load, Packed
from rewarm.freshness import HIT, Found, Refreshed, Rider
from rewarm.steps import Begin, Capture, Commit, Drop, Look, Renew, Touch, Verdict, seal_of


class Write(NamedTuple):
    """Effect -> version. Write the source."""


class Post(NamedTuple):
    """Effect -> None. Send a task that fences or sweeps."""

    payload: str


class Join(NamedTuple):
    """Effect -> value. What the running load brought, handed over by its process."""


class Near(NamedTuple):
    """Effect on the layer in the process: a value and its epoch. get -> both; fill, if the epoch is still the same;
    drop, which begins a new epoch."""

    what: str
    value: Any = None
    epoch: int = 0

    def on(self, held: Any) -> tuple[Any, Any]:
        _, epoch = held
        match self.what:
            case "get":
                return held, held
            case "fill" if epoch == self.epoch:
                return (self.value, epoch), None
            case "drop":
                return (None, epoch + 1), None
        return held, None


def post(payload: str) -> Flow[None]:
    yield Post(payload)


def near_read(t: Any) -> Flow[Found]:
    """A read through the layer: only what was fresh fills it."""
    value, epoch = yield Near("get")
    if value is not None:
        return Found(HIT, value)
    found = yield from freshness.read(t)
    if found.state == HIT:
        yield Near("fill", found.value, epoch)
    return found


def near_invalidate(keys: Sequence[str], tags: Sequence[str]) -> Flow[None]:
    """An invalidation by the same process: the fence, then the layer's own."""
    yield from freshness.invalidate(keys, tags)
    yield Near("drop")


def one_trip(steps: Sequence[Any]) -> Flow[Any]:
    return (yield list(steps))


class Held(Rider):
    """Holds the place of a failed load until its retry."""

    def failed(self, error: BaseException) -> tuple[int, list[Any]]:
        return 1, []


HELD = Held()


def refresh_task(t: Any, born: bytes, q: int, last: bool) -> Flow[Refreshed]:
    """The worker's part: a failed load keeps its place for the next attempt; after the last the place is dropped."""
    got = yield from freshness.refresh(t, born, q, HELD)
    if got.how == "raised" and last:
        yield [Drop(t.key, born, q, t.throttle)]
    return got


def writing(t: Any, gives: bool) -> Flow[int]:
    """`Entry.writing()` -> the version that was written."""
    grant, stamps = yield from freshness.open_writing(t)
    version: int = yield Write()
    yield from freshness.close_writing(t, grant, stamps, t.pack(version) if gives else None)
    return version


def revalidate(t: Any, born: bytes, q: int, last: bool) -> Flow[Refreshed]:
    """A refresh whose source may say "not modified" of the payload that was there when the load began."""
    grant, stamps = yield [Begin(t.key, born, q, t.lease), Capture(t.stamps, t.stamp_ttl)]
    if grant.verdict is not Verdict.GO:
        return Refreshed("busy" if grant.verdict is Verdict.BUSY else "superseded")
    ((seen, _),) = yield [Look(t.key)]
    got = yield Load(t, born, grant.n)
    seal = seal_of(t.stamps, stamps)
    assert seal is not None
    if seen is not None and seen.p and t.contents[seen.payload] == t.contents[got.value]:
        yield [Touch(t.key, born, grant.n, seal, seen.p, 1, 1)]
    else:
        packed: Packed = t.pack(got.value)
        yield [Commit(t.key, born, grant.n, seal, *packed, 0)]
    yield [Drop(t.key, born, q)]
    return Refreshed("done")


def long_load(t: Any, born: bytes, q: int, last: bool) -> Flow[Refreshed]:
    """A refresh that renews its lease while the source works, as the heartbeat of the runtime does."""
    flow = freshness.refresh(t, born, q)
    try:
        request = flow.send(None)
        while True:
            if isinstance(request, Load):
                answer = yield request
                yield [Renew(t.key, request.born, request.n, t.lease)]
            else:
                answer = yield request
            request = flow.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
