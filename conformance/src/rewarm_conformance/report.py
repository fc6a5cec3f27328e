"""Reports: the JSON of one run, and from any number of them a matrix (Markdown, HTML) and badges (SVG). No network.

`python -m rewarm_conformance.report reports/*.json --markdown FILE --html FILE --badges DIRECTORY`
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from .rules import PROFILES, RULES
from .verdicts import Verdict, profiles

SCHEMA = 1
GLYPHS = {
    Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.KNOWN: "!", Verdict.UNSUPPORTED: "–", Verdict.UNDECLARED: "✗",
    Verdict.UNTESTED: "○", Verdict.ERROR: "✗",
}  # fmt: skip
MEANINGS = {
    Verdict.PASS: "held",
    Verdict.FAIL: "did not hold, and the adapter claims it",
    Verdict.KNOWN: "a known failure, with an issue; or a window of the queue's own, which luck may miss",
    Verdict.UNSUPPORTED: "not declared; ran, and did not hold, or held by luck in such a window",
    Verdict.UNDECLARED: "not declared; ran, and held",
    Verdict.UNTESTED: "the testbed lacks the control, a server is missing, or no ping ran",
    Verdict.ERROR: "suite or testbed broke",
}
RESULTS = {"conformant": "✓", "partial": "○", "failed": "✗"}
FIELDS: Mapping[str, type] = {
    "schema": int, "name": str, "testbed": str, "adapter": str, "distribution": str, "broker": str,
    "capabilities": list, "versions": dict, "profiles": dict, "checks": dict,
}  # fmt: skip
FOLDERS = re.compile(r"(?<![\w./:…-])/(?:[\w.@+-]+/)+")
"""The folders of an absolute path; not what follows the host of an address."""
COLOURS = {"conformant": "#1a7f4b", "partial": "#9a6700", "failed": "#c9302c"}


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
            terminalreporter.line(f"{name:<8} {told['result']:<11} {counts or 'none ran'} of {told['checks']}")


def dumps(cell: Mapping[str, Any] | None, checks: Mapping[str, Mapping[str, Any]]) -> str:
    """A report as JSON: sorted, without time stamps, and of a path only its last part."""
    verdicts = {id: result["verdict"] for id, result in checks.items()}
    report = {"schema": SCHEMA, **(cell or {}), "profiles": profiles(verdicts), "checks": checks}
    return FOLDERS.sub("…/", json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False)) + "\n"


def loads(text: str) -> dict[str, Any]:
    """A report. Raises ValueError if it is not one, or of another schema."""
    report = json.loads(text)
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise ValueError(f"not a report of schema {SCHEMA}")
    for name, kind in FIELDS.items():
        if not isinstance(report.get(name), kind):
            raise ValueError(f"a report needs {name!r} as {kind.__name__}")
    for id, result in report["checks"].items():
        if result.get("verdict") not in list(Verdict) or not isinstance(result.get("seconds"), int | float):
            raise ValueError(f"{id} needs a verdict and its seconds")
    return report


def best(report: Mapping[str, Any]) -> str:
    """The widest profile that is conformant; "" if none is."""
    reached = [name for name in PROFILES if report["profiles"][name]["result"] == "conformant"]
    return reached[-1] if reached else ""


def badge(report: Mapping[str, Any]) -> str:
    """An SVG badge with the widest profile that is conformant."""
    failed = report["profiles"]["full"]["result"] == "failed"
    message = best(report) or ("failed" if failed else "partial")
    colour = COLOURS["conformant" if best(report) else message]
    return _render("badge.svg", label="rewarm", message=message, colour=colour)


def markdown(reports: Sequence[Mapping[str, Any]]) -> str:
    """The matrix as Markdown. A blank cell: nothing is known."""
    return _render("matrix.md", **_context(reports))


def html(reports: Sequence[Mapping[str, Any]]) -> str:
    """The matrix as one page that needs nothing else."""
    return _render("matrix.html", **_context(reports))


def _context(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ordered = sorted(reports, key=lambda report: str(report["name"]))
    groups: dict[str, list[Any]] = {}
    for rule in RULES.values():
        groups.setdefault(rule.id.partition("-")[0], []).append(rule)
    queues: dict[str, list[Any]] = {}
    for report in ordered:
        queues.setdefault(str(report["name"]).partition("-")[0], []).append(report)
    return {
        "reports": ordered, "groups": groups, "queues": queues, "glyphs": GLYPHS, "meanings": MEANINGS,
        "profiles": PROFILES, "results": RESULTS, "count": len(RULES),
    }  # fmt: skip


def _render(name: str, **context: Any) -> str:
    environment = Environment(
        loader=PackageLoader("rewarm_conformance"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        autoescape=not name.endswith(".md"), keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["code"] = _code
    return str(environment.get_template(name).render(context))


def _code(text: str) -> Markup:
    """Markdown's backticks as HTML."""
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", str(escape(text))))


def read(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """The reports in these files. Raises ValueError, naming the file."""
    found = []
    for path in paths:
        try:
            found.append(loads(path.read_text()))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return found


def main(argv: list[str] | None = None) -> int:
    """Render reports. With `--check`, write nothing and say whether the files are current."""
    parser = argparse.ArgumentParser("rewarm_conformance.report", description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--html", type=Path)
    parser.add_argument("--badges", type=Path)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args(argv)
    reports = read(given.reports)
    files = {given.markdown: markdown(reports), given.html: html(reports)}
    if given.badges:
        files |= {given.badges / f"{report['name']}.svg": badge(report) for report in reports}
    files.pop(None, None)
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    for path in [] if given.check else stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    if given.check and stale:
        print(f"stale, run `make conformance`: {', '.join(map(str, stale))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
