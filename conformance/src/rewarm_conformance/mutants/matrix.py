"""The kill matrix: which checks are red on which mutant. `python -m rewarm_conformance.mutants.matrix FILE` makes it.

Each mutant meets the checks of the core profile, which show how far its fault reaches, and its own. Takes about
forty minutes. With ids after the file, only the rows of these are made again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ..rules import CORE
from ..runner import run
from ..verdicts import RED
from . import mutants

PATIENCE = 0.3  # less, and a busy machine looks like a broken rule


def row(id: str) -> list[str]:
    """The checks that are red on the mutant of a rule. Raises RuntimeError without a report."""
    checks = {id, *(rule.id for rule in CORE)}
    report, output = run(mutants()[id].testbed, sorted(checks), ["-n", "2"], patience=PATIENCE)
    if report is None:
        raise RuntimeError(output)
    return sorted(check for check, result in report["checks"].items() if result["verdict"] in RED)


def main(argv: Sequence[str]) -> None:
    path, ids = Path(argv[0]), argv[1:] or list(mutants())
    rows: dict[str, list[str]] = json.loads(path.read_text()) if path.exists() else {}
    for id in ids:
        rows[id] = row(id)
        path.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
        print(f"{id:<11} {' '.join(rows[id])}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
