"""Adapter, Capability, Finding: all that a queue must provide."""

from __future__ import annotations

import json
import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Literal

from .errors import ConfigurationError, NotAcknowledged, TaskDead
from .task import Route

if TYPE_CHECKING:
    from .app import Rewarm
    from .worker import Outcome

ENTRY = "rewarm.run"
"""The name under which every queue knows the one worker entry. It never changes."""

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0)  # s: how long `insist` waits between tries


class Capability(StrEnum):
    """What a queue can promise. An adapter declares for each instance what the conformance suite has shown."""

    DELAY = "delay"
    """A payload can be sent to run later, and does not run early."""
    REDELIVERY = "redelivery"
    """A payload whose worker was killed runs again."""
    PERSISTENCE = "persistence"
    """Queued payloads survive a restart of the broker."""
    PRIORITY = "priority"
    """A higher priority overtakes a lower one."""
    DEPTH = "depth"
    """The number of waiting payloads can be asked for."""
    BULK = "bulk"
    """Many payloads can be sent in one call."""
    TRANSACTIONAL = "transactional"
    """A payload is part of the application's own database transaction."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `rewarm doctor` noticed: what is wrong, what it causes, what to do."""

    severity: Literal["error", "warning", "info"]
    message: str
    fix: str = ""


class ProcessTable(dict[str, "Rewarm"]):
    """Application name -> application, for this process: the table of queues that call a dotted path.

    A name that is missing is looked for once in REWARM_APP=module:attribute[,…].
    """

    searched: str | None = None

    def __missing__(self, name: str) -> Rewarm:
        if self.search() and name in self:
            return self[name]
        raise KeyError(name)

    def search(self) -> bool:
        """Add what REWARM_APP names -> whether it has been looked at now."""
        if self.searched == (paths := os.environ.get("REWARM_APP", "")):
            return False
        from .registry import named_apps

        self.searched = paths
        for app in named_apps(paths):
            self.setdefault(app.name, app)
        return True


process_apps = ProcessTable()


class Adapter(ABC):
    """Carries payloads to a queue and, on the worker, hands them to the application they name.

    `name`: the queue's, as in its entry point.   `capabilities`: of this instance.
    `max_hop`: longest delay in seconds that the queue may be given; longer ones travel in hops. None: no limit.
    `in_process`: tasks run in this process, so a memory store will do.
    `eager`: the queue's own switch for running tasks in place; the core obeys it and never calls `enqueue` then.
    `eager_raises`: a task that ends dead in eager mode raises at the caller.
    `interrupts`: what the queue raises in a task that takes too long: a failed load, to be tried again.
    """

    name: ClassVar[str]
    capabilities: frozenset[Capability] = frozenset()
    max_hop: float | None = None
    in_process: bool = False
    eager: bool = False
    eager_raises: bool = False
    interrupts: tuple[type[BaseException], ...] = ()

    @abstractmethod
    def install(self) -> None:
        """Register `deliver` with the queue as "rewarm.run", once. Opens no connection."""

    @abstractmethod
    def enqueue(self, payload: str, *, route: Route, delay: float) -> str | None:
        """Send a payload, to run after `delay` seconds (<= max_hop), and return the queue's own id for it.

        `route.queue` None is the queue that the workers already consume. May raise anything: the core turns it
        into EnqueueError.
        """

    def serve(self, queue: str) -> None:  # noqa: B027 (most queues need not be told)
        """A route names this queue: workers made from this process shall consume it. Opens no connection."""

    def enqueue_many(self, payloads: Sequence[tuple[str, Route]]) -> None:
        """Send many payloads at once; without a bulk call of the queue's own, one by one."""
        for payload, route in payloads:
            self.enqueue(payload, route=route, delay=0.0)

    def depth(self, queue: str | None = None) -> int | None:
        """Payloads that wait in a queue; None if the queue cannot tell."""
        return None

    def doctor(self) -> list[Finding]:
        """Settings of the queue that lose, duplicate or delay work."""
        return []

    def close(self) -> None:  # noqa: B027 (most queues have nothing to close)
        """Give up what the adapter itself opened. The user's queue object stays open."""

    @property
    def apps(self) -> MutableMapping[str, Rewarm]:
        """Application name -> application. Kept on the queue object where several adapters may share it."""
        table: dict[str, Rewarm] = self.__dict__.setdefault("_apps", {})
        return table

    def bind(self, app: Rewarm) -> None:
        """Make an application's tasks deliverable here. Of two applications of one name the later wins."""
        if (other := self.apps.get(app.name)) is not None and other is not app:
            warnings.warn(
                f"two applications are called {app.name!r}: tasks of both now go to the later one",
                RuntimeWarning,
                stacklevel=4,
            )
        self.apps[app.name] = app
        self.install()

    def find(self, payload: object) -> Rewarm:
        """The application that a payload names; for one that names none of ours, whichever is bound here: it
        retries the payload (a rolling deploy) and buries it in the end."""
        try:
            name = str(json.loads(payload)["app"])  # type: ignore[arg-type]
        except (ValueError, TypeError, KeyError, RecursionError):
            name = ""
        for table in (self.apps, process_apps):
            with suppress(KeyError):
                return table[name]
        for app in (*self.apps.values(), *process_apps.values()):
            return app
        raise ConfigurationError(
            "a task arrived, but this worker knows no application: import the module that makes it, "
            "or name it in REWARM_APP=module:attribute"
        )

    def deliver(self, payload: str) -> None:
        """The worker entry. Returning acknowledges; TaskDead and NotAcknowledged are for the queue."""
        app = self.find(payload)
        app.runtime.attend()
        settle(app.run(payload))

    def attend(self) -> None:
        """A worker has started, says the queue's own hook: its applications now do what needs no task (`rescue`)."""
        process_apps.search()
        for app in {**process_apps, **self.apps}.values():
            app.runtime.attend()

    def insist(self, payload: str) -> None:
        """`deliver` for queues that cannot hand a message back: what could be neither queued nor buried is tried
        again here for about two minutes, while the queue still counts it as running. Raises NotAcknowledged then."""
        for pause in PAUSES:
            with suppress(NotAcknowledged):
                self.deliver(payload)
                return
            time.sleep(pause)
        self.deliver(payload)

    async def adeliver(self, payload: str) -> None:
        """`deliver` for queues whose workers run coroutines."""
        app = self.find(payload)
        app.runtime.attend()
        settle(await app.arun(payload))


def settle(outcome: Outcome) -> None:
    """Turn an outcome into what the queue should see."""
    if outcome == "dead":
        raise TaskDead("this task is dead; see `rewarm dead list`")
