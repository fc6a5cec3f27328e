"""One cell of the table, in a process of its own: a cache on a store, through a queue. Prints one JSON object."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rewarm.cli.demo import queues
from rewarm.cli.demo.processes import Worker, worker
from rewarm.cli.server import Cluster, Server
from rewarm.errors import OutcomeTimeout

from .source import KEYS
from .traffic import READERS, WRITERS, Tally, read, write

SERVERS: dict[str, Any] = {"redis": Server, "cluster": Cluster}
START = 60.0
"""Seconds for a worker to take its first task."""


def hammer(cache: str, store: str, queue: str, seconds: float, seed: int) -> dict[str, Any]:
    """Traffic for so many seconds, and what came of it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hammer-")))
        outside = queues.find(queue)
        url, broker = "memory", ""
        if store != "memory":
            url = stack.enter_context(SERVERS[store]()).url
            broker = url if store == "redis" else ""
        if outside and not broker:
            broker = stack.enter_context(Server()).url
        os.environ |= {
            "HAMMER_FOLDER": str(folder), "REWARM_DEMO_FOLDER": str(folder), "HAMMER_STORE": url,
            "HAMMER_QUEUE": queue, "HAMMER_BROKER": broker, "PYTHONPATH": str(Path(__file__).parents[1]),
        }  # fmt: skip
        if cache == "rewarm":
            stack.enter_context(started(outside, folder))
        if store == "memory":
            crowd: Executor = ThreadPoolExecutor(READERS + WRITERS)
        else:
            crowd = ProcessPoolExecutor(READERS + WRITERS, mp_context=multiprocessing.get_context("spawn"))
        with crowd:
            work = [crowd.submit(read, cache, number, seed, seconds) for number in range(READERS)]
            work += [crowd.submit(write, cache, number, seed, seconds) for number in range(WRITERS)]
            total = sum((each.result() for each in work), Tally())
            total += crowd.submit(read, cache, READERS, seed, 0.3).result()  # at rest
        from .source import Source

        loads = Source(folder).loads
        return {**vars(total), "loads": loads, "wasted": max(0, loads - total.bound - KEYS)}


@contextmanager
def started(outside: queues.Queue | None, folder: Path) -> Iterator[None]:
    """The application, and its queue's worker once it has run a task."""
    from .jobs import app, version

    with ExitStack() as stack:
        stack.enter_context(app)
        if outside:
            argv = [word.replace("rewarm.cli.demo.jobs", "hammer.jobs") for word in outside.worker]
            running = stack.enter_context(worker(argv, folder / "worker.log"))
            first_task(version.refresh(0), running)
        yield


def first_task(receipt: Any, running: Worker) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and running.running:
        try:
            receipt.outcome(timeout=0.2)
            return
        except OutcomeTimeout:
            continue
    raise SystemExit(f"the worker did not take a task:\n{running.said()}")


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    for name in ("cache", "store", "queue"):
        options.add_argument(name)
    options.add_argument("seconds", type=float)
    options.add_argument("seed", type=int)
    print(json.dumps(hammer(**vars(options.parse_args()))))
