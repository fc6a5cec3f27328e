"""The quick part of `make prove`: the small scenarios hold, every mutant dies, and what the search rests on."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from proof.liveness import live_locals
from proof.mutants import MUTANTS, Mutant, hunt
from proof.process import Paused
from proof.roles import Case, Reader
from proof.scenarios import COLD, SCENARIOS, SEED, entry, scenario
from proof.search import Scenario, explore

from rewarm.steps import Grant, Verdict

QUICK = [each for each in SCENARIOS if each.fast]


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_a_scenario_holds(case: Scenario) -> None:
    result = explore(case)
    assert not result.violation, "\n".join([*result.trace, result.violation])


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_dies(mutant: Mutant) -> None:
    result = hunt(mutant)
    assert result.violation.startswith(mutant.dies), result.violation or f"alive after {result.states:,} states"
    assert result.trace


def test_every_rule_of_the_protocol_has_its_mutant() -> None:
    assert {str(number) for number in range(1, 23)} <= {mutant.name for mutant in MUTANTS}


def test_the_page_of_the_proof_names_every_rule() -> None:
    page = (Path(__file__).parents[2] / "docs" / "proof.md").read_text()
    rows = [f"| {each.name} | {each.rule} | {each.dies} | {each.scenario} |" for each in MUTANTS]
    assert [row for row in rows if row not in page] == []


def test_scenarios_have_names_of_their_own() -> None:
    assert len({each.name for each in SCENARIOS}) == len(SCENARIOS)


def test_the_number_of_states_is_exact() -> None:
    """One reader of nothing: look, steal, load, commit, and the end."""
    assert explore(scenario("one", [Reader(Case())], COLD)).states == 5


def test_a_number_that_cannot_be_reached_is_a_violation() -> None:
    assert explore(scenario("two", [Reader(Case())], COLD, loads=2)).violation.startswith("economy")


def test_what_a_flow_no_longer_reads_does_not_tell_its_states_apart() -> None:
    """Two readers have seen different entries of no use, and load under the same number."""
    first, grant = Paused(Reader(Case()), (), (), None, None, 0), Grant(Verdict.GO, 9, SEED)
    seen = [first.after((entry(p=0, n=n), ()), None, None, 0) for n in (3, 4)]
    assert seen[0].key != seen[1].key
    loading = [one.after(grant, None, None, 0) for one in seen]
    assert loading[0].key == loading[1].key


@pytest.mark.parametrize("name", ["cold", "stale, tasks", "fresh, turning stale", "set", "queued on a miss"])
def test_with_every_local_counted_the_same_ends_are_reached(name: str) -> None:
    case = next(each for each in SCENARIOS if each.name == name)
    fewer = explore(case)
    with patch("proof.process.live_locals", lambda code, at: (*code.co_varnames, *code.co_cellvars)):
        more = explore(case)
    assert (more.rests, more.violation) == (fewer.rests, "")
    assert more.states >= fewer.states


def test_what_waits_on_the_evaluation_stack_counts() -> None:
    def flow(one: int, two: int, three: int) -> Generator[int, int, int]:
        one += yield two
        return one

    assert live_locals(flow.__code__, _yield_of(flow)) == ("one", "two")


def test_the_variable_of_a_loop_counts() -> None:
    def flow() -> object:
        for _ in range(3):
            yield 1

    assert live_locals(flow.__code__, _yield_of(flow)) == ("_",)


def _yield_of(flow: Any) -> Any:
    running = flow(*[0] * flow.__code__.co_argcount)
    running.send(None)
    return running.gi_frame.f_lasti
