"""The flows under thousands of random schedules: one step at a time, with duplicates, losses, evictions and crashes.

Each process is a production flow. A batch is no atomic step, so its parts are interleaved too. A mutated store or
flow must be noticed by the same schedules: a check that cannot fail proves nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from rewarm import freshness
from rewarm.effects import Load, Loaded, Packed, Send, Wait
from rewarm.freshness import Found
from rewarm.steps import Begin, Capture, Commit, Grant, Look, Mark, Seen, Unlink
from rewarm.stores import MemoryStore

HOUR = 3_600_000
KEY, TAG = "app:job:1,", "app:tag:t"


class Value(NamedTuple):
    """What the source said, and when it was asked."""

    version: int
    asked: int


@dataclass
class Case:
    """One entry as the flows see it."""

    world: World
    key: str = KEY
    stamps: tuple[str, ...] = (TAG,)
    expires: bool = False
    queues_on_miss: bool = False
    transactional: bool = False
    on_store_error: str = "raise"
    on_enqueue_error: str = "log"
    patience: int = HOUR
    lease: int = HOUR
    place: int = HOUR
    stamp_ttl: int = HOUR
    empty: Any = None
    errors: list[BaseException] = field(default_factory=list)

    def unpack(self, seen: Seen) -> tuple[bool, Value]:
        version, asked = seen.payload.decode().split(",")
        return True, Value(int(version), int(asked))

    def pack(self, value: Value) -> Packed:
        return Packed(HOUR, HOUR, f"{value.version},{value.asked}".encode(), 0)

    def stale_for(self, value: Value) -> int:
        return HOUR

    error_for = stale_for

    def early(self, seen: Seen) -> bool:
        return False

    def loaded(self, got: Loaded) -> None: ...
    def failed(self, error: BaseException) -> None: ...
    def store_failed(self, error: Exception) -> None: ...


class World:
    """A source, a store, a queue, and a clock that ticks with every step."""

    def __init__(self, seed: int, store: MemoryStore | None = None) -> None:
        self.random = random.Random(seed)
        self.store = store or MemoryStore()
        self.tick = self.version = 0
        self.invalidations: list[tuple[int, int, str]] = []  # start, end, mode
        self.queue: list[tuple[bytes, int]] = []
        self.finished: list[tuple[int, Found]] = []  # when the read began, what it found
        self.loads = 0

    def step(self, request: Any) -> Any:
        """One indivisible move."""
        self.tick += 1
        match request:
            case Load():
                self.loads += 1
                return Value(self.version, self.tick)
            case Wait():
                return 1
            case Send(_, born, q):
                self.queue.append((born, q))
                return None
        return self.store.run([request])[0]

    def reader(self, case: Case) -> Generator[None, None, None]:
        began = self.tick
        self.finished.append((began, (yield from self.walk(freshness.read(case)))))

    def walk(self, flow: Any) -> Generator[None, None, Any]:
        """A flow, one move at a time: a batch step by step, a load as asking and answering."""
        try:
            request = next(flow)
            while True:
                if isinstance(request, list):
                    answer: Any = []
                    for one in request:
                        yield
                        answer.append(self.step(one))
                else:
                    yield
                    answer = self.step(request)
                    if isinstance(request, Load):
                        yield
                        answer = Loaded(answer, 1)
                request = flow.send(answer)
        except StopIteration as end:
            return end.value

    def invalidator(self, flow: Callable[[], Any], mode: str) -> Generator[None, None, None]:
        yield
        self.version += 1
        self.tick += 1
        start = self.tick
        yield from self.walk(flow())
        self.tick += 1
        self.invalidations.append((start, self.tick, mode))

    def worker(self, case: Case, born: bytes, q: int) -> Generator[None, None, None]:
        got = yield from self.walk(freshness.refresh(case, born, q))
        if got.how == "busy":
            self.queue.append((born, q))  # deferred

    def violations(self) -> list[str]:
        """I1 and I1x over all finished reads."""
        found = []
        for began, read in self.finished:
            for start, end, mode in self.invalidations:
                if end <= began and read.value.asked < start:
                    if read.state != freshness.STALE:
                        found.append(f"I1: {read.state} of a load at {read.value.asked}, invalidated {start}-{end}")
                    elif mode == "expire":
                        found.append(f"I1x: STALE of a load at {read.value.asked}, expired {start}-{end}")
        return found

    def at_rest(self, case: Case) -> list[str]:
        """I2: nothing is HIT and wrong; I4: no lease is left behind."""
        ((seen, stamps),) = self.store.run([Look(case.key, case.stamps)])
        found = freshness.judge(case, seen, stamps)
        newest = max((start for start, _, _ in self.invalidations), default=0)
        wrong = found is not None and found.state == freshness.HIT and found.value.asked < newest
        left = seen is not None and seen.leased
        return [*(["I2: HIT and wrong at rest"] if wrong else []), *(["I4: a lease is left at rest"] if left else [])]


def steps(*some: Any) -> Callable[[], Any]:
    def flow() -> Generator[Any, Any, None]:
        yield list(some)

    return flow


def play(seed: int, *, store: MemoryStore | None = None, expires: bool = False) -> list[str]:
    """One random schedule of a random small case -> what it violated."""
    world = World(seed, store)
    rng = world.random
    case = Case(world, expires=expires, queues_on_miss=False, stamps=rng.choice([(), (TAG,)]))
    kinds = [("stale", lambda: freshness.invalidate([KEY], [])), ("expire", steps(Unlink(KEY)))]
    if case.stamps:
        kinds.append(("stale", lambda: freshness.invalidate([], [TAG])))
    running: list[Generator[None, None, None]] = [world.reader(case) for _ in range(rng.randint(1, 3))]
    for _ in range(rng.randint(1, 2)):
        mode, flow = rng.choice(kinds)
        running.append(world.invalidator(flow, "expire" if expires else mode))
    later, duplicates = rng.randint(1, 3), rng.randint(0, 2)
    while running or world.queue:
        if world.queue and (not running or rng.random() < 0.4):
            born, q = world.queue.pop(rng.randrange(len(world.queue)))
            running.append(world.worker(case, born, q))
            if duplicates and rng.random() < 0.5:
                duplicates -= 1
                running.append(world.worker(case, born, q))
            continue
        process = rng.choice(running)
        try:
            next(process)
        except StopIteration:
            running.remove(process)
            if later:
                later -= 1
                running.append(world.reader(case))
    return world.violations() + world.at_rest(case)


@pytest.mark.parametrize("expires", [False, True], ids=["stale", "expire"])
def test_no_schedule_serves_an_invalidated_value_as_fresh(expires: bool) -> None:
    for seed in range(2500):
        assert play(seed, expires=expires) == [], f"seed {seed}"


def noticed(make: Callable[[], MemoryStore | None], wanted: str, expires: bool = False) -> bool:
    return any(wanted in text for seed in range(2500) for text in play(seed, store=make(), expires=expires))


class Mutant(MemoryStore):
    """A store with one rule of the protocol left out."""

    def __init__(self) -> None:
        super().__init__()
        for kind, handler in list(self._handlers.items()):
            if replacement := getattr(self, f"bad_{kind.__name__.lower()}", None):
                self._handlers[kind] = lambda step, bad=replacement, good=handler: bad(step, good)


class CommitIgnoresItsNumber(Mutant):
    def bad_commit(self, step: Commit, good: Callable[[Any], Any]) -> Any:
        if (entry := self._entries._get(step.key)) is not None and entry.born == step.born:
            entry.r = step.n
        return good(step)


class MarkKeepsTheLoad(Mutant):
    def bad_mark(self, step: Mark, good: Callable[[Any], Any]) -> Any:
        if (entry := self._entries._get(step.key)) is not None:
            entry.soft = 0


class AbsentEntryAccepts(Mutant):
    def bad_commit(self, step: Commit, good: Callable[[Any], Any]) -> Any:
        if self._entries._get(step.key) is None:
            entry = self._entries._new(step.key)
            entry.born, entry.n, entry.r, entry.expires = step.born, step.n, step.n, self.now() + HOUR
        return good(step)


class FallbackIsFresh(Mutant):
    def bad_commit(self, step: Commit, good: Callable[[Any], Any]) -> Any:
        verdict = good(step)
        if verdict == "fallback" and (entry := self._entries._get(step.key)) is not None:
            entry.soft = entry.loaded + step.ttl
        return verdict


class DuplicatesBothLoad(Mutant):
    def bad_begin(self, step: Begin, good: Callable[[Any], Any]) -> Any:
        if (entry := self._entries._get(step.key)) is not None and entry.born == step.born and entry.q == step.q:
            entry.r = 0
        return good(step)


@pytest.mark.parametrize(
    ("mutant", "wanted"),
    [
        (CommitIgnoresItsNumber, "I1: HIT"),
        (MarkKeepsTheLoad, "I1: HIT"),
        (AbsentEntryAccepts, "I1: HIT"),
        (FallbackIsFresh, "I1: HIT"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_schedules_notice_a_broken_store(mutant: type[MemoryStore], wanted: str) -> None:
    assert noticed(mutant, wanted)


def test_the_schedules_notice_stamps_captured_after_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(t: Any, grant: Grant, stamps: Any, rider: Any = freshness.NOBODY) -> Any:
        got = yield Load(t, grant.born, grant.n)
        (stamps,) = yield [Capture(t.stamps, t.stamp_ttl)]
        seal = freshness.seal_of(t.stamps, stamps)
        (verdict,) = yield [Commit(t.key, grant.born, grant.n, seal, *t.pack(got.value), got.ms)]
        return got._replace(stored=verdict)

    monkeypatch.setattr(freshness, "load", late)
    assert noticed(lambda: None, "I1: HIT")


def test_the_schedules_notice_a_refused_task_that_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "Drop", lambda key, born, q: Look(key))
    monkeypatch.setattr(freshness, "LOADS", 1)
    assert noticed(lambda: None, "I4")


def test_the_schedules_notice_an_expired_value_that_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Case.__init__

    def stale_after_all(self: Case, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **{**kwargs, "expires": False})

    monkeypatch.setattr(Case, "__init__", stale_after_all)
    assert noticed(lambda: None, "I1x", expires=True)


def loads_of(schedule: Callable[[World, Case], list[Generator[None, None, None]]], store: MemoryStore) -> set[int]:
    """How many loads one small case takes, over many schedules."""
    counts = set()
    for seed in range(300):
        world = World(seed, store.__class__())
        case = Case(world)
        running = schedule(world, case)
        while running or world.queue:
            if not running:
                born, q = world.queue.pop()
                running = [world.worker(case, born, q), world.worker(case, born, q)]  # every task delivered twice
                continue
            process = world.random.choice(running)
            try:
                next(process)
            except StopIteration:
                running.remove(process)
        counts.add(world.loads)
    return counts


def cold(world: World, case: Case) -> list[Generator[None, None, None]]:
    return [world.reader(case) for _ in range(4)]


def stale(world: World, case: Case) -> list[Generator[None, None, None]]:
    for _ in world.reader(case):
        pass
    for _ in world.invalidator(lambda: freshness.invalidate([KEY], []), "stale"):
        pass
    return [world.reader(case) for _ in range(4)]


def test_economy_is_exact() -> None:
    assert loads_of(cold, MemoryStore()) == {1}
    assert loads_of(stale, MemoryStore()) == {2}


def test_economy_notices_duplicates_that_both_load() -> None:
    assert loads_of(stale, DuplicatesBothLoad()) != {2}
