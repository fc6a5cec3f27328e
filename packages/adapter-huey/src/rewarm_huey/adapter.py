"""Rewarm on huey: the instance you have, with its own serializer."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
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

    others: instances that routes may name. huey has one queue per instance, each with a consumer of its own.

    Stock huey forgets a task when its worker takes it; `rewarm_huey.AckRedisHuey` does not.
    """

    name: ClassVar[str] = "huey"

    def __init__(self, huey: Huey | None = None, *others: Huey) -> None:
        self.huey: Any = huey if huey is not None else django_huey()
        self.queues: dict[str, Any] = {one.name: one for one in (self.huey, *others)}

    @property
    def apps(self) -> MutableMapping[str, Rewarm]:
        return _apps(self.huey)

    def bind(self, app: Rewarm) -> None:
        super().bind(app)
        for huey in self.queues.values():
            _apps(huey)[app.name] = app

    def install(self) -> None:
        for huey in self.queues.values():
            if "_rewarm_entry" not in huey.__dict__:
                huey._rewarm_entry = huey.task(retries=0)(_entry(huey))
                huey.on_startup(ENTRY)(HueyAdapter(huey).attend)

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        """What all its instances can do."""
        shown, hueys = {Capability.DELAY, Capability.DEPTH}, self.queues.values()
        if not any(isinstance(huey, MemoryHuey) for huey in hueys):
            shown |= {Capability.PERSISTENCE}
        if all(isinstance(huey.storage, AckStorage) for huey in hueys):
            shown |= {Capability.REDELIVERY}
        return frozenset(shown | ({Capability.PRIORITY} if all(map(ranks, hueys)) else set()))

    @property
    def eager(self) -> bool:  # type: ignore[override]
        return bool(self.huey.immediate)

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        huey, options = self._queue(route.queue), dict(route.options)
        if ranks(huey):
            options.setdefault("priority", LEVELS[route.priority])
        if delay:
            options["delay"] = delay
        task = huey._rewarm_entry.s(payload, **options)
        if delay:  # straight to the schedule: enqueue() would send it through the queue first
            huey.add_schedule(task)
        else:
            huey.enqueue(task)
        return str(task.id)

    def _queue(self, name: str | None) -> Any:
        try:
            return self.queues[name or self.huey.name]
        except KeyError:
            raise ConfigurationError(
                f"a huey instance has one queue, here {', '.join(self.queues)}; for {name!r} make another instance "
                "and give it too: HueyAdapter(huey, other)"
            ) from None

    def depth(self, queue: str | None = None) -> int:
        """Payloads that wait and are due."""
        return int(self._queue(queue).pending_count())

    def doctor(self) -> list[Finding]:
        return examine(self)


def ranks(huey: Any) -> bool:
    """Its storage knows priorities; huey's plain Redis storage refuses a task that has one."""
    return bool(getattr(huey.storage, "priority", False)) or isinstance(huey.storage, PriorityRedisStorage)


def _apps(huey: Any) -> dict[str, Rewarm]:
    table: dict[str, Rewarm] = huey.__dict__.setdefault("_rewarm_apps", {})
    return table


def _entry(huey: Huey) -> Callable[[str], None]:
    def run(payload: str) -> None:
        HueyAdapter(huey).insist(payload)

    run.__module__, run.__name__ = ENTRY.split(".")  # huey's wire name is module.name, the same everywhere
    return run


def django_huey() -> Huey:
    """The instance that huey's Django extension has made."""
    try:
        from huey.contrib.djhuey import HUEY
    except Exception as error:  # Django is missing, or not set up
        raise ConfigurationError(f"adapter='huey' found no Django huey: give HueyAdapter(huey) ({error})") from error
    found: Huey = HUEY
    return found
