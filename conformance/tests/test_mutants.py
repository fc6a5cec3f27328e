"""The suite is proved: each rule has a mutant, and its check fails on it, with the expected sentence."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rewarm_conformance.mutants import mutants
from rewarm_conformance.mutants.matrix import row
from rewarm_conformance.rules import RULES
from rewarm_conformance.runner import run

MUTANTS = mutants()
MATRIX = json.loads((Path(__file__).parents[1] / "kill_matrix.json").read_text())
Result = tuple[dict[str, Any] | None, str]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Result]]]:
    """A run of each mutant that is asked for, two at a time: they wait more than they work."""
    wanted = {item.callspec.params["mutant"] for item in request.session.items if "results" in item.fixturenames}
    with ThreadPoolExecutor(2) as pool:
        yield {id: pool.submit(run, MUTANTS[id].testbed, [id], patience=0.2) for id in RULES if id in wanted}
        pool.shutdown(cancel_futures=True)


def test_every_rule_has_a_mutant() -> None:
    assert set(MUTANTS) == set(RULES)


@pytest.mark.parametrize("mutant", RULES)
def test_the_mutant_fails_its_own_check(mutant: str, results: dict[str, Future[Result]]) -> None:
    report, output = results[mutant].result()
    assert report is not None, output
    result = report["checks"][mutant]
    assert result["verdict"] == "fail", result
    assert re.search(MUTANTS[mutant].seen, result["seen"]), result["seen"]


def test_each_mutant_is_red_on_its_own_check_alone() -> None:
    expected = {id: [id] for id in RULES}
    expected["SMOKE-01"].insert(0, "DELIVER-01")  # the run's second process says so too, in its first check
    assert expected == MATRIX


@pytest.mark.skipif("REWARM_KILL_MATRIX" not in os.environ, reason="takes forty minutes: set REWARM_KILL_MATRIX")
@pytest.mark.parametrize("mutant", RULES)
def test_the_kill_matrix_is_current(mutant: str) -> None:
    assert row(mutant) == MATRIX[mutant]
