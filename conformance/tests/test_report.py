"""Reports: what is accepted, and what is made of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from rewarm_conformance import report
from rewarm_conformance.rules import RULES

CELL = {
    "name": "celery-redis", "testbed": "t:T", "adapter": "celery", "distribution": "rewarm-celery",
    "broker": "valkey 9", "capabilities": ["delay"], "versions": {"celery": "5.7.0"},
}  # fmt: skip


def made(**changed: Any) -> dict[str, Any]:
    checks = {id: {"verdict": "pass", "seconds": 0.5} for id in RULES}
    return report.loads(report.dumps(CELL, {**checks, **changed}))


def test_there_and_back() -> None:
    text = report.dumps(CELL, {"SMOKE-01": {"verdict": "pass", "seconds": 1.0}})
    assert report.loads(text)["profiles"]["core"]["result"] == "partial"
    assert report.dumps(CELL, {"SMOKE-01": {"seconds": 1.0, "verdict": "pass"}}) == text


@pytest.mark.parametrize(
    "change", [{"schema": 2}, {"name": None}, {"checks": {"A": {"verdict": "fine", "seconds": 1}}}, {"versions": []}]
)
def test_what_is_no_report_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"report|verdict"):
        report.loads(json.dumps({**json.loads(report.dumps(CELL, {})), **change}))


def test_markdown_leaves_unknown_cells_blank() -> None:
    other = {**made(), "name": "huey-redis", "checks": {"SMOKE-01": {"verdict": "unsupported", "seconds": 0.1}}}
    rows = report.markdown([other, made()]).splitlines()
    assert next(row for row in rows if "SMOKE-01" in row).endswith("| ✓ | – |")
    assert next(row for row in rows if "LOAD-01" in row).endswith("| ✓ |  |")


def test_html_holds_the_evidence_and_escapes_it() -> None:
    page = report.html([made(**{"RETRY-02": {"verdict": "fail", "seconds": 2.0, "seen": "<b>0.98 s</b> too early"}})])
    assert "&lt;b&gt;0.98 s&lt;/b&gt; too early" in page
    assert page.count("popover id=") == len(RULES)


def test_html_needs_nothing_else_and_links_to_issues_only() -> None:
    known = {"verdict": "known-fail", "seconds": 1.0, "issue": "https://example.org/1"}
    page = report.html([made(**{"LOAD-01": known, "LOAD-02": {**known, "issue": "javascript:alert(1)"}})])
    assert not re.search(r"<(script|link|img|iframe)|@import|url\(| src=", page)
    assert set(re.findall(r'href="([^#"]+)"', page)) == {"https://example.org/1"}


def test_a_report_holds_no_folders_of_the_machine() -> None:
    seen = "no such file: '/tmp/lab-x1/files/db.sqlite'; see https://example.org/a/b/c and a/relative/one"
    told = report.loads(report.dumps(CELL, {"SMOKE-01": {"verdict": "error", "seconds": 1.0, "seen": seen}}))
    assert told["checks"]["SMOKE-01"]["seen"] == (
        "no such file: '…/db.sqlite'; see https://example.org/a/b/c and a/relative/one"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "full"),
        ({"LOAD-01": {"verdict": "unsupported", "seconds": 1.0}}, "durable"),
        ({"CRASH-01": {"verdict": "unsupported", "seconds": 1.0}}, "core"),
        ({"APP-01": {"verdict": "untested", "seconds": 1.0}}, "partial"),
        ({"APP-01": {"verdict": "fail", "seconds": 1.0}}, "failed"),
    ],
)
def test_badge(changed: dict[str, Any], message: str) -> None:
    image = ElementTree.fromstring(report.badge(made(**changed)))
    assert image.attrib["aria-label"] == f"rewarm: {message}"


def test_check_says_what_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "a.json", tmp_path / "docs" / "matrix.md"
    source.write_text(report.dumps(CELL, {}))
    arguments = [str(source), "--markdown", str(target), "--badges", str(tmp_path)]
    assert report.main([*arguments, "--check"]) == 1
    assert "matrix.md" in capsys.readouterr().err
    assert report.main(arguments) == 0
    assert report.main([*arguments, "--check"]) == 0
    assert (tmp_path / "celery-redis.svg").exists()
