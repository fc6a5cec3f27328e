"""`make chaos`: a table, fault by cell. Exit status 1 if anything was lost or wrong, or a fault could not be made."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rewarm_conformance.probe import locate
from rewarm_conformance.runner import cells

from . import page
from .cell import Found
from .faults import FAULTS

ROOT = Path(__file__).parents[1]
CELLS = (
    "celery-rescue", "celery-rabbitmq", "dramatiq-redis", "dramatiq-rabbitmq", "rq-redis", "djangoq-orm",
    "djangoq-rescue", "huey-ack", "huey-rescue",
)  # fmt: skip
"""The durable ones: each adapter on each of its brokers, or with rescue."""
LIMIT = 180.0
"""Seconds that one fault may take on a quiet machine."""


def crowded() -> float:
    """How many times slower than alone this machine may be now."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def run(cell: str, fault: str, seed: int) -> Found | str:
    """One fault, in a process of its own -> what came of it, or why it could not be made."""
    patience = float(os.environ.get("REWARM_PATIENCE", crowded()))
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos.cell", cell, fault, str(seed)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "REWARM_PATIENCE": str(patience)},
    )  # fmt: skip
    try:
        out, said = process.communicate(timeout=LIMIT * patience)
    except subprocess.TimeoutExpired:
        process.terminate()
        out, said = process.communicate()
        said += f"\nnot over after {LIMIT * patience:g} s"
    return f"{cell} {fault}: {said[-3000:]}" if process.returncode else Found(**json.loads(out.splitlines()[-1]))


def work(pairs: Sequence[tuple[str, str]], seed: int, jobs: int, results: Path | None) -> page.Table:
    """Make faults, so many at a time, say how each went, and keep it."""
    table: page.Table = {}
    with ThreadPoolExecutor(jobs) as crew:
        futures = {crew.submit(run, cell, fault, seed): (cell, fault) for cell, fault in pairs}
        for number, future in enumerate(as_completed(futures), 1):
            cell, fault = futures[future]
            found = table[fault, cell] = future.result()
            print(f"{number:4}/{len(pairs)}  {fault:20} {cell:18} {page.verdict(found)}", flush=True)
            for problem in page.problems(found):
                print(f"           {problem}", flush=True)
            if results:
                page.keep(results, fault, cell, seed, found)
    return table


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    options.add_argument("--seed", type=int, default=random.randrange(10**6))
    options.add_argument(
        "--cell", action="append", choices=cells(), help="may be repeated; by default all durable ones"
    )
    options.add_argument("--fault", action="append", choices=FAULTS, help="may be repeated; by default all")
    options.add_argument("--jobs", type=int, default=4, help="faults at a time: most of one is waiting")
    options.add_argument("--results", type=Path, help="keep what came of each here, beside what earlier runs kept")
    options.add_argument("--markdown", type=Path, help="write the page of the documentation here, from --results")
    asked = options.parse_args()
    chosen = asked.cell or list(CELLS)
    testbeds = {cell: locate(cells()[cell]) for cell in chosen}
    pairs = [
        (cell, name)
        for name in asked.fault or FAULTS
        for cell, testbed in testbeds.items()
        if FAULTS[name].applies(testbed)
    ]
    print(f"seed {asked.seed}; {len(pairs)} faults, {asked.jobs} at a time\n", flush=True)
    table = work(pairs, asked.seed, asked.jobs, asked.results)
    print("\n" + page.plain(table, chosen))
    if asked.results and asked.markdown:
        asked.markdown.write_text(page.markdown(page.kept(asked.results), CELLS))
    return any(page.problems(found) for found in table.values())


if __name__ == "__main__":
    sys.exit(main())
