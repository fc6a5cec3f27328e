"""A worker that gives up on a dead one sooner and on Redis later. Opt-in: `rq worker -w rewarm_rq.RecoveringWorker`."""

from __future__ import annotations

from typing import Any

from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry
from rq import Worker
from rq.job import Job

WAKES_EARLIER = 15  # s: an idle worker looks up that long before its worker_ttl
TRIES = 60


class RecoveringWorker(Worker):
    """RQ leases a running job for its monitoring interval (30 s) and 60 s more, which nothing configures; an idle
    worker looks for expired leases every 6 to 13 minutes. This one looks every `look` seconds (more often if its
    options say so) and leases for `look + grace`: long enough for a slow heartbeat, short enough to wait for.

    Who cleans up holds a lock, and leaves it behind for up to 15 minutes if it is killed just then: nothing would come
    back meanwhile. This one gives every lock that it finds `grace` seconds at most.

    RQ's worker, asked to stop, may start its scheduler once more when the last job has ended, and then wait for ever
    for it to end: the new process ignores SIGTERM within a second of the first. This one starts nothing more.

    RQ's worker ends when Redis goes away at any other moment than while it waits for a job. This one tries each
    command again for about a minute.
    """

    look, grace = 10, 5

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.job_monitoring_interval = min(self.job_monitoring_interval, self.look)
        self.maintenance_interval = min(self.maintenance_interval, self.look)
        self.worker_ttl = min(self.worker_ttl, self.look + WAKES_EARLIER)
        errors = (ConnectionError, TimeoutError, OSError)  # redis-py 5 raises OSError for a refused connection
        retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), TRIES, errors)
        pool = self.connection.connection_pool
        pool.connection_kwargs.update(retry=retry, retry_on_error=list(errors))  # redis-py 5 asks the second one too
        pool.reset()  # what is connected already was told nothing

    def get_heartbeat_ttl(self, job: Job) -> int:
        return int(self.job_monitoring_interval) + self.grace

    def run_maintenance_tasks(self) -> None:
        if not self._stop_requested:
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]

    def clean_registries(self) -> None:
        for queue in self.queues:
            if self.connection.ttl(queue.registry_cleaning_key) > self.grace:
                self.connection.expire(queue.registry_cleaning_key, self.grace)
        super().clean_registries()  # type: ignore[no-untyped-call]
