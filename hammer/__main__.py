"""`make hammer`: one table. Exit status 1 if Rewarm served anything wrong, or if the hand-written cache did not."""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from .caches import MODULES

CELLS = [
    *(("rewarm", store, "threads") for store in ("memory", "redis", "cluster")),
    *(("rewarm", "redis", queue) for queue in ("celery", "dramatiq", "rq", "djangoq", "huey")),
    ("rewarm", "cluster", "celery"),
    *((cache, store, "") for cache in ("hand-written", *MODULES) for store in ("memory", "redis")),
]
NUMBERS = ("reads", "hits", "writes", "loads", "wasted", "violations")


def run(cache: str, store: str, queue: str, seconds: float, seed: int) -> dict[str, Any]:
    """One cell. Raises RuntimeError with what it said if it fails."""
    words = [cache, store, queue or "threads", str(seconds), str(seed)]
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-m", "hammer.cell", *words], capture_output=True, text=True, cwd=root)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m hammer", description=__doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="of traffic in each cell")
    options.add_argument("--seed", type=int, default=random.randrange(10**6))
    options.add_argument("--only", default="", help="cells whose names contain this")
    asked = options.parse_args()
    print(f"seed {asked.seed}; {asked.seconds:g} s of traffic in each cell\n")
    print(f"{'cache':18} {'store':8} {'queue':9}" + "".join(f"{name:>11}" for name in NUMBERS), flush=True)
    ours = naive = 0
    for cell in CELLS:
        cache, store, queue = cell
        if asked.only not in " ".join(cell):
            continue
        if cache in MODULES and not importlib.util.find_spec(MODULES[cache]):
            print(f"{cache:18} {store:8} not installed: run it with --group bench")
            continue
        found = run(*cell, asked.seconds, asked.seed)
        print(f"{cache:18} {store:8} {queue:9}" + "".join(f"{found[name]:11,}" for name in NUMBERS), flush=True)
        ours += found["violations"] if cache == "rewarm" else 0
        naive += found["violations"] if cache == "hand-written" else 0
    print(
        "\nwasted: loads beyond one for each key and one for each invalidation of a key.\n"
        "violations: answers older than an invalidation that had completed before the read began, and not marked stale."
    )
    if ours:
        print(f"Rewarm served {ours} wrong answers.")
    if not naive and not asked.only:
        print("The hand-written cache was never wrong: the hammer is too weak.")
    return bool(ours or (not naive and not asked.only))


if __name__ == "__main__":
    sys.exit(main())
