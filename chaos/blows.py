"""Blows: SIGKILL to a worker at one point of a refresh, when it passes there for the n-th time.

The points are found from outside, in what a delivery asks of store and ledger, in the probe's jobs, and in its events.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rewarm import Rewarm, events
from rewarm.runtime import Runtime
from rewarm.steps import Commit, Step
from rewarm.stores.base import Start, Verdict
from rewarm_conformance.probe import Run

POINTS = {
    "before-claim": "before it claims its task",
    "after-claim": "when it has claimed its task",
    "in-load": "in the load",
    "after-load": "after the load, before the value is stored",
    "after-commit": "when the value is stored, before the message is acknowledged",
    "after-retry": "when the next attempt is queued, before this one is acknowledged",
}


class Blow:
    """Strikes at a point's passages with these numbers, counted over all processes once the file `armed` is there."""

    def __init__(self, point: str, strikes: Sequence[int], directory: Path) -> None:
        self.point, self.strikes = point, strikes
        self._armed, self._passages = directory / "armed", directory / "passages"

    def at(self, point: str) -> None:
        """The worker is at a point: perhaps its last one."""
        if point != self.point or not self._armed.exists():
            return
        file = os.open(self._passages, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(file, b".")
        number = os.lseek(file, 0, os.SEEK_CUR)  # where this write ended: no two have one number
        os.close(file)
        if number in self.strikes:
            os.kill(os.getpid(), signal.SIGKILL)

    def instrument(self, app: Rewarm) -> None:
        """Let every point of this process report to `at`."""
        run, enter = Runtime.run, Run.__enter__

        def armed_run(runtime: Runtime, steps: Sequence[Step]) -> list[Any]:
            kinds = {type(step) for step in steps}
            if Start in kinds:
                self.at("before-claim")
            if Commit in kinds:
                self.at("after-load")
            answers = run(runtime, steps)
            if Start in kinds and answers[0].verdict is Verdict.GO:
                self.at("after-claim")
            if Commit in kinds:
                self.at("after-commit")
            return answers

        def armed_enter(running: Run) -> Any:
            task = enter(running)
            self.at("in-load")
            return task

        setattr(Runtime, "run", armed_run)  # noqa: B010 (a checker would not let it pass)
        setattr(Run, "__enter__", armed_enter)  # noqa: B010
        app.listen(self.heard)

    def heard(self, event: events.Event) -> None:
        if isinstance(event, events.Enqueued) and event.task.attempt > 1:
            self.at("after-retry")
