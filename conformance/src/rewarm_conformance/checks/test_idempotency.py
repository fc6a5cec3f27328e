"""IDEMP: duplicates, stragglers and races change nothing."""

from rewarm.entry import Entry, State

from .. import checkers
from ..bed import ARRIVAL, Bed, judge, new_token
from ..plugin import check
from ..probe import LEASE


@check("IDEMP-01")
def test_idemp_01(warm: Bed) -> None:
    task = warm.task("ok", token := new_token())
    for _ in range(2):  # at once
        warm.post(task)
    before = len(checkers.ends(warm.finished(token, times=2), token))
    warm.post(task)  # and when both have ended
    history = warm.finished(token, times=before + 1)
    seen = len(checkers.ends(history, token))
    judge(checkers.holds(seen >= 3, "3 deliveries", f"{seen} of them"), checkers.ran_once(history, [token]))


@check("IDEMP-02")
def test_idemp_02(bed: Bed) -> None:
    token, entry = new_token(), bed.app.jobs["slow"].entry
    receipts = [entry(token, 0.3).refresh() for _ in range(5)]
    bed.start(ready=False)  # a ping would wait behind it
    bed.started(token, seconds=ARRIVAL + bed.testbed.boot_seconds)
    receipts += [entry(token, 0.3).refresh() for _ in range(5)]
    bed.finished(token)
    history = bed.quiet(lambda h: checkers.at_most(h, [token]))
    judge(checkers.ran_once(history, [token]), checkers.no_overlap(history, token))


@check("IDEMP-03")
def test_idemp_03(warm: Bed) -> None:
    entry, token = _loading(warm)
    with entry.writing() as writing:
        warm.probe.write_source(token, "2")
        writing.set("2")
    warm.open_gate(token)
    warm.finished(token)
    judge(checkers.same("the value", "2", _peeked(entry)))


@check("IDEMP-04")
def test_idemp_04(warm: Bed) -> None:
    entry, token = _loading(warm)
    warm.probe.write_source(token, "2")
    entry.invalidate()
    warm.open_gate(token)
    warm.finished(token)
    found = entry.peek()
    older = found is not None and found.state is State.HIT and found.value != "2"
    judge(checkers.holds(not older, "no older value is fresh", "the older value is a HIT"))


@check("IDEMP-05")
def test_idemp_05(warm: Bed) -> None:
    sent = warm.send("ok")
    warm.finished(sent.token)
    sent.entry.invalidate()
    sent.entry.invalidate()
    states = [sent.entry.read().state for _ in range(3)]
    warm.finished(sent.token, times=2)
    history = warm.quiet(lambda h: checkers.at_most(h, [sent.token], 2))
    judge(
        checkers.same("the first read after it", State.STALE, states[0]),
        checkers.same("runs after two invalidations", 2, checkers.starts(history, [sent.token])[sent.token]),
        checkers.same("the state at rest", State.HIT, sent.entry.read().state),
    )


@check("IDEMP-06")
def test_idemp_06(bed: Bed) -> None:
    bed.start()
    bed.start()
    task = bed.task("gated", token := new_token())
    bed.post(task)
    bed.started(token)
    for _ in range(3):
        bed.post(task)
    history = bed.finished(token)
    judge(checkers.not_dropped(history, token))
    bed.open_gate(token)
    bed.wait(lambda h: checkers.ends(h, token, "done"))
    judge(checkers.ran_once(bed.history, [token]))


@check("IDEMP-07")
def test_idemp_07(bed: Bed) -> None:
    bed.start()
    task = bed.task("gated", token := new_token())
    bed.post(task)
    bed.started(token)
    bed.kill()
    bed.open_gate(token)
    bed.start()
    bed.post(task)  # not before: a broker may hand it to the connection of the dead
    history = bed.wait(lambda h: checkers.ends(h, token, "done"), ARRIVAL + LEASE)
    judge(checkers.ran_at_least_once(history, [token]), checkers.ended(history, token, "done"))


def _loading(bed: Bed) -> tuple[Entry[str], str]:
    """A refresh that has asked its source (which said 1) and has not written yet."""
    token = new_token()
    bed.probe.write_source(token, "1")
    sent = bed.send("gated", token=token)
    judge(checkers.ran_at_least_once(bed.started(token), [token]))
    return sent.entry, token


def _peeked(entry: Entry[str]) -> str | None:
    found = entry.peek()
    return None if found is None else found.value
