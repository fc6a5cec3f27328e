"""Rewarm on Dramatiq: the broker you have, its `default` queue unless routed."""

from __future__ import annotations

import os
import threading
from collections.abc import MutableMapping
from typing import Any, ClassVar

import dramatiq.broker
from dramatiq import Actor, Broker, JSONEncoder, Message, Middleware, get_encoder
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import TimeLimitExceeded

from rewarm import Adapter, Capability, ConfigurationError, Finding, Rewarm, Route
from rewarm.adapter import ENTRY

from .doctor import examine

LEVELS = {"high": 9, "normal": 5, "low": 1}


class Attendance(Middleware):
    """Tells the applications that a worker has started."""

    def after_worker_boot(self, broker: Broker, worker: Any) -> None:
        DramatiqAdapter(broker).attend()


class DramatiqAdapter(Adapter):
    """`broker`: your broker. None (adapter="dramatiq"): the one that `dramatiq.set_broker` was given.

    queue: where tasks go unless routed.   time_limit: seconds after which Dramatiq stops a task.
    """

    name: ClassVar[str] = "dramatiq"
    interrupts = (TimeLimitExceeded,)

    def __init__(self, broker: Broker | None = None, *, queue: str = "default", time_limit: float = 3600.0) -> None:
        found = broker or dramatiq.broker.global_broker
        if found is None:  # get_broker() would invent a RabbitMQ on localhost
            raise ConfigurationError(
                "adapter='dramatiq' found no broker: call dramatiq.set_broker() before, or give one"
            )
        self.broker, self.queue, self.time_limit = found, queue, time_limit

    @property
    def apps(self) -> MutableMapping[str, Rewarm]:
        table: dict[str, Rewarm] = self.broker.__dict__.setdefault("_rewarm_apps", {})
        return table

    def install(self) -> None:
        self.serve(self.queue)  # which may differ from that of another adapter on this broker
        if ENTRY in self.broker.get_declared_actors():
            return
        if not isinstance(get_encoder(), JSONEncoder):
            raise ConfigurationError(f"Dramatiq's encoder is {get_encoder()!r}: Rewarm's payloads travel as JSON only")
        # what escapes goes to the dead letters, and so would a task that a graceful stop interrupts
        wanted = {"max_retries": 0, "time_limit": int(self.time_limit * 1000), "notify_shutdown": False}
        options = {name: value for name, value in wanted.items() if name in self.broker.actor_options}
        Actor(
            self.insist, broker=self.broker, actor_name=ENTRY, queue_name=self.queue, priority=0, options=options
        )  # fmt: skip
        self.broker.add_middleware(Attendance())
        if self.rabbit is not None:
            os.register_at_fork(after_in_child=self._forget_connections)

    def serve(self, queue: str) -> None:
        self.broker.declare_queue(queue)

    def _forget_connections(self) -> None:
        """A forked child must not speak on its parent's sockets; closing them would end the parent's channel."""
        rabbit: Any = self.rabbit
        rabbit.state = threading.local()
        rabbit.connections.clear()
        rabbit.channels.clear()

    @property
    def rabbit(self) -> Broker | None:
        """The broker, if it is a RabbitMQ."""
        return self.broker if hasattr(self.broker, "get_queue_message_counts") else None

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        shown = {Capability.DELAY, Capability.DEPTH}
        if not isinstance(self.broker, StubBroker):
            shown |= {Capability.REDELIVERY, Capability.PERSISTENCE}
        return frozenset(shown | ({Capability.PRIORITY} if getattr(self.broker, "max_priority", None) else set()))

    @property
    def max_hop(self) -> float:  # type: ignore[override]
        """A delayed message is held unacknowledged: on RabbitMQ far below its consumer_timeout of 30 minutes."""
        return 600.0 if self.rabbit is not None else 3600.0

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        queue, options = route.queue or self.queue, dict(route.options)
        if top := getattr(self.broker, "max_priority", None):
            options.setdefault("broker_priority", max(1, LEVELS[route.priority] * top // 9))
        if not isinstance(self.broker, StubBroker) or queue not in self.broker.get_declared_queues():
            self.broker.declare_queue(queue)
        message: Message[Any] = Message(
            queue_name=queue, actor_name=ENTRY, args=(payload,), kwargs={}, options=options
        )  # fmt: skip
        return self.broker.enqueue(message, delay=int(delay * 1000) or None).message_id

    def depth(self, queue: str | None = None) -> int | None:
        """Payloads that wait, without those a worker has prefetched."""
        name, broker = queue or self.queue, self.broker
        if self.rabbit is not None:
            return int(broker.get_queue_message_counts(name)[0])  # type: ignore[attr-defined]
        if hasattr(broker, "client"):
            return int(broker.client.llen(f"{broker.namespace}:{name}"))  # type: ignore[attr-defined]
        return broker.queues[name].qsize() if isinstance(broker, StubBroker) and name in broker.queues else None

    def doctor(self) -> list[Finding]:
        return examine(self)
