"""RETRY: the core retries, the queue does not, and every failure is told once."""

import time

from .. import checkers
from ..bed import ARRIVAL, QUIET, Bed, judge
from ..plugin import check
from ..probe import ATTEMPTS
from ..rules import DELAY, REDELIVERY

EVER = 1000  # as often as anybody tries
PAUSE = 1.0
BACKOFF = 16.0
"""Seconds before a queue's own retry, at most: 15 in Dramatiq, which is the most patient by default."""


@check("RETRY-01")
def test_retry_01(warm: Bed) -> None:
    token = warm.send("fails", EVER, 0.0).token
    warm.started(token, times=ATTEMPTS)
    history = warm.quiet(lambda h: checkers.at_most(h, [token], ATTEMPTS), 2 * QUIET)
    judge(checkers.attempts(history, token, range(1, ATTEMPTS + 1)))


@check("RETRY-02")
def test_retry_02(warm: Bed) -> None:
    token = warm.send("fails", 1, PAUSE).token
    history = warm.started(token, times=2)
    judge(checkers.attempts(history, token, [1, 2]))
    (failed,) = checkers.of(history, "failed", token)
    (second,) = checkers.of(history, "start", token, 2)
    judge(
        checkers.not_before(second, failed.t + PAUSE, "attempt 2"),
        checkers.few_hops(history, token, PAUSE, warm.adapter.max_hop),
    )


@check("RETRY-03")
def test_retry_03(warm: Bed) -> None:
    token = warm.send("fails", 1, 0.0).token
    warm.started(token, times=2)
    history = warm.quiet(lambda h: checkers.at_most(h, [token], 2), 2 * QUIET)
    judge(checkers.attempts(history, token, [1, 2]), checkers.ended(history, token, "done"))
    if REDELIVERY in warm.app.capabilities:  # what is not acknowledged comes back, and is skipped: no start tells
        seconds = warm.testbed.redelivery_seconds + QUIET
        history = warm.wait(lambda h: warm.delivered_once(h, [token]), seconds, whole=True)
        judge(warm.delivered_once(history, [token]))


@check("RETRY-04")
def test_retry_04(warm: Bed) -> None:
    sent = warm.send("fails", EVER, 0.0)
    warm.wait(lambda h: checkers.of(h, "dead", sent.token))
    id = sent.receipt.id
    history = warm.quiet(lambda h: checkers.buried(h, id), 2 * QUIET)
    letters = [letter for letter in warm.letters() if letter.id == id]
    judge(
        checkers.buried(history, id),
        checkers.same("attempts in the dead letters", [ATTEMPTS], [letter.attempt for letter in letters]),
    )


@check("RETRY-06")
def test_retry_06(warm: Bed) -> None:
    sent = warm.send("fails", 1, 0.0)
    history = warm.started(sent.token, times=2)
    judge(checkers.attempts(history, sent.token, [1, 2]))
    first, second = checkers.of(history, "start", sent.token)
    judge(
        checkers.same("the id of attempt 2", sent.receipt.id, second.id),
        checkers.same("the key of attempt 2", sent.entry.key, second.data["key"]),
        checkers.same("the arguments of attempt 2", first.data["args"], second.data["args"]),
    )


@check("RETRY-07")
def test_retry_07(warm: Bed) -> None:
    token = warm.send("refuses").token
    warm.started(token)
    history = warm.quiet(lambda h: checkers.at_most(h, [token]), 2 * QUIET)
    judge(checkers.attempts(history, token, [1]), checkers.ended(history, token, "dead", "not retryable"))


@check("RETRY-08")
def test_retry_08(warm: Bed) -> None:
    before = _transit(warm)
    token = warm.send("fails", 1, PAUSE).token
    history = warm.started(token, times=2)
    judge(checkers.attempts(history, token, [1, 2]))
    (failed,) = checkers.of(history, "failed", token)
    second = next(iter(checkers.of(history, "start", token, 2)), None)
    latest = failed.t + PAUSE + warm.testbed.delay_tolerance + max(before, _transit(warm))
    judge(
        checkers.within(second, latest, "attempt 2"),
        checkers.not_before(second, failed.t + PAUSE, "attempt 2"),
    )


def _transit(bed: Bed) -> float:
    """Seconds that a payload without a delay takes just now: on a busy machine, all that waits takes longer too."""
    token = bed.send("ok").token
    history = bed.started(token)
    judge(checkers.ran_at_least_once(history, [token]))
    return checkers.of(history, "start", token)[0].t - checkers.of(history, "sent", token)[0].t


@check("RETRY-09")
def test_retry_09(bed: Bed) -> None:
    worker = bed.start()
    token = bed.send("refuses").token
    bed.finished(token)
    deadline = time.monotonic() + bed.patience(ARRIVAL / 3)
    while not (shown := bed.testbed.failed(bed.namespace, worker.tail(1000))) and time.monotonic() < deadline:
        time.sleep(0.05)
    history = bed.quiet(lambda h: bed.delivered_once(h, [token], "dead task"), 3 * QUIET)
    judge(
        checkers.holds(shown, "the queue's own tools show a failure", "they show none"),
        bed.delivered_once(history, [token], "dead task"),
    )


@check("RETRY-10")
def test_retry_10(bed: Bed) -> None:
    bed.start()
    # a pause keeps attempt 2 away from the worker's other threads, which are about to die too
    token = bed.send("cut", PAUSE if DELAY in bed.app.capabilities else 0.0).token
    bed.wait(lambda h: checkers.of(h, "kill", token))
    with bed.supervised():
        bed.wait(lambda h: checkers.ends(h, token, "done"), ARRIVAL + bed.recovery)
        history = bed.quiet(lambda h: not checkers.followed(h, token), bed.recovery)
    judge(
        checkers.holds(checkers.of(history, "kill", token), "the next attempt is queued", "it never was"),
        checkers.followed(history, token),
    )


@check("RETRY-05")  # the last of them: what has died before in this namespace has been waiting meanwhile
def test_retry_05(warm: Bed) -> None:
    token = warm.send("fails", EVER, 0.0).token
    history = warm.wait(lambda h: checkers.of(h, "dead", token))
    died = [one for one in checkers.of(history, "dead") if one.token in warm.sent]
    judge(checkers.holds(any(one.token == token for one in died), "it dies", "it did not"))
    tokens = {one.token for one in died}
    seconds = died[0].t + BACKOFF - time.monotonic()
    history = warm.wait(lambda h: warm.delivered_once(h, tokens, "failing payload"), seconds, whole=True)
    judge(warm.delivered_once(history, tokens, "failing payload"))
