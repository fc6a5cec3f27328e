"""Receipt: what became of a queued task."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .effects import Flow
from .errors import OutcomeTimeout
from .runtime import task_id
from .steps import Drop, Look, Seen
from .stores.base import Cancel, Recall, Record
from .target import Target
from .worker import KEEP, Outcome

if TYPE_CHECKING:
    from .app import Rewarm

Status = Literal["queued", "running", "retrying", "done", "skipped", "dead", "cancelled", "unknown"]
NAMES: dict[str, Status] = {
    "running": "running", "retried": "retrying", "done": "done", "skipped": "skipped", "dead": "dead",
    "deferred": "queued",
}  # fmt: skip
WORST: tuple[Status, ...] = ("dead", "retrying", "queued", "running", "unknown", "cancelled", "skipped", "done")
"""What counts of a call that took several tasks: it has ended well only if all of them have."""
ENDS = {
    "done": Outcome.DONE, "skipped": Outcome.SKIPPED, "cancelled": Outcome.SKIPPED, "dead": Outcome.DEAD,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """What a user may be told of a task: its status, its attempts so far (0: none has begun) and the last error."""

    status: Status
    attempt: int = 0
    error: str = ""


class Receipt:
    """A task that was queued, or joined. Carries no value.

    id: the same for every attempt; a refresh's follows from its entry's key, incarnation and place. Empty until the
    commit for a task that waits for one. Of a call that took several tasks it is the first's; the worst status counts.
    """

    def __init__(self, app: Rewarm, kind: str, id: str = "", ended: Status | None = None) -> None:
        self._app, self.kind, self.id, self._ended = app, kind, id, ended
        self._more: list[str] = []  # ids of the other tasks of a call that was split
        self._target: Target | None = None
        self._born, self._place = b"", 0

    def __repr__(self) -> str:
        return f"<Receipt {self.kind} {self.id or 'not sent yet'}>"

    def _took(self, target: Target, place: tuple[bytes, int], id: str = "") -> None:
        """The refresh has a place now."""
        self._target, (self._born, self._place) = target, place
        self.id = id or task_id(target.key, *place)

    def _sent(self, id: str) -> None:
        """One more task carries what was asked for."""
        if self.id:
            self._more.append(id)
        self.id = self.id or id

    @property
    def _records(self) -> list[str]:
        return [self._app.runtime.record(id) for id in (self.id, *self._more)]

    def status(self) -> Status:
        """Where the task is. `unknown`: nothing is known of it any more (of a refresh that has ended well for 10
        minutes, of other tasks for a day)."""
        return self.report().status

    async def astatus(self) -> Status:
        """`status` on the running event loop."""
        return (await self.areport()).status

    def report(self) -> Report:
        """Where the task is, after how many attempts, and what went wrong in the last one."""
        report: Report = self._app.runtime.drive(self._asking())
        return report

    async def areport(self) -> Report:
        """`report` on the running event loop."""
        report: Report = await self._app.runtime.adrive(self._asking())
        return report

    def outcome(self, timeout: float = 30) -> Outcome:
        """Wait until the task has ended, for at most `timeout` seconds. Raises OutcomeTimeout."""
        deadline, pause = time.monotonic() + timeout, 0.002
        while (end := ENDS.get(status := self.status())) is None:
            pause = self._patience(deadline, pause, status, timeout)
            time.sleep(pause)
        return end

    async def aoutcome(self, timeout: float = 30) -> Outcome:
        """`outcome` on the running event loop."""
        deadline, pause = time.monotonic() + timeout, 0.002
        while (end := ENDS.get(status := await self.astatus())) is None:
            pause = self._patience(deadline, pause, status, timeout)
            await asyncio.sleep(pause)
        return end

    def cancel(self) -> bool:
        """Ask that the task not run. False if it has ended; a running attempt goes on, its retries do not."""
        cancelled: bool = self._app.runtime.drive(self._cancelling())
        return cancelled

    async def acancel(self) -> bool:
        """`cancel` on the running event loop."""
        cancelled: bool = await self._app.runtime.adrive(self._cancelling())
        return cancelled

    def _patience(self, deadline: float, pause: float, status: str, timeout: float) -> float:
        if (left := deadline - time.monotonic()) <= 0:
            raise OutcomeTimeout(f"{self.kind} {self.id} has not ended within {timeout} s; it is {status}")
        return min(pause * 1.5, 0.1, left)

    def _asking(self) -> Flow[Report]:
        if self._ended or not self.id:
            return Report(self._ended or "queued")
        target, recalls = self._target, [Recall(record) for record in self._records]
        answers = yield [*recalls, Look(target.key)] if target else recalls
        unknown: Status = self._placed(answers[-1][0]) if target else "queued"
        reports = [self._told(record, unknown) for record in answers[: len(recalls)]]
        return min(reports, key=lambda report: WORST.index(report.status))

    def _told(self, record: Record | None, unknown: Status) -> Report:
        if record is None or not (record.status or record.cancelled):
            return Report(unknown)
        over = record.status in ("done", "skipped", "dead")
        status = "cancelled" if record.cancelled and not over else NAMES.get(record.status, "unknown")
        return Report(status, record.attempt, record.errors[-1] if record.errors else "")

    def _placed(self, seen: Seen | None) -> Status:
        """What the entry's header says of a task that the ledger does not know."""
        if seen is None or seen.born != self._born:
            return "unknown"
        if seen.q == self._place:
            return "queued"
        if seen.r == self._place:  # a reader's load that was joined
            return "running"
        return "done" if seen.p >= self._place else "unknown"

    def _cancelling(self) -> Flow[bool]:
        if self._ended or not self.id:
            return False
        steps: list[Any] = [Cancel(record, KEEP) for record in self._records]
        if self._target is not None:  # let somebody else take the place
            steps.append(Drop(self._target.key, self._born, self._place))
        answers = yield steps
        return any(answers[: 1 + len(self._more)])
