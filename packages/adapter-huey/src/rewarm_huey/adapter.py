"""Rewarm on huey: the instance you have, with its own serializer."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, ClassVar

from huey import Huey, MemoryHuey
from huey.storage import PriorityRedisStorage

from rewarm import Adapter, Capability, ConfigurationError, Finding, Rewarm, Route
from rewarm.adapter import ENTRY

from .ack import AckStorage
from .doctor import examine

LEVELS = {"high": 10, "normal": 5, "low": 1}


class HueyAdapter(Adapter):
    """`huey`: your instance. None (adapter="huey"): Django's, from `settings.HUEY`.

    Stock huey forgets a task when its worker takes it; `rewarm_huey.AckRedisHuey` does not.
    """

    name: ClassVar[str] = "huey"

    def __init__(self, huey: Huey | None = None) -> None:
        self.huey: Any = huey if huey is not None else django_huey()

    @property
    def apps(self) -> MutableMapping[str, Rewarm]:
        table: dict[str, Rewarm] = self.huey.__dict__.setdefault("_rewarm_apps", {})
        return table

    def install(self) -> None:
        if "_rewarm_entry" not in self.huey.__dict__:

            def run(payload: str) -> None:
                self.insist(payload)

            run.__module__, run.__name__ = ENTRY.split(".")  # huey's wire name is module.name, the same everywhere
            self.huey._rewarm_entry = self.huey.task(retries=0)(run)

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        shown = {Capability.DELAY, Capability.DEPTH}
        storage = self.huey.storage
        if not isinstance(self.huey, MemoryHuey):
            shown |= {Capability.PERSISTENCE}
        if isinstance(storage, AckStorage):
            shown |= {Capability.REDELIVERY}
        return frozenset(shown | ({Capability.PRIORITY} if self.ranks else set()))

    @property
    def ranks(self) -> bool:
        """The storage knows priorities; huey's plain Redis storage refuses a task that has one."""
        return bool(getattr(self.huey.storage, "priority", False)) or isinstance(
            self.huey.storage, PriorityRedisStorage
        )

    @property
    def eager(self) -> bool:  # type: ignore[override]
        return bool(self.huey.immediate)

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        if route.queue not in (None, self.huey.name):
            raise ConfigurationError(
                f"huey has one queue, {self.huey.name!r}: {route.queue!r} needs an instance of its own"
            )
        options = dict(route.options)
        if self.ranks:
            options.setdefault("priority", LEVELS[route.priority])
        if delay:
            options["delay"] = delay
        task = self.huey._rewarm_entry.s(payload, **options)
        if delay:  # straight to the schedule: enqueue() would send it through the queue first
            self.huey.add_schedule(task)
        else:
            self.huey.enqueue(task)
        return str(task.id)

    def depth(self, queue: str | None = None) -> int:
        """Payloads that wait and are due."""
        return int(self.huey.pending_count())

    def doctor(self) -> list[Finding]:
        return examine(self)


def django_huey() -> Huey:
    """The instance that huey's Django extension has made."""
    try:
        from huey.contrib.djhuey import HUEY
    except Exception as error:  # Django is missing, or not set up
        raise ConfigurationError(f"adapter='huey' found no Django huey: give HueyAdapter(huey) ({error})") from error
    found: Huey = HUEY
    return found
