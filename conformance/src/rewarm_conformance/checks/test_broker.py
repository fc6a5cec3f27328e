"""BROKER: the broker goes away and comes back."""

import contextlib

from rewarm import EnqueueError

from .. import checkers
from ..bed import ARRIVAL, judge, new_token
from ..lab import Lab
from ..plugin import check


@check("BROKER-01")
def test_broker_01(lab: Lab) -> None:
    with lab.outage() as broker:
        bed = lab.bed()
        tokens = bed.tokens(5)
        broker.stop()
        broker.start()
        bed.start(ready=False)
        judge(checkers.ran_at_least_once(bed.started(*tokens, seconds=ARRIVAL + bed.testbed.boot_seconds), tokens))


@check("BROKER-02")
def test_broker_02(lab: Lab) -> None:
    with lab.outage() as broker:
        bed = lab.bed()
        worker = bed.start()
        broker.stop()
        bed.quiet(lambda _: not worker.alive)
        broker.start()
        sender, token = bed.producer(), new_token()
        bed.until_sent(sender, token)
        history = bed.started(token, seconds=2 * ARRIVAL)
        mine = [one for one in checkers.of(history, "start", token) if worker.owns(one.pid, one.ppid)]
        judge(checkers.holds(mine, "the same worker runs the next payload", "it did not"))


@check("BROKER-03")
def test_broker_03(lab: Lab) -> None:
    with lab.outage() as broker:
        bed = lab.bed()
        bed.until_sent(bed.probe, new_token())
        broker.stop()
        with contextlib.suppress(EnqueueError):
            bed.answered(lambda: bed.app.jobs["ok"].refresh(new_token()))
        broker.start()
        token = new_token()
        bed.until_sent(bed.probe, token)
        bed.start(ready=False)
        seconds = 2 * ARRIVAL + bed.testbed.boot_seconds
        judge(checkers.ran_at_least_once(bed.started(token, seconds=seconds), [token]))
