"""DEPTH, ORDER and LOAD: how many wait, priorities, many payloads, and random kills."""

import random
import secrets
import time

from rewarm import Route

from .. import checkers
from ..bed import ARRIVAL, Bed, judge
from ..journal import History
from ..plugin import check
from ..process import Worker

ENDED = ("done", "skipped")  # skipped: killed after the value was stored, and before anybody was told
MANY = 1000
SOME = 200
FEW = 5
HALF = 10
"""Of the lower ones, that a higher one may find before it: a worker that has fetched a few, or is not all up."""
WORK = 0.03
"""Seconds that each of `SOME` takes: all of them take longer than it takes to kill a worker."""


@check("DEPTH-01")
def test_depth_01(bed: Bed) -> None:
    other = f"{bed.namespace}-other"
    here, there = bed.tokens(3), bed.tokens(2, route=Route(other))
    waiting = bed.depths({None: 3, other: 2})
    bed.start(ready=False)
    history = bed.started(*here, seconds=ARRIVAL + bed.testbed.boot_seconds)
    judge(
        checkers.same("payloads that wait, and in another queue", [3, 2], waiting),
        checkers.ran_once(history, here),
        checkers.never_started(history, there),
        checkers.same("payloads that wait when all have run", [0], bed.depths({None: 0})),
    )


@check("ORDER-01")
def test_order_01(bed: Bed) -> None:
    def send(priority: str, count: int = 1) -> list[str]:
        return bed.tokens(count, "slow", 0.02, route=Route(priority=priority))

    (first,), low, (normal,), (last,) = send("high"), send("low", 2 * HALF), send("normal"), send("high")
    bed.start(ready=False)
    bed.wait(lambda h: checkers.starts(h, low), ARRIVAL + bed.testbed.boot_seconds, whole=True)
    history = bed.started(first, *low, normal, last)
    judge(
        checkers.ran_at_least_once(history, [first, last]),
        checkers.overtaken(history, last, [*low, normal], HALF),
        checkers.overtaken(history, first, low, HALF),  # or the last sent runs first, whatever its priority
        checkers.overtaken(history, normal, low, HALF),
    )


@check("LOAD-01")
def test_load_01(bed: Bed) -> None:
    for _ in range(4):
        bed.start(ready=False)
    tokens = bed.tokens(MANY)
    bed.finished(*tokens, seconds=2 * ARRIVAL + bed.testbed.boot_seconds)
    history = bed.quiet(lambda h: checkers.at_most(h, tokens))
    judge(checkers.ran_once(history, tokens), bed.delivered_once(history, tokens, spare=MANY // 100))


@check("LOAD-02")
def test_load_02(bed: Bed) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    tokens = bed.tokens(SOME, "slow", WORK)  # first: sent slowly to workers, all would be done before a kill
    for _ in range(3):
        bed.start(ready=False)
    began = time.monotonic()
    bed.wait(lambda h: checkers.of(h, "done"), ARRIVAL + bed.testbed.boot_seconds, whole=True)
    for _ in range(6):
        _wait_for_more(bed, chance.randrange(5, 30))
        bed.kill(chance.choice(_working(bed)))
        bed.start(ready=False)
    history = bed.grown(lambda h: SOME - len(_lost(bed, h, tokens)), SOME, 4 * ARRIVAL + 2 * bed.recovery)
    lost = _lost(bed, history, tokens)
    told = f"{len(lost)} of {SOME} were lost within {time.monotonic() - began:.0f} s (seed {seed})"
    judge(checkers.Broken(f"all {SOME} payloads end", told, lost) if lost else None)


def _lost(bed: Bed, history: History, tokens: list[str]) -> list[str]:
    """Payloads of which nobody told that they ended. Of the last few the store is asked too: who is killed right after
    the commit has told nobody, and the queue need not hand out again what was acknowledged."""
    told = checkers.endings(history, tokens, *ENDED)
    untold = [token for token in tokens if not told[token]]
    if len(untold) > FEW:
        return untold
    return [token for token in untold if bed.app.jobs["slow"].entry(token, WORK).peek() is None]


def _working(bed: Bed) -> list[Worker]:
    """The workers that have begun to work: who is killed before that holds nothing. All that are alive if none has."""
    alive = [worker for worker in bed.workers if worker.alive]
    seen = {pid for event in checkers.of(bed.history, "start") for pid in (event.pid, event.ppid)}
    return [worker for worker in alive if worker.owns(*seen)] or alive


def _wait_for_more(bed: Bed, count: int) -> None:
    enough = len(checkers.of(bed.history, "done")) + count
    bed.wait(lambda h: len(checkers.of(h, "done")) >= enough, 5.0)
