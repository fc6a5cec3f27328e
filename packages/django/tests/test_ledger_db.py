"""The ledger in a database: the core's own tests of a ledger, the memory ledger beside it, transactions, processes."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from books.models import Author
from django.db import connection, connections, transaction
from django.test import override_settings

from rewarm import ConfigurationError, StoreError
from rewarm.stores import base as b
from rewarm.stores.memory_ledger import Tasks
from rewarm_django import DatabaseLedger, cache, ledger_db
from rewarm_django.models import LedgerGate, LedgerTask

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
PROJECT = Path(__file__).with_name("project")
CORE = Path(__file__).parents[2] / "core" / "tests"
LONG = 600_000
START = b.Start("task", 1, LONG, 3, LONG)
DATABASE = {"default": {"NAME": "books", "ADAPTER": "inline", "LEDGER": "database"}}


class Stopped(DatabaseLedger):
    """Its clock goes on when it is told to."""

    instant = 1_700_000_000_000

    def now(self) -> int:
        return self.instant

    def sleep(self, seconds: float) -> None:
        self.instant += round(seconds * 1000)


def _core(name: str) -> ModuleType:
    """A module of the core's tests, a copy of our own."""
    spec = importlib.util.spec_from_file_location(f"rewarm_django_{name}", CORE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


steps = _core("test_stores")
pair = _core("test_store_pair")
globals().update(
    {name: test for name, test in vars(steps).items() if getattr(test, "__annotations__", {}).get("store") == "Ledger"}
)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Stopped:
    """What the core's tests take."""
    ledger = Stopped()
    monkeypatch.setattr(steps, "time", SimpleNamespace(sleep=ledger.sleep))
    return ledger


def recalled(ledger: DatabaseLedger) -> Any:
    return ledger.run([b.Recall("task")])[0]


def test_the_cores_tests_are_here() -> None:
    assert sum(name.startswith("test_") and name in vars(steps) for name in globals()) >= 14


@pytest.mark.parametrize("seed", range(3))
def test_the_memory_ledger_answers_the_same(seed: int) -> None:
    dice, shared = random.Random(seed), Stopped()
    memory = SimpleNamespace(run=lambda steps: [handlers[type(step)](step) for step in steps])
    handlers = Tasks(shared.now).handlers
    done: list[Any] = []
    for _ in range(250):
        step = pair.ledger_step(dice)
        done.append(step)
        for look in (step, b.Recall("t1"), b.Recall("t2"), b.Letters("dead")):
            assert shared.run([look]) == memory.run([look]), done[-12:]
        if dice.random() < 0.3:
            shared.sleep(dice.choice((0.002, 0.002, 0.002, 20_000)))


def test_a_batch_answers_in_order_and_a_bad_one_is_refused_whole() -> None:
    ledger = DatabaseLedger()
    answers = ledger.run([START, b.Recall("task"), b.Bury("dead", "id", "", "letter", 1), b.Letters("dead")])
    assert answers == [b.Started(b.Verdict.GO, 1), b.Record("running", 1, 1, False, []), 0, [("id", "letter")]]
    with pytest.raises(ValueError, match="cap"):
        ledger.run([b.Clear("dead"), START._replace(cap=0)])
    assert ledger.run([b.Letters("dead")]) == [[("id", "letter")]]
    with pytest.raises(TypeError, match="not a step"):
        ledger.run(["step"])


def test_names_of_any_length_and_script_are_kept_apart() -> None:
    ledger, names = DatabaseLedger(), ["a" * 500, "a" * 501, "ключ", "k\0", "k"]
    ledger.run([b.Cancel(name, LONG) for name in names[::2]])
    ledger.run([b.Bury("dead", name, name, f"letter of {name}", 9) for name in names])
    assert [ledger.run([b.Recall(name)]) != [None] for name in names] == [True, False, True, False, True]
    assert [ledger.run([b.Letter("dead", name)]) for name in names] == [[f"letter of {name}"] for name in names]


@pytest.mark.parametrize("alias", ["default", "other"])
def test_a_count_outlives_the_transaction_of_the_job(alias: str) -> None:
    if alias == "default" and connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer: there the step takes part in the transaction")
    ledger = DatabaseLedger(alias)
    with transaction.atomic():
        Author.objects.create(name="Ada")
        assert ledger.run([START, START])[1].verdict is b.Verdict.BUSY
        assert Author.objects.count() == 1  # the transaction is still the thread's own
        transaction.set_rollback(True)
    assert Author.objects.count() == 0
    assert recalled(ledger).deliveries == 2


def test_on_sqlite_a_step_takes_part_in_an_open_transaction() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("elsewhere it has a connection of its own")
    ledger = DatabaseLedger()
    with transaction.atomic():
        Author.objects.create(name="Ada")
        assert ledger.run([START]) == [b.Started(b.Verdict.GO, 1)]
        transaction.set_rollback(True)
    assert recalled(ledger) is None


@pytest.mark.django_db(transaction=False, databases=["default", "other"])
def test_in_a_test_case_it_takes_part_in_the_tests_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "create_connection", None)
    with transaction.atomic():
        DatabaseLedger().run([START])
    assert recalled(DatabaseLedger()).deliveries == 1


def test_several_processes_share_it() -> None:
    ledger = DatabaseLedger()
    ledger.run([b.Enter("journal", f"id{n}", "payload", 1, 100) for n in range(30)])
    name = connection.settings_dict["NAME"]
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "books.settings",
        "REWARM_TEST_EXTRA": f"DATABASES['default']['NAME'] = {str(name)!r}",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "ledger_worker.py", str(n)], cwd=PROJECT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for n in range(2)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        found = [json.loads(process.communicate("go\n", timeout=60)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    workers = [worker for process in found for worker in process]
    assert sum(worker["claims"] for worker in workers) == 10, "one delivery claims each task"
    assert ledger.run([b.Recall("counted")])[0].deliveries == 40, "no delivery is missed"
    given = [id for worker in workers for id in worker["overdue"]]
    assert sorted(given) == sorted({f"id{n}" for n in range(30)}), "each overdue task was given out once"
    letters = ledger.run([b.Letters("dead")])[0]
    assert len(letters) == 7
    assert len({id.rsplit("-", 1)[1] for id, _ in letters}) == 7, "one of each entry"


def test_what_has_expired_is_purged_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_db, "SLICE", 3)
    ledger = Stopped()
    ledger.run([b.Start(f"old{n}", 1, 0, 9, 10) for n in range(7)])
    ledger.run([b.Admit("gate", 5, 0, 0), START])
    ledger.sleep(10_000)
    ledger.run([START])
    ledger._purged = -1e9
    left = []
    for _ in range(4):
        ledger.run([b.Backlog("journal")])
        left.append((LedgerTask.objects.count(), LedgerGate.objects.filter(name="gate").count()))
    assert left == [(5, 0), (2, 0), (1, 0), (1, 0)]


def test_a_server_that_is_away_is_a_store_error_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = DatabaseLedger()
    with monkeypatch.context() as patch:
        patch.setattr(LedgerTask._meta, "db_table", "gone")
        with pytest.raises(StoreError, match=r"(?s)'default'.*migrate --database default"):
            ledger.run([START, b.Enter("journal", "id", "payload", LONG, 9)])
    assert ledger.run([START, b.Backlog("journal")]) == [b.Started(b.Verdict.GO, 1), 1]


@override_settings(REWARM=DATABASE)
def test_settings_choose_it_and_a_record_says_what_it_is_about() -> None:
    ada = Author.objects.create(name="Ada")
    from books.caches import author_name

    assert isinstance(cache.runtime.ledger, DatabaseLedger)
    receipt = author_name.refresh(ada.pk)
    assert receipt.status() == "done"
    assert [(row.kind, row.job, row.status) for row in LedgerTask.objects.all()] == [("refresh", "author_name", "done")]
    author_name.refresh(99999)  # ObjectDoesNotExist: skipped
    assert LedgerTask.objects.filter(status="skipped").count() == 1


@pytest.mark.parametrize(("given", "alias"), [("database", "default"), ("database://other", "other")])
def test_any_database_may_keep_it(given: str, alias: str) -> None:
    with override_settings(REWARM={"default": {**DATABASE["default"], "LEDGER": given}}):
        assert repr(cache.settings.ledger) == f"DatabaseLedger({alias!r})"


def test_an_unknown_database_is_told() -> None:
    nowhere = {"default": {**DATABASE["default"], "LEDGER": "database://nowhere"}}
    with override_settings(REWARM=nowhere), pytest.raises(ConfigurationError, match="'nowhere'; there are default"):
        cache.run("")


@override_settings(REWARM=DATABASE)
def test_a_database_without_the_tables_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from rewarm_django.checks import databases

    assert databases(databases=["default"]) == []
    monkeypatch.setattr(LedgerTask._meta, "db_table", "gone")
    assert [found.id for found in databases(databases=["default"])] == ["rewarm.W003"]
    assert databases(databases=["other"]) == []
