"""The rules of stores: held by ours, and broken by one mutant each."""

from __future__ import annotations

import os
import re
import sys

import pytest

from rewarm_conformance.mutants.stores import STORE_MUTANTS
from rewarm_conformance.rules import RULES
from rewarm_conformance.runner import NO_OTHERS, PLUGINS
from rewarm_conformance.store_rules import STORE_RULES

pytest_plugins = ["pytester"]
FACTORIES = """
import os
from rewarm.stores import MemoryStore
from rewarm.stores.redis import RedisStore

def redis():
    return RedisStore(os.environ["STORE_URL"])

def memory():
    return MemoryStore()
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    pytester.makepyfile(factories=FACTORIES)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(pytester.path), *filter(None, sys.path)]))
    monkeypatch.setenv("REWARM_PATIENCE", "0.3")
    for name, value in NO_OTHERS.items():
        monkeypatch.setenv(name, value)
    return lambda *options: pytester.runpytest_subprocess(*PLUGINS, "--pyargs", "rewarm_conformance", *options)


def test_every_rule_has_a_mutant() -> None:
    assert set(STORE_MUTANTS) == set(STORE_RULES)


def test_the_memory_store_holds(suite) -> None:  # type: ignore[no-untyped-def]
    suite("--rewarm-store", "factories:memory").assert_outcomes(passed=len(STORE_RULES), deselected=len(RULES))


def test_the_redis_store_holds(suite, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    server = pytest.importorskip("rewarm.cli.server")
    with server.Server() as private:
        monkeypatch.setenv("STORE_URL", private.url)
        suite("--rewarm-store", "factories:redis").assert_outcomes(passed=len(STORE_RULES), deselected=len(RULES))


def test_a_store_has_no_report(suite) -> None:  # type: ignore[no-untyped-def]
    done = suite("--rewarm-store", "factories:memory", "--rewarm-report", "out.json")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "a store has no report" in done.stderr.str()


@pytest.mark.parametrize("id", STORE_RULES)
def test_the_mutant_fails_its_own_check(suite, id: str) -> None:  # type: ignore[no-untyped-def]
    name = id.replace("-", "_")
    done = suite("--rewarm-store", f"rewarm_conformance.mutants.stores:{name}", "--rewarm-check", id)
    done.assert_outcomes(failed=1, deselected=len(RULES) + len(STORE_RULES) - 1)
    seen = re.findall(r"^seen +(.*)$", done.stdout.str(), re.MULTILINE)[0]  # in CI the summary says it again
    assert re.search(STORE_MUTANTS[id][1], seen), seen
    assert f"--rewarm-store rewarm_conformance.mutants.stores:{name} --rewarm-check {id}" in done.stdout.str()
