"""The pytest plugin: options, the `bed` fixtures, verdicts."""

from __future__ import annotations

import contextlib
import difflib
import json
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from rewarm.stores import Store

from . import failure, rules
from .bed import Bed, CheckFailed
from .cell import Cell, describe
from .checkers import Broken
from .lab import Lab
from .probe import locate
from .report import Collector
from .rules import PROFILES, RULES, Rule
from .services import KINDS, Service
from .store_rules import STORE_RULES
from .testbed import Testbed
from .verdicts import RED, Verdict, verdict

ALL = {**RULES, **STORE_RULES}
SHORT = 5.0
"""Seconds that a check of an undeclared capability waits."""
AGAIN = "pytest --pyargs rewarm_conformance {of} --rewarm-check {check}"
LAB = pytest.StashKey[Lab]()
CELL = pytest.StashKey[Cell]()
TOLD = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rewarm", "conformance of a queue adapter")
    group.addoption("--rewarm-testbed", metavar="MODULE:CLASS", help="the testbed to check")
    group.addoption("--rewarm-store", metavar="MODULE:FUNCTION", help="a function that makes the store to check")
    group.addoption("--rewarm-check", action="append", default=[], metavar="ID", help="only this check (repeatable)")
    group.addoption("--rewarm-profile", choices=PROFILES, default="full", help="only the checks of this profile")
    group.addoption("--rewarm-report", metavar="FILE", help="write a JSON report")
    group.addoption("--rewarm-name", metavar="NAME", help="the cell's name in the report; by default the testbed's")
    group.addoption("--rewarm-list", action="store_true", help="print the checks and exit")
    group.addoption("--rewarm-strict", action="store_true", help="a missing server or control is a failure")


def check(id: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the check of a rule."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        function.rule = ALL[id]  # type: ignore[attr-defined]
        return function

    return decorate


def rule_of(item: pytest.Item) -> Rule | None:
    return getattr(getattr(item, "function", None), "rule", None)


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    if not config.option.rewarm_list:
        return None
    for rule in rules.RULES.values():
        needs = ",".join(rule.requires) or "-"
        print(f"{rule.id:<11} {rule.profile:<8} {needs:<12} {rule.sentence}")
    return 0


def pytest_configure(config: pytest.Config) -> None:
    if unknown := set(config.option.rewarm_check) - set(ALL):
        raise pytest.UsageError(f"no check {sorted(unknown)[0]}; see --rewarm-list")
    if "rewarm_conformance" in config.args and not (config.option.rewarm_testbed or config.option.rewarm_store):
        raise pytest.UsageError("nothing to check: name a testbed (--rewarm-testbed) or a store (--rewarm-store)")
    if config.option.rewarm_testbed:
        testbed = testbed_class(config)
        if unknown := {*testbed.known_failures, *testbed.loss_windows} - set(RULES):
            raise pytest.UsageError(f"{config.option.rewarm_testbed} names {sorted(unknown)[0]}, which is no check")
        config.pluginmanager.register(Collector(config), "rewarm-collector")
    elif config.option.rewarm_report:
        raise pytest.UsageError("--rewarm-report is of a testbed's run (--rewarm-testbed); a store has no report")


def testbed_class(config: pytest.Config) -> type[Testbed]:
    path = config.option.rewarm_testbed
    try:
        found = locate(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise pytest.UsageError(f"--rewarm-testbed {path}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Testbed)):
        raise pytest.UsageError(f"--rewarm-testbed {path} is no Testbed class")
    if missing := found.__abstractmethods__:
        raise pytest.UsageError(f"--rewarm-testbed {path} has no {' and no '.join(sorted(missing))}")
    if not (found.broker in (None, *KINDS) or (isinstance(found.broker, type) and issubclass(found.broker, Service))):
        raise pytest.UsageError(
            f"--rewarm-testbed {path}: broker {found.broker!r} is none of {', '.join(KINDS)} and no Service class"
        )
    settings = [name for name in vars(Testbed) if "_" in name.strip("_")]  # a shorter word may be one of its own
    for name in sorted(set(dir(found)) - set(dir(Testbed))):
        if name[0] != "_" and (meant := difflib.get_close_matches(name, settings, 1, 0.85)):
            raise pytest.UsageError(f"--rewarm-testbed {path} has {name!r}, which nobody asks for: is it {meant[0]!r}?")
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    options = config.option
    kept: list[pytest.Item] = []
    rest: list[pytest.Item] = []
    for item in items:
        if (rule := rule_of(item)) is None:
            kept.append(item)
            continue
        if rule.profile == "store":
            wanted = bool(options.rewarm_store)
        else:
            wanted = bool(options.rewarm_testbed) and rules.in_profile(rule, options.rewarm_profile)
        (kept if wanted and rule.id in (options.rewarm_check or ALL) else rest).append(item)
    config.hook.pytest_deselected(items=rest)
    items[:] = sorted(kept, key=lambda item: getattr(rule_of(item), "id", None) != "SMOKE-01")  # what it says first


@pytest.fixture(scope="session")
def rewarm_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The servers of this test process."""
    option = request.config.option
    lab = Lab(option.rewarm_testbed, testbed_class(request.config), option.rewarm_strict)
    request.config.stash[LAB] = lab
    try:
        request.config.stash[CELL] = describe(lab, option.rewarm_name)
        yield lab
    finally:
        lab.close()


@pytest.fixture
def lab(request: pytest.FixtureRequest, rewarm_lab: Lab) -> Iterator[Lab]:
    """The lab, when a ping has run. Limits the waits of a check whose capability is not declared."""
    rule = rule_of(request.node)
    if rule is not None and rule.id != "SMOKE-01" and (broken := rewarm_lab.try_smoke()) is not None:
        if not rewarm_lab.told:  # in this process SMOKE-01 itself was not run
            rewarm_lab.told = True
            raise RuntimeError(f"SMOKE-01 does not hold: {broken.seen}\n{rewarm_lab.log()}")
        pytest.skip("SMOKE-01 failed: nothing else is worth trying before it holds")
    rewarm_lab.limit = None if declared(rule, request.config.stash[CELL]) else SHORT
    beds = list(rewarm_lab.beds)
    yield rewarm_lab
    rewarm_lab.limit = None
    for bed in rewarm_lab.beds:
        if bed not in beds and bed is not rewarm_lab.kept:
            bed.close()


@pytest.fixture
def warm(lab: Lab) -> Bed:
    """A namespace with a worker, shared by checks that stop and kill nothing."""
    bed = lab.warm()
    bed.since = time.monotonic()
    return bed


@pytest.fixture
def bed(lab: Lab) -> Bed:
    """A namespace of this check's own, without a worker."""
    return lab.bed()


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store from the function that --rewarm-store names."""
    made: Store = locate(request.config.option.rewarm_store)()
    yield made
    made.close()


def declared(rule: Rule | None, cell: Cell | None) -> bool:
    """Does the adapter declare every capability that the rule needs?"""
    return rule is None or cell is None or set(rule.requires) <= set(cell.capabilities)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    rule, error = rule_of(item), call.excinfo.value if call.excinfo else None
    if rule is None or call.when == "teardown" or (call.when == "setup" and error is None):
        return report
    if rule.profile == "store":
        return _of_store(report, item, error)
    found, why = _verdict(item, rule, error)
    broken = error.broken if isinstance(error, CheckFailed) else None
    if found in RED and found is not Verdict.ERROR:
        report.outcome, report.longrepr = "failed", _text(item, rule, broken, why)
    elif found is Verdict.ERROR and call.when == "setup":
        _once(report, item, rule, repr(error))
    elif broken is not None:
        report.outcome, report.wasxfail = "skipped", why
    elif found is Verdict.UNTESTED and item.config.option.rewarm_strict:
        report.outcome, report.longrepr = "failed", f"{rule.id} is untested, and --rewarm-strict is on: {error}"
    result: dict[str, Any] = {"verdict": found, "seconds": round(call.duration, 2)}
    if broken is not None:
        result |= {"expected": broken.expected, "seen": broken.seen, "history": failure.table(_bed(item), broken.about)}
    elif found is not Verdict.PASS:
        result["seen"] = str(error or why)
    if found is Verdict.KNOWN:
        testbed = _testbed(item)
        result["issue"] = {**testbed.known_failures, **testbed.loss_windows}[rule.id]
    cell = item.config.stash.get(CELL, None)
    told = json.dumps([rule.id, result, cell and asdict(cell)])
    report.user_properties.append(("rewarm", told))  # travels to the controller of pytest-xdist
    return report


def _once(report: pytest.TestReport, item: pytest.Item, rule: Rule, error: str) -> None:
    """What breaks in the testbed breaks every check: its traceback is printed with the first."""
    told = item.config.stash.setdefault(TOLD, set())
    if error in told:
        report.longrepr = f"{rule.id} was not tried, as above: {error}"
    told.add(error)


def _of_store(report: pytest.TestReport, item: pytest.Item, error: BaseException | None) -> pytest.TestReport:
    rule, store = rule_of(item), item.config.option.rewarm_store
    if rule is not None and isinstance(error, CheckFailed):
        again = AGAIN.format(of=f"--rewarm-store {store}", check=rule.id)
        report.longrepr = failure.brief(rule, error.broken, again)
    return report


def _verdict(item: pytest.Item, rule: Rule, error: BaseException | None) -> tuple[Verdict, str]:
    end = "error"
    if error is None:
        end = "held"
    elif isinstance(error, CheckFailed):
        end = "broke"
    elif isinstance(error, pytest.skip.Exception):
        end = "skipped"
    testbed = _testbed(item)
    return verdict(
        end,
        declared=declared(rule, item.config.stash.get(CELL, None)),
        known=rule.id in testbed.known_failures,
        window=rule.id in testbed.loss_windows,
    )


def _testbed(item: pytest.Item) -> Testbed | type[Testbed]:
    """The instance, which may say more than its class; without a lab the class."""
    lab = item.config.stash.get(LAB, None)
    return lab.testbed if lab is not None else testbed_class(item.config)


def _text(item: pytest.Item, rule: Rule, broken: Broken | None, why: str) -> str:
    again = AGAIN.format(of=f"--rewarm-testbed {item.config.option.rewarm_testbed}", check=rule.id)
    if broken is None:
        return failure.unearned(rule, why, again)
    return failure.told(rule, broken, _bed(item), item.config.stash[CELL].versions, again)


def _bed(item: pytest.Item) -> Bed:
    """The namespace that a check used."""
    given = [one for one in getattr(item, "funcargs", {}).values() if isinstance(one, Bed)]
    return (given or item.config.stash[LAB].beds)[-1]


def pytest_unconfigure(config: pytest.Config) -> None:
    with contextlib.suppress(KeyError):
        config.stash[LAB].close()
