"""The hot path: one fresh read of a dict of about 1 KB on Redis, against a raw GET and against peers.

Every case runs in short blocks, each between two blocks of raw redis-py GETs of the same value; its figure is the
median over the rounds of block / mean of its two neighbours. So a noisy neighbour hits both, and ratios are the claim.

    python benchmarks/run.py [--rounds 15] [--calls 1000] [--json]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import redis

from rewarm import Rewarm
from rewarm.cli.server import Server

VALUE = {
    "id": 1815, "name": "Ada Lovelace", "active": True, "score": 36.5, "tags": ["analysis", "engine", "notes"],
    "items": [{"n": n, "text": "the engine weaves algebraic patterns"[: 20 + n % 16]} for n in range(17)],
}  # fmt: skip
Case = Callable[[], Any]


def rewarm_cases(url: str) -> Iterator[tuple[str, Case]]:
    app = Rewarm("bench", store=url)

    def load(username: str, limit: int = 20) -> dict[str, Any]:
        return VALUE

    plain = app.job(ttl=900, name="plain")(load)
    tagged = app.job(ttl=900, name="tagged", tags=["user:{username}", "limit:{limit}"])(load)
    yield "rewarm", lambda: plain("ada")
    yield "rewarm, 2 tags", lambda: tagged("ada")
    yield "rewarm, read() with state", lambda: plain.read("ada").value


def dogpile_cases(url: str) -> Iterator[tuple[str, Case]]:
    from dogpile.cache import make_region

    region = make_region().configure("dogpile.cache.redis", expiration_time=900, arguments={"url": url})
    load = region.cache_on_arguments()(lambda username, limit=20: VALUE)
    yield "dogpile.cache", lambda: load("ada")


def django_cases(url: str) -> Iterator[tuple[str, Case]]:
    import django
    from django.conf import settings

    backend = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}
    queues = {"default": {"URL": url}}  # cacheback imports its task for django-rq wherever that is installed
    settings.configure(CACHES={"default": backend}, INSTALLED_APPS=["cacheback"], RQ_QUEUES=queues)
    django.setup()
    from cacheback.base import Job
    from django.core.cache import cache

    class Tweets(Job):  # type: ignore[misc]
        lifetime = 900

        def fetch(self, username: str) -> dict[str, Any]:
            return VALUE

    cache.set("ada", VALUE, 900)
    job = Tweets()
    yield "Django RedisCache.get", lambda: cache.get("ada")
    yield "cacheback Job.get", lambda: job.get("ada")


@contextmanager
def quiet() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def block(case: Case, calls: int) -> float:
    """Seconds a call."""
    began = time.perf_counter()
    for _ in range(calls):
        case()
    return (time.perf_counter() - began) / calls


def measure(raw: Case, cases: dict[str, Case], rounds: int, calls: int) -> dict[str, dict[str, float]]:
    ratios: dict[str, list[float]] = {name: [] for name in cases}
    micros: dict[str, list[float]] = {name: [] for name in cases}
    with quiet():
        for turn in range(rounds):
            names = list(cases) if turn % 2 else list(reversed(cases))
            before = block(raw, calls)
            for name in names:
                seconds = block(cases[name], calls)
                after = block(raw, calls)
                ratios[name].append(2 * seconds / (before + after))
                micros[name].append(seconds * 1e6)
                before = after
    return {
        name: {
            "ratio": round(statistics.median(ratios[name]), 3),
            "lowest": round(min(ratios[name]), 3),
            "highest": round(max(ratios[name]), 3),
            "microseconds": round(statistics.median(micros[name]), 1),
        }
        for name in cases
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args()
    with Server() as server:
        client = redis.Redis.from_url(server.url)
        client.set("raw", json.dumps(VALUE, separators=(",", ":")))
        cases: dict[str, Case] = {"raw GET (again)": lambda: client.get("raw")}
        for peer in (rewarm_cases, dogpile_cases, django_cases):
            cases |= dict(peer(server.url))
        cases["raw GET + json.loads"] = lambda: json.loads(client.get("raw"))  # type: ignore[arg-type]
        for name, case in cases.items():
            assert name.startswith("raw GET (") or case() == VALUE, f"{name} returns a wrong value"
            block(case, 300)
        found = measure(lambda: client.get("raw"), cases, options.rounds, options.calls)
        client.close()
    packages = ("redis", "hiredis", "dogpile.cache", "django", "django-cacheback")
    report = {
        "bytes": len(json.dumps(VALUE, separators=(",", ":"))),
        "versions": {name: version(name) for name in packages},
        "cases": found,
    }
    if options.json:
        print(json.dumps(report, indent=2))
        return
    print(f"fresh read of {report['bytes']} bytes, x raw GET: median [lowest..highest] of {options.rounds} rounds\n")
    for name, figures in sorted(found.items(), key=lambda item: item[1]["ratio"]):
        spread = f"[{figures['lowest']:.2f}..{figures['highest']:.2f}]"
        print(f"{name:<28} {figures['ratio']:5.2f}  {spread:<14} {figures['microseconds']:7.1f} us")


if __name__ == "__main__":
    main()
