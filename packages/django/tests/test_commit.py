"""Nothing before the commit, nothing after a rollback, each database by itself; one merged sending."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from books.caches import author_name, titles
from books.models import Author
from django.core.cache import cache as backend
from django.db import connections, transaction

from rewarm import State, StoreError
from rewarm_django import cache, on
from rewarm_django.commit import aliases
from rewarm_django.testing import capture

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def state(job: Any, *args: Any) -> State | None:
    found = job.peek(*args)
    return None if found is None else found.state


@pytest.fixture
def ada() -> Author:
    made = Author.objects.create(name="Ada")
    author_name(made.pk)
    return made


def test_nothing_is_sent_after_a_rollback(ada: Author) -> None:
    with suppress(KeyError), transaction.atomic():
        author_name.invalidate(ada.pk)
        raise KeyError
    assert state(author_name, ada.pk) is State.HIT
    author_name.invalidate(ada.pk)
    assert state(author_name, ada.pk) is State.STALE


def test_a_savepoint_takes_back_only_its_own(ada: Author) -> None:
    bob, eve = Author.objects.create(name="Bob"), Author.objects.create(name="Eve")
    with capture() as tasks:
        for one in (ada, bob, eve):
            author_name.reload(one.pk)
        with transaction.atomic():
            with suppress(KeyError), transaction.atomic():
                author_name.entry(ada.pk).invalidate(refresh=True)
                raise KeyError
            with transaction.atomic():
                author_name.entry(bob.pk).invalidate(refresh=True)
            with suppress(KeyError), transaction.atomic():
                author_name.entry(ada.pk).invalidate(refresh=True)
                with transaction.atomic():
                    author_name.entry(ada.pk).invalidate(refresh=True)
                raise KeyError
            author_name.entry(eve.pk).invalidate(refresh=True)
        seen = [state(author_name, one.pk) for one in (ada, bob, eve)]
        assert seen == [State.HIT, State.STALE, State.STALE]
        [task] = tasks
        assert task.args["refresh"] == [["author_name", [bob.pk]], ["author_name", [eve.pk]]]


def test_a_transaction_is_one_round_trip_and_one_task(ada: Author, monkeypatch: Any) -> None:
    with capture() as tasks:
        trips, run = [], cache.runtime.store.run
        monkeypatch.setattr(cache.runtime.store, "run", lambda steps: trips.append(steps) or run(steps))
        with transaction.atomic():
            for number in range(10):
                titles.invalidate(number)
                cache.invalidate(tags=["a", "b"], jobs=["author_name"])
        assert [len(steps) for steps in trips] == [13]
        assert tasks == []


def test_a_hook_that_fails_later_does_no_harm(ada: Author) -> None:
    def fails() -> None:
        raise ZeroDivisionError

    with suppress(ZeroDivisionError), transaction.atomic():
        author_name.invalidate(ada.pk)
        transaction.on_commit(fails)
        author_name.invalidate(ada.pk + 1)
    assert state(author_name, ada.pk) is State.STALE


def test_what_belongs_to_no_database_waits_for_each_that_is_open(ada: Author) -> None:
    with transaction.atomic(), transaction.atomic(using="other"):
        author_name.invalidate(ada.pk)
        assert sorted(aliases()) == ["default", "other"]
        with on("other"):
            assert aliases() == ["other"]
        with on():
            assert aliases() == []
        assert state(author_name, ada.pk) is State.HIT
    assert state(author_name, ada.pk) is State.STALE
    author_name.reload(ada.pk)
    with suppress(KeyError), transaction.atomic():
        with transaction.atomic(using="other"):
            author_name.invalidate(ada.pk)
        raise KeyError
    assert state(author_name, ada.pk) is State.STALE  # one of them was committed
    author_name.reload(ada.pk)
    with transaction.atomic(), on("other"):
        author_name.invalidate(ada.pk)
        assert state(author_name, ada.pk) is State.STALE  # "other" has no transaction


def test_set_delete_and_writing_wait_as_well(ada: Author) -> None:
    entry = author_name.entry(ada.pk)
    with transaction.atomic():
        entry.set("set")
        assert author_name(ada.pk) == "Ada"
    assert author_name.read(ada.pk).state is State.HIT
    assert author_name(ada.pk) == "set"
    with transaction.atomic(), entry.writing() as writing:
        writing.set("written")
    assert author_name(ada.pk) == "written"
    with transaction.atomic():
        entry.delete()
        assert author_name(ada.pk) == "written"
    assert author_name.peek(ada.pk) is None


def test_a_read_inside_stores_nothing_and_is_filled_afterwards() -> None:
    with transaction.atomic():
        ada = Author.objects.create(name="Ada")
        assert author_name(ada.pk) == "Ada"
        assert author_name.peek(ada.pk) is None
    assert author_name.read(ada.pk).state is State.HIT


def test_what_the_store_refuses_is_reported_and_sent_with_the_next_commit(
    ada: Author, monkeypatch: Any, caplog: Any
) -> None:
    def refuses(names: Any) -> None:
        raise ConnectionError("no cache here")

    with monkeypatch.context() as away:
        away.setattr(type(backend._connections["default"]), "delete_many", lambda self, names: refuses(names))
        with transaction.atomic():
            author_name.invalidate(ada.pk)
        assert "were not sent" in caplog.text
        monkeypatch.setattr(cache, "raises", True)
        with pytest.raises(StoreError), transaction.atomic():
            author_name.invalidate(ada.pk + 1)
        with pytest.raises(StoreError):
            author_name.invalidate(ada.pk)
    assert state(author_name, ada.pk) is State.HIT
    with transaction.atomic():
        author_name.invalidate(ada.pk + 2)
    assert state(author_name, ada.pk) is State.STALE


def test_what_the_queue_refuses_is_reported_and_sent_with_the_next_commit(
    ada: Author, monkeypatch: Any, caplog: Any
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise ConnectionError("no broker")

    author_name.reload(ada.pk)
    with capture() as tasks:
        author_name.reload(ada.pk)
        with monkeypatch.context() as away:
            away.setattr(cache.runtime.adapter, "enqueue", refuses)
            with transaction.atomic():
                author_name.sweep(ada.pk)
                author_name.entry(ada.pk).invalidate(fence="task")
        assert "were not sent" in caplog.text
        assert (state(author_name, ada.pk), tasks) == (State.HIT, [])
        with transaction.atomic():
            author_name.invalidate(ada.pk + 1)
        assert state(author_name, ada.pk) is State.STALE
        assert [task.kind for task in tasks] == ["sweep"]


@pytest.mark.parametrize("level", ["on_commit", "outbox"])
def test_under_readers_and_writers_no_value_is_fresh_that_is_older_than_a_save(level: str, settings: Any) -> None:
    """Wrong: a HIT older than a save that had returned before the read began."""
    settings.REWARM = {"default": {"NAME": "books", "ADAPTER": "threads", "COMMIT": level}}
    authors = [Author.objects.create(name="0") for _ in range(3)]
    floor, wrong, reads = {one.pk: 0 for one in authors}, list[str](), list[int]()
    ends, lock = time.monotonic() + 2, threading.Lock()

    def write() -> None:
        while time.monotonic() < ends:
            with lock, transaction.atomic():
                one = random.choice(authors)
                one.name = str(int(one.name) + 1)
                one.save()
            floor[one.pk] = max(floor[one.pk], int(one.name))

    def read() -> None:
        while time.monotonic() < ends:
            pk = random.choice(authors).pk
            least = floor[pk]
            found = author_name.read(pk)
            reads.append(1)
            if found.state is State.HIT and int(found.value) < least:
                wrong.append(f"{found.value} < {least}")

    def closing(work: Any) -> None:
        try:
            work()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=closing, args=(work,)) for work in (write, read, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cache.close()
    assert (wrong, len(reads) > 50, sum(floor.values()) > 5) == ([], True, True)
