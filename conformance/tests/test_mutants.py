"""The suite is proved: each rule has a mutant, and its check fails on it, with the expected sentence."""

from __future__ import annotations

import re

import pytest
from rewarm_conformance.mutants import mutants
from rewarm_conformance.rules import RULES
from rewarm_conformance.runner import run

MUTANTS = mutants()


def test_every_rule_has_a_mutant() -> None:
    assert set(MUTANTS) == set(RULES)


@pytest.mark.parametrize("id", RULES)
def test_the_mutant_fails_its_own_check(id: str) -> None:
    mutant = MUTANTS[id]
    report, output = run(mutant.testbed, [id], patience=0.2)
    assert report is not None, output
    result = report["checks"][id]
    assert result["verdict"] == "fail", result
    assert re.search(mutant.seen, result["seen"]), result["seen"]
