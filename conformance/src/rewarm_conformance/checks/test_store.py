"""STORE: what any store must do, by its steps and through an application."""

import random
import threading
import time
import uuid
from typing import Any

import pytest

from rewarm import Rewarm
from rewarm.steps import (
    NO_SEAL,
    Acquire,
    Begin,
    Bump,
    Capture,
    Commit,
    Look,
    Mark,
    Open,
    Release,
    Renew,
    Reserve,
    Scan,
    Seen,
    Steal,
    Unlink,
    Verdict,
    seal_of,
)
from rewarm.stores import Ledger, Store
from rewarm.stores.base import Bury, Cancel, Letters, Start
from rewarm.stores.base import Verdict as Answer

from .. import checkers
from ..bed import PATIENCE, judge
from ..plugin import check

LONG, SHORT = 60_000, 80
PAYLOAD = bytes(range(256))
HAMMER = 2.0
WRITES = 300
BUSY = 20.0


@pytest.fixture
def key() -> str:
    """A key that nobody else has."""
    return f"rw{uuid.uuid4().hex[:10]}:job:"


def one(store: Store, step: Any) -> Any:
    return store.run([step])[0]


def look(store: Store, key: str) -> Seen | None:
    seen: Seen | None = one(store, Look(key))[0]
    return seen


def commit(store: Store, key: str, grant: Any, payload: bytes = PAYLOAD, ttl: int = LONG, hard: int = LONG) -> str:
    return str(one(store, Commit(key, grant.born, grant.n, NO_SEAL, ttl, hard, payload, 3, 7)))


def fresh(seen: Seen | None) -> bool:
    return seen is not None and seen.p > 0 and seen.soft > seen.now


def until(holds: Any, seconds: float = 3.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@check("STORE-01")
def test_store_01(store: Store, key: str) -> None:
    judge(checkers.same("the entry", None, look(store, key)))
    judge(checkers.same("its stamps", (None,), one(store, Look(key, (f"{key}tag",)))[1]))


@check("STORE-02")
def test_store_02(store: Store, key: str) -> None:
    grant = one(store, Steal(key, 0, LONG))
    judge(checkers.same("the commit", "ok", commit(store, key, grant)))
    seen = look(store, key)
    assert seen is not None
    judge(
        checkers.same("payload, flags and load time", (PAYLOAD, 3, 7), (seen.payload, seen.flags, seen.load_ms)),
        checkers.same("number and incarnation", (grant.n, grant.born), (seen.p, seen.born)),
        checkers.holds(fresh(seen), "a fresh value", "it is not fresh"),
    )


@check("STORE-03")
def test_store_03(store: Store, key: str) -> None:
    commit(store, key, one(store, Steal(key, 0, LONG)), b"old")
    grant = one(store, Open(key, LONG))
    one(store, Mark(key))
    told = commit(store, key, grant, b"new")
    judge(
        checkers.holds(told != "ok", "the commit is not ok", told),
        checkers.holds(not fresh(look(store, key)), "nothing fresh", "the voided load's value is fresh"),
    )


@check("STORE-04")
def test_store_04(store: Store, key: str) -> None:
    first, second = one(store, Open(key, LONG)), one(store, Open(key, LONG))
    commit(store, key, second, b"newer")
    told = commit(store, key, first, b"older")
    seen = look(store, key)
    judge(checkers.same("the commit", "refused", told), checkers.same("the value", b"newer", seen and seen.payload))


@check("STORE-05")
def test_store_05(store: Store, key: str) -> None:
    tag = f"{key}tag"
    (stamps,) = store.run([Capture((tag,), LONG)])
    judge(checkers.same("the stamp, captured again", stamps, one(store, Capture((tag,), LONG))))
    grant, seal = one(store, Steal(key, 0, LONG)), seal_of([tag], stamps)
    assert seal is not None
    one(store, Commit(key, grant.born, grant.n, seal, LONG, LONG, PAYLOAD, 0, 0))
    seen, now = one(store, Look(key, (tag,)))
    judge(checkers.same("the seal under the stamps", seal, seal_of([tag], now)))
    one(store, Bump(tag))
    judge(
        checkers.holds(seal_of([tag], one(store, Look(key, (tag,)))[1]) != seen.seal, "another seal", "the same seal")
    )


@check("STORE-06")
def test_store_06(store: Store, key: str) -> None:
    first = one(store, Steal(key, 0, 4 * SHORT))
    busy = one(store, Steal(key, 0, SHORT))
    judge(
        checkers.same("the second load", Verdict.BUSY, busy.verdict),
        checkers.holds(0 < busy.wait <= 4 * SHORT, "a wait within the lease", f"{busy.wait} ms"),
    )
    lapsed = until(lambda: one(store, Steal(key, 0, LONG)).verdict is Verdict.GO)
    judge(checkers.holds(lapsed, "the lease of a dead load ends", "it did not"))
    judge(checkers.holds(commit(store, key, first) != "ok", "the dead load's commit is refused", "it was taken"))


@check("STORE-07")
def test_store_07(store: Store, key: str) -> None:
    place, born = one(store, Reserve(key, 0, LONG))
    judge(
        checkers.same("a second place", None, one(store, Reserve(key, 0, LONG))),
        checkers.same("another place", Verdict.SUPERSEDED, one(store, Begin(key, born, place + 1, LONG)).verdict),
        checkers.same("another incarnation", Verdict.SUPERSEDED, one(store, Begin(key, bytes(8), place, LONG)).verdict),
        checkers.same("its own place", Verdict.GO, (grant := one(store, Begin(key, born, place, LONG))).verdict),
        checkers.same("its own place again", Verdict.BUSY, one(store, Begin(key, born, place, LONG)).verdict),
    )
    commit(store, key, grant._replace(born=born))
    judge(
        checkers.same("after the commit", Verdict.SUPERSEDED, one(store, Begin(key, born, place, LONG)).verdict),
        checkers.holds(one(store, Acquire(key, born, grant.n, LONG)), "a stale reader gets a place", "it got none"),
        checkers.same("a second stale reader", 0, one(store, Acquire(key, born, grant.n, LONG))),
    )


@check("STORE-08")
def test_store_08(store: Store, key: str) -> None:
    grant = one(store, Steal(key, 0, LONG))
    one(store, Unlink(key))
    judge(checkers.same("the commit", "refused", commit(store, key, grant)))
    one(store, Steal(key, 0, LONG))
    judge(checkers.same("the commit into another incarnation", "refused", commit(store, key, grant)))


@check("STORE-09")
def test_store_09(store: Store, key: str) -> None:
    commit(store, key, one(store, Steal(key, 0, LONG)), ttl=8 * SHORT)
    judge(checkers.holds(fresh(look(store, key)), "fresh at first", "it is not"))
    commit(store, f"{key}2", one(store, Steal(f"{key}2", 0, 2 * SHORT)), ttl=SHORT, hard=2 * SHORT)
    judge(checkers.holds(until(lambda: not fresh(look(store, key))), "stale after its ttl", "it stays fresh"))
    judge(checkers.holds(until(lambda: look(store, f"{key}2") is None), "gone after its hard limit", "it stays"))


@check("STORE-10")
def test_store_10(store: Store, key: str) -> None:
    place, born = one(store, Reserve(key, 0, LONG))
    grant = one(store, Begin(key, born, place, 2 * SHORT))
    judge(checkers.holds(one(store, Renew(key, born, grant.n, LONG)), "the lease is renewed", "it is not"))
    seen = look(store, key)
    judge(checkers.holds(seen and seen.due - seen.now > 2 * SHORT, "a longer lease", "the lease as before"))
    judge(checkers.holds(one(store, Release(key, born, grant.n, LONG)), "the number is given up", "it is not"))
    seen = look(store, key)
    judge(
        checkers.same("place and number after a failure", (place, 0), seen and (seen.q, seen.r)),
        checkers.same("the retry", Verdict.GO, one(store, Begin(key, born, place, LONG)).verdict),
    )


@check("STORE-11")
def test_store_11(store: Store, key: str) -> None:
    wanted = {f"{key}[*]?\\{number}" for number in range(40)}
    for name in (*wanted, f"{key}*", f"{key}[x]?\\1"):
        one(store, Steal(name, 0, LONG))
    found, cursor = set[str](), "0"
    for _ in range(1000):
        page = one(store, Scan(f"{key}[*]?\\", cursor, 10))
        found |= set(page.keys)
        if (cursor := page.cursor) == "0":
            break
    judge(checkers.same("keys", sorted(wanted), sorted(found)))


@check("STORE-12")
def test_store_12(store: Store, key: str) -> None:
    if not isinstance(store, Ledger):
        pytest.skip("this store keeps no ledger")
    start = Start(key, 1, 0, 2, LONG)
    told = [one(store, start).verdict for _ in range(3)]
    judge(checkers.same("three deliveries with a cap of two", [Answer.GO, Answer.GO, Answer.POISON], told))
    one(store, Cancel(f"{key}2", LONG))
    judge(checkers.same("a cancelled task", Answer.CANCELLED, one(store, start._replace(task=f"{key}2")).verdict))
    for number in range(3):
        one(store, Bury(f"{key}dead", str(number), "", f"letter {number}", 2))
    letters = [tuple(letter) for letter in one(store, Letters(f"{key}dead"))]
    judge(checkers.same("the dead letters", [("1", "letter 1"), ("2", "letter 2")], letters))


def application(store: Store, key: str, **settings: Any) -> Rewarm:
    return Rewarm(key.partition(":")[0], store=store, adapter="threads", **settings)


@check("STORE-13")
def test_store_13(store: Store, key: str) -> None:
    app, loads, readers = application(store, key), list[int](), 8
    ready = threading.Barrier(readers)

    @app.job(name="slow", ttl=60)
    def slow() -> int:
        loads.append(1)
        time.sleep(0.05)
        return len(loads)

    def read() -> None:
        ready.wait(10)
        slow.get()

    run(*[read] * readers)
    judge(checkers.same(f"loads for {readers} readers", 1, len(loads)))


@check("STORE-14")
def test_store_14(store: Store, key: str) -> None:
    wrong, reads = hammer(application(store, key), "stale")
    judge(checkers.holds(not wrong, f"none of {reads} reads is fresh and wrong", f"{wrong} are"))


@check("STORE-15")
def test_store_15(store: Store, key: str) -> None:
    wrong, reads = hammer(application(store, key), "expire")
    judge(checkers.holds(not wrong, f"none of {reads} reads is older than an invalidation", f"{wrong} are"))


def hammer(app: Rewarm, on_invalidated: str) -> tuple[int, int]:
    """Readers and writers on a few entries -> wrong reads, all reads. Until one is wrong, or for a while and `WRITES`.

    Wrong: older than the start of an invalidation that had completed before the read began, and fresh or loaded (in
    expire mode: returned at all).
    """
    names, ends = ("a", "b", "c"), time.monotonic() + max(0.5, HAMMER * PATIENCE)
    source, floor, lock = dict.fromkeys(names, 0), dict.fromkeys(names, 0), threading.Lock()
    wrong, reads, writes = list[str](), list[int](), list[int]()

    def going() -> bool:  # a busy machine gets less done in its while
        left = ends - time.monotonic()
        return not wrong and (left > 0 or (len(writes) < WRITES and left > -BUSY))

    @app.job(name="versioned", ttl=60, tags=["all"], on_invalidated=on_invalidated)
    def versioned(name: str) -> int:
        value = source[name]
        time.sleep(random.uniform(0.0, 0.003))
        return value

    def write() -> None:
        while going():
            writes.append(1)
            touched = random.sample(names, random.choice((1, 3)))
            with lock:
                for name in touched:
                    source[name] += 1
                before = {name: source[name] for name in touched}
            if len(touched) == 1:
                versioned.invalidate(touched[0])
            else:
                app.invalidate(tags=["all"])
            with lock:
                floor.update({name: max(floor[name], value) for name, value in before.items()})
            time.sleep(random.uniform(0.0, 0.01))

    def read() -> None:
        while going():
            name = random.choice(names)
            least = floor[name]
            got = versioned.read(name)
            reads.append(1)
            if got.value < least and (got.state != "STALE" or on_invalidated == "expire"):
                wrong.append(name)

    run(*[write] * 2, *[read] * 6)
    app.close()
    return len(wrong), len(reads)


def run(*targets: Any) -> None:
    """Run functions on threads of their own; the first error is raised here."""
    errors = list[BaseException]()

    def guarded(target: Any) -> None:
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
