"""RQ settings that lose, duplicate or delay work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rq.serializers import JSONSerializer

from rewarm import Finding

if TYPE_CHECKING:
    from .adapter import RQAdapter


def examine(adapter: RQAdapter) -> list[Finding]:
    """What the adapter's queue and its workers should have otherwise. Connects to nothing."""
    found = [
        Finding(
            "info", "retries and delays need a worker that schedules: without one they wait for ever",
            "rq worker --with-scheduler",
        ),
        Finding(
            "info", "a worker of two or more queues loses a job that it is killed with before the job has begun",
            "one queue per worker",
        ),
        Finding(
            "warning", "a task whose worker was killed comes back after 90 s, and then when a worker looks: "
            "on an idle queue up to 13 minutes later",
            "rq worker -w rewarm_rq.RecoveringWorker (django-rq: --worker-class): 15 s, and at most 10 s later",
        ),
    ]  # fmt: skip
    if not adapter.queue.is_async:
        found.append(
            Finding("warning", "is_async is off: tasks run in the process that queues them", "turn it on in production")
        )
    if not issubclass(_class(adapter.queue.serializer), JSONSerializer):
        found.append(
            Finding(
                "info", "the queue's serializer is not JSON: who can write to Redis can run code on the workers",
                "Queue(serializer=JSONSerializer), and rq worker -S json",
            )
        )  # fmt: skip
    return found


def _class(serializer: object) -> type:
    return serializer if isinstance(serializer, type) else type(serializer)
