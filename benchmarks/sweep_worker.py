"""The application of `sweep.py`, and its worker: a Redis list whose tasks come back when their worker was killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from redis import Redis

from rewarm import Adapter, Capability, Rewarm, Route, events

URL = os.environ["REWARM_SWEEP_URL"]
WAITING, HELD, MEMORY = "queue:waiting", "queue:held", "queue:memory"


class ListAdapter(Adapter):
    """A task is moved to another list while it runs, and removed from there when it has ended."""

    name: ClassVar[str] = "list"
    capabilities = frozenset({Capability.REDELIVERY, Capability.PERSISTENCE})

    def __init__(self) -> None:
        self.redis: Any = Redis.from_url(URL)

    def install(self) -> None: ...

    def enqueue(self, payload: str, *, route: Route, delay: float) -> None:
        self.redis.lpush(WAITING, payload)


queue = ListAdapter()
app = Rewarm("scale", store=URL, adapter=queue)


@app.job(ttl=3600, name="item")
def item(group: int, number: int) -> str:
    return f"{group}/{number}"


def told(event: events.Event) -> None:
    """After each slice: how much memory this worker has, in KiB. (`ru_maxrss` would begin with its parent's.)"""
    if isinstance(event, events.Swept):
        size = next(
            line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:")
        )
        queue.redis.rpush(MEMORY, f"{os.getpid()} {size}")


def work() -> None:
    """Run what waits until nothing does; first what a killed worker held."""
    app.listen(told)
    while payload := queue.redis.lindex(HELD, -1) or queue.redis.rpoplpush(WAITING, HELD):
        queue.deliver(payload.decode())
        queue.redis.lrem(HELD, 1, payload)
