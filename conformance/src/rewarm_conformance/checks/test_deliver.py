"""DELIVER: payloads reach a worker, once, not early, and in the right queue."""

import time

from rewarm import Adapter, Capability, EnqueueError, Route

from .. import checkers
from ..bed import ARRIVAL, QUIET, Bed, judge, new_token, override
from ..lab import Lab
from ..plugin import check
from ..rules import DELAY, REDELIVERY


@check("DELIVER-01")
def test_deliver_01(warm: Bed) -> None:
    tokens = warm.tokens(20)
    warm.finished(*tokens)
    history = warm.quiet(lambda h: checkers.at_most(h, tokens))
    judge(checkers.ran_once(history, tokens), warm.delivered_once(history, tokens))


@check("DELIVER-02")
def test_deliver_02(bed: Bed) -> None:
    tokens = bed.tokens(5)
    bed.start(ready=False)
    judge(checkers.ran_once(bed.started(*tokens, seconds=ARRIVAL + bed.testbed.boot_seconds), tokens))


@check("DELIVER-03")
def test_deliver_03(warm: Bed) -> None:
    ids = [warm.post(warm.task("ok", new_token())) for _ in range(10)]
    judge(
        checkers.holds(all(isinstance(id, str) and id for id in ids), "non-empty strings", f"{ids[0]!r}"),
        checkers.holds(len(set(ids)) == len(ids), "10 different ids", f"{len(set(ids))} different ids"),
    )


@check("DELIVER-04")
def test_deliver_04(lab: Lab) -> None:
    with lab.outage() as broker:
        bed = lab.bed()
        broker.stop()
        try:
            bed.answered(lambda: bed.app.jobs["ok"].refresh(new_token()))
        except EnqueueError:
            pass
        else:
            judge(checkers.holds(False, "EnqueueError", "enqueue returned as if nothing were wrong"))


@check("DELIVER-05")
def test_deliver_05(bed: Bed) -> None:
    workers = [bed.start(), bed.start(ready=False)]
    judge(bed.ready())
    tokens = bed.tokens(60, "slow", 0.05)
    bed.finished(*tokens, seconds=2 * ARRIVAL)
    history = bed.quiet(lambda h: checkers.at_most(h, tokens))
    ran = {(one.pid, one.ppid) for one in checkers.of(history, "start") if one.token in tokens}
    idle = [worker for worker in workers if not any(worker.owns(*pids) for pids in ran)]
    judge(
        checkers.ran_once(history, tokens),
        bed.delivered_once(history, tokens),
        checkers.holds(not idle, "two workers share the load", f"{len(idle)} of 2 workers ran nothing"),
    )


@check("DELIVER-06")
def test_deliver_06(warm: Bed) -> None:
    sent = warm.send("ok", delay=1.0)
    history = warm.started(sent.token)
    (asked,) = checkers.of(history, "sent", sent.token)
    start = next(iter(checkers.of(history, "start", sent.token)), None)
    judge(
        checkers.ran_once(history, [sent.token]),
        checkers.not_before(start, asked.t + 1.0, "a payload delayed by 1 s"),
        checkers.few_hops(history, sent.token, 1.0, warm.adapter.max_hop),
    )


@check("DELIVER-07")
def test_deliver_07(warm: Bed) -> None:
    probe, token = warm.producer(rescue=None), new_token()  # a journal would keep the delay
    adapter = probe.adapter
    override(adapter, capabilities=adapter.capabilities - {DELAY})
    try:
        probe.app.jobs["ok"].entry(token).refresh(delay=2.0)
        refused = False
    except EnqueueError:
        refused = True
    history = warm.quiet(lambda h: checkers.never_started(h, [token]))
    judge(
        checkers.never_started(history, [token]),
        checkers.holds(refused, "EnqueueError for a delay", "the payload was taken"),
    )


@check("DELIVER-08")
def test_deliver_08(warm: Bed) -> None:
    hop, limit = warm.adapter.max_hop, warm.testbed.redelivery_seconds if REDELIVERY in warm.app.capabilities else 0.0
    delay = 2.5 * hop if hop and hop <= limit else max(2.0, limit + 1.0)  # longer than a dead worker holds a payload
    sent = warm.send("ok", delay=delay)
    warm.started(sent.token, seconds=delay + ARRIVAL)
    history = warm.quiet(lambda h: checkers.at_most(h, [sent.token]))
    (asked,) = checkers.of(history, "sent", sent.token)
    start = next(iter(checkers.of(history, "start", sent.token)), None)
    judge(
        checkers.ran_once(history, [sent.token]),
        checkers.not_before(start, asked.t + delay, f"a payload delayed by {delay:.1f} s"),
        checkers.few_hops(history, sent.token, delay, hop),
        warm.delivered_once(history, [sent.token]),
        checkers.all_attempts(history, sent.token, 1),
    )


@check("DELIVER-09")
def test_deliver_09(warm: Bed) -> None:
    expired, satisfied, cancelled = (warm.task("ok", new_token()) for _ in range(3))
    warm.app.jobs["ok"].reload(satisfied.args[0])
    warm.cancel(cancelled)
    warm.post(expired, not_after=time.time() - 1)
    warm.post(satisfied)
    warm.post(cancelled)
    tokens = [task.args[0] for task in (expired, satisfied, cancelled)]
    history = warm.finished(*tokens)
    judge(
        checkers.ended(history, tokens[0], "skipped", "expired"),
        checkers.ended(history, tokens[1], "skipped", "its place is gone"),
        checkers.ended(history, tokens[2], "skipped", "cancelled"),
        checkers.same(
            "starts in a worker",
            0,
            sum(one.id != "" for one in history if one.event == "start" and one.token in tokens),
        ),
    )


@check("DELIVER-10")
def test_deliver_10(bed: Bed) -> None:
    other = f"{bed.namespace}-other"
    bed.start()
    there = [*bed.tokens(3, route=Route(other)), new_token()]
    bed.until_sent(bed.producer(routes={"*": {"queue": other}}), there[-1])  # by a rule of the host's
    here = bed.tokens(3)
    bed.started(*here)
    history = bed.quiet(lambda h: checkers.never_started(h, there), 2 * QUIET)
    judge(checkers.never_started(history, there), checkers.ran_once(history, here))
    bed.kill()
    bed.start(other, ready=False)
    judge(bed.ready(queue=other))
    here = bed.tokens(3)
    bed.started(*there)
    history = bed.quiet(lambda h: checkers.never_started(h, here), 2 * QUIET)
    judge(checkers.ran_once(history, there), checkers.never_started(history, here))


@check("DELIVER-11")
def test_deliver_11(warm: Bed) -> None:
    parent = warm.send("spawns", 3).token
    children = [f"{parent}.{number}" for number in range(3)]
    judge(checkers.ran_once(warm.finished(parent, *children), [parent, *children]))


@check("DELIVER-12")
def test_deliver_12(bed: Bed) -> None:
    other = f"{bed.namespace}-other"
    workers = [bed.start(), bed.start(other, ready=False)]
    judge(bed.ready(queue=other))
    tasks = [bed.task("ok", new_token()) for _ in range(6)]
    bed.post_many([(task, Route(queue)) for task, queue in zip(tasks, 3 * (None, other), strict=True)])
    tokens = [task.args[0] for task in tasks]
    bed.finished(*tokens)
    history = bed.quiet(lambda h: checkers.at_most(h, tokens))
    strays = [
        token
        for worker, names in zip(workers, (tokens[::2], tokens[1::2]), strict=True)
        for token in names
        if not all(worker.owns(one.pid, one.ppid) for one in checkers.of(history, "start", token))
    ]
    bulk = Capability.BULK in bed.adapter.capabilities
    own = type(bed.adapter).enqueue_many is not Adapter.enqueue_many
    judge(
        checkers.ran_once(history, tokens),
        bed.delivered_once(history, tokens),
        checkers.holds(not strays, "each runs by a worker of its queue", f"{len(strays)} of 6 ran by another"),
        checkers.same("BULK, with an `enqueue_many` of the adapter's own", own, bulk),
    )
