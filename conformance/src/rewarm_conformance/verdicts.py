"""Verdicts: what a check's end means, and what a profile comes to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from .rules import PROFILES, RULES, in_profile


class Verdict(StrEnum):
    """See docs/contract.md."""

    PASS = "pass"
    FAIL = "fail"
    KNOWN = "known-fail"
    UNSUPPORTED = "unsupported"
    UNDECLARED = "undeclared"
    UNTESTED = "untested"
    ERROR = "error"


RED = frozenset({Verdict.FAIL, Verdict.UNDECLARED, Verdict.ERROR})
"""A run with one of these fails."""


def verdict(end: str, *, declared: bool, known: bool = False, window: bool = False) -> tuple[Verdict, str]:
    """What a check's `end` ("held", "broke", "skipped", "error") means -> the verdict, and why if it is not plain.

    declared: the adapter declares every capability that the rule needs.   known: it is in `known_failures`.
    window: it is in `loss_windows`, and may hold by luck.
    """
    match end:
        case "error":
            return Verdict.ERROR, "the suite or the testbed broke, not a rule"
        case "skipped":
            return Verdict.UNTESTED, "the testbed lacks the control"
        case "broke" if not declared:
            return Verdict.UNSUPPORTED, "not declared, and does not hold"
        case "held" | "broke" if declared and window:
            return Verdict.KNOWN, "the queue itself has a window in which this breaks"
        case "broke" if known:
            return Verdict.KNOWN, "as the issue says"
        case "broke":
            return Verdict.FAIL, ""
        case "held" if not declared and window:
            return Verdict.UNSUPPORTED, "not declared, and held by luck"
        case "held" if not declared:
            return Verdict.UNDECLARED, "it holds, but the adapter does not declare the capability: declare it"
        case "held" if known:
            return Verdict.FAIL, "it holds, but is listed in known_failures: take it out"
    return Verdict.PASS, ""


def profile_result(verdicts: Mapping[str, str], profile: str) -> str:
    """`conformant`, `failed` or `partial`: a check that did not pass, or did not run, leaves a profile partial."""
    found = [verdicts.get(rule.id, "") for rule in RULES.values() if in_profile(rule, profile)]
    if any(one in RED for one in found):
        return "failed"
    return "conformant" if all(one == Verdict.PASS for one in found) else "partial"


def profiles(verdicts: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Each profile's result, and how many of its checks came to which verdict."""
    told: dict[str, dict[str, object]] = {}
    for profile in PROFILES:
        ids = [rule.id for rule in RULES.values() if in_profile(rule, profile)]
        told[profile] = {"result": profile_result(verdicts, profile), "checks": len(ids), **_counts(verdicts, ids)}
    return told


def _counts(verdicts: Mapping[str, str], ids: Iterable[str]) -> dict[str, int]:
    found = [verdicts[id] for id in ids if id in verdicts]
    return {str(one): found.count(one) for one in Verdict if one in found}
