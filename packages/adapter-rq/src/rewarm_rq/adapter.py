"""Rewarm on RQ: the queue you have, with its own serializer."""

from __future__ import annotations

import math
from collections.abc import MutableMapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from rq import Queue, Retry, get_current_job

from rewarm import Adapter, Capability, ConfigurationError, Finding, NotAcknowledged, Rewarm, Route, TaskDead
from rewarm.adapter import process_apps

from .doctor import examine

PATH = "rewarm_rq.run"
"""What RQ calls: a dotted path, so that producers import no worker code."""


class RQAdapter(Adapter):
    """`queue`: your queue. None (adapter="rq"): Django's `default` queue, from django-rq's RQ_QUEUES.

    crash_retries: how often RQ may hand out a task whose worker was killed.   timeout: seconds after which RQ stops a
    task.   keep_failed: seconds for which a dead task is shown by RQ's own tools.
    """

    name: ClassVar[str] = "rq"
    capabilities = frozenset(
        {Capability.DELAY, Capability.REDELIVERY, Capability.PERSISTENCE, Capability.DEPTH, Capability.BULK}
    )

    def __init__(
        self, queue: Queue | None = None, *, crash_retries: int = 5, timeout: int = 3600, keep_failed: int = 7 * 86_400
    ) -> None:
        self.queue = queue if queue is not None else django_queue("default")
        # retries: after a crash only, the core's own are new jobs; result_ttl 0 makes RQ run a redelivered job again
        self.options: dict[str, Any] = {
            "retry": Retry(max=crash_retries), "job_timeout": timeout, "result_ttl": 60, "failure_ttl": keep_failed,
        }  # fmt: skip

    @property
    def apps(self) -> MutableMapping[str, Rewarm]:
        return process_apps

    def install(self) -> None:
        pass  # nothing to register: RQ imports the path

    @property
    def eager(self) -> bool:  # type: ignore[override]
        return not self.queue.is_async

    def named(self, name: str | None) -> Queue:
        """The given queue, or one beside it."""
        given = self.queue
        if name is None or name == given.name:
            return given
        if hasattr(given, "_commit_mode"):  # django-rq's: its settings know the others
            return django_queue(name)
        return type(given)(name, connection=given.connection, serializer=given.serializer, job_class=given.job_class)

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str | None:
        queue, options = self.named(route.queue), {**self.options, **route.options}
        if delay:  # whole seconds, and up to one early: the core looks at the due time again
            return str(queue.enqueue_in(timedelta(seconds=math.ceil(delay)), PATH, payload, **options).id)
        job = queue.enqueue(PATH, payload, **options)
        return str(job.id) if job else None  # a django-rq queue that waits for the commit has no job yet

    def enqueue_many(self, payloads: Sequence[tuple[str, Route]]) -> None:
        for name in {route.queue for _, route in payloads}:
            jobs = [self._prepared(payload, route) for payload, route in payloads if route.queue == name]
            self.named(name).enqueue_many(jobs)

    def _prepared(self, payload: str, route: Route) -> Any:
        options = {**self.options, **route.options}
        options["timeout"] = options.pop("job_timeout")  # RQ's other name for it
        return Queue.prepare_data(PATH, (payload,), **options)

    def depth(self, queue: str | None = None) -> int:
        """Payloads that wait and are due."""
        return int(self.named(queue).count)

    def doctor(self) -> list[Finding]:
        return examine(self)


class Worker(Adapter):
    """The receiving half: finds applications by the process's table and REWARM_APP."""

    name: ClassVar[str] = "rq"

    @property
    def apps(self) -> MutableMapping[str, Rewarm]:
        return process_apps

    def install(self) -> None:
        pass

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        raise AssertionError("only delivers")


def run(payload: str) -> None:
    """The worker entry. What it raises, except for a dead task, is a crash to RQ: the job comes back."""
    try:
        Worker().insist(payload)
    except (TaskDead, NotAcknowledged) as error:
        if (job := get_current_job()) is not None:  # neither spends the crash retries: one ends here, one comes back
            job.retries_left = 0 if isinstance(error, TaskDead) else (job.retries_left or 0) + 1
        raise


def django_queue(name: str) -> Queue:
    """One of django-rq's queues, sending at once: waiting for the commit is the core's."""
    try:
        from django_rq import get_queue

        queue: Queue = get_queue(name, commit_mode="auto")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "adapter='rq' means django-rq's queue: install django-rq, or give RQAdapter(queue)"
        ) from error
    except Exception as error:  # Django's and django-rq's own complaints, of several classes
        raise ConfigurationError(f"adapter='rq' found no queue {name!r} in RQ_QUEUES: {error}") from error
    return queue
