"""24 processes read one cold key, and then one stale key: how many loads, how many tasks?"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from typing import Any

import django
import redis

django.setup()

from rewarm import Adapter, Capability, Route  # noqa: E402
from rewarm_django import cache  # noqa: E402
from rewarm_django.compat.cacheback import Job  # noqa: E402

server = redis.Redis.from_url(os.environ["CACHE_URL"])
PROCESSES = 24


class Counting(Adapter):
    """A queue that counts what it is given. Nothing takes it out: a place stays taken."""

    name = "counting"
    capabilities = frozenset({Capability.DELAY})
    in_process = True  # so that a job may live in this script

    def install(self) -> None:
        pass

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        server.incr("tasks")
        return ""


def load() -> int:
    server.incr("loads")
    time.sleep(0.2)
    return 1


class Slow(Job):
    def fetch(self) -> int:
        return load()


def herd() -> None:
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(PROCESSES)

    def read() -> None:
        barrier.wait(60)
        get()

    children = [fork.Process(target=read) for _ in range(PROCESSES)]
    for child in children:
        child.start()
    for child in children:
        child.join()


cache.configure(adapter=Counting())
job: Any = Slow() if sys.argv[1] == "cacheback" else cache.job(ttl=600, name="slow")(load)
get = job.get
herd()
(job._entry((), {}) if isinstance(job, Slow) else job.entry()).invalidate()
herd()
print(
    json.dumps(
        {"loads of a cold key": int(server.get("loads") or 0), "tasks of a stale key": int(server.get("tasks") or 0)}
    )
)
