"""Random sequences of steps on both stores: the same answers, the same headers, the same lives of keys.

The model store, on which the protocol is proved, takes the same steps; hypothesis shrinks what differs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from hypothesis.strategies import binary, booleans, integers, sampled_from
from proof.model import BEHIND, NOW, Model, Turn, World

from rewarm import steps as s
from rewarm.cli.server import Server
from rewarm.steps import HEADER, MARK, NO_SEAL, Grant, Seen
from rewarm.stores import MemoryStore
from rewarm.stores import base as b
from rewarm.stores.redis import RedisStore

KEYS = "app:job:1", "app:job:2"
TAGS = "app:tag:t", "app:tag:u"
LONG = 10_000_000
LEASES = 1, LONG, LONG, LONG, LONG
"""After a lease or a life of 1 ms the test waits: it is over on both sides."""


class Side:
    """One store, and names for what it drew: the first random value that comes up is 0 on each side."""

    def __init__(self, store: MemoryStore | RedisStore, raw: Callable[[str], tuple[bytes | None, int]]) -> None:
        self.store = store
        self.raw = raw
        self.drawn: list[bytes] = [NO_SEAL]

    def name(self, value: bytes | None) -> int | None:
        if value is None:
            return None
        if value not in self.drawn:
            self.drawn.append(value)
        return self.drawn.index(value)

    def answer(self, step: Any) -> Any:
        return self.plain(self.store.run([step])[0])

    def plain(self, answer: Any) -> Any:
        """The answer with names for random values, and instants as past or future."""
        match answer:
            case Grant(verdict, n, born, wait):
                return verdict, n, self.name(born) if born else None, wait > 1000
            case Seen():
                times = (self.when(at, answer.now) for at in (answer.soft, answer.loaded, answer.due))
                rest = answer._replace(soft=0, loaded=0, due=0, now=0, born=b"")
                return *rest, *times, self.name(answer.born)
            case b.Started(verdict, deliveries, wait):
                return verdict, deliveries, wait > 1000
            case int() if answer > 1000:  # what is left of a pause
                return "long"
            case bytes():
                return self.name(answer)
            case tuple():
                return tuple(map(self.plain, answer))
        return answer

    def entry(self, key: str, now: int) -> Any:
        raw, life = self.raw(key)
        if raw is None:
            return None
        mark, flags, load_ms, soft, loaded, due, born, *numbers = HEADER.unpack_from(raw)
        times = (self.when(at, now) for at in (soft, loaded, due))
        return mark, flags, load_ms, *times, self.name(born), numbers, raw[64:], life > LONG / 3, life > LONG

    @staticmethod
    def when(at: int, now: int) -> str:
        # The guessed clock may be late by a round trip, which can be long on a busy machine.
        return "never" if at == 0 else "future" if at > now + LONG / 100 else "past"


@pytest.fixture
def sides(valkey: Server) -> Iterator[tuple[Side, Side]]:
    valkey.call("FLUSHALL")
    memory, shared = MemoryStore(), RedisStore(valkey.url)
    client = redis.Redis(port=valkey.port)

    def in_memory(key: str) -> tuple[bytes | None, int]:
        raw = memory.raw(key)
        return raw, memory._entries._entries[key].expires - memory.now() if raw else 0

    def on_server(key: str) -> tuple[bytes | None, int]:
        raw, life = client.pipeline(transaction=False).get(key).pttl(key).execute()
        return raw, life

    yield Side(memory, in_memory), Side(shared, on_server)
    client.close()
    shared.close()


Make = Callable[[Side], Any]


def entry_step(dice: random.Random) -> Make:
    """A step, made for each side with its own random values and mostly with numbers that fit its entry."""
    key, lease, ttl, hard = dice.choice(KEYS), dice.choice(LEASES), dice.choice(LEASES), dice.choice(LEASES)
    n, p, q = (dice.choice((0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8)) for _ in range(3))
    born, payload, flags = dice.randrange(8), dice.randbytes(dice.randrange(5)), dice.randrange(2**16)
    tag = dice.choice(TAGS)
    tags = tuple(TAGS[: dice.randrange(3)])
    seal = dice.choice((NO_SEAL, b"otherone"))
    rest = dice.choice((0, 1, LONG))

    def whose(side: Side) -> bytes:
        entry, _ = side.raw(key)
        if entry is not None and born:  # mostly the entry's own
            return entry[32:40]
        return side.drawn[min(born, len(side.drawn) - 1)]

    def numbers(side: Side) -> tuple[int, int, int]:
        """Mostly the entry's own."""
        entry, _ = side.raw(key)
        if entry is None or born < 2:
            return n, p, q
        _, own_p, own_q, own_r = HEADER.unpack_from(entry)[7:11]
        return own_r, own_p, own_q

    makes: dict[str, Make] = {
        "look": lambda side: s.Look(key, tags),
        "capture": lambda side: s.Capture(tags, LONG),
        "bump": lambda side: s.Bump(tag),
        "acquire": lambda side: s.Acquire(key, whose(side), numbers(side)[1], lease),
        "reserve": lambda side: s.Reserve(key, numbers(side)[1], lease),
        "begin": lambda side: s.Begin(key, whose(side), numbers(side)[2], lease),
        "steal": lambda side: s.Steal(key, numbers(side)[1], lease),
        "open": lambda side: s.Open(key, lease),
        "commit": lambda side: s.Commit(key, whose(side), numbers(side)[0], seal, ttl, hard, payload, flags, n),
        "touch": lambda side: s.Touch(key, whose(side), numbers(side)[0], seal, numbers(side)[1], ttl, hard),
        "release": lambda side: s.Release(key, whose(side), numbers(side)[0], lease),
        "renew": lambda side: s.Renew(key, whose(side), numbers(side)[0], lease),
        "drop": lambda side: s.Drop(key, whose(side), numbers(side)[2], rest),
        "mark": lambda side: s.Mark(key),
        "put": lambda side: s.Put(key, seal, ttl, hard, payload, flags),
        "unlink": lambda side: s.Unlink(key),
    }
    rare = ("unlink", "put", "open", "bump")
    kind = dice.choice([name for name in makes for _ in range(1 if name in rare else 3)])
    return makes[kind]


def let_pass(step: Any) -> None:
    if 1 in (getattr(step, name, 0) for name in ("lease", "ttl", "hard", "hold", "rest", "wait", "pause")):
        time.sleep(0.004)


@pytest.mark.parametrize("seed", range(6))
def test_both_stores_take_the_same_steps(sides: tuple[Side, Side], seed: int) -> None:
    dice = random.Random(seed)
    memory, shared = sides
    done: list[Any] = []
    for _ in range(1500):
        make = entry_step(dice)
        step, other = make(memory), make(shared)
        done.append(step)
        assert memory.answer(step) == shared.answer(other), done[-12:]
        let_pass(step)
        clock = shared.store.run([s.Look("none")]) and shared.store._clock.now()  # type: ignore[union-attr]
        for key in KEYS:
            one, two = memory.entry(key, memory.store.now()), shared.entry(key, clock)  # type: ignore[union-attr]
            assert one == two, done[-12:]


class Drawing(Turn):
    """Draws what a header has room for."""

    def draw(self) -> bytes:
        self.draws += 1
        return b"%08d" % self.draws


class ModelStore:
    """The proof's model as a store. It has no clock, so nothing here is over by itself."""

    def __init__(self) -> None:
        self.model = Model(KEYS, TAGS)
        self.turn = Drawing(World((None,) * len(KEYS), (None,) * len(TAGS)), "model")

    def run(self, steps: list[Any]) -> list[Any]:
        return [self.model.run(self.turn, step) for step in steps]

    def raw(self, key: str) -> tuple[bytes | None, int]:
        seen = self.turn.w.entries[KEYS.index(key)]
        return (None if seen is None else HEADER.pack(MARK, *seen[:11]) + bytes(seen.payload)), LONG

    def change(self, key: str, field: str) -> None:
        seen = self.turn.w.entries[KEYS.index(key)]
        if seen is not None and getattr(seen, field):
            self.model.write(self.turn, key, seen._replace(**{field: BEHIND}))


class ThreeStores(RuleBasedStateMachine):
    """One step after another on memory, a server and the model. What time or memory pressure does is done by hand."""

    url, port = "", 0

    def __init__(self) -> None:
        super().__init__()
        self.client = redis.Redis(port=self.port)
        self.client.flushall()
        self.memory, self.shared, self.model = MemoryStore(), RedisStore(self.url), ModelStore()
        self.sides = [
            Side(self.memory, lambda key: (self.memory.raw(key), LONG)),
            Side(self.shared, lambda key: (self.client.get(key), LONG)),
            Side(self.model, self.model.raw),  # type: ignore[arg-type]
        ]

    def teardown(self) -> None:
        self.client.close()
        self.shared.close()

    def same(self, make: Make) -> None:
        first, *others = [side.answer(make(side)) for side in self.sides]
        assert others == [first, first]
        nows = self.memory.now(), self.shared._clock.now(), NOW
        for key in KEYS:
            first, *others = [side.entry(key, now) for side, now in zip(self.sides, nows, strict=True)]
            assert others == [first, first]

    def numbers(self, side: Side, key: str, own: str, guess: int) -> tuple[bytes, int, int, int]:
        """Mostly the entry's own `born`, `p`, `q`, `r`; else others."""
        raw, _ = side.raw(key)
        if raw is None or not own:
            return side.drawn[guess % len(side.drawn)], guess, guess, guess
        born, _, p, q, r = HEADER.unpack_from(raw)[6:11]
        return (born, p, q, r) if own == "all" else (born, guess, guess, guess)

    @rule(key=sampled_from(KEYS), own=sampled_from(("all", "all", "all", "born", "")), guess=integers(0, 5),
          kind=sampled_from(("look", "acquire", "acquire", "reserve", "begin", "begin", "steal", "open", "release",
                             "renew", "drop", "mark", "unlink")))  # fmt: skip
    def take(self, key: str, own: str, guess: int, kind: str) -> None:
        def make(side: Side) -> Any:
            born, p, q, r = self.numbers(side, key, own, guess)
            return {
                "look": s.Look(key, TAGS), "acquire": s.Acquire(key, born, p, LONG),
                "reserve": s.Reserve(key, p, LONG), "begin": s.Begin(key, born, q, LONG),
                "steal": s.Steal(key, p, LONG), "open": s.Open(key, LONG), "release": s.Release(key, born, r, LONG),
                "renew": s.Renew(key, born, r, LONG), "drop": s.Drop(key, born, q, guess % 2 * LONG),
                "mark": s.Mark(key), "unlink": s.Unlink(key),
            }[kind]  # fmt: skip

        self.same(make)

    @rule(
        key=sampled_from(KEYS),
        own=sampled_from(("all", "all", "all", "born", "")),
        guess=integers(0, 8),
        late=booleans(),
        payload=binary(max_size=3),
        load_ms=integers(0, 9),
        kind=sampled_from(("commit", "commit", "touch", "put")),
    )
    def give(self, key: str, own: str, guess: int, late: bool, payload: bytes, load_ms: int, kind: str) -> None:
        def make(side: Side) -> Any:
            born, p, _, r = self.numbers(side, key, own, guess)
            n = guess if late else r  # a load whose number was voided
            if kind == "commit":
                return s.Commit(key, born, n, NO_SEAL, LONG, LONG, payload, 0, load_ms)
            if kind == "touch":
                return s.Touch(key, born, n, b"otherone", p, LONG, LONG)
            return s.Put(key, NO_SEAL, LONG, LONG, payload, 0)

        self.same(make)

    @rule(tags=sampled_from((TAGS, TAGS[:1], TAGS[1:])), bump=booleans())
    def stamp(self, tags: tuple[str, ...], bump: bool) -> None:
        self.same(lambda side: s.Bump(tags[0]) if bump else s.Capture(tags, LONG))

    @rule(key=sampled_from(KEYS), field=sampled_from(("due", "soft")))
    def time_passes(self, key: str, field: str) -> None:
        entry = self.memory._entries._get(key)
        if entry is not None and getattr(entry, field):
            setattr(entry, field, BEHIND)
            at = {"soft": 8, "due": 24}[field]  # in the header
            self.client.setrange(key, at, BEHIND.to_bytes(8, "little"))
        self.model.change(key, field)
        self.same(lambda side: s.Look(key, TAGS))


def test_the_model_of_the_proof_takes_the_same_steps(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreeStores, "url", valkey.url)
    monkeypatch.setattr(ThreeStores, "port", valkey.port)
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        ThreeStores,
        settings=settings(
            max_examples=60, stateful_step_count=50, deadline=None, database=None, suppress_health_check=checks,
            phases=(Phase.generate, Phase.shrink),
        ),
    )  # fmt: skip


def ledger_step(dice: random.Random) -> Any:
    task, dead, name = dice.choice(("t1", "t2")), "dead", dice.choice("abcd")
    lease, keep = dice.choice((0, 1, LONG, LONG)), LONG
    status = dice.choice(("done", "skipped", "dead", "retrying", "retrying", "deferred", "deferred"))
    steps = [
        *[b.Start(task, dice.randrange(4), lease, dice.choice((1, 2, 5)), keep)] * 4,
        *[b.Settle(task, status, dice.choice(("", "oops", "é/\n")), keep)] * 2,
        b.Extend(task, lease or LONG),
        *[b.Recall(task)] * 2,
        b.Cancel(task, keep),
        *[b.Forget(task)] * 2,
        *[b.Bury(dead, name, dice.choice(("", "k", "l")), dice.choice(("", "letter")), dice.choice((1, 2, 3)))] * 3,
        b.Resolve(dead, dice.choice("kl")),
        b.Letters(dead),
        b.Letter(dead, name),
        b.Exhume(dead, name, dice.choice(("", "letter"))),
        b.Clear(dead),
        *[b.Enter("journal", name, f"payload {task}", dice.choice((1, LONG)), 3)] * 3,
        b.Strike("journal", name),
        *[b.Overdue("journal", LONG, dice.choice((1, 9)))] * 2,
        b.Backlog("journal"),
        b.Admit("gate", dice.choice((0, LONG)), dice.choice((0, 2)), LONG),
        *[b.Report("gate", dice.choice((True, False)), 2, dice.choice((1, LONG)))] * 2,
    ]
    return dice.choice(steps)


@pytest.mark.parametrize("seed", range(3))
def test_both_ledgers_take_the_same_steps(sides: tuple[Side, Side], seed: int) -> None:
    dice = random.Random(seed)
    memory, shared = sides
    done: list[Any] = []
    for _ in range(1500):
        step = ledger_step(dice)
        done.append(step)
        assert memory.answer(step) == shared.answer(step), done[-12:]
        let_pass(step)
        for task in ("t1", "t2"):
            assert memory.answer(b.Recall(task)) == shared.answer(b.Recall(task)), done[-12:]
        assert memory.answer(b.Letters("dead")) == shared.answer(b.Letters("dead")), done[-12:]
