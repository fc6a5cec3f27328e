"""`make prove`: explore every scenario, then show how each mutant dies. Exit status 1 if one lives, or if one fails."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time

from .mutants import MUTANTS, hunt
from .scenarios import SCENARIOS
from .search import FAULTS, Result, explore

LEAST = {False: 500_000, True: 2_000_000}
"""States below which the scenarios have shrunk too much."""


def job(number: int) -> Result:
    """One scenario or one mutant, in a process of its own."""
    return explore(SCENARIOS[number]) if number >= 0 else hunt(MUTANTS[-1 - number])


def main() -> int:
    nightly, began = bool(os.environ.get("NIGHTLY")), time.monotonic()
    chosen = [i for i, scenario in enumerate(SCENARIOS) if nightly or not scenario.nightly]
    numbers = [*sorted(chosen, key=lambda i: -SCENARIOS[i].weight), *(-1 - i for i in range(len(MUTANTS)))]
    with multiprocessing.Pool(2, maxtasksperchild=1 if nightly else None) as pool:
        results = dict(zip(numbers, pool.imap(job, numbers), strict=True))
    bad = 0
    print("Every interleaving of the production flows within these bounds.\n")
    print(f"{'scenario':42} {'states':>10} {'ends':>6} {'loads':>5} {'CPU s':>6}  takes part")
    for i in chosen:
        result, scenario = results[i], SCENARIOS[i]
        loads = str(result.loads) if scenario.loads is not None else ""
        numbers_of = f"{result.states:10,} {result.rests:6,} {loads:>5} {result.seconds:6.1f}"
        print(f"{scenario.name:42} {numbers_of}  {scenario.bounds()}")
        bad += tell(result) if result.violation else 0
    states = sum(results[i].states for i in chosen)
    print(f"\n{len(chosen)} scenarios, {states:,} states: {bad or 'no'} violation{'s' * (bad != 1)}.")
    print(f"Faults: {'; '.join(f'{name}: {what}' for name, what in FAULTS.items())}.\n")
    print("One rule left out at a time, and the shortest trace that shows why it is there.\n")
    alive = 0
    for i, mutant in enumerate(MUTANTS):
        result = results[-1 - i]
        dead = result.violation.startswith(mutant.dies)
        alive += not dead
        print(f'{"dead " if dead else "ALIVE"} {mutant.name}: without "{mutant.rule}" ({mutant.scenario})')
        tell(result)
    seconds = time.monotonic() - began
    worked = sum(result.seconds for result in results.values())
    print(f"\n{len(MUTANTS)} mutants, {alive or 'none'} alive.")
    print(f"{states:,} states: {worked:.0f} s of processor time, {seconds:.0f} s.")
    if states < LEAST[nightly]:
        print(f"Fewer states than {LEAST[nightly]:,}: the scenarios have shrunk.")
    return bool(bad or alive or states < LEAST[nightly])


def tell(result: Result) -> int:
    print(f"      {' · '.join(result.trace)}\n      → {result.violation}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
