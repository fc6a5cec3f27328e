"""The outbox: a row of the same transaction until it is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from books.caches import author_name, titles
from books.models import Author
from django.core.signals import request_finished
from django.db import Error, connections, transaction
from django.test import override_settings

from rewarm import State, StoreError
from rewarm.cli.server import Server
from rewarm_django import cache, outbox, relay
from rewarm_django.models import Outbox
from rewarm_django.testing import capture

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
PROJECT = Path(__file__).with_name("project")


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    with override_settings(REWARM={"default": {"NAME": "books", "ADAPTER": "inline", "COMMIT": "outbox"}}):
        yield


@pytest.fixture
def ada() -> Author:
    made = Author.objects.create(name="Ada")
    author_name(made.pk)
    return made


@pytest.fixture
def dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends after its commit."""
    monkeypatch.setattr(cache, "flush", lambda gathered: False)


def state(job: Any, *args: Any) -> State | None:
    found = job.peek(*args)
    return None if found is None else found.state


def test_a_row_lives_until_the_commit_is_done(ada: Author) -> None:
    with transaction.atomic():
        for number in range(50):
            author_name.invalidate(ada.pk)
            ada.name = f"Ada {number}"
            ada.save()
        rows = [json.loads(row.payload)["args"] for row in Outbox.objects.order_by("pk")]
        assert [row["keys"] for row in rows] == [[author_name.key(ada.pk)], []]
        assert [len(row["tags"]) for row in rows] == [0, 1]  # a cached view's
    assert Outbox.objects.count() == 0
    assert state(author_name, ada.pk) is State.STALE


def test_a_rollback_takes_the_row_along(ada: Author) -> None:
    with transaction.atomic(using="other"):
        with suppress(KeyError), transaction.atomic(using="other"):
            author_name.invalidate(ada.pk)
            assert Outbox.objects.using("other").count() == 1
            raise KeyError
        titles.invalidate(3)
        row = Outbox.objects.using("other").get()
        assert json.loads(row.payload)["args"]["keys"] == [titles.key(3)]
    assert state(author_name, ada.pk) is State.HIT


@pytest.mark.usefixtures("dies")
def test_the_relay_does_what_is_left(ada: Author) -> None:
    with transaction.atomic():
        author_name.entry(ada.pk).invalidate(refresh=True)
        cache.invalidate(tags=["author:7"], jobs=["titles"])
        titles.sweep(3)
    assert state(author_name, ada.pk) is State.HIT
    Author.objects.update(name="Ada L")
    assert relay() == 0  # its own process may be about to do it
    assert (relay(grace=0), relay(grace=0), Outbox.objects.count()) == (3, 0, 0)
    assert author_name.read(ada.pk).state is State.HIT
    assert author_name(ada.pk) == "Ada L"


@pytest.mark.usefixtures("dies")
@pytest.mark.parametrize("level", ["outbox", "queue"])  # whose queue is not in this database
def test_a_request_looks_now_and_then(ada: Author, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setattr(cache, "level", level)
    with transaction.atomic():
        author_name.invalidate(ada.pk)
    monkeypatch.setattr(outbox, "GRACE", 0.0)
    monkeypatch.setattr(outbox.relay, "__defaults__", (0.0, 500))
    monkeypatch.setattr(outbox, "_looked", -1e9)
    outbox.relay_after_request()
    assert (state(author_name, ada.pk), Outbox.objects.count()) == (State.STALE, 0)
    with transaction.atomic():
        author_name.invalidate(ada.pk)
    outbox.relay_after_request()
    assert Outbox.objects.count() == 1  # not a minute has passed
    assert any(receiver[0][0] == "rewarm_django.relay" for receiver in request_finished.receivers)


@pytest.mark.usefixtures("dies")
@pytest.mark.parametrize("adapter", ["threads", "inline"])
def test_a_row_stays_while_the_store_is_away(adapter: str, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.REWARM = {"default": {"NAME": "books", "ADAPTER": adapter, "COMMIT": "outbox"}}
    ada = Author.objects.create(name="Ada")
    author_name(ada.pk)
    with transaction.atomic():
        author_name.invalidate(ada.pk)
    with monkeypatch.context() as away:
        away.setattr(type(cache.runtime.store), "run", Mock(side_effect=StoreError("away")))
        assert (relay(grace=0), Outbox.objects.count()) == (0, 1)
    assert (relay(grace=0), state(author_name, ada.pk)) == (1, State.STALE)


@pytest.mark.usefixtures("dies")
def test_a_database_that_is_away_keeps_its_own_rows_only(ada: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction.atomic():
        author_name.invalidate(ada.pk)
    monkeypatch.setattr(outbox, "_tables", {"default"})
    monkeypatch.setattr(connections["other"].introspection, "table_names", Mock(side_effect=Error("away")))
    assert relay(grace=0) == 1
    monkeypatch.setattr(outbox, "relay", Mock(side_effect=AssertionError("a test forbids the database")))
    monkeypatch.setattr(outbox, "_looked", -1e9)
    outbox.relay_after_request()


@pytest.mark.usefixtures("dies")
def test_a_row_of_an_unknown_application_stays(ada: Author, caplog: Any) -> None:
    Outbox.objects.create(app="gone", payload="{}")
    assert (relay(grace=0), Outbox.objects.count()) == (0, 1)
    assert "'gone'" in caplog.text


def test_outside_a_transaction_there_is_no_row(ada: Author, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        author_name.invalidate(ada.pk)


def test_what_the_store_refuses_outside_a_transaction_becomes_a_row(
    ada: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache.runtime, "drive", Mock(side_effect=StoreError("away")))
    ada.name = "Ada L"
    ada.save()
    monkeypatch.undo()
    cache.unsent = None  # the process ends
    rows = Outbox.objects.count()
    assert (rows > 0, state(author_name, ada.pk)) == (True, State.HIT)
    assert (relay(grace=0), Outbox.objects.count(), state(author_name, ada.pk)) == (rows, 0, State.STALE)


def test_what_the_queue_refuses_stays(ada: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise ConnectionError("no broker")

    with capture():
        monkeypatch.setattr(cache.runtime.adapter, "enqueue", refuses)
        with transaction.atomic():
            author_name.refresh(ada.pk)
        assert Outbox.objects.count() == 1
        monkeypatch.undo()


def test_a_killed_process_loses_nothing_wherever_it_dies(tmp_path: Path) -> None:
    with Server() as server:
        settings = {"default": {"NAME": "books", "STORE": server.url, "ADAPTER": "rq", "COMMIT": "outbox"}}
        extra = f"INSTALLED_APPS.append('django_rq'); RQ_QUEUES = {{'default': {{'URL': {server.url!r}}}}}"
        done = subprocess.run(
            [sys.executable, "kills.py"], cwd=PROJECT, capture_output=True, text=True, timeout=100,
            env={
                **os.environ, "DJANGO_SETTINGS_MODULE": "books.settings", "REWARM_TEST_FOLDER": str(tmp_path),
                "REWARM_TEST_SETTINGS": json.dumps(settings), "REWARM_TEST_EXTRA": extra, "REWARM_TEST_DATABASE": "",
            },
        )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(found) == 10, done.stderr
    for one in found:
        assert one["died"], one
        assert (one["lost"], one["served"], one["left"]) == (False, True, 0), one
    assert [one["committed"] for one in found] == [False] * 3 + [True] * 7
    assert [bool(one["rows"]) for one in found] == [False] * 3 + [True] * 6 + [False]


def test_a_transactional_queue_has_the_task_in_the_same_transaction(tmp_path: Path) -> None:
    with Server() as server:
        settings = {"default": {"NAME": "books", "STORE": server.url, "COMMIT": "queue"}}
        extra = "INSTALLED_APPS.append('django_q'); Q_CLUSTER = {'name': 'books', 'orm': 'default'}"
        done = subprocess.run(
            [sys.executable, "queue_level.py"], cwd=PROJECT, capture_output=True, text=True, timeout=100,
            env={
                **os.environ, "DJANGO_SETTINGS_MODULE": "books.settings", "REWARM_TEST_FOLDER": str(tmp_path),
                "REWARM_TEST_SETTINGS": json.dumps(settings), "REWARM_TEST_EXTRA": extra, "REWARM_TEST_DATABASE": "",
            },
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "inside": 1, "after a rollback": 0, "delayed": [0, "refresh"], "after the commit": 1,
        "before the worker": "HIT", "after the worker": "STALE",
    }  # fmt: skip
