"""A worker that gives up on a dead one's job sooner. Opt-in: `rq worker -w rewarm_rq.RecoveringWorker`."""

from __future__ import annotations

from rq import Worker
from rq.job import Job


class RecoveringWorker(Worker):
    """RQ leases a running job for its monitoring interval (--job-monitoring-interval, 30 s) and 60 s more, which
    nothing configures. This one adds `grace` seconds: long enough for a slow heartbeat, short enough to wait for.
    """

    grace = 5

    def get_heartbeat_ttl(self, job: Job) -> int:
        return int(self.job_monitoring_interval) + self.grace
