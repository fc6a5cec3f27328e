"""What a failed check prints, from histories made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from rewarm_conformance import checkers, failure
from rewarm_conformance.journal import Event
from rewarm_conformance.rules import RULES

MANY = [Event(float(n), 1, "start", f"token-{n}", f"id-{n}", 1) for n in range(100)]
TWICE = [*MANY[:50], Event(49.5, 1, "start", "token-3", "id-3", 1), Event(49.6, 1, "kill"), *MANY[50:]]
BED = cast(Any, SimpleNamespace(history=TWICE, since=0.0))


def test_of_many_payloads_only_those_that_broke_the_rule_are_in_the_history() -> None:
    broken = checkers.at_most(TWICE, [one.token for one in MANY])
    assert broken is not None
    _, *rows = failure.table(BED, broken.about).splitlines()
    assert [row.split()[2:4] for row in rows] == [["start", "token-3"], ["start", "token-3"], ["kill"]]


def test_a_history_names_token_and_id_of_each_event() -> None:
    assert failure.table(BED).splitlines()[-1].split() == ["29.000", "1", "start", "token-99", "id-99", "1"]


def test_a_rule_that_holds_undeclared_names_the_capability_to_declare() -> None:
    told = failure.unearned(RULES["BROKER-01"], "it holds: declare it", "pytest ...").splitlines()
    assert told[1:] == ["needs      PERSISTENCE", "seen       it holds: declare it", "again      pytest ..."]
