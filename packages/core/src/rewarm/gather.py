"""Gathered: what a call, or a batch of them, invalidates, refreshes and sweeps; sent in as few messages as it takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from . import events, freshness
from .effects import Flow
from .errors import ArgumentError, ConfigurationError, EnqueueError
from .receipt import Receipt
from .target import Target
from .task import LONGEST, Task
from .worker import Resend

if TYPE_CHECKING:
    from .app import Rewarm
    from .entry import Entry
    from .job import BoundJob

LIMIT = 500
"""Names and entries that one task carries; more are split."""

Name = tuple[str, str]
"""("keys" | "tags" | "jobs", name)."""


class Asked(NamedTuple):
    """A refresh. `delay`: milliseconds. `must`: asked for by itself, so a queue that refuses is the caller's error."""

    target: Target
    receipt: Receipt
    delay: int = 0
    route: Any = None
    must: bool = True

    @property
    def special(self) -> bool:
        """It cannot be one of many in a task."""
        return bool(self.delay or self.route)


class Gathered:
    """Work that has not been sent yet. Duplicates are merged."""

    def __init__(self, app: Rewarm) -> None:
        self.app = app
        self.now: dict[Name, None] = {}
        self.later: dict[Name, None] = {}
        self.fenced: list[Receipt] = []  # of the names above
        self.asked: list[Asked] = []
        self.sweeps: list[Task] = []
        self.sent = False  # or given up: a task that outlives the batch it was started in still has it in its context

    @property
    def empty(self) -> bool:
        return not (self.fenced or self.asked or self.sweeps)

    def merge(self, other: Gathered) -> None:
        self.now |= other.now
        self.later |= other.later
        self.fenced += other.fenced
        self.asked += other.asked
        self.sweeps += other.sweeps

    def invalidate(
        self, targets: Sequence[Target], tags: Iterable[str], jobs: Iterable[str], fence: str, refresh: bool
    ) -> Receipt:
        """Add what is to be fenced; `fence` is "now" or "task"."""
        if fence not in ("now", "task"):
            raise ValueError(f"fence is {fence!r}, neither 'now' nor 'task'")
        names = [("keys", target.key) for target in targets] + [("tags", t) for t in tags] + [("jobs", j) for j in jobs]
        receipt = Receipt(self.app, "refresh" if refresh and fence == "now" else "invalidate")
        (self.now if fence == "now" else self.later).update(dict.fromkeys(names))
        self.fenced.append(receipt)
        if refresh:
            self.asked += [Asked(target, receipt, must=False) for target in targets]
        return receipt

    def refresh(self, target: Target, delay: int, route: Any) -> Receipt:
        """Add a refresh that is asked for by itself."""
        receipt = Receipt(self.app, "refresh")
        self.asked.append(Asked(target, receipt, delay, route))
        return receipt

    def sweep(self, task: Task) -> Receipt:
        """Add a sweep."""
        self.sweeps.append(task)
        return Receipt(self.app, "sweep", task.id)

    def flow(self) -> Flow[None]:
        """Fence in one round trip, then queue the rest. Raises StoreError, and EnqueueError for what must be queued."""
        if self.now:
            names = sort(self.now)
            yield from freshness.invalidate(names["keys"], self.app.runtime.stamps(names["tags"], names["jobs"]))
            named = {kind: tuple(some) for kind, some in names.items()}
            self.app.emit(events.Invalidated(app=self.app.name, **named))
        plain = {one.target.key: one for one in self.asked if not one.special}
        if self.later:
            asked = [one.receipt for one in self.asked if not one.special]
            yield from self.send(list(self.later), list(plain.values()), [*self.fenced, *asked])
        elif plain:
            yield from self.rewarm(list(plain.values()))
        for one in self.asked:
            if one.special:
                one.receipt._took(one.target, (yield from freshness.queue(one.target, one.delay, one.route)))
        for task in self.sweeps:
            yield Resend(task, 0.0)
        for receipt in self.fenced:
            if not receipt.id:  # the fence is up and nothing was queued
                receipt._ended = receipt._ended or "done"

    def rewarm(self, plain: list[Asked]) -> Flow[None]:
        """Queue the refreshes: one as itself, many as one task that queues them."""
        receipts = [one.receipt for one in self.asked if not one.special]
        policy = "raise" if any(one.must for one in plain) else self.app.settings.on_enqueue_error
        if len(plain) == 1:
            place = yield from freshness.queue(plain[0].target, 0, None, policy)
            for receipt in receipts:
                receipt._took(plain[0].target, place)
            return
        try:
            yield from self.send([], plain, receipts)
        except EnqueueError:
            if policy == "raise":
                raise
            for one in plain if policy == "inline" else ():
                yield from freshness.queue(one.target, 0, None, policy)
            for receipt in receipts:  # no task will ever end
                receipt.id, receipt._ended = "", "done" if policy == "inline" else "unknown"

    def send(self, names: Sequence[Name], warm: Sequence[Asked], receipts: Sequence[Receipt]) -> Flow[None]:
        """Invalidate tasks that carry the fence of `names`, and the refreshes that follow."""
        runtime = self.app.runtime
        entries = [[one.target.job.name, one.target.job.signature.encode(one.target.values)] for one in warm]
        for some, more in _parts(names, entries):
            args: dict[str, Any] = {**sort(some), "refresh": more}
            task = runtime.sender.route(runtime.new_task("invalidate", args))
            for receipt in dict.fromkeys(receipts):
                receipt._sent(task.id)
            yield Resend(task, 0.0)


def _parts(names: Sequence[Name], entries: Sequence[Any]) -> Iterator[tuple[list[Name], list[Any]]]:
    """Names and entries, as many at a time as one task may carry."""
    pairs, size = list[tuple[Name | None, Any]](), 0
    for pair in zip_longest(names, entries):
        more = len(json.dumps(pair))
        if pairs and (len(pairs) == LIMIT or size + more > LONGEST // 2):
            yield _columns(pairs)
            pairs, size = [], 0
        pairs.append(pair)
        size += more
    if pairs:
        yield _columns(pairs)


def _columns(pairs: Sequence[tuple[Name | None, Any]]) -> tuple[list[Name], list[Any]]:
    return [name for name, _ in pairs if name is not None], [entry for _, entry in pairs if entry is not None]


def sort(names: Iterable[Name]) -> dict[str, list[str]]:
    """Names by kind."""
    kinds: dict[str, list[str]] = {"keys": [], "tags": [], "jobs": []}
    for kind, name in names:
        kinds[kind].append(name)
    return kinds


def targets_of(app: Rewarm, entries: Iterable[Entry[Any]]) -> list[Target]:
    """What these entries name. Raises ConfigurationError for one of another application."""
    return [entry._target for entry in entries if _own(app, entry.job)]


def names_of(app: Rewarm, jobs: Iterable[BoundJob[..., Any] | str]) -> list[str]:
    """The names of jobs. Raises ConfigurationError for one that the application does not have."""
    names = [job if isinstance(job, str) else _own(app, job).name for job in jobs]
    if unknown := [name for name in names if name not in app.jobs]:
        raise ConfigurationError(f"{app.name} has no job {unknown[0]!r}; there are {', '.join(app.jobs) or 'none'}")
    return names


def texts_of(tags: Iterable[str]) -> list[str]:
    """Tags. Raises ArgumentError for a single text, and for what is none."""
    if isinstance(tags, str):
        raise ArgumentError(f"tags is the text {tags!r}: give a list of tags")
    texts = list(tags)
    if wrong := [tag for tag in texts if not isinstance(tag, str)]:
        raise ArgumentError(f"a tag is a text, not {wrong[0]!r}")
    return texts


def _own(app: Rewarm, job: BoundJob[..., Any]) -> BoundJob[..., Any]:
    if job.app is not app:
        raise ConfigurationError(f"{job.name!r} is a job of {job.app.name}, not of {app.name}: ask that one")
    return job
