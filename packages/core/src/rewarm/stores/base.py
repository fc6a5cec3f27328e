"""What a store and a ledger must offer: run a batch of steps in one round trip."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from ..steps import Step


class Backend(ABC):
    """Runs steps. A batch is one round trip, but is not one atomic step."""

    shared: bool = True
    """Other processes see the same data."""

    ordered: bool = True
    """A batch is run in order, by one server. Otherwise each of its servers has an order of its own."""

    @abstractmethod
    def run(self, steps: Sequence[Step]) -> list[Any]:
        """The answer to each step. Raises StoreError if the server cannot be reached or refuses a step;
        the other steps of the batch have been tried all the same."""

    async def arun(self, steps: Sequence[Step]) -> list[Any]:
        """`run` for asyncio. Backends without an asyncio client run in a thread."""
        return await asyncio.to_thread(self.run, steps)

    def close(self) -> None:  # noqa: B027 (a store in memory has nothing to close)
        """Give connections back. A client that the application handed over stays open."""

    async def aclose(self) -> None:
        """`close`, and what belongs to the running event loop."""
        self.close()


class Store(Backend):
    """Runs the steps of `rewarm.steps`: the freshness protocol's own."""


class Ledger(Backend):
    """Runs the steps below: what is known about tasks."""


class Verdict(StrEnum):
    """Answer of `Start`."""

    GO = "go"
    DONE = "done"
    BUSY = "busy"
    CANCELLED = "cancelled"
    POISON = "poison"


class Started(NamedTuple):
    """`deliveries` of this attempt including this one; `wait`: milliseconds left of another's claim if BUSY."""

    verdict: Verdict
    deliveries: int = 0
    wait: int = 0


BURIAL = 10_000  # ms: how long a task's copies wait for the one that buries it


class Start(NamedTuple):
    """-> Started. Count a delivery before the job runs; claim the task for `lease`.

    In this order: cancelled -> CANCELLED; status done -> DONE; a live claim -> BUSY; more than `cap` deliveries
    since the last `Settle` -> POISON, claimed for `BURIAL`: of copies that arrive together one buries; else GO, status
    running. The record lives at least `keep` longer.
    Lease 0 neither claims nor answers DONE: a refresh's claim and done mark are its place in the entry.
    """

    task: str
    attempt: int
    lease: int
    cap: int
    keep: int


class Settle(NamedTuple):
    """-> None. This delivery ended: set the status, note an error, end the claim, forget the deliveries counted.

    The record lives exactly `keep` from now: what has ended need not be kept for as long as what may come back.
    A duplicate that is `skipped` leaves a `done` as it is. Status `deferred` only takes this delivery off the count:
    the claim, the status and the lifetime belong to another.
    `error` is added to the record's errors, of which the last 10 are kept.
    """

    task: str
    status: str
    error: str
    keep: int


class Extend(NamedTuple):
    """-> bool. A long-running task keeps its claim for `lease` more milliseconds; 0 gives it up."""

    task: str
    lease: int


class Record(NamedTuple):
    """What the ledger knows of one task. `status`: running retrying done skipped dead, or "" (only cancelled)."""

    status: str
    attempt: int
    deliveries: int
    cancelled: bool
    errors: list[str]


class Recall(NamedTuple):
    """-> Record | None."""

    task: str


class Cancel(NamedTuple):
    """-> bool. False if the task has ended (done, skipped, dead); a running attempt is not stopped, its retries are."""

    task: str
    keep: int


class Forget(NamedTuple):
    """-> None. Drop the record, so that the same task may run anew."""

    task: str


class Bury(NamedTuple):
    """-> int: how many of the oldest dead letters were dropped to stay within `limit`.

    `key`: the entry that waits for it, or "". The same `id`, and another letter of the same entry, are replaced.
    """

    dead: str
    id: str
    key: str
    letter: str
    limit: int


class Resolve(NamedTuple):
    """-> bool. The entry was refreshed after all: its dead letter goes, if it has one."""

    dead: str
    key: str


class Letters(NamedTuple):
    """-> list of (id, letter), oldest first."""

    dead: str


class Letter(NamedTuple):
    """-> str | None. One dead letter."""

    dead: str
    id: str


class Exhume(NamedTuple):
    """-> str | None. Remove a dead letter and return it; given a `letter`, only if it still reads so."""

    dead: str
    id: str
    letter: str = ""


class Clear(NamedTuple):
    """-> int: how many dead letters were removed."""

    dead: str


class Enter(NamedTuple):
    """-> bool. Journal a task that is about to be sent; overdue after `wait` milliseconds. The same `id` is replaced.

    False: the journal holds `limit` other tasks already.
    """

    journal: str
    id: str
    payload: str
    wait: int
    limit: int


class Strike(NamedTuple):
    """-> None. The task has ended: strike it from the journal."""

    journal: str
    id: str


class Overdue(NamedTuple):
    """-> list of (id, payload): at most `limit` overdue tasks, the longest overdue first.

    Each is overdue again after `wait` milliseconds, twice as many the next time, and so on up to 512 times as many: of
    several rescuers one gets it, and a queue that is merely slow is not flooded.
    """

    journal: str
    wait: int
    limit: int


class Backlog(NamedTuple):
    """-> int: how many tasks are in the journal."""

    journal: str


class Admit(NamedTuple):
    """-> int: milliseconds until a source may be asked; 0: now, and this one is counted.

    `every`: milliseconds between two loads, 0 for no rate. After `failures` in a row nobody is admitted for `pause`,
    then one at a time until one succeeds; 0 failures: no breaker.
    """

    gate: str
    every: int
    failures: int
    pause: int


class Report(NamedTuple):
    """-> bool. How a load went that was admitted: whether it tripped the breaker."""

    gate: str
    ok: bool
    failures: int
    pause: int


STEPS = (
    Start, Settle, Extend, Recall, Cancel, Forget, Bury, Resolve, Letters, Letter, Exhume, Clear,
    Enter, Strike, Overdue, Backlog, Admit, Report,
)  # fmt: skip
"""The ledger's steps."""
