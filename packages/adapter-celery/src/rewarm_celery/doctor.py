"""Celery settings that lose, duplicate or delay work."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from celery import Task

from rewarm import Finding
from rewarm.adapter import ENTRY

if TYPE_CHECKING:
    from .adapter import CeleryAdapter


def examine(adapter: CeleryAdapter) -> list[Finding]:
    """What the adapter's Celery application should have otherwise. Connects to nothing."""
    return [
        *_common(adapter.celery.conf),
        *(_redis(adapter) if adapter.transport == "redis" else _amqp(adapter)),
    ]


def _common(conf: Any) -> Iterator[Finding]:
    if conf.task_always_eager:
        yield Finding(
            "warning",
            "task_always_eager is on: tasks run in the process that queues them",
            "turn it off in production",
        )
    if "pickle" in conf.accept_content or "application/x-python-serialize" in conf.accept_content:
        yield Finding(
            "warning", "accept_content allows pickle: who can write to the broker can run code on the workers",
            'accept_content = ["json"]',
        )  # fmt: skip
    if "json" not in conf.accept_content and "application/json" not in conf.accept_content:
        yield Finding("error", "accept_content refuses JSON: workers drop every task of ours", 'add "json" to it')
    if conf.worker_prefetch_multiplier != 1:
        yield Finding(
            "warning",
            f"worker_prefetch_multiplier is {conf.worker_prefetch_multiplier}: a worker hoards tasks others could run",
            "worker_prefetch_multiplier = 1",
        )
    if (limit := conf.task_time_limit) or (limit := conf.task_soft_time_limit):
        yield Finding("info", f"tasks are stopped after {limit} s: a load that takes longer never ends")
    if conf.task_time_limit and not hasattr(Task, "acks_on_timeout"):
        yield Finding(
            "warning", "Celery before 5.7 acknowledges a task that task_time_limit kills: it is lost, without a letter",
            "Celery 5.7, or Rewarm(rescue=60)",
        )  # fmt: skip
    if not conf.worker_max_tasks_per_child:
        yield Finding("info", "worker_max_tasks_per_child is not set: a leak in a task grows for ever")
    routes = conf.task_routes or {}
    if isinstance(routes, dict) and ENTRY in routes:
        yield Finding("info", f"task_routes sends {ENTRY} to {routes[ENTRY]!r}, unless a Rewarm route names a queue")


def _redis(adapter: CeleryAdapter) -> Iterator[Finding]:
    options = adapter.celery.conf.broker_transport_options or {}
    timeout = float(options.get("visibility_timeout", 3600))
    interval, throttle = (
        options.get("unacked_restore_interval", 10),
        options.get("unacked_restore_throttle", 10),
    )
    sweep = float(interval) * float(throttle)
    yield Finding(
        "warning" if timeout + sweep > 600 else "info",
        f"a task whose worker was killed comes back after {timeout:.0f} s (visibility_timeout) and up to {sweep:.0f} s "
        "more (unacked_restore_interval x unacked_restore_throttle)",
        "broker_transport_options: visibility_timeout just above the longest task, both restore options at 1 to 5",
    )
    if timeout < 60:
        yield Finding(
            "warning", f"visibility_timeout is {timeout:.0f} s: a task that takes longer is delivered again meanwhile",
            "make it longer than the longest task",
        )  # fmt: skip
    if "socket_timeout" not in options and not adapter.celery.conf.redis_socket_timeout:
        yield Finding(
            "info", "no socket_timeout: a connection that hangs is noticed late",
            'broker_transport_options = {"socket_timeout": 30, "health_check_interval": 25}',
        )  # fmt: skip
    if not adapter.celery.conf.broker_transport:
        yield Finding(
            "info", "a worker may end when Redis goes away (\"'NoneType' object has no attribute 'hostname'\")",
            'a supervisor, or broker_transport = "rewarm_celery.transport:RedisTransport"',
        )  # fmt: skip
    if tuple(int(part) for part in version("kombu").split(".")[:2]) < (5, 7):
        yield Finding(
            "warning", "kombu before 5.7 brings tasks of a killed worker back after about 100 s", "upgrade it"
        )


def _amqp(adapter: CeleryAdapter) -> Iterator[Finding]:
    conf = adapter.celery.conf
    if adapter.transport == "amqp" and not (conf.broker_transport_options or {}).get("confirm_publish"):
        yield Finding(
            "warning", "RabbitMQ is not asked to confirm what it takes: if it is killed, tasks just sent are lost",
            'broker_transport_options = {"confirm_publish": True}',
        )  # fmt: skip
    if adapter.quorum and conf.task_default_exchange_type != "topic":
        yield Finding(
            "error", "quorum queues delay through topic exchanges only: through another one a delayed task waits "
            "inside a worker, and a few of them keep it from all else",
            'task_default_exchange_type = "topic"',
        )  # fmt: skip
    if not conf.task_queue_max_priority:
        yield Finding(
            "info", "task_queue_max_priority is not set: invalidations do not overtake refreshes",
            "task_queue_max_priority = 9 (fixed when the queue is first declared), or routes to queues of their own",
        )  # fmt: skip
