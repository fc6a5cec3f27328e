"""The ledger after very many tasks: `python benchmarks/ledger.py [--tasks 1000000]`.

The steps of as many refreshes as a worker sends them, one in ten of which retries once; twice as many dead letters and
one journal entry more than are kept. Printed: what Redis holds and for how long.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from redis import Redis

from rewarm.burial import ERROR, LETTERS
from rewarm.cli.server import Server
from rewarm.sending import JOURNALED
from rewarm.stores.base import Backlog, Bury, Enter, Letters, Resolve, Settle, Start, Strike
from rewarm.stores.redis import RedisStore
from rewarm.task import Task
from rewarm.worker import DELIVERIES, KEEP, KEEP_REFRESH

BATCH = 500


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    count = parser.parse_args().tasks
    with Server() as server:
        store, redis = RedisStore(server.url), Redis.from_url(server.url)
        empty = used(redis)
        for start in range(0, count, BATCH):
            steps: list[Any] = []
            for number in range(start, start + BATCH):
                record = f"shop::task:{number:032x}"
                if number % 10 == 0:
                    steps += [Start(record, 1, 0, DELIVERIES, KEEP), Settle(record, "retried", "x" * 200, KEEP)]
                attempt = 2 if number % 10 == 0 else 1
                steps += [
                    Start(record, attempt, 0, DELIVERIES, KEEP), Settle(record, "done", "", KEEP_REFRESH),
                    Strike("shop::journal", f"{number:032x}"), Resolve("shop::dead", f"shop:item:{number},"),
                ]  # fmt: skip
            store.run(steps)
        records = used(redis) - empty
        longest = max(redis.pttl(f"shop::task:{number:032x}") for number in range(0, count, max(1, count // 1000)))
        print(f"{count:,} refreshes ended: {records / count:.0f} bytes each, gone after {longest / 1000:.0f} s at most")

        payload = Task(
            id="f" * 32, app="shop", kind="refresh", job="item", args=[1], key="shop:item:1,", born="0" * 16, q=1
        )
        letter = json.dumps({"id": "x", "errors": ["x" * (ERROR // 2)], "payload": payload.dumps()})
        before, dropped = used(redis), 0
        for start in range(0, 2 * LETTERS, BATCH):
            steps = [
                Bury("shop::dead", f"{n:032x}", f"shop:item:{n},", letter, LETTERS) for n in range(start, start + BATCH)
            ]
            dropped += sum(store.run(steps))
        (letters,) = store.run([Letters("shop::dead")])
        size = (used(redis) - before) / 2**20
        print(f"{2 * LETTERS:,} dead letters: {len(letters):,} kept, {dropped:,} dropped, {size:.0f} MiB")

        before, taken = used(redis), 0
        for start in range(0, JOURNALED + BATCH, BATCH):
            names = range(start, start + BATCH)
            steps = [Enter("shop::journal", f"{n:032x}", payload.dumps(), KEEP, JOURNALED) for n in names]
            taken += sum(store.run(steps))
        (backlog,) = store.run([Backlog("shop::journal")])
        print(f"{JOURNALED + BATCH:,} journal entries: {backlog:,} kept, {(used(redis) - before) / 2**20:.0f} MiB")
        store.close()
    return int(not (len(letters) == LETTERS and taken == backlog == JOURNALED and longest <= KEEP_REFRESH))


def used(redis: Any) -> int:
    return int(redis.info("memory")["used_memory"])


if __name__ == "__main__":
    sys.exit(main())
