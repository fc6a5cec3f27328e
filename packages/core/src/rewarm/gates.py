"""Sick sources: how often one may be asked, and when it is left alone. Counted in the ledger, for all processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import events
from .errors import Throttled
from .retry import Breaker, seconds
from .stores.base import Admit, Report

if TYPE_CHECKING:
    from .target import Target


class Gate:
    """The gate in front of one job's source, by its policies `rate` (loads per second) and `breaker`."""

    def __init__(self, target: Target, rate: float | None, breaker: Breaker | None) -> None:
        job = target.job
        self.app, self.job, self.key = job.app, job.name, target.key
        name = f"{job.app.name}::gate:{job.name}"
        every = max(1, round(1000 / rate)) if rate else 0
        failures, pause = (breaker.failures, round(seconds(breaker.pause) * 1000)) if breaker else (0, 0)
        self.admit = Admit(name, every, failures, pause)
        self._report = [Report(name, ok, failures, pause) for ok in (False, True)]

    def refusal(self, wait: int = 0) -> Throttled | None:
        """What a load ends with that must wait so many milliseconds."""
        if not wait:
            return None
        return Throttled(f"the source of {self.job} is not asked now: try again in {wait / 1000:.1f} s", wait / 1000)

    def report(self, error: BaseException | None) -> list[Report]:
        """The steps that tell how a load went; none without a breaker."""
        return [self._report[error is None]] if self.admit.failures else []

    def reported(self, answers: list[bool]) -> None:
        """Say that the breaker has tripped."""
        if any(answers):
            pause = self.admit.pause / 1000
            self.app.emit(events.Tripped(app=self.app.name, job=self.job, seconds=pause))


def gate_of(target: Target) -> Gate | None:
    """The gate of a target; None for most jobs, which have neither rate nor breaker."""
    rate, breaker = target.policy("rate"), target.policy("breaker")
    return Gate(target, rate, breaker) if rate or breaker else None
