"""The freshness protocol, without I/O: read, refresh, invalidate and sweep as generators.

A flow yields either a list of steps, which the driver runs in one round trip and answers with the list of their
results, or one of `effects`. It has no clock, no randomness and no connection: the blocking driver, the
asyncio driver and a simulator run the same flows. The protocol, its invariants and the trace behind every rule are
described in `docs/protocol.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .effects import Flow, Load, Loaded, Packed, Send, Target, Wait
from .errors import EnqueueError, NotAcknowledged, StoreError, TaskDead, Throttled
from .steps import (
    NO_SEAL,
    Acquire,
    Begin,
    Bump,
    Capture,
    Commit,
    Drop,
    Grant,
    Look,
    Mark,
    Open,
    Put,
    Release,
    Reserve,
    Scan,
    Seen,
    Steal,
    Step,
    Verdict,
    seal_of,
)

HIT, STALE, MISS = "HIT", "STALE", "MISS"
LOADS = 3  # a task whose load was voided loads again, so often
LATER = 1000  # ms by which a queued task must be due later to be overtaken: clocks differ


class Found(NamedTuple):
    """What a read came to. `seen` is None for a value that was just loaded, and for the `empty` one."""

    state: str
    value: Any
    seen: Seen | None = None
    refreshing: bool = False
    error: BaseException | None = None
    empty: bool = False


def judge(t: Target, seen: Seen | None, stamps: Sequence[bytes | None]) -> Found | None:
    """HIT or STALE, or None where nothing may be served."""
    if seen is None or not seen.p:
        return None
    sealed = seen.seal == seal_of(t.stamps, stamps)
    fresh = sealed and seen.soft > seen.now
    if not fresh and t.expires and (seen.soft == 0 or not sealed):
        return None
    readable, value = t.unpack(seen)
    if not readable:
        return None
    if fresh:
        return Found(HIT, value, seen, seen.leased)
    if seen.now >= seen.loaded + t.stale_for(value):
        return None
    return Found(STALE, value, seen, seen.leased)


def spare(t: Target, seen: Seen | None, stamps: Sequence[bytes | None]) -> Found | None:
    """The payload that may be served only because the load failed (stale-if-error, RFC 5861)."""
    if seen is None or not seen.p or (t.expires and (seen.soft == 0 or seen.seal != seal_of(t.stamps, stamps))):
        return None
    readable, value = t.unpack(seen)
    if not readable or seen.now >= seen.loaded + t.error_for(value):
        return None
    return Found(STALE, value, seen, seen.leased)


def at_rest(t: Target, seen: Seen | None, last: Found | None) -> Found | None:
    """`last`, which may be served if the load failed, while the source is not asked again: it has just failed."""
    if last is None or seen is None or not seen.resting:
        return None
    wait = (seen.due - seen.now) / 1000
    return last._replace(error=Throttled(f"the load of {t.key} has failed; the next is in {wait:.1f} s", wait))


def read(t: Target) -> Flow[Found]:
    """A read: one round trip if fresh. Raises what the load raises, and StoreError by policy."""
    found = last = None
    try:
        ((seen, stamps),) = yield [Look(t.key, t.stamps)]
        if (found := judge(t, seen, stamps)) is not None:
            if seen.leased or seen.resting or (found.state == HIT and not t.early(seen)) or t.transactional:
                return found
            return found._replace(refreshing=(yield from nudge(t, seen)))
        last = spare(t, seen, stamps)
        if (rested := at_rest(t, seen, last)) is not None:
            return rested
        if t.queues_on_miss:
            return Found(MISS, t.empty, empty=True) if t.transactional else (yield from queue_on_miss(t, seen))
        granted = None if t.transactional else (yield from elect(t, seen))
    except StoreError as error:
        if t.on_store_error == "raise":
            raise
        t.store_failed(error)
        granted = found
    if isinstance(granted, Found):
        return granted
    if granted is None:
        got = yield from alone(t)
    else:
        got = yield from load(t, *granted)
    if got.stored != "raised":
        return Found(MISS, got.value)
    if last is None or not isinstance(got.error, Exception):
        assert got.error is not None
        raise got.error
    return last._replace(error=got.error)


def elect(t: Target, seen: Seen | None) -> Flow[Found | tuple[Grant, tuple[bytes, ...]] | None]:
    """No value: one load across all processes -> our grant, what another one loaded, or None if patience is over."""
    waited = turn = 0
    while True:
        busy = max(0, seen.due - seen.now) if seen is not None and seen.r else 0
        if not busy:
            grant, stamps = yield [
                Steal(t.key, seen.p if seen else 0, t.lease),
                Capture(t.stamps, t.stamp_ttl),
            ]
            if grant.verdict is Verdict.GO:
                return grant, stamps
            busy = grant.wait
        if busy:
            if waited >= t.patience:
                return None
            waited += yield Wait(turn, min(t.patience - waited, busy))
        turn += 1
        ((seen, now),) = yield [Look(t.key, t.stamps)]
        found = judge(t, seen, now) or at_rest(t, seen, spare(t, seen, now))
        if found is not None:
            return found


def alone(t: Target) -> Flow[Loaded]:
    """Load and store nothing: patience is over, the store is away, or a transaction is open."""
    got: Loaded = yield Load(t)
    if got.error is not None:
        t.failed(got.error)
    else:
        t.loaded(got)
    return got


class Rider:
    """What rides in a load's own round trips: the ledger's marks. This one adds nothing."""

    def first(self) -> list[Step]:
        """Steps sent with `begin`."""
        return []

    def admits(self, answers: list[Any]) -> bool:
        """May the load go on?"""
        return True

    def last(self) -> list[Step]:
        """Steps sent with the commit."""
        return []

    def failed(self, error: BaseException) -> tuple[int, list[Step]]:
        """For how long (ms) to hold the place after a failed load, 0: the source rests as long as its job says; and
        the steps sent then."""
        return 0, []


NOBODY = Rider()


def load(t: Target, grant: Grant, stamps: Sequence[bytes], rider: Rider = NOBODY) -> Flow[Loaded]:
    """Ask the source under a granted number, and commit. Never raises: see `Loaded`."""
    got: Loaded = yield Load(t, grant.born, grant.n)
    packed = None
    if got.error is None and got.keep:
        try:
            packed = t.pack(got.value)
        except Exception as error:  # a value that would not come back equal, or a policy that raised
            got = got._replace(stored="raised", error=error)
    if packed is not None:
        seal = seal_of(t.stamps, stamps)
        assert seal is not None, "captured stamps are never missing"
        steps = [Commit(t.key, grant.born, grant.n, seal, *packed, got.ms), *kept(t, packed), *rider.last()]
    elif got.error is not None:
        t.failed(got.error)
        hold, marks = rider.failed(got.error)
        rest = t.throttle if isinstance(got.error, Exception) else 1  # who is cancelled has not failed
        steps = [Release(t.key, grant.born, grant.n, hold or rest), *marks]
    else:
        steps = [Release(t.key, grant.born, grant.n, 1), *rider.last()]
    try:
        verdict = (yield steps)[0]
    except StoreError as error:  # costs the entry, not the value
        t.store_failed(error)
        if got.error is None:
            got = got._replace(stored="failed", error=error)
    else:
        if packed is not None:
            got = got._replace(stored=verdict)
    if got.stored != "raised":
        t.loaded(got)
    return got


def kept(t: Target, packed: Packed) -> list[Step]:
    """Let the stamps outlive an entry that lives longer than could be known when they were captured."""
    return [Capture(t.stamps, packed.hard)] if packed.hard > t.stamp_ttl else []


def nudge(t: Target, seen: Seen) -> Flow[bool]:
    """Queue one refresh of the stale payload seen -> whether one is queued or running now."""
    (q,) = yield [Acquire(t.key, seen.born, seen.p, t.place)]
    if not q:
        return True
    return (yield from send(t, Send(t, seen.born, q), t.on_enqueue_error))


def requeue(t: Target, replace: bool = False) -> Flow[None]:
    """Queue the refresh that a read inside a transaction could not, unless it is needed no more.

    After a miss too: where every request is a transaction, no reader's load would ever be stored.
    replace: after a reload. What is stored, or is loaded meanwhile, may be older than the commit.
    """
    try:
        if replace:
            yield [Mark(t.key)]
            yield from queue(t, 0, None, t.on_enqueue_error)
            return
        ((seen, stamps),) = yield [Look(t.key, t.stamps)]
        found = judge(t, seen, stamps)
        if found is None:
            yield from queue_on_miss(t, seen)
        elif found.state == STALE and not (seen.leased or seen.resting):
            yield from nudge(t, seen)
    except StoreError as error:  # the read was answered long ago: the commit has nothing to do with it
        if t.on_store_error == "raise":
            raise
        t.store_failed(error)


def send(t: Target, message: Send, on_error: str) -> Flow[bool]:
    """Hand the place's refresh to the queue; where it is refused, the place is given up, by policy."""
    try:
        yield message
        return True
    except (TaskDead, NotAcknowledged, StoreError):  # eager: it has run
        raise
    except Exception as error:  # of the queue; or the arguments cannot travel
        if on_error == "inline":
            yield from refresh(t, message.born, message.q)
            return False
        yield [Drop(t.key, message.born, message.q)]
        if on_error == "raise":
            raise
        if not isinstance(error, EnqueueError):  # which has an event of its own
            t.failed(error)
        return False


def queue_on_miss(t: Target, seen: Seen | None) -> Flow[Found]:
    """No value, and the job does not load in the reader: queue it and answer with the empty value."""
    granted = None
    if seen is not None and seen.resting:
        return Found(MISS, t.empty, None, False, empty=True)
    if seen is None or not seen.leased:
        (granted,) = yield [Reserve(t.key, seen.p if seen else 0, t.place)]
    queued = True
    if granted is not None:
        queued = yield from send(t, Send(t, granted[1], granted[0]), t.on_enqueue_error)
    return Found(MISS, t.empty, None, queued, empty=True)


def queue(
    t: Target, delay: int = 0, route: Any = None, on_error: str = "raise", id: str = ""
) -> Flow[tuple[bytes, int]]:
    """Queue a refresh whether or not anything is stored -> (born, its place, or what it joined).

    It joins a load that runs, a retry that waits, and a task that is not due later than itself. The place of one that
    is, and has not begun, it takes over.
    """
    while True:
        ((seen, _),) = yield [Look(t.key)]
        late: list[Step] = []
        if seen is not None and seen.leased:
            begun = seen.q != seen.n  # a load has taken a number since the place was given
            if begun or seen.due - seen.now <= t.place + delay + LATER:  # it is held for `t.place` once it is due
                return seen.born, seen.q or seen.r
            late = [Drop(t.key, seen.born, seen.q)]
        *_, granted = yield [*late, Reserve(t.key, seen.p if seen else 0, t.place + delay)]
        if granted is not None:
            place, born = granted
            yield from send(t, Send(t, born, place, delay, route, id), on_error)
            return born, place


class Refreshed(NamedTuple):
    """`how`: done, raised or failed (`error`), superseded, barred (by the rider), busy (for `wait` more ms)."""

    how: str
    wait: int = 0
    error: BaseException | None = None


def refresh(t: Target, born: bytes, q: int, rider: Rider = NOBODY) -> Flow[Refreshed]:
    """The task that holds place `q`: two round trips. A load that raised keeps the place for a retry."""
    for _ in range(LOADS):
        start = [Begin(t.key, born, q, t.lease), Capture(t.stamps, t.stamp_ttl)]
        *answers, grant, stamps = yield [*rider.first(), *start]
        admitted = rider.admits(answers)
        if grant.verdict is Verdict.BUSY:  # the other copy may be alive, and its place cannot be given up
            return Refreshed("busy", grant.wait)
        if not admitted:
            if grant.verdict is Verdict.GO:
                yield [Release(t.key, born, grant.n, 1), Drop(t.key, born, q)]
            return Refreshed("barred")
        if grant.verdict is Verdict.SUPERSEDED:  # done before, overtaken, evicted, deleted, or taken over
            return Refreshed("superseded")
        got = yield from load(t, grant._replace(born=born), stamps, rider)
        if got.stored in ("raised", "failed"):
            return Refreshed(got.stored, error=got.error)
        if got.stored == "ok":
            return Refreshed("done")
        if got.stored == "skipped":
            break
    yield [Drop(t.key, born, q)]  # voided again and again, or not to be stored: nobody else should wait for it
    return Refreshed("done")


def reload(t: Target) -> Flow[Any]:
    """Load here and now, store, return. Whatever was queued or running is void."""
    if t.transactional:
        got = yield from alone(t)
    else:
        grant, stamps = yield [Open(t.key, t.lease), Capture(t.stamps, t.stamp_ttl)]
        got = yield from load(t, grant, stamps)
    if got.stored == "raised":
        assert got.error is not None
        raise got.error
    return got.value


def invalidate(keys: Sequence[str], stamps: Sequence[str]) -> Flow[None]:
    """Fence entries and tags, however many, in one round trip."""
    yield [*map(Mark, keys), *map(Bump, stamps)]


def open_writing(t: Target) -> Flow[tuple[Grant, tuple[bytes, ...]]]:
    """Take the fence before the source is written."""
    grant, stamps = yield [Open(t.key, t.lease), Capture(t.stamps, t.stamp_ttl)]
    return grant, stamps


def close_writing(t: Target, grant: Grant, stamps: Sequence[bytes], packed: Packed | None) -> Flow[None]:
    """Store what was written, or mark: somebody else wrote meanwhile, or no value was given."""
    if packed is not None:
        seal = seal_of(t.stamps, stamps)
        assert seal is not None, "captured stamps are never missing"
        verdict, *_ = yield [Commit(t.key, grant.born, grant.n, seal, *packed, 0), *kept(t, packed)]
        if verdict == "ok":
            return
    yield [Mark(t.key)]


def put(t: Target, packed: Packed) -> Flow[None]:
    """Store a given value. With tags, stamps and put cannot be one step: fence the gap."""
    if not t.stamps:
        yield [Put(t.key, NO_SEAL, packed.ttl, packed.hard, packed.payload, packed.flags)]
        return
    grant, stamps = yield from open_writing(t)
    yield from close_writing(t, grant, stamps, packed)


class Slice(NamedTuple):
    """What a slice of a sweep came to. `cursor`: where the next one begins, None at the end."""

    cursor: str | None
    run: str
    keys: int


def sweep(prefix: str, cursor: str, run: str, count: int) -> Flow[Slice]:
    """Mark one slice of the entries under a literal prefix.

    The cursor moves on only after the marks. A changed run id starts again: the old cursor meant nothing there. So does
    a page that names none: keys may have moved while it was looked for.
    """
    (page,) = yield [Scan(prefix, cursor, count)]
    if page.keys:
        yield [Mark(key) for key in page.keys]
    if not page.run or (cursor != "0" and page.run != run):
        return Slice("0", page.run, len(page.keys))
    return Slice(None if page.cursor == "0" else page.cursor, page.run, len(page.keys))
