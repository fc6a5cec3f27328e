"""What a check's end means, and what a profile comes to."""

from __future__ import annotations

import pytest

from rewarm_conformance.rules import RULES, in_profile
from rewarm_conformance.verdicts import Verdict, profile_result, profiles, verdict


@pytest.mark.parametrize(
    ("end", "how", "expected"),
    [
        ("held", {"declared": True}, "pass"),
        ("broke", {"declared": True}, "fail"),
        ("broke", {"declared": False}, "unsupported"),
        ("held", {"declared": False}, "undeclared"),
        ("broke", {"declared": True, "known": True}, "known-fail"),
        ("held", {"declared": True, "known": True}, "fail"),
        ("held", {"declared": True, "window": True}, "known-fail"),
        ("broke", {"declared": True, "window": True}, "known-fail"),
        ("held", {"declared": False, "window": True}, "unsupported"),
        ("skipped", {"declared": True}, "untested"),
        ("error", {"declared": False, "known": True, "window": True}, "error"),
    ],
)
def test_verdict(end: str, how: dict[str, bool], expected: str) -> None:
    assert verdict(end, **how)[0] == expected


def everything(verdict: Verdict = Verdict.PASS) -> dict[str, str]:
    return dict.fromkeys(RULES, verdict)


def test_a_profile_is_conformant_only_if_everything_passed() -> None:
    assert profile_result(everything(), "full") == "conformant"
    assert profile_result(everything() | {"LOAD-01": Verdict.UNSUPPORTED}, "full") == "partial"
    assert profile_result(everything() | {"LOAD-01": Verdict.UNSUPPORTED}, "durable") == "conformant"
    assert profile_result(everything() | {"LOAD-01": Verdict.UNDECLARED}, "full") == "failed"
    assert profile_result({"SMOKE-01": Verdict.PASS}, "core") == "partial"
    assert profile_result({}, "core") == "partial"


def test_counts() -> None:
    core = sum(in_profile(rule, "core") for rule in RULES.values())
    told = profiles(everything() | {"APP-01": Verdict.FAIL})
    assert told["core"] == {"result": "failed", "checks": core, "pass": core - 1, "fail": 1}
