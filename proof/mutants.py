"""One rule left out at a time: each of these must die in a scenario, with a shortest trace.

The names are those of the rules in docs/proof.md. A mutant is a model store with another step, or a flow
that takes production's place while it is explored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rewarm import freshness
from rewarm import steps as s
from rewarm.effects import Load, Packed
from rewarm.freshness import Found, Slice
from rewarm.steps import NO_SEAL, Grant, Seen, Verdict
from rewarm.stores import base as b

from . import flows
from .model import AHEAD, NOW, Model, Turn
from .scenarios import SCENARIOS
from .search import Result, Search


@dataclass(frozen=True)
class Mutant:
    """`rule`: what is left out.   `dies`: the invariant that notices, and in which scenario."""

    name: str
    rule: str
    scenario: str
    dies: str
    model: type[Model] = Model
    patches: Mapping[str, Any] = field(default_factory=dict)  # of `rewarm.freshness` and of `flows`


MUTANTS: list[Mutant] = []


def store(name: str, rule: str, scenario: str, dies: str) -> Callable[[type[Model]], type[Model]]:
    """A model store with one step changed."""

    def add(model: type[Model]) -> type[Model]:
        MUTANTS.append(Mutant(name, rule, scenario, dies, model))
        return model

    return add


def flow(name: str, rule: str, scenario: str, dies: str, model: type[Model] = Model, **patches: Any) -> None:
    MUTANTS.append(Mutant(name, rule, scenario, dies, model, patches))


def hunt(mutant: Mutant) -> Result:
    """Explore its scenario with the mutant in the rule's place."""
    scenario = next(each for each in SCENARIOS if each.name == mutant.scenario)
    with scenario.patched(mutant.patches):
        return Search(scenario, mutant.model(scenario.keys, scenario.tags)).run()


# --- the store


@store("1", "commit compares its number", "cold", "I1")
class AnyNumber(Model):
    def commit(self, turn: Turn, step: s.Commit) -> str:
        if (e := self.mine(turn, step.key, step.born)) is not None:
            self.write(turn, step.key, e._replace(r=step.n))
        return super().commit(turn, step)


@store("rest 2", "`acquire` respects a source at rest", "economy: a source at rest", "economy")
class AsksTheResting(Model):
    def acquire(self, turn: Turn, step: s.Acquire) -> int:
        e = self.mine(turn, step.key, step.born)
        if e is None or e.p != step.p or e.leased:
            return 0
        return self.place(turn, step.key, e).q


@store("rest 1", "a void load leaves no source at rest", "cold", "I4")
class LeavesADue(Model):
    def void(self, e: Seen) -> Seen:
        return e._replace(r=0)


@store("2", "`mark` voids the running load", "cold", "I1")
class KeepsTheLoad(Model):
    def mark(self, turn: Turn, step: s.Mark) -> None:
        if (e := self.get(turn, step.key)) is not None:
            self.write(turn, step.key, e._replace(soft=0))


@store("3", "an absent entry refuses every commit", "cold, deleted", "I1")
class AbsentAccepts(Model):
    def commit(self, turn: Turn, step: s.Commit) -> str:
        if self.get(turn, step.key) is None:
            new = Seen(0, 0, 0, 0, 0, step.born, step.n, 0, 0, step.n, NO_SEAL, b"", NOW)
            self.write(turn, step.key, new)
        return super().commit(turn, step)


@store("4", "`born` is random", "cold, deleted", "I1")
class SameBorn(Model):
    def new(self, turn: Turn) -> Seen:
        return super().new(turn)._replace(born=b"always")


@store("5", "deleting removes the incarnation", "cold, deleted", "I1x")
class ClearsThePayload(Model):
    def unlink(self, turn: Turn, step: s.Unlink) -> None:
        if (e := self.get(turn, step.key)) is not None:
            self.write(turn, step.key, e._replace(payload=b"", p=0, soft=0, r=0))


@store("6", "a fallback stays in its incarnation", "cold, deleted", "I1x")
class FallsIntoAnother(Model):
    def commit(self, turn: Turn, step: s.Commit) -> str:
        e = self.get(turn, step.key)
        if e is not None and e.born != step.born and e.p == 0:
            self.write(turn, step.key, e._replace(payload=step.payload, p=step.n, seal=step.seal, loaded=NOW))
            return "fallback"
        return super().commit(turn, step)


@store("7", "a fallback never sets `soft`", "cold", "I1")
class FreshFallback(Model):
    def commit(self, turn: Turn, step: s.Commit) -> str:
        verdict = super().commit(turn, step)
        if verdict == "fallback" and (e := self.get(turn, step.key)) is not None:
            self.write(turn, step.key, e._replace(soft=AHEAD))
        return verdict


@store("8", "a fallback only if it is newer", "stale, tasks that crash", "I3")
class OlderFallback(Model):
    def commit(self, turn: Turn, step: s.Commit) -> str:
        e = self.mine(turn, step.key, step.born)
        if e is not None and e.r != step.n and e.soft <= NOW:
            self.write(turn, step.key, e._replace(payload=step.payload, p=step.n, seal=step.seal, loaded=NOW, soft=0))
            return "fallback"
        return super().commit(turn, step)


@store("10", "`touch` names the payload it compared with", "not modified", "I1")
class TouchesAny(Model):
    def touch(self, turn: Turn, step: s.Touch) -> str:
        e = self.mine(turn, step.key, step.born)
        return super().touch(turn, step._replace(p=e.p) if e is not None else step)


@store("11", "a backoff never moves `soft`", "loads that fail", "I1")
class FreshWhileItFails(Model):
    def give_back(self, turn: Turn, step: s.Release) -> bool:
        given = super().give_back(turn, step)
        if given and (e := self.get(turn, step.key)) is not None and e.p:
            self.write(turn, step.key, e._replace(soft=AHEAD))
        return given


class CapturesNone(Model):
    def capture(self, turn: Turn, step: s.Capture) -> tuple[bytes | None, ...]:
        return tuple(turn.w.stamps[self.tags.index(tag)] for tag in step.tags)


def none_equals_none(tags: Any, stamps: Any) -> bytes | None:
    return s.seal_of(tags, [stamp or b"none" for stamp in stamps])


flow("12", "a missing stamp matches nothing", "tag, cold", "I1", CapturesNone, seal_of=none_equals_none)


@store("13", "stamps are random, not counters", "tag, cold", "I1")
class CountsStamps(Model):
    def capture(self, turn: Turn, step: s.Capture) -> tuple[bytes | None, ...]:
        for tag in step.tags:
            if turn.w.stamps[self.tags.index(tag)] is None:
                self.stamp(turn, tag, b"1")
        return super().capture(turn, step)

    def bump(self, turn: Turn, step: s.Bump) -> None:
        self.stamp(turn, step.tag, b"%d" % (int(turn.w.stamps[self.tags.index(step.tag)] or b"0") + 1))


@store("14", "a stamp is never made from a task's id", "a tag's invalidation, delivered twice", "I1")
class StampsAreIds(Model):
    def bump(self, turn: Turn, step: s.Bump) -> None:
        self.stamp(turn, step.tag, turn.group.encode())


@store("17", "`put` voids the running load", "set, cold", "I3")
class PutKeepsTheLoad(Model):
    def put(self, turn: Turn, step: s.Put) -> int:
        before = self.get(turn, step.key)
        n = super().put(turn, step)
        if before is not None and (e := self.get(turn, step.key)) is not None:
            self.write(turn, step.key, e._replace(r=before.r, due=before.due))
        return n


@store("19", "`acquire` names the payload seen", "economy: stale", "economy")
class AcquiresAny(Model):
    def acquire(self, turn: Turn, step: s.Acquire) -> int:
        e = self.mine(turn, step.key, step.born)
        return super().acquire(turn, step._replace(p=e.p) if e is not None else step)


@store("20", "`begin` claims", "economy: stale", "economy")
class BeginsTwice(Model):
    def begin(self, turn: Turn, step: s.Begin) -> Grant:
        if (e := self.mine(turn, step.key, step.born)) is not None and e.q == step.q:
            return self.go(turn, step.key, e)
        return super().begin(turn, step)


@store("22", "a task that fences has a done mark", "economy: a fence left to a task", "economy")
class NoDoneMark(Model):
    def start(self, turn: Turn, step: b.Start) -> b.Started:
        return super().start(turn, step._replace(lease=0))


@store("sweep 1", "an entry is there before its load begins", "sweep", "I2")
class ScansValuesOnly(Model):
    def scan(self, turn: Turn, step: s.Scan) -> s.Page:
        page = super().scan(turn, step)
        return page._replace(keys=tuple(key for key in page.keys if (e := self.get(turn, key)) and e.p))  # type: ignore[arg-type]


@store("lease 1", "a live place is respected", "economy: stale", "economy")
class TakesLivePlaces(Model):
    def acquire(self, turn: Turn, step: s.Acquire) -> int:
        e = self.mine(turn, step.key, step.born)
        return 0 if e is None or e.p != step.p else self.place(turn, step.key, e).q


@store("lease 2", "`steal` waits for a running load", "economy: cold", "economy")
class StealsFromTheLiving(Model):
    def steal(self, turn: Turn, step: s.Steal) -> Grant:
        if (e := self.get(turn, step.key)) is not None and e.p == step.p:
            return self.go(turn, step.key, e._replace(q=0))
        return super().steal(turn, step)


@store("lease 3", "`steal` names the payload seen", "economy: cold", "economy")
class StealsAny(Model):
    def steal(self, turn: Turn, step: s.Steal) -> Grant:
        e = self.get(turn, step.key)
        return super().steal(turn, step._replace(p=e.p) if e is not None else step)


@store("lease 4", "`reserve` respects what is queued or runs", "economy: queued on a miss", "economy")
class ReservesAny(Model):
    def reserve(self, turn: Turn, step: s.Reserve) -> tuple[int, bytes] | None:
        e = self.place(turn, step.key, self.get(turn, step.key) or self.new(turn))
        return e.q, e.born


@store("lease 5", "a failed load keeps its place for the retry", "loads that fail", "I4")
class ReleasesThePlace(Model):
    def give_back(self, turn: Turn, step: s.Release) -> bool:
        given = super().give_back(turn, step)
        if given and (e := self.get(turn, step.key)) is not None and e.q:
            self.write(turn, step.key, e._replace(q=e.n + 1, n=e.n + 1))
        return given


@store("lease 6", "`commit` gives up its place", "stale, tasks", "I5")
class CommitKeepsThePlace(Model):
    def commit(self, turn: Turn, step: s.Commit) -> str:
        before, verdict = self.get(turn, step.key), super().commit(turn, step)
        if verdict == "ok" and before is not None and (e := self.get(turn, step.key)) is not None:
            self.write(turn, step.key, e._replace(q=before.q))
        return verdict


@store("renew", "`renew` is only for the load that the header names", "long loads, renewed", "I1")
class RenewsTheVoided(Model):
    def renew(self, turn: Turn, step: s.Renew) -> bool:
        if (e := self.mine(turn, step.key, step.born)) is not None and not e.r:
            self.write(turn, step.key, e._replace(r=step.n))
        return super().renew(turn, step)


@store("format", "`mark` removes what another release wrote", "two releases", "I1")
class LeavesOtherFormats(Model):
    def mark(self, turn: Turn, step: s.Mark) -> None:
        if self.get(turn, step.key) is not None:
            super().mark(turn, step)


@store("seal", "bumping a tag changes its stamp", "tag", "I1")
class BumpsNothing(Model):
    def bump(self, turn: Turn, step: s.Bump) -> None:
        pass


# --- the flows


def sealed(t: Any, stamps: Any) -> bytes:
    return s.seal_of(t.stamps, stamps) or NO_SEAL


def captures_late(t: Any, grant: Any, stamps: Any, rider: Any = freshness.NOBODY) -> Any:
    got = yield Load(t, grant.born, grant.n)
    ((stamps),) = yield [s.Capture(t.stamps, t.stamp_ttl)]
    packed: Packed = t.pack(got.value)
    (verdict,) = yield [s.Commit(t.key, grant.born, grant.n, sealed(t, stamps), *packed, got.ms)]
    return got._replace(stored=verdict)


flow("9", "stamps are captured before the load", "tag, cold", "I1", load=captures_late)


def joins(t: Any, seen: Any) -> Any:
    grant, stamps = yield [s.Steal(t.key, seen.p if seen else 0, t.lease), s.Capture(t.stamps, t.stamp_ttl)]
    if grant.verdict is Verdict.GO:
        return grant, stamps
    return Found(freshness.MISS, (yield flows.Join()))


flow("15", "waiters read again", "a load that is handed over", "I1", elect=joins)


def fills_always(t: Any) -> Any:
    value, _ = yield flows.Near("get")
    if value is not None:
        return Found(freshness.HIT, value)
    found = yield from freshness.read(t)
    if found.state == freshness.HIT:
        _, epoch = yield flows.Near("get")
        yield flows.Near("fill", found.value, epoch)
    return found


flow("16", "the layer in the process compares its epoch", "a layer in the process", "I1", near_read=fills_always)


def never_marks(t: Any, grant: Any, stamps: Any, packed: Packed | None) -> Any:
    if packed is not None:
        yield [s.Commit(t.key, grant.born, grant.n, sealed(t, stamps), *packed, 0)]


flow("18", "`writing` marks when it is refused", "writing", "I1", close_writing=never_marks)


def keeps_its_place(key: str, born: bytes, q: int) -> Any:
    return s.Look(key)


flow("21", "a refused task drops its place", "a task voided and voided", "I4", Drop=keeps_its_place)


def cursor_first(prefix: str, cursor: str, run: str, count: int) -> Any:
    """Moves on, and marks what it found only in the next slice."""
    (page,) = yield [s.Scan(prefix, cursor, count)]
    if cursor != "0" and page.run != run:
        return Slice("0", page.run, 0)
    if page.cursor == "0" and page.keys:
        yield [s.Mark(key) for key in page.keys]
    return Slice(None if page.cursor == "0" else page.cursor, page.run, len(page.keys))


flow("sweep 2", "the cursor moves on after the marks", "sweep", "I2", sweep=cursor_first)


def any_run(prefix: str, cursor: str, run: str, count: int) -> Any:
    (page,) = yield [s.Scan(prefix, cursor, count)]
    if page.keys:
        yield [s.Mark(key) for key in page.keys]
    return Slice(None if page.cursor == "0" else page.cursor, page.run, len(page.keys))


flow("sweep 3", "another run of the server starts the sweep again", "sweep, and a fail-over", "I1", sweep=any_run)


def judges_by_time(t: Any, seen: Any, stamps: Any) -> Any:
    """HIT by the clock alone."""
    if seen is None or not seen.p:
        return None
    return Found(freshness.HIT if seen.soft > seen.now else freshness.STALE, t.unpack(seen)[1], seen, seen.leased)


flow("hit", "a HIT needs the current seal", "tag, fresh", "I1", judge=judges_by_time)
flow("expire", "an expired value counts as absent", "expire, by key", "I1x", judge=judges_by_time)
