"""Random sequences of steps on both stores: the same answers, the same headers, the same lives of keys."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from rewarm import steps as s
from rewarm.cli.server import Server
from rewarm.steps import HEADER, NO_SEAL, Grant, Seen
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
        # The guessed clock may be late by a round trip.
        return "never" if at == 0 else "future" if at > now + 1000 else "past"


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
