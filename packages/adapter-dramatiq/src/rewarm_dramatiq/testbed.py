"""Dramatiq as the conformance suite sees it: on Redis and on RabbitMQ."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import version

from dramatiq import Broker

from rewarm import Adapter
from rewarm_conformance.testbed import Testbed

from .adapter import DramatiqAdapter


class DramatiqRedis(Testbed):
    """A heartbeat of 2 s and frequent maintenance stand for the defaults of a minute and of chance."""

    broker = "redis"
    redelivery_seconds = 6.0
    stop_seconds = 15.0
    eager_switch = False  # Dramatiq has none
    clients: tuple[str, ...] = ("redis",)

    def make(self, namespace: str) -> Broker:
        from dramatiq.brokers.redis import RedisBroker  # each broker has a client of its own, and needs no other

        broker: Broker = RedisBroker(  # type: ignore[no-untyped-call]
            url=self.url, namespace=namespace, heartbeat_timeout=2000, maintenance_chance=1_000_000
        )
        return broker

    def build(self, namespace: str) -> tuple[Broker, Adapter]:
        broker = self.make(namespace)
        broker.declare_queue(f"{namespace}-other")  # workers consume declared queues only: DELIVER-10's
        return broker, DramatiqAdapter(broker, queue=namespace)

    def worker(self, namespace: str, queue: str | None = None) -> list[str]:
        return [
            sys.executable, "-m", "dramatiq", "rewarm_conformance.probe:native", "-p", "1", "-t", "2",
            "-Q", queue or namespace,
        ]  # fmt: skip

    def environment(self, namespace: str) -> Mapping[str, str]:
        return {"dramatiq_worker_timeout": "100"}

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in self.clients}


class DramatiqRabbit(DramatiqRedis):
    broker = "rabbitmq"
    clients = ("pika",)
    redelivery_seconds = 6.0
    delay_tolerance = 4.0  # a consumer that restarts after a crash waits 3 s

    def make(self, namespace: str) -> Broker:
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        url = self.url.rstrip("/")  # pika takes an empty path for the default virtual host
        return RabbitmqBroker(url=url, confirm_delivery=True, max_priority=10)
