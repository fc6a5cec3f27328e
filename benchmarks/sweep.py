"""A sweep over very many keys: `python benchmarks/sweep.py [--keys 1000000]`.

A tenth of the keys lies under the prefix. The worker is killed twice on the way (SIGKILL). Printed: whether any key
was missed or touched by mistake, the worker's memory from the first slice to the last, and what Redis was busy with at
most: its longest command, and the longest answer to a ping from another connection.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from redis import Redis

from rewarm.cli.server import Server
from rewarm.steps import NO_SEAL, Look, Put

BATCH = 2_000
WAIT = 600.0
"""Seconds for the whole sweep, at most."""
WORKER = [sys.executable, "-c", "import sweep_worker; sweep_worker.work()"]


class Pings:
    """The longest answer to a ping, in milliseconds, while the block runs."""

    def __init__(self, url: str) -> None:
        self.client, self.ended, self.longest = Redis.from_url(url), threading.Event(), 0.0
        self.thread = threading.Thread(target=self._ping)

    def _ping(self) -> None:
        while not self.ended.wait(0.002):
            began = time.perf_counter()
            self.client.ping()
            self.longest = max(self.longest, 1000 * (time.perf_counter() - began))

    def __enter__(self) -> Pings:
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.ended.set()
        self.thread.join()
        self.client.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    count = parser.parse_args().keys
    with Server() as server:
        os.environ["REWARM_SWEEP_URL"] = server.url
        sys.path.insert(0, str(Path(__file__).parent))
        from sweep_worker import HELD, MEMORY, WAITING, app, item, queue

        store, redis = app.runtime.store, queue.redis
        keys = [item.key(number % 10, number) for number in range(count)]
        for start in range(0, count, BATCH):
            store.run([Put(key, NO_SEAL, 3_600_000, 3_600_000, b'"v"', 0) for key in keys[start : start + BATCH]])
        print(f"{redis.dbsize():,} keys, of which {sum(':3,' in key for key in keys):,} are to be swept")

        redis.config_set("slowlog-log-slower-than", 1000)
        redis.config_set("slowlog-max-len", 10_000)
        redis.slowlog_reset()
        item.sweep(3)
        began, kills = time.monotonic(), 0
        with Pings(server.url) as pings:
            while (redis.llen(WAITING) or redis.llen(HELD)) and time.monotonic() - began < WAIT:
                worker = subprocess.Popen(WORKER, cwd=Path(__file__).parent)
                if kills < 2:
                    here = redis.llen(MEMORY)
                    while redis.llen(MEMORY) < here + count // 4000 and worker.poll() is None:
                        time.sleep(0.002)
                    kills += worker.poll() is None
                    worker.kill()
                if worker.wait() > 0:
                    raise SystemExit("the worker failed")
        seconds = time.monotonic() - began
        slow = max((entry["duration"] / 1000 for entry in redis.slowlog_get(10_000)), default=1.0)

        missed = touched = 0
        for start in range(0, count, BATCH):
            part = keys[start : start + BATCH]
            for key, (seen, _) in zip(part, store.run([Look(key) for key in part]), strict=True):
                stale, wanted = seen is not None and seen.soft == 0, ":3," in key
                missed, touched = missed + (wanted and not stale), touched + (stale and not wanted)
        memory = [line.split() for line in redis.lrange(MEMORY, 0, -1)]
        last = [int(kib) for pid, kib in memory if pid == memory[-1][0]]
        print(f"{len(memory):,} slices in {seconds:.1f} s, the worker killed {kills} times")
        print(f"missed: {missed:,}; touched by mistake: {touched:,}")
        first, final = last[0] / 1024, last[-1] / 1024
        print(f"memory of the last worker: {first:.1f} MiB after its first slice, {final:.1f} after its last")
        print(f"Redis: longest command {slow:.1f} ms, longest ping {pings.longest:.1f} ms")
        app.close()
    return int(bool(missed or touched or kills < 2))


if __name__ == "__main__":
    sys.exit(main())
