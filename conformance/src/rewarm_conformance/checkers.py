"""Pure judgements over a history: each returns None, or what was expected and what was seen instead."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from .journal import Event, History

EARLY = 0.06
"""Seconds before its due time at which a payload counts as due (the core's own 0.05, and the clock's grain)."""
SPARE = 3
"""Deliveries before its time that are no sign of a lost delay: a queue may count whole seconds, and round down."""


class Broken(NamedTuple):
    """What a rule expected, and what the history shows. `about`: the tokens of the payloads that broke it, if known."""

    expected: str
    seen: str
    about: Collection[str] = ()


Judgement = Broken | None


def of(history: History, event: str, token: str | None = None, attempt: int | None = None) -> list[Event]:
    """The events of one kind."""
    return [
        one for one in history
        if one.event == event and token in (None, one.token) and attempt in (None, one.attempt)
    ]  # fmt: skip


def ends(history: History, token: str, *outcomes: str) -> list[Event]:
    """The deliveries that ended, with one of these outcomes if any are given."""
    return [one for one in of(history, "end", token) if not outcomes or one.data["outcome"] in outcomes]


def starts(history: History, tokens: Iterable[str]) -> Counter[str]:
    """How often each started."""
    wanted = set(tokens)
    return Counter(one.token for one in history if one.event == "start" and one.token in wanted)


def endings(history: History, tokens: Iterable[str], *outcomes: str) -> Counter[str]:
    """How many deliveries of each ended, with one of these outcomes if any are given."""
    wanted = set(tokens)
    return Counter(
        one.token for one in history
        if one.event == "end" and one.token in wanted and (not outcomes or one.data["outcome"] in outcomes)
    )  # fmt: skip


def ran_at_least_once(history: History, tokens: Collection[str]) -> Judgement:
    seen = starts(history, tokens)
    if lost := [token for token in tokens if not seen[token]]:
        return Broken(f"{len(tokens)} payloads start", f"{len(lost)} of {len(tokens)} payloads never started", lost)
    return None


def at_most(history: History, tokens: Collection[str], limit: int = 1) -> Judgement:
    seen = starts(history, tokens)
    if many := [token for token in tokens if seen[token] > limit]:
        worst = max(seen[token] for token in many)
        expected = f"at most {limit} start{'s' if limit > 1 else ''} of each payload"
        return Broken(expected, f"{len(many)} of {len(tokens)} payloads started more often, up to {worst} times", many)
    return None


def ran_once(history: History, tokens: Collection[str]) -> Judgement:
    return ran_at_least_once(history, tokens) or at_most(history, tokens)


def never_started(history: History, tokens: Collection[str]) -> Judgement:
    seen = starts(history, tokens)
    if wrong := [token for token in tokens if seen[token]]:
        return Broken("no start", f"{len(wrong)} of {len(tokens)} payloads started", wrong)
    return None


def attempts(history: History, token: str, expected: Sequence[int]) -> Judgement:
    seen = [one.attempt for one in of(history, "start", token)]
    return None if seen == list(expected) else Broken(f"attempts {list(expected)}", f"attempts {seen}", [token])


def all_attempts(history: History, token: str, expected: int) -> Judgement:
    """Every start was of this attempt."""
    wrong = [one.attempt for one in of(history, "start", token) if one.attempt != expected]
    return Broken(f"every start is attempt {expected}", f"a start was attempt {wrong[0]}", [token]) if wrong else None


def not_before(start: Event | None, floor: float, what: str) -> Judgement:
    """`floor`: the earliest instant."""
    if start is not None and start.t < floor - EARLY:
        return Broken(f"{what} not before its time", f"{what} started {floor - start.t:.2f} s too early")
    return None


def within(start: Event | None, ceiling: float, what: str) -> Judgement:
    """`ceiling`: the latest instant."""
    if start is None:
        return Broken(f"{what} starts", f"{what} never started")
    if start.t > ceiling:
        return Broken(f"{what} starts in time", f"{what} started {start.t - ceiling:.2f} s too late")
    return None


def ended(history: History, token: str, outcome: str, reason: str = "") -> Judgement:
    """Some delivery ended so, for a reason that holds this text."""
    seen = ends(history, token)
    if any(one.data["outcome"] == outcome and reason in one.data["reason"] for one in seen):
        return None
    wanted = outcome + (f" ({reason})" if reason else "")
    told = ", ".join(f"{one.data['outcome']} ({one.data['reason']})" for one in seen) or "no delivery ended"
    return Broken(f"a delivery ends as {wanted}", told, [token])


def buried(history: History, id: str, times: int = 1) -> Judgement:
    """The payload became a dead letter, so often."""
    seen = sum(one.event == "dead" and one.id == id for one in history)
    return None if seen == times else Broken(f"reported dead {times} times", f"reported dead {seen} times")


def delivered_once(history: History, tokens: Collection[str], what: str = "payload", spare: int = 0) -> Judgement:
    """No attempt was delivered twice, hops aside. The core runs no second copy, so starts do not show one.

    `spare`: of how many that is no sign: on a busy machine a lease may run out before its task is acknowledged.
    """
    wanted = set(tokens)
    seen = Counter(
        (one.token, one.attempt) for one in of(history, "end")
        if one.token in wanted and one.data["reason"] != "not due yet"
    )  # fmt: skip
    if len(many := {token: times for (token, _), times in seen.items() if times > 1}) > spare:
        told = f"{len(many)} of {len(tokens)}: an attempt was delivered {max(many.values())} times"
        return Broken(f"each attempt of a {what} is delivered once", told, many)
    return None


def few_hops(history: History, token: str, delay: float, hop: float | None) -> Judgement:
    """The core puts off what comes too early: who ignores the delay is never early, and delivers all the time.

    `hop`: the adapter's `max_hop`.
    """
    seen, limit = len(ends(history, token, "deferred")), math.ceil(delay / (hop or delay)) + SPARE
    if seen <= limit:
        return None
    return Broken(f"at most {limit} deliveries before it is due", f"{seen} of them", [token])


def no_overlap(history: History, token: str) -> Judgement:
    """No run of it began while another one was still going on."""
    open_runs = 0
    for one in history:
        if one.token == token and one.event in ("start", "done", "failed"):
            open_runs += 1 if one.event == "start" else -1
            if open_runs > 1:
                return Broken("one run at a time", "two runs at the same time")
    return None


def followed(history: History, token: str) -> Judgement:
    """Each start of attempt 1 has a delivery of attempt 2 of its own."""
    first = len(of(history, "start", token, 1))
    second = sum(one.data["outcome"] != "deferred" for one in of(history, "end", token, 2))  # a hop is no delivery
    if second >= first > 0:
        return None
    seen = f"{first} attempts 1, but {second} attempts 2"
    return Broken("each failed attempt 1 is followed by an attempt 2", seen, [token])


def not_dropped(history: History, token: str) -> Judgement:
    """While the first copy ran, a duplicate was deferred, and none was skipped or buried."""
    first, done = of(history, "start", token), of(history, "done", token)
    until = done[0].t if done else float("inf")
    meanwhile = [one for one in of(history, "end", token) if first and first[0].t < one.t < until]
    for one in meanwhile:
        if one.data["outcome"] != "deferred":
            return Broken("a duplicate is deferred while the first copy runs", f"it was {one.data['outcome']}")
    return None if meanwhile else Broken("a duplicate is deferred while the first copy runs", "no delivery ended")


def overtaken(history: History, late: str, early: Collection[str], limit: int) -> Judgement:
    """`late` started before all but `limit` of `early`."""
    order = [one.token for one in of(history, "start") if one.token == late or one.token in early]
    if late not in order:
        return Broken("the higher priority starts", "it never started")
    ahead = order.index(late)
    if ahead <= limit:
        return None
    return Broken(f"at most {limit} lower ones before the higher priority", f"{ahead} lower ones before it")


def same(what: str, expected: object, seen: object) -> Judgement:
    return None if expected == seen else Broken(f"{what}: {expected}", f"{what}: {seen}")


def holds(fact: object, expected: str, seen: str) -> Judgement:
    return None if fact else Broken(expected, seen)
