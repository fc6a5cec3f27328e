"""What happens to a delivered payload: due? expired? cancelled? poisoned? then the job, then retry or bury.

A flow like those of `freshness`, so that blocking workers, asyncio workers and eager mode share it.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from . import events, freshness
from .adapter import Capability
from .burial import bury, bury_raw, tell
from .effects import Flow
from .errors import ArgumentError, EnqueueError, NotAcknowledged, PayloadError, StoreError, TaskDead, Throttled
from .freshness import Rider
from .retry import Retry
from .sending import journal_id
from .steps import Bump, Drop, Mark, Step
from .stores.base import Extend, Recall, Resolve, Settle, Start, Started, Strike, Verdict
from .task import VERSION, Task, received

if TYPE_CHECKING:
    from .runtime import Runtime

EARLY = 0.05  # seconds before `due` that count as due
DELIVERIES = 5  # of one attempt, none of which ended: the task kills its workers
CLAIM = 60_000  # ms: how long an invalidate task or a slice of a sweep may take
KEEP = 86_400_000  # ms: marks outlive any broker's redelivery
KEEP_REFRESH = 600_000  # ms: a refresh's mark is its place; its record only answers those who ask how it went
SLICE = 1000  # keys looked at by one SCAN
SPIN = 2.0  # seconds that a task waits in a worker before it goes round a queue that cannot delay
STRAY = Retry(attempts=10, on=Exception, cap=60.0)  # an unknown app, job or version: a deploy may be on its way
OUTAGE = (1.0, 30.0)  # seconds between tries while the store is away


class Outcome(StrEnum):
    """How one delivery of a task ended."""

    DONE = "done"
    SKIPPED = "skipped"
    RETRIED = "retried"
    DEFERRED = "deferred"
    DEAD = "dead"


ENDS = (Outcome.DONE, Outcome.SKIPPED, Outcome.DEAD)
"""After these a task is over."""


class Ended(NamedTuple):
    """An outcome, why, and the error behind it."""

    outcome: Outcome
    reason: str = ""
    error: BaseException | None = None


class Resend(NamedTuple):
    """Effect -> None. Send a follow-up of the task that is being delivered. Raises EnqueueError."""

    task: Task
    delay: float


class Warm(NamedTuple):
    """Effect -> None. Queue a refresh of a job's entry, by the job's name and its encoded arguments."""

    job: str
    args: list[Any]


class Pace(NamedTuple):
    """Effect -> None. Let so many seconds pass."""

    seconds: float


def deliver(host: Runtime, payload: str, *, eager: bool = False) -> Flow[Ended]:
    """One delivery of a payload. Raises only NotAcknowledged."""
    try:
        task = received(payload, host.name, host.signing_keys)
    except PayloadError as error:
        yield from bury_raw(host, payload, error)
        return Ended(Outcome.DEAD, str(error), error)
    began = time.monotonic()
    ended = yield from Delivery(host, task, eager).run()
    seconds = time.monotonic() - began
    host.emit(events.TaskEnded(app=host.name, task=task, outcome=ended.outcome, reason=ended.reason, seconds=seconds))
    return ended


class Delivery(Rider):
    """One delivery of one task; rides in its load's round trips to keep the ledger."""

    def __init__(self, host: Runtime, task: Task, eager: bool) -> None:
        self.host, self.task, self.eager = host, task, eager
        self.record, self.whole = host.record(journal_id(task)), host.record(task.id)
        self.barred, self.counted = Started(Verdict.GO), False
        self.pause: float | None = None  # before the next attempt
        self.asked = False  # `pause` is decided, and the ledger knows

    @cached_property
    def retry(self) -> Retry:
        return self.host.retry(self.task)  # asked late: a policy may need arguments that do not fit

    def run(self) -> Flow[Ended]:
        task, now = self.task, self.host.now()
        if problem := self.host.stray(task):
            return (yield from self._stray(problem))
        try:
            if not self.eager and task.due and task.due - now > EARLY:
                return (yield from self._later(task.due - now, "not due yet", hop=True))
            if task.not_after and now > task.not_after:
                yield [*self._give_up(), *self._settle(Outcome.SKIPPED)]
                return Ended(Outcome.SKIPPED, "expired in the queue (not_after)")
            if task.kind == "refresh":  # its claim is its place, which the load itself keeps
                return (yield from self._refresh())
            with self.host.holding(self.record, CLAIM):
                return (yield from (self._sweep() if task.kind == "sweep" else self._invalidate()))
        except StoreError as error:
            if self.counted or any(isinstance(one, Started) and one.verdict is Verdict.GO for one in error.answered):
                claim = [] if task.kind == "refresh" else [Extend(self.record, 0)]
                with suppress(StoreError):  # an outage costs no delivery, and holds no claim
                    yield [*self._settle(Outcome.DEFERRED), *claim]
            return (yield from self._later(random.uniform(*OUTAGE), f"the store is away: {error}"))
        except NotAcknowledged:
            raise
        except Exception as error:  # ours or a listener's fault: nobody shall look for this task in vain
            return (yield from self._bury("the worker itself failed", error))

    # --- the three kinds

    def _refresh(self) -> Flow[Ended]:
        task = self.task
        try:
            target = self.host.target(task)
        except Exception as error:  # arguments that no longer fit, a row that is gone
            return (yield from self._failed(error))
        if target.key != task.key:
            yield [*self._give_up(), *self._settle(Outcome.SKIPPED)]
            return Ended(Outcome.SKIPPED, "the job has another version or other keys now")
        born = bytes.fromhex(task.born or "")
        got = yield from freshness.refresh(target, born, task.q, self)
        match got.how:
            case "done":
                return Ended(Outcome.DONE)
            case "barred":
                return (yield from self._barred())
            case "superseded":
                yield self._settle(Outcome.SKIPPED)
                return Ended(Outcome.SKIPPED, "its place is gone: done before, overtaken or evicted")
            case "busy":
                unburied = self.barred.verdict is Verdict.POISON  # a copy that is alive may end it yet
                yield [*self._settle(Outcome.DEFERRED), *([Extend(self.record, 0)] if unburied else [])]
                return (yield from self._later(got.wait / 1000, "another copy may be running"))
            case "failed":  # the source has answered: an outage of the store costs no attempt
                yield self._settle(Outcome.DEFERRED)
                return (
                    yield from self._later(random.uniform(*OUTAGE), f"the store did not take the value: {got.error}")
                )
        failure = self._failure(got.error)
        if isinstance(failure, Throttled) and not self.eager:
            return (yield from self._later(self.pause or 0.0, str(failure)))
        if not isinstance(failure, Exception):
            raise failure or AssertionError(got.how)  # the worker is being stopped: the message comes back
        return (yield from self._failed(failure))

    def _invalidate(self) -> Flow[Ended]:
        args = self.task.args
        if (ended := (yield from self._claim())) is not None:
            return ended
        keys, tags, jobs = (tuple(args.get(name, ())) for name in ("keys", "tags", "jobs"))
        yield [*map(Mark, keys), *map(Bump, self.host.stamps(tags, jobs))]
        self.host.emit(events.Invalidated(app=self.host.name, keys=keys, tags=tags, jobs=jobs))
        left_out: dict[str, str] = {}
        for name, values in args.get("refresh", ()):
            if name not in self.host.app.jobs:
                left_out[name] = "no such job here"
                continue
            try:
                yield Warm(name, values)
            except (StoreError, NotAcknowledged, TaskDead):
                raise
            except Exception as error:  # arguments that no longer fit, a row that is gone: the others go on
                left_out[name] = repr(error)
        # a trip of its own: no fence that is not up, and no refresh that is not queued, is ever marked done
        yield self._settle(Outcome.DONE)
        told = ", ".join(f"{name} ({why})" for name, why in sorted(left_out.items()))
        return Ended(Outcome.DONE, f"not refreshed: {told}" if told else "")

    def _sweep(self) -> Flow[Ended]:
        args, task = self.task.args, self.task
        number = int(args.get("slice", 0))
        if (ended := (yield from self._claim())) is not None:
            return ended
        got = yield from freshness.sweep(args["prefix"], args.get("cursor", "0"), args.get("run", ""), SLICE)
        self.host.emit(
            events.Swept(app=task.app, prefix=args["prefix"], slice=number, keys=got.keys, finished=got.cursor is None)
        )
        if got.cursor is not None:  # the next slice is queued before this one is marked done: never lost
            onward = {**args, "cursor": got.cursor, "run": got.run, "slice": number + 1}
            pause = self.host.sweep_pause(got.keys)
            if pause and Capability.DELAY not in self.host.capabilities:
                yield Pace(pause)
                pause = 0.0
            try:
                yield Resend(self.host.renew(task, onward, pause), pause)
            except EnqueueError as error:
                return (yield from self._bury("the next slice could not be queued", error))
        steps = self._settle(Outcome.DONE)
        if got.cursor is None:
            steps.append(Settle(self.whole, Outcome.DONE, "", KEEP))
        yield steps
        return Ended(Outcome.DONE)

    # --- the ledger's part

    def first(self) -> list[Step]:
        return [Start(self.record, self.task.attempt, 0, DELIVERIES, KEEP)]

    def admits(self, answers: list[Any]) -> bool:
        self.barred = answers[0]
        self.counted = self.barred.verdict is Verdict.GO
        if self.counted:
            self.host.emit(events.TaskStarted(app=self.host.name, task=self.task))
        return self.counted

    def last(self) -> list[Step]:
        return self._settle(Outcome.DONE)

    def failed(self, error: BaseException) -> tuple[int, list[Step]]:
        """Hold the place until the retry has had time to arrive; a dead one gives it up when it is buried."""
        failure = self._failure(error)
        if not isinstance(failure, Exception):
            return 1, []
        lease = self.host.target(self.task).lease
        if isinstance(failure, Throttled) and not self.eager:  # nobody asked the source: that is no attempt
            spread = random.uniform(1.0, 2.0)  # those who were refused do not come back in step
            self.pause = failure.retry_after * spread
            return int(1000 * self.pause) + lease, self._settle(Outcome.DEFERRED)
        self.pause, self.asked = self._wait(failure), True
        hold = int(1000 * (self.pause or 0.0)) + lease
        return hold, [] if self.pause is None else self._settle(Outcome.RETRIED, tell(failure))

    def _failure(self, error: BaseException | None) -> BaseException | None:
        """A load that took too long for its queue has failed."""
        if not isinstance(error, self.host.adapter.interrupts):
            return error
        late = TimeoutError(f"the queue stopped the load: {error!r}")
        late.__cause__ = error
        return late

    def _settle(self, outcome: Outcome, error: str = "") -> list[Step]:
        """This delivery has ended so; if the task has, too, nobody need rescue it, or mourn it."""
        over, refresh = outcome in ENDS, self.task.kind == "refresh"
        steps: list[Step] = [Settle(self.record, outcome, error, KEEP_REFRESH if over and refresh else KEEP)]
        if outcome is Outcome.DONE and refresh and self.task.key:
            steps.append(Resolve(self.host.dead_key, self.task.key))
        return [*steps, *(self._struck() if over else [])]

    def _struck(self) -> list[Step]:
        return [Strike(self.host.journal, journal_id(self.task))] if self.host.patience else []

    def _claim(self) -> Flow[Ended | None]:
        """Claim the task's record; a slice also asks whether the whole sweep was cancelled."""
        start = Start(self.record, self.task.attempt, CLAIM, DELIVERIES, KEEP)
        started, record = yield [start, Recall(self.whole)]
        if record is not None and record.cancelled:
            started = Started(Verdict.CANCELLED)
        return None if self.admits([started]) else (yield from self._barred())

    def _barred(self) -> Flow[Ended]:
        match self.barred.verdict:
            case Verdict.POISON:
                return (yield from self._bury(f"{DELIVERIES} deliveries did not end: it seems to kill its worker"))
            case Verdict.BUSY:
                yield self._settle(Outcome.DEFERRED)
                return (yield from self._later(self.barred.wait / 1000, "another copy may be running"))
            case Verdict.CANCELLED:
                yield [*self._give_up(), *self._struck()]
                return Ended(Outcome.SKIPPED, "cancelled")
        return Ended(Outcome.SKIPPED, "done before")

    def _give_up(self, *, failed: bool = False) -> list[Step]:
        """Nobody should wait for a place whose task will not run; a source that `failed` rests."""
        task = self.task
        if task.v > VERSION or not (task.key and task.born):
            return []
        return [Drop(task.key, bytes.fromhex(task.born), task.q, self.host.rest(task) if failed else 0)]

    # --- follow-ups: queued, or else buried, or else the message stays

    def _wait(self, error: Exception) -> float | None:
        """Seconds before the next attempt; None if there will be none."""
        pause = self.retry.delay(error, self.task.attempt)
        due = self.host.now() + (pause or 0.0)
        return None if pause is None or (self.task.not_after and due > self.task.not_after) else pause

    def _failed(self, error: Exception) -> Flow[Ended]:
        if self.retry.discards(error):
            yield [*self._give_up(failed=True), *self._settle(Outcome.SKIPPED, tell(error))]
            return Ended(Outcome.SKIPPED, f"discarded: {error!r}", error)
        if not self.asked:
            self.pause = self._wait(error)
            if self.pause is not None:
                yield self._settle(Outcome.RETRIED, tell(error))
        if self.pause is None:
            return (yield from self._bury(self._why_dead(error), error))
        follow = self.task.again(attempt=self.task.attempt + 1, due=self.host.now() + self.pause)
        return (yield from self._resend(follow, self.pause, Ended(Outcome.RETRIED, repr(error), error)))

    def _why_dead(self, error: Exception) -> str:
        if not isinstance(error, self.retry.on):
            return "not retryable"
        if self.task.attempt >= self.retry.attempts:
            return "attempts exhausted"
        return "the next attempt would come too late (the job's timeout)"

    def _later(self, delay: float, reason: str, *, hop: bool = False) -> Flow[Ended]:
        if self.eager:  # nothing would ever bring it back, and waiting here could wait for ourselves
            return Ended(Outcome.SKIPPED, reason)
        ended, task = Ended(Outcome.DEFERRED, reason), self.task
        if Capability.DELAY not in self.host.capabilities:  # it goes round the queue, and not in haste
            yield Pace(min(delay, SPIN))
            return (
                yield from self._resend(task.again(attempt=task.attempt, due=task.due if hop else None), 0.0, ended)
            )
        due = task.due if hop else self.host.now() + delay
        return (yield from self._resend(task.again(attempt=task.attempt, due=due), delay, ended))

    def _stray(self, problem: str) -> Flow[Ended]:
        pause = STRAY.delay(LookupError(problem), self.task.attempt)
        if pause is None or self.eager:
            return (yield from self._bury(problem, LookupError(problem)))
        follow = self.task.again(attempt=self.task.attempt + 1, due=self.host.now() + pause)
        return (yield from self._resend(follow, pause, Ended(Outcome.RETRIED, problem)))

    def _resend(self, follow: Task, delay: float, ended: Ended) -> Flow[Ended]:
        try:
            yield Resend(follow, delay)
            return ended
        except (ArgumentError, EnqueueError) as error:  # a payload may have grown: 1e9 is 1000000000.0 when it returns
            return (yield from self._bury(f"the follow-up could not be queued ({ended.reason})", ended.error or error))

    def _bury(self, reason: str, error: BaseException | None = None) -> Flow[Ended]:
        try:
            (record,) = yield [Recall(self.record)]
        except StoreError as lost:
            raise NotAcknowledged(f"{self.task.kind} {self.task.id} could not be buried: {lost}") from lost
        told = "" if error is None else tell(error)
        errors = [*(record.errors if record else ()), *([told] if told else ())]
        marks: list[Step] = [
            Settle(name, Outcome.DEAD, told, KEEP) for name in dict.fromkeys((self.record, self.whole))
        ]
        steps = [*self._give_up(failed=True), *marks, *self._struck()]
        yield from bury(self.host, self.task, reason, errors, steps)
        return Ended(Outcome.DEAD, reason, error)
