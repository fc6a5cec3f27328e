"""Checkers on histories made by hand: good ones pass, bad ones get the right sentence."""

from __future__ import annotations

import pytest

from rewarm_conformance import checkers
from rewarm_conformance.journal import Event, History


def story(*lines: str) -> History:
    """`t event token [attempt [outcome]]` per line."""
    events = []
    for line in lines:
        t, event, token, *rest = line.split()
        data = {"outcome": rest[1], "reason": " ".join(rest[2:])} if len(rest) > 1 else {}
        events.append(Event(float(t), 1, event, token, f"id-{token}", int(rest[0]) if rest else 1, data=data))
    return events


GOOD = story(
    "0.0 sent a", "0.0 sent b", "0.1 start a 1", "0.2 failed a 1", "0.2 end a 1 retried it fails",
    "0.3 start b 1", "0.4 done b 1", "0.4 end b 1 done", "1.2 start a 2", "1.3 done a 2", "1.3 end a 2 done",
)  # fmt: skip
(FIRST,) = checkers.of(GOOD, "start", "a", 1)
(SECOND,) = checkers.of(GOOD, "start", "a", 2)
TWICE = story("0 start a", "1 start a", "2 done a", "3 done a", "3 end a 1 done", "3 end a 1 skipped")

HELD = [
    checkers.ran_once(GOOD, ["b"]), checkers.ran_at_least_once(GOOD, ["a", "b"]), checkers.at_most(GOOD, ["a"], 2),
    checkers.never_started(GOOD, ["c"]), checkers.attempts(GOOD, "a", [1, 2]), checkers.all_attempts(GOOD, "b", 1),
    checkers.not_before(SECOND, 1.2, "x"), checkers.not_before(SECOND, 1.25, "within the clock's grain"),
    checkers.not_before(None, 9, "x"), checkers.within(SECOND, 1.2, "x"), checkers.ended(GOOD, "a", "retried", "fails"),
    checkers.buried(GOOD, "id-a", 0), checkers.buried(story("0 dead a"), "id-a"), checkers.delivered_once(GOOD, ["a"]),
    checkers.delivered_once(TWICE, ["a"], spare=1),
    checkers.no_overlap(GOOD, "a"), checkers.followed(GOOD, "a"), checkers.overtaken(GOOD, "a", ["b"], 0),
    checkers.not_dropped(story("0 start a", "1 end a 1 deferred", "2 done a", "2.1 end a 1 done"), "a"),
    checkers.same("x", 1, 1), checkers.holds(True, "x", "y"),
]  # fmt: skip

BROKE = {
    "2 of 2 payloads never started": checkers.ran_once(GOOD, ["c", "d"]),
    "1 of 2 payloads never started": checkers.ran_at_least_once(GOOD, ["b", "d"]),
    "1 of 2 payloads started more often, up to 2 times": checkers.ran_once(GOOD, ["a", "b"]),
    "1 of 1 payloads started": checkers.never_started(GOOD, ["b"]),
    "attempts [1, 2]": checkers.attempts(GOOD, "a", [1, 2, 3]),
    "a start was attempt 2": checkers.all_attempts(GOOD, "a", 1),
    "attempt 2 started 0.80 s too early": checkers.not_before(SECOND, 2.0, "attempt 2"),
    "attempt 2 started 0.20 s too late": checkers.within(SECOND, 1.0, "attempt 2"),
    "attempt 3 never started": checkers.within(None, 1.0, "attempt 3"),
    "retried (it fails), done ()": checkers.ended(GOOD, "a", "skipped"),
    "no delivery ended": checkers.ended(GOOD, "c", "done"),
    "reported dead 2 times": checkers.buried(story("0 dead a", "1 dead a"), "id-a"),
    "1 of 2: an attempt was delivered 2 times": checkers.delivered_once(TWICE, ["a", "b"]),
    "two runs at the same time": checkers.no_overlap(TWICE, "a"),
    "2 attempts 1, but 0 attempts 2": checkers.followed(TWICE, "a"),
    "1 attempts 1, but 0 attempts 2": checkers.followed(story("0 start a 1", "1 end a 2 deferred"), "a"),
    "0 attempts 1, but 0 attempts 2": checkers.followed([], "a"),
    "it was skipped": checkers.not_dropped(story("0 start a", "1 end a 1 skipped", "2 done a"), "a"),
    "it never started": checkers.overtaken(GOOD, "c", ["a"], 0),
    "1 lower ones before it": checkers.overtaken(GOOD, "b", ["a"], 0),
    "x: 2": checkers.same("x", 1, 2),
    "y": checkers.holds(False, "x", "y"),
}


def test_good_histories_hold() -> None:
    assert [None] * len(HELD) == HELD


@pytest.mark.parametrize("sentence", BROKE)
def test_bad_histories_are_told(sentence: str) -> None:
    broken = BROKE[sentence]
    assert broken is not None
    assert broken.seen == sentence


def test_a_duplicate_that_nobody_answered_is_not_deferred() -> None:
    broken = checkers.not_dropped(story("0 start a", "2 done a", "2 end a 1 done"), "a")
    assert broken is not None
    assert broken.seen == "no delivery ended"


def test_deliveries_that_ended_are_counted_by_outcome() -> None:
    assert checkers.endings(GOOD, ["a", "b", "c"]) == {"a": 2, "b": 1}
    assert checkers.endings(GOOD, ["a", "b"], "done", "skipped") == {"a": 1, "b": 1}
