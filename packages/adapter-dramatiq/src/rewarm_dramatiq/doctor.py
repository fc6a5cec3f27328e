"""Dramatiq settings that lose, duplicate or delay work."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dramatiq.middleware import Retries, TimeLimit

from rewarm import Finding

if TYPE_CHECKING:
    from .adapter import DramatiqAdapter


def examine(adapter: DramatiqAdapter) -> list[Finding]:
    """What the adapter's broker should have otherwise. Connects to nothing."""
    broker: Any = adapter.broker
    kinds = [type(middleware) for middleware in broker.middleware]
    found = [
        Finding("info", "workers must import the module of the application", "add it to the `dramatiq` command line")
    ]
    if Retries not in kinds:
        found.append(
            Finding(
                "error", "the Retries middleware is missing: a failed task is dropped instead of shown as dead",
                "broker.add_middleware(Retries(max_retries=0))",
            )
        )  # fmt: skip
    if TimeLimit not in kinds:
        found.append(
            Finding("info", "the TimeLimit middleware is missing: a task that hangs holds its thread for ever")
        )
    idle = float(os.environ.get("dramatiq_worker_timeout", "1000"))  # noqa: SIM112 (Dramatiq's spelling)
    if idle > 200:
        looks = 1 if adapter.rabbit is not None else 2  # for what is due, and then into the queue that it went to
        found.append(
            Finding(
                "info", f"delayed tasks may run up to {looks * idle / 1000:.0f} s late (dramatiq_worker_timeout)",
                "dramatiq_worker_timeout=200 in the worker's environment; idle workers then ask the broker more often",
            )
        )  # fmt: skip
    if heartbeat := getattr(broker, "heartbeat_timeout", None):
        chance = getattr(broker, "maintenance_chance", 1000)
        found.append(
            Finding(
                "warning" if heartbeat > 60_000 or chance <= 1000 else "info",
                f"a task whose worker was killed comes back after {heartbeat / 1000:.0f} s, and then by chance: "
                f"on an idle queue {1_000_000 // max(1, chance)} broker commands later",
                "RedisBroker(heartbeat_timeout=10_000, maintenance_chance=100_000)",
            )
        )
    if adapter.rabbit is not None and not getattr(broker, "max_priority", None):
        found.append(
            Finding(
                "info", "max_priority is not set: invalidations do not overtake refreshes",
                "RabbitmqBroker(max_priority=10), the same everywhere, or routes to queues of their own",
            )
        )  # fmt: skip
    return found
