"""Rewarm on django-q2: the cluster that `Q_CLUSTER` configures."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, ClassVar

from django.apps import apps
from django.db import connections
from django.utils import timezone
from django_q.brokers import Broker, get_broker
from django_q.conf import Conf

from rewarm import Adapter, Capability, Finding, NotAcknowledged, Rewarm, Route
from rewarm.adapter import process_apps

from .doctor import examine

try:
    from django_q.exceptions import TimeoutException
except ImportError:

    class TimeoutException(SystemExit):  # type: ignore[no-redef]
        """Nothing raises it before django-q2 1.7: the cluster kills the worker."""


PATH = "rewarm_djangoq.run"
"""What django-q2 calls: a dotted path, so that producers import no worker code."""

ONCE = {"save": False, "ack_failure": True}  # a dead task is shown as failed and not delivered again


def attend(**_: Any) -> None:
    """A worker has started."""
    DjangoQAdapter().attend()


class DjangoQAdapter(Adapter):
    """Needs Django's settings. `cluster`: where tasks go unless routed; None: the one that `Q_CLUSTER` names.

    On the ORM broker tasks are rows of your database, and may be part of its transactions. On django-q2's other
    brokers nothing can be delayed and a killed worker's tasks are lost.
    """

    name: ClassVar[str] = "djangoq"
    interrupts = (TimeoutException,)

    def __init__(self, cluster: str | None = None) -> None:
        self.cluster, self.conf = cluster, Conf

    @property
    def apps(self) -> MutableMapping[str, Rewarm]:
        return process_apps

    def install(self) -> None:
        if apps.ready:  # nothing else to register: django-q2 imports the path
            from django_q.signals import post_spawn  # needs models

            post_spawn.connect(attend, dispatch_uid=PATH)

    @property
    def orm(self) -> bool:
        """The broker is the database: django-q2 prefers others that are configured beside it."""
        return bool(Conf.ORM) and not (Conf.BROKER_CLASS or Conf.IRON_MQ or Conf.SQS)

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        shown = {Capability.PERSISTENCE, Capability.DEPTH}
        if self.orm:
            shown |= {Capability.DELAY, Capability.REDELIVERY, Capability.TRANSACTIONAL}
        return frozenset(shown)

    @property
    def eager(self) -> bool:  # type: ignore[override]
        return bool(self.conf.SYNC)

    def broker(self, queue: str | None, delay: float = 0.0) -> Broker:
        """The broker of a cluster. django-q2's own cannot delay, but does not take a row whose lock lies ahead."""
        name = queue or self.cluster or Conf.CLUSTER_NAME
        if not delay:
            return get_broker(name)
        from django_q.brokers.orm import ORM  # models need Django to be set up

        class Later(ORM):  # type: ignore[misc]  # django-q2 has no types
            def enqueue(self, task: str) -> Any:
                due = timezone.now() + timedelta(seconds=delay)
                return self.get_connection().create(key=self.list_key, payload=task, lock=due).pk

        return Later(name)

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._send(payload, route, delay)
        with ThreadPoolExecutor(1) as beside:  # Django refuses its database in an event loop's thread
            return beside.submit(self._send, payload, route, delay, aside=True).result()

    def _send(self, payload: str, route: Route, delay: float, *, aside: bool = False) -> str:
        from django_q.tasks import async_task

        try:
            return str(async_task(PATH, payload, broker=self.broker(route.queue, delay), **{**ONCE, **route.options}))
        finally:
            if aside:
                connections.close_all()

    def depth(self, queue: str | None = None) -> int:
        """Payloads that wait and are due."""
        return int(self.broker(queue).queue_size())

    def doctor(self) -> list[Finding]:
        return examine(self)


def run(payload: str) -> None:
    """The worker entry."""
    try:
        DjangoQAdapter().insist(payload)
    except (NotAcknowledged, TimeoutException) as error:  # both would be acknowledged; a worker that ends is replaced
        raise SystemExit(f"rewarm: a task goes back to its queue: {error}") from error
