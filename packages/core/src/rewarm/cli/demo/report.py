"""What the demo found, as one JSON object and as the rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from .journal import Account
from .traffic import Tally

STATES = ("HIT", "STALE", "MISS")
OUTCOMES = ("done", "skipped", "retried", "deferred", "dead")


class Side:
    """What the readers of one cache saw."""

    def __init__(self, edits: int, tallies: list[Tally]) -> None:
        self.edits = edits
        self.seconds = {state: [s for tally in tallies for s in tally.seconds[state]] for state in STATES}
        self.reads = sum(map(len, self.seconds.values()))
        self.wrong = sum(tally.wrong for tally in tallies)

    def count(self, state: str) -> int:
        return len(self.seconds[state])

    def latency(self, state: str) -> tuple[float, float] | None:
        """Median and 99th percentile in milliseconds; None if there was no such read."""
        if not (seconds := self.seconds[state]):
            return None
        cuts = quantiles([*seconds, *seconds[-1:]], n=100)  # it wants two at least
        return 1000 * cuts[49], 1000 * cuts[98]

    def as_json(self, loads: int) -> dict[str, Any]:
        latency = {state.lower(): self.latency(state) for state in STATES}
        return {
            "edits": self.edits, "reads": self.reads,
            **{state.lower(): self.count(state) for state in STATES},
            "loads": loads, "loads_saved": self.reads - loads,
            "latency_ms": {
                state: {"p50": round(at[0], 3), "p99": round(at[1], 3)} for state, at in latency.items() if at
            },
        }  # fmt: skip


@dataclass
class Result:
    """Both sides, and what became of the tasks. `seconds`: of traffic for each side."""

    queue: str
    store: str
    readers: int
    seconds: float
    account: Account
    ours: Side
    naive: Side

    @property
    def tasks(self) -> dict[str, int]:
        return {outcome: self.account.counts[outcome] for outcome in OUTCOMES}

    @property
    def loads(self) -> int:
        return self.account.counts["loaded"]

    @property
    def naive_loads(self) -> int:
        return self.naive.count("MISS")

    @property
    def lost(self) -> int:
        return len(self.account.pending)

    @property
    def good(self) -> bool:
        return not (self.ours.wrong or self.lost)

    @property
    def verdict(self) -> str:
        if self.lost:
            return f"{self.lost} tasks were queued and did not end."
        if self.ours.wrong:
            return f"Rewarm served an old value as fresh {self.ours.wrong:,} times."
        return f"Rewarm served no old value as fresh, the hand-written cache {self.naive.wrong:,}."

    def as_json(self) -> dict[str, Any]:
        return {
            "queue": self.queue, "store": self.store, "readers": self.readers, **self.ours.as_json(self.loads),
            "tasks": self.tasks, "lost": self.lost,
            "wrong_fresh": self.ours.wrong, "naive_wrong_fresh": self.naive.wrong,
            "naive": self.naive.as_json(self.naive_loads),
        }  # fmt: skip

    def rows(self) -> list[tuple[str, ...]]:
        """What, Rewarm, the hand-written cache; an empty row between groups."""
        sides = ((self.ours, self.loads), (self.naive, self.naive_loads))
        rows: list[tuple[str, ...]] = [("reads", *(f"{side.reads:,}" for side, _ in sides))]
        rows += [(f"  {state}", *(f"{side.count(state):,}" for side, _ in sides)) for state in STATES]
        rows += [("", "", ""), ("latency, ms: p50 / p99", "", "")]
        rows += [(f"  {state}", *(_latency(side.latency(state)) for side, _ in sides)) for state in STATES]
        rows += [
            ("", "", ""),
            ("loads", *(f"{loads:,}" for _, loads in sides)),
            ("loads saved", *(f"{side.reads - loads:,}" for side, loads in sides)),
            ("", "", ""),
        ]
        rows += [(f"tasks {outcome}", f"{number:,}", "") for outcome, number in self.tasks.items()]
        rows += [("tasks lost", f"{self.lost:,}", ""), ("", "", "")]
        return [*rows, ("wrong values served as fresh", *(f"{side.wrong:,}" for side, _ in sides))]


def _latency(at: tuple[float, float] | None) -> str:
    return "–" if at is None else f"{at[0]:,.2f} / {at[1]:,.2f}"
