"""The suite lints itself: one check per rule, unique sentences, the contract is current."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import rewarm_conformance.checks
from rewarm_conformance.command import main
from rewarm_conformance.contract import contract
from rewarm_conformance.rules import CORE, DURABLE, FULL, RULES
from rewarm_conformance.store_rules import STORE_RULES

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "docs/contract.md"


def test_there_are_66_rules_with_unique_ids_and_sentences() -> None:
    rules = [*CORE, *DURABLE, *FULL]
    assert len(rules) == len(RULES) == len({rule.sentence for rule in rules}) == 66
    assert all(rule.sentence.endswith(".") and rule.causes for rule in rules)


def test_every_rule_has_one_check() -> None:
    found = []
    for path in sorted(Path(rewarm_conformance.checks.__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"rewarm_conformance.checks.{path.stem}")
        found += [value.rule.id for value in vars(module).values() if hasattr(value, "rule")]
    assert sorted(found) == sorted({**RULES, **STORE_RULES})


def test_the_contract_is_current() -> None:
    assert CONTRACT.read_text() == contract(), "run python -m rewarm_conformance.contract > docs/contract.md"


def test_the_how_to_shows_the_example_as_it_is() -> None:
    example = ROOT / "examples/third_party_adapter/src/rewarm_redlist"
    blocks = re.findall(r"^```py\n(.*?)^```", (ROOT / "docs/adapters.md").read_text(), re.S | re.M)
    assert blocks == [(example / name).read_text() for name in ("__init__.py", "testbed.py")]


def test_list(capsys) -> None:  # type: ignore[no-untyped-def]
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 66
    assert lines[0].split()[:2] == ["SMOKE-01", "core"]
