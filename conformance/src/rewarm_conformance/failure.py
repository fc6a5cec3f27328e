"""What a failed check prints: rule, expected, seen, history, the worker's log, usual causes, how to run it again."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .bed import Bed
from .checkers import Broken
from .rules import Rule

ROWS = 30


def told(rule: Rule, broken: Broken, bed: Bed, cell: Mapping[str, str], again: str) -> str:
    """The whole text."""
    rows = [
        (rule.id, rule.sentence),
        ("adapter", " · ".join(f"{name} {version}" for name, version in cell.items())),
        ("expected", broken.expected),
        ("seen", broken.seen),
    ]
    rows.append(("history", table(bed, broken.about)))
    if bed.workers:
        rows.append(("worker", bed.workers[-1].tail() or "its log is empty"))
    rows += [("usual", rule.causes.replace("; ", "\n")), ("again", again)]
    return "\n".join(_row(*row) for row in rows)


def unearned(rule: Rule, why: str, again: str) -> str:
    """The text where the rule held, and should not have."""
    needs = [("needs", ", ".join(one.name for one in rule.requires))] if rule.requires else []
    return "\n".join(_row(*row) for row in [(rule.id, rule.sentence), *needs, ("seen", why), ("again", again)])


def brief(rule: Rule, broken: Broken, again: str) -> str:
    """The text where there is neither queue nor worker."""
    rows = [
        (rule.id, rule.sentence), ("expected", broken.expected), ("seen", broken.seen),
        ("usual", rule.causes.replace("; ", "\n")), ("again", again),
    ]  # fmt: skip
    return "\n".join(_row(*row) for row in rows)


def table(bed: Bed, about: Collection[str] = ()) -> str:
    """The last events of the check, as lines; instants are seconds since the first.

    `about`: the tokens of the payloads that broke the rule. Among many they would be lost: the others are left out.
    """
    lines, began = [f"{'t':>8}  {'pid':>7}  {'event':<12} {'token':<12} {'id':<8} attempt"], None
    events = [one for one in bed.history if one.t >= bed.since and (not about or one.token in ("", *about))]
    for event in events[-ROWS:]:
        began = event.t if began is None else began
        what = f"{event.token[:12]:<12} {event.id[:8]:<8}"
        note = " ".join(str(event.data[name]) for name in ("outcome", "reason", "error") if event.data.get(name))
        attempt = event.attempt or ""
        lines.append(f"{event.t - began:8.3f}  {event.pid:>7}  {event.event:<12} {what} {attempt} {note}".rstrip())
    return "\n".join(lines)


def _row(name: str, text: str) -> str:
    first, *more = text.splitlines() or [""]
    return "\n".join([f"{name:<10} {first}", *(f"{'':<10} {line}" for line in more)])
