"""Rewarm on django-q2: the cluster that `Q_CLUSTER` configures."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any, ClassVar

from django.utils import timezone
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.humanhash import uuid
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from rewarm import Adapter, Capability, Finding, Rewarm, Route
from rewarm.adapter import process_apps

from .doctor import examine

PATH = "rewarm_djangoq.run"
"""What django-q2 calls: a dotted path, so that producers import no worker code."""

ONCE = {"save": False, "ack_failure": True}  # a dead task is shown as failed and not delivered again


class DjangoQAdapter(Adapter):
    """Needs Django's settings. On the ORM broker tasks are rows of your database, and may be part of its transactions.

    On django-q2's other brokers nothing can be delayed and a killed worker's tasks are lost.
    """

    name: ClassVar[str] = "djangoq"

    @property
    def apps(self) -> MutableMapping[str, Rewarm]:
        return process_apps

    def install(self) -> None:
        pass  # nothing to register: django-q2 imports the path

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        if not Conf.ORM:
            return frozenset({Capability.PERSISTENCE, Capability.DEPTH})
        return frozenset(
            {
                Capability.DELAY, Capability.REDELIVERY, Capability.PERSISTENCE, Capability.DEPTH,
                Capability.TRANSACTIONAL,
            }
        )  # fmt: skip

    @property
    def eager(self) -> bool:  # type: ignore[override]
        return bool(Conf.SYNC)

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        if not Conf.ORM:
            cluster = {"cluster": route.queue} if route.queue else {}
            return str(async_task(PATH, payload, **ONCE, **cluster, **route.options))
        from django_q.models import OrmQ  # models need Django to be set up

        # the broker's own enqueue() has no delay; a row whose lock lies ahead is one that is not due
        name, task_id = uuid()
        now, cluster_name = timezone.now(), route.queue or Conf.CLUSTER_NAME
        task: dict[str, Any] = {
            "id": task_id, "name": name, "func": PATH, "args": (payload,), "kwargs": {}, "started": now, **ONCE,
            **({"cluster": route.queue} if route.queue else {}), **route.options,
        }  # fmt: skip
        packed = SignedPackage.dumps(task)
        OrmQ.objects.using(Conf.ORM).create(key=cluster_name, payload=packed, lock=now + timedelta(seconds=delay))
        return str(task_id)

    def depth(self, queue: str | None = None) -> int:
        """Payloads that wait and are due."""
        return int(get_broker(queue or Conf.CLUSTER_NAME).queue_size())

    def doctor(self) -> list[Finding]:
        return examine(self)


def run(payload: str) -> None:
    """The worker entry."""
    DjangoQAdapter().insist(payload)
