"""Reports: JSON of one run, and from any number of them a matrix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .verdicts import profiles

SCHEMA = 1


class Collector:
    """Gathers verdicts on the controller: they travel inside test reports."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.checks: dict[str, dict[str, Any]] = {}
        self.cell: dict[str, Any] | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == "rewarm":
                id, result, cell = json.loads(str(value))
                self.checks[id] = result
                self.cell = cell or self.cell

    def pytest_sessionfinish(self) -> None:
        path = self.config.option.rewarm_report
        if path and not hasattr(self.config, "workerinput"):
            Path(path).write_text(dumps(self.cell, self.checks))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.checks:
            return
        found = profiles({id: result["verdict"] for id, result in self.checks.items()})
        terminalreporter.section("rewarm conformance")
        for name, told in found.items():
            counts = ", ".join(f"{value} {key}" for key, value in told.items() if key not in ("result", "checks"))
            terminalreporter.line(f"{name:<8} {told['result']:<11} {counts} of {told['checks']}")


def dumps(cell: dict[str, Any] | None, checks: dict[str, dict[str, Any]]) -> str:
    """A report as JSON: sorted, without time stamps and paths."""
    verdicts = {id: result["verdict"] for id, result in checks.items()}
    report = {"schema": SCHEMA, **(cell or {}), "profiles": profiles(verdicts), "checks": checks}
    return json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
