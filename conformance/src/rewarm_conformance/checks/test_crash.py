"""CRASH: workers that are killed, that kill themselves, and that are asked to stop."""

import time

from rewarm.entry import State
from rewarm.worker import DELIVERIES

from .. import checkers
from ..bed import ARRIVAL, PATIENCE, Bed, judge, new_token
from ..plugin import check
from ..probe import LEASE, REFUSED

GRAIN = 1.0
"""Seconds that a busy machine may add."""


@check("CRASH-01")
def test_crash_01(bed: Bed) -> None:
    bed.start()
    token = bed.send("gated").token
    bed.started(token)
    bed.kill()
    bed.open_gate(token)
    bed.start()
    history = bed.wait(lambda h: checkers.ends(h, token, "done"), ARRIVAL + bed.recovery)
    judge(
        checkers.holds(checkers.starts(history, [token])[token] >= 2, "it runs again", "it did not run again"),
        checkers.ended(history, token, "done"),
    )


@check("CRASH-02")
def test_crash_02(bed: Bed) -> None:
    sent = bed.send("dies")
    bed.pretend_deliveries(sent.receipt.id, DELIVERIES - 2)  # two real kills are left
    with bed.supervised():
        bed.wait(lambda h: checkers.of(h, "dead", sent.token), ARRIVAL + 3 * bed.recovery)
        history = bed.quiet(lambda h: checkers.at_most(h, [sent.token], 2))
    judge(
        checkers.holds(
            checkers.starts(history, [sent.token])[sent.token] >= 2, "it runs again after a kill", "it did not"
        ),
        checkers.at_most(history, [sent.token], 2),
        checkers.buried(history, sent.receipt.id),
    )


@check("CRASH-03")
def test_crash_03(bed: Bed) -> None:
    bed.start()
    before = bed.tokens(3)
    bed.finished(*before)
    tokens = _stopped_busy(bed)
    history = bed.wait(lambda h: all(checkers.ends(h, token, "done") for token in tokens), ARRIVAL + bed.recovery)
    lost = [token for token in tokens if not checkers.ends(history, token, "done")]
    judge(
        checkers.holds(not lost, f"all {len(tokens)} payloads end", f"{len(lost)} of {len(tokens)} were lost"),
        bed.delivered_once(history, before, "payload that had ended"),
    )


@check("CRASH-04")
def test_crash_04(bed: Bed) -> None:
    bed.start()
    sent = bed.send("gated")
    bed.started(sent.token)
    killed = bed.kill()
    bed.open_gate(sent.token)
    value = sent.entry.get()
    seconds, limit = time.monotonic() - killed, LEASE + max(2.0, 8.0 * PATIENCE)
    judge(
        checkers.same("the value", "0", value),
        checkers.holds(seconds < limit, f"a reader waits {limit:.1f} s at most", f"it waited {seconds:.1f} s"),
    )


@check("CRASH-05")
def test_crash_05(bed: Bed) -> None:
    token = new_token()
    bed.probe.write_source(token, "1")
    bed.start()
    sent = bed.send("unwritten", token=token)
    bed.wait(lambda h: checkers.of(h, "kill", token))
    bed.probe.write_source(token, "2")
    bed.workers[-1].kill()
    bed.start()
    deadline = time.monotonic() + bed.patience(ARRIVAL) + 3 * LEASE
    while (found := sent.entry.read()).state is not State.HIT and time.monotonic() < deadline:
        time.sleep(0.05)
    judge(
        checkers.same("kills before the write", 1, len(checkers.of(bed.history, "kill", token))),
        checkers.same("the state", State.HIT, found.state),
        checkers.same("the value", "2", found.value),
    )


@check("CRASH-06")
def test_crash_06(bed: Bed) -> None:
    worker = bed.start()
    token = bed.send("gated").token
    bed.started(token)
    bed.start()  # stands by; nothing else is sent from here on
    killed = bed.kill(worker)
    bed.open_gate(token)
    bound = bed.testbed.redelivery_seconds + LEASE + GRAIN * max(1.0, PATIENCE)
    declared = bed.lab.limit is None  # then it is a promise, and no matter of patience
    history = bed.wait(lambda h: checkers.starts(h, [token])[token] >= 2, bound, whole=declared)
    again = next((one for one in checkers.of(history, "start", token) if one.t > killed), None)
    judge(checkers.within(again, killed + bound, "the payload of the killed worker"))


@check("CRASH-07")
def test_crash_07(bed: Bed) -> None:
    worker = bed.start()
    status = bed.stop(worker)
    judge(checkers.holds(
        status is not None, f"it ends within {bed.testbed.stop_seconds:.0f} s", "it had to be killed"
    ))  # fmt: skip


@check("CRASH-08")
def test_crash_08(bed: Bed) -> None:
    bed.start()
    tokens = _stopped_busy(bed)
    history = bed.wait(lambda h: all(checkers.ends(h, token, "done") for token in tokens), ARRIVAL + bed.recovery)
    judge(*(checkers.all_attempts(history, token, 1) for token in tokens), checkers.ran_at_least_once(history, tokens))


@check("CRASH-09")
def test_crash_09(bed: Bed) -> None:
    bed.start()
    token = new_token()
    bed.post(bed.task("ok", token), **{REFUSED: token})
    history = bed.wait(lambda h: checkers.ends(h, token, "done"), ARRIVAL + bed.recovery)
    judge(
        checkers.holds(checkers.of(history, "refused", token), "a delivery raises NotAcknowledged", "none did"),
        checkers.holds(checkers.starts(history, [token])[token] >= 1, "it comes back", "it did not come back"),
    )


def _stopped_busy(bed: Bed) -> list[str]:
    """A worker was asked to stop in mid-task, with more in its queue; another one has taken its place."""
    tokens = [bed.send("slow", 1.0).token, *bed.tokens(4, "slow", 0.3)]
    bed.started(tokens[0])
    status, seconds = bed.stop(busy=2.5), bed.testbed.stop_seconds + 2.5
    judge(checkers.holds(status is not None, f"a busy worker ends within {seconds:.0f} s", "it had to be killed"))
    bed.start()
    return tokens
