"""The matrix: cells keep their names, are held to their profile, and the pages are those of the reports."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rewarm_conformance import report
from rewarm_conformance.rules import PROFILES, RULES
from rewarm_conformance.runner import cells, run

ROOT = Path(__file__).parents[2]
matrix = SimpleNamespace(**runpy.run_path(str(ROOT / "tools/matrix.py")))


def made(**verdicts: str) -> dict[str, Any]:
    """A report in which all passed but these."""
    checks = {id: {"verdict": verdicts.get(id.replace("-", "_"), "pass"), "seconds": 0.1} for id in RULES}
    return json.loads(report.dumps({"name": "a-b"}, checks))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("profile", "verdicts", "told"),
    [
        ("full", {}, []),
        ("full", {"ORDER_01": "unsupported"}, ["full is declared, and is partial"]),
        ("durable", {"ORDER_01": "unsupported"}, []),
        ("core", {"CRASH_01": "known-fail"}, []),
        ("core", {"CRASH_01": "fail"}, ["CRASH-01 is fail: "]),
        ("partial", {"APP_01": "unsupported"}, []),
        ("partial", {"APP_01": "undeclared"}, ["APP-01 is undeclared: "]),
    ],
)
def test_a_cell_is_held_to_its_profile(profile: str, verdicts: dict[str, str], told: list[str]) -> None:
    assert list(matrix.unlike(made(**verdicts), profile)) == told


def test_what_a_report_says_of_its_profiles_is_not_trusted() -> None:
    partial = {**made(ORDER_01="untested"), "profiles": made()["profiles"]}
    assert list(matrix.unlike(partial, "full")) == ["full is declared, and is partial"]


def test_a_report_keeps_the_name_of_its_cell() -> None:
    found, output = run("rewarm_conformance.reference:ReferenceTestbed", ["DELIVER-03"], ["--rewarm-name", "a-cell"])
    assert found is not None, output
    assert found["name"] == "a-cell"
    assert found["testbed"] == "rewarm_conformance.reference:ReferenceTestbed"
    name = next(iter(matrix.CELLS))
    argv = matrix.suite(name, Path("report.json"))
    assert argv[argv.index("--rewarm-name") + 1] == name


def test_every_testbed_has_a_cell_and_every_adapter_one_of_its_lowest_versions() -> None:
    assert {matrix.testbed(cell) for cell in matrix.CELLS.values()} == {*cells().values()}
    packages = {matrix.CELLS[name]["package"] for name in matrix.NEWEST} - {"rewarm-conformance"}
    assert {path.name.replace("adapter", "rewarm") for path in (ROOT / "packages").glob("adapter-*")} < packages
    assert {matrix.CELLS[name]["package"] for name in matrix.LOWEST} == packages
    assert all(cell["profile"] in ("partial", *PROFILES) for cell in matrix.CELLS.values())


def test_a_python_that_is_not_there_skips_unless_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    name = matrix.NEWEST[0]
    monkeypatch.setitem(matrix.CELLS, name, {**matrix.CELLS[name], "python": "3.99"})
    monkeypatch.setenv("REWARM_REQUIRE_SERVICES", "redis")
    assert matrix.run(name)[0]
    monkeypatch.setenv("REWARM_REQUIRE_SERVICES", "redis python")
    assert not matrix.run(name)[0]
