"""Celery as the conformance suite sees it: on Redis, and on RabbitMQ with classic and with quorum queues."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar
from uuid import uuid4

from celery import Celery

from rewarm import Adapter
from rewarm_conformance.testbed import Testbed

from .adapter import CeleryAdapter


class CeleryRedis(Testbed):
    """A short visibility timeout stands for the default of an hour: a killed worker's task must come back meanwhile."""

    broker = "redis"
    redelivery_seconds = 8.0
    stop_seconds = 20.0
    loss_windows: Mapping[str, str] = {  # from its pop until the worker has noted it, Redis no longer has a message
        "LOAD-02": "https://github.com/celery/celery/issues/7950"
    }
    client = "redis"
    extra: ClassVar[dict[str, Any]] = {
        "broker_transport": "rewarm_celery.transport:RedisTransport",
        "broker_transport_options": {
            "visibility_timeout": 4, "unacked_restore_interval": 1, "unacked_restore_throttle": 1,
        },
    }  # fmt: skip

    def build(self, namespace: str) -> tuple[Celery, Adapter]:
        app = Celery("probe", broker=self.url, set_as_current=False)
        app.conf.update(
            task_default_queue=namespace,
            accept_content=["json"],
            broker_connection_retry_on_startup=True,
            worker_prefetch_multiplier=1,
            **self.extra,
        )
        return app, CeleryAdapter(app)

    def worker(self, namespace: str, queue: str | None = None) -> list[str]:
        return [
            sys.executable, "-m", "celery", "-A", "rewarm_conformance.probe:native", "worker", "-c", "2", "-l", "INFO",
            "-Q", queue or namespace, "-n", f"{uuid4().hex}@%h",  # on RabbitMQ a second worker of one name ends
            "--without-gossip", "--without-mingle",
        ]  # fmt: skip

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("kombu", self.client)}

    def make_eager(self, native: Celery) -> None:
        native.conf.task_always_eager = True


class CeleryRescue(CeleryRedis):
    """The journal, and not the visibility timeout of an hour, brings back what Redis or a killed worker held."""

    rescue = 3.0
    redelivery_seconds = 8.0
    loss_windows: Mapping[str, str] = {}
    extra: ClassVar[dict[str, Any]] = {"broker_transport": "rewarm_celery.transport:RedisTransport"}


class CeleryRabbit(CeleryRedis):
    """Classic queues, with priorities."""

    broker = "rabbitmq"
    client = "amqp"
    redelivery_seconds = 5.0
    loss_windows: Mapping[str, str] = {}
    extra: ClassVar[dict[str, Any]] = {
        "task_queue_max_priority": 9,
        "broker_transport_options": {"confirm_publish": True},
    }


class CeleryQuorum(CeleryRabbit):
    """Quorum queues delay in the broker, in whole seconds."""

    delay_tolerance = 2.5
    extra: ClassVar[dict[str, Any]] = {
        "broker_transport_options": {"confirm_publish": True},
        "task_default_queue_type": "quorum",
        "task_default_exchange_type": "topic",
        "task_create_missing_queue_type": "quorum",
        "task_create_missing_queue_exchange_type": "topic",
    }
