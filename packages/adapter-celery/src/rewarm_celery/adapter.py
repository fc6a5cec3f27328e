"""Rewarm on Celery: the application you have, the queue its workers already consume."""

from __future__ import annotations

import math
import time
from collections.abc import MutableMapping
from functools import cached_property
from typing import Any, ClassVar, cast

from celery import Celery, current_app, shared_task
from celery.exceptions import Reject
from celery.signals import worker_ready

from rewarm import Adapter, Capability, ConfigurationError, Finding, NotAcknowledged, Rewarm, Route
from rewarm.adapter import ENTRY, process_apps

from .doctor import examine

OPTIONS: dict[str, Any] = {
    "name": ENTRY, "bind": True, "acks_late": True, "reject_on_worker_lost": True, "retry_on_worker_lost": False,
    "acks_on_failure": True, "acks_on_timeout": False, "max_retries": 0, "ignore_result": True, "serializer": "json",
    "typing": False,
}  # fmt: skip
LEVELS = {"redis": {"high": 0, "normal": 3, "low": 6}, "amqp": {"high": 9, "normal": 5, "low": 1}}


def run(task: Any, payload: str) -> None:
    """The worker entry: `rewarm.run`."""
    try:
        CeleryAdapter(task.app).deliver(payload)
    except NotAcknowledged as error:
        time.sleep(1.0)  # the broker hands it out again at once: do not spin
        raise Reject(error, requeue=True) from error


def attend(sender: Any, **_: Any) -> None:
    """A worker has started."""
    CeleryAdapter(sender.app).attend()


class CeleryAdapter(Adapter):
    """`app`: your Celery application. None (adapter="celery"): the current one, asked for at the first send."""

    name: ClassVar[str] = "celery"

    def __init__(self, app: Celery | None = None) -> None:
        self.given = app

    @cached_property
    def celery(self) -> Celery:
        """The Celery application. Raises ConfigurationError for the one that Celery invents if there is none."""
        found = self.given or current_app._get_current_object()  # type: ignore[attr-defined]  # of a local proxy
        if found.main == "default" and self.given is None:
            raise ConfigurationError(
                "adapter='celery' found no Celery application: make one, or give CeleryAdapter(app)"
            )
        return cast(Celery, found)

    @property
    def apps(self) -> MutableMapping[str, Rewarm]:
        return process_apps if self.given is None else self.given.__dict__.setdefault("_rewarm_apps", {})

    def install(self) -> None:
        register = shared_task if self.given is None else self.given.task
        register(**OPTIONS)(run)
        worker_ready.connect(attend, dispatch_uid=ENTRY)

    @property
    def transport(self) -> str:
        """The broker's kind: redis, amqp, memory, ..."""
        url = self.celery.conf.broker_write_url or self.celery.conf.broker_url or "amqp://"
        scheme = str(url if isinstance(url, str) else url[0]).partition("://")[0].partition("+")[0]
        return {
            "rediss": "redis",
            "sentinel": "redis",
            "valkey": "redis",
            "pyamqp": "amqp",
            "amqps": "amqp",
        }.get(scheme, scheme)

    @property
    def quorum(self) -> bool:
        """RabbitMQ's quorum queues delay in the broker, in whole seconds."""
        return self.transport == "amqp" and self.celery.conf.get("task_default_queue_type") == "quorum"  # since 5.5

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        shown = {Capability.DELAY, Capability.DEPTH}
        if self.transport in ("redis", "amqp"):
            shown |= {Capability.REDELIVERY, Capability.PERSISTENCE}
        if self.transport == "redis" or self._levels():
            shown |= {Capability.PRIORITY}
        return frozenset(shown)

    @property
    def max_hop(self) -> float | None:  # type: ignore[override]
        """A delayed message is held unacknowledged: shorter than the visibility timeout, or it multiplies."""
        if self.quorum:
            return None
        limit = (self.celery.conf.broker_transport_options or {}).get("visibility_timeout", 3600)
        return min(60.0, float(limit) / 2) if self.transport == "redis" else 600.0

    @property
    def eager(self) -> bool:  # type: ignore[override]
        return bool(self.celery.conf.task_always_eager)

    @property
    def eager_raises(self) -> bool:  # type: ignore[override]
        return bool(self.celery.conf.task_eager_propagates)

    def _levels(self) -> dict[str, int]:
        top = self.celery.conf.task_queue_max_priority
        if self.transport == "amqp":
            return {word: max(1, level * top // 9) for word, level in LEVELS["amqp"].items()} if top else {}
        return LEVELS.get(self.transport, {})

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        options: dict[str, Any] = {
            "serializer": "json", "ignore_result": True, "retry": True,
            "retry_policy": {"max_retries": 2, "interval_start": 0.0, "interval_step": 0.2},
        }  # fmt: skip
        if (level := self._levels().get(route.priority)) is not None:
            options["priority"] = level
        if route.queue is not None:
            options["queue"] = route.queue
        if delay:
            options["countdown"] = max(1, math.ceil(delay)) if self.quorum else delay
        options |= route.options
        return str(self.celery.send_task(ENTRY, (payload,), **options).id)

    def depth(self, queue: str | None = None) -> int:
        """Payloads that wait, without those a worker holds."""
        with self.celery.connection_or_acquire() as connection:
            try:
                name = queue or self.celery.conf.task_default_queue
                return int(connection.default_channel.queue_declare(name, passive=True).message_count)
            except connection.channel_errors:  # not declared yet or, on Redis, merely empty
                return 0

    def doctor(self) -> list[Finding]:
        return examine(self)
