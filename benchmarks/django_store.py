"""Rewarm on Django's cache framework against its own Redis store, on one server.

Each case runs in short blocks between two blocks of the same operation on the Redis store; its figure is the median
over the rounds of block / mean of its two neighbours. Ratios are the claim.

    python benchmarks/django_store.py [--rounds 15] [--calls 300] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

from run import VALUE, block, quiet

from rewarm import Rewarm
from rewarm.cli.server import Server
from rewarm.stores.redis import RedisStore

PACKAGE = "django.core.cache.backends"


def operations(store: Any) -> dict[str, Callable[[], Any]]:
    app = Rewarm("bench", store=store, adapter="inline")
    job = app.job(ttl=900, name="job", tags=["user:{username}"])(lambda username: VALUE)
    assert job("ada") == VALUE

    def miss() -> None:
        job.delete("bob")
        job("bob")

    def refresh() -> None:
        job.reload("ada")

    return {
        "fresh read": lambda: job("ada"),
        "delete, then a miss": miss,
        "reload": refresh,
        "invalidate": lambda: job.invalidate("eve"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        from django.conf import settings

        settings.configure(
            CACHES={
                "default": {"BACKEND": f"{PACKAGE}.redis.RedisCache", "LOCATION": server.url},
                "locmem": {"BACKEND": f"{PACKAGE}.locmem.LocMemCache"},
                "file": {"BACKEND": f"{PACKAGE}.filebased.FileBasedCache", "LOCATION": folder},
            }
        )
        from rewarm_django.store import CacheStore

        direct = operations(RedisStore(server.url))
        others = {name: operations(CacheStore(alias)) for name, alias in
                  {"Redis": "default", "LocMem": "locmem", "file": "file"}.items()}  # fmt: skip
        ratios: dict[str, dict[str, list[float]]] = {name: {case: [] for case in direct} for name in others}
        with quiet():
            for turn in range(options.rounds):
                for case, base in direct.items():
                    names = list(others) if turn % 2 else list(reversed(others))
                    before = block(base, options.calls)
                    for name in names:
                        seconds = block(others[name][case], options.calls)
                        after = block(base, options.calls)
                        ratios[name][case].append(2 * seconds / (before + after))
                        before = after
    found = {
        name: {case: round(statistics.median(some), 2) for case, some in cases.items()}
        for name, cases in ratios.items()
    }
    if options.json:
        print(json.dumps(found))
        return
    print(f"x the Redis store, median of {options.rounds} rounds\n")
    for name, cases in found.items():
        print(f"{name:<8}" + "   ".join(f"{case} {ratio:.2f}" for case, ratio in cases.items()))


if __name__ == "__main__":
    main()
