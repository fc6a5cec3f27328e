"""The admin: dead letters of any ledger, recent tasks, the outbox, the dashboard; who may do what."""

from __future__ import annotations

import json
import os
import signal
import time
import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from books.caches import author_name, titles
from books.models import Author, Book
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.test import Client, override_settings
from django.utils import timezone

from rewarm import events
from rewarm.cli.server import Server
from rewarm_django import cache, caches, dashboard, history
from rewarm_django.models import Minute, Outbox

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
DEAD, TASKS = "/admin/rewarm_django/deadletter/", "/admin/rewarm_django/ledgertask/"
BOARD, OUTBOX = "/admin/rewarm_django/minute/", "/admin/rewarm_django/outbox/"
LEDGERS = ("database", "memory", "redis")


def both(default: dict[str, Any]) -> dict[str, Any]:
    return {"default": default, "second": {"ADAPTER": "inline", "STORE": "memory"}}


@pytest.fixture(autouse=True)
def ledger(request: pytest.FixtureRequest) -> Iterator[None]:
    """The default application on the ledger that a test wants, with a history."""
    wanted = getattr(request, "param", "database")
    given: dict[str, Any] = {"NAME": "books", "ADAPTER": "inline", "STORE": "memory", "HISTORY": 7}
    if wanted == "redis":
        with Server() as server, override_settings(REWARM=both({**given, "STORE": server.url})):
            yield
            cache.close()
    else:
        ledger = {"LEDGER": "database"} if wanted == "database" else {}
        with override_settings(REWARM=both({**given, **ledger})):
            yield
            cache.close()


def somebody(*permissions: str) -> Client:
    """A member of staff with these permissions, logged in."""
    user = User.objects.create_user(f"user{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions), "a permission is missing"
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


class Shelf:
    """A job whose source fails while it is `broken`."""

    broken = True

    def __init__(self) -> None:
        @cache.job(ttl=600, name="shelf")
        def shelf(number: int) -> list[str]:
            if self.broken:
                raise ValueError(f"no such shelf: <b>{number}</b>")
            return ["Notes"]

        self.job = shelf

    def bury(self, *numbers: int) -> list[str]:
        for number in numbers:
            self.job.refresh(number)
        return [f"default:{letter.id}" for letter in cache.dead.list()]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.mark.parametrize("ledger", LEDGERS, indirect=True)
def test_dead_letters_of_any_ledger_are_listed_retried_and_discarded(client: Client, shelf: Shelf) -> None:
    one, two, three = shelf.bury(1, 2, 3)
    page = client.get(DEAD).content.decode()
    assert page.count('name="_selected_action"') == 3
    assert "ValueError: no such shelf: &lt;b&gt;1&lt;/b&gt;" in page
    shelf.broken = False
    answer = client.post(DEAD, {"action": "retry", "_selected_action": [one, two]}, follow=True)
    assert "2 tasks queued again." in answer.content.decode()
    assert [f"default:{letter.id}" for letter in cache.dead.list()] == [three]
    assert shelf.job.read(1).state == "HIT"
    asked = client.post(DEAD, {"action": "discard", "_selected_action": [three]}).content.decode()
    assert "Are you sure?" in asked
    assert len(cache.dead.list()) == 1
    client.post(DEAD, {"action": "discard", "_selected_action": [three], "confirmed": "yes"})
    assert cache.dead.list() == []
    told = LogEntry.objects.order_by("pk").values_list("object_repr", "change_message")
    assert list(told) == [(one, "Queued again"), (two, "Queued again"), (three, "Discarded")]
    assert "No dead letters" in client.get(DEAD).content.decode()


def test_a_letter_can_be_inspected(client: Client, shelf: Shelf) -> None:
    (id,) = shelf.bury(7)
    page = client.get(f"{DEAD}{id}/").content.decode()
    for text in ("books:shelf:7,", "Traceback", "no such shelf", "&quot;kind&quot;: &quot;refresh&quot;"):
        assert text in page
    shelf.broken = False
    answer = client.post(f"{DEAD}{id}/", {"action": "retry"}, follow=True)
    assert answer.redirect_chain == [(DEAD, 302)]
    assert cache.dead.list() == []
    gone = client.get(f"{DEAD}{id}/", follow=True)
    assert "is no dead letter any more" in gone.content.decode()
    assert "has no dead letter" in client.post(f"{DEAD}{id}/", {"action": "retry"}, follow=True).content.decode()
    assert "REWARM has no" in client.post(f"{DEAD}nobody:1/", {"action": "retry"}, follow=True).content.decode()


def test_the_list_is_searched_filtered_and_paged(client: Client, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.bury(*range(60))
    cache.run("unreadable")
    first = client.get(DEAD).content.decode()
    assert first.count('name="_selected_action"') == 50
    assert "61 dead letters" in first
    assert client.get(DEAD, {"p": 2}).content.decode().count('name="_selected_action"') == 11
    assert client.get(DEAD, {"q": "SHELF shelf:41"}).content.decode().count('name="_selected_action"') == 1
    assert "refresh (60)" in first
    assert "unreadable (1)" in first
    filtered = client.get(DEAD, {"kind": "unreadable"}).content.decode()
    assert filtered.count('name="_selected_action"') == 1
    assert "Clear all filters" in filtered
    assert "No dead letter is like this." in client.get(DEAD, {"q": "nowhere"}).content.decode()


def test_permissions_say_who_may_look_retry_and_discard(shelf: Shelf) -> None:
    (id,) = shelf.bury(1)
    asks = {"action": "retry", "_selected_action": [id]}
    drops = {"action": "discard", "_selected_action": [id], "confirmed": "yes"}
    nobody, viewer = somebody(), somebody("view_deadletter")
    retries, discards = (
        somebody("view_deadletter", "change_deadletter"),
        somebody("view_deadletter", "delete_deadletter"),
    )
    assert Client().get(DEAD).status_code == 302
    assert [nobody.get(url).status_code for url in (DEAD, f"{DEAD}{id}/", TASKS, OUTBOX, BOARD)] == [403] * 5
    page = viewer.get(DEAD).content.decode()
    assert 'value="retry"' not in page
    assert [client.post(DEAD, asks).status_code for client in (viewer, discards)] == [403, 403]
    assert [client.post(DEAD, drops).status_code for client in (viewer, retries)] == [403, 403]
    assert len(cache.dead.list()) == 1
    assert 'value="discard"' not in retries.get(f"{DEAD}{id}/").content.decode()
    assert discards.post(DEAD, drops).status_code == 302
    assert cache.dead.list() == []


def test_a_ledger_that_is_away_is_told(client: Client) -> None:
    away = {"STORE": "redis://127.0.0.1:1/0", "ADAPTER": "inline"}
    with override_settings(REWARM={"default": {"NAME": "books", "ADAPTER": "inline"}, "second": away}):
        assert "The ledger of second: " in client.get(DEAD).content.decode()
        assert "cannot be asked" in client.get(BOARD, {"app": "second"}).content.decode()


def test_recent_tasks_are_those_of_the_ledger_in_the_database(client: Client, shelf: Shelf) -> None:
    ada = Author.objects.create(name="Ada")
    author_name.refresh(ada.pk)
    shelf.bury(5)
    page = client.get(TASKS).content.decode()
    assert "author_name" in page
    assert "ValueError: no such shelf" in page
    assert "1 recent task" in client.get(TASKS, {"status": "dead"}).content.decode()
    assert "0 recent tasks" in client.get(TASKS, {"q": "nowhere"}).content.decode()
    (letter,) = cache.dead.list()
    detail = client.get(f"{TASKS}{cache.runtime.record(letter.id).replace(':', '_3A')}/change/").content.decode()
    assert "Traceback" in detail
    with override_settings(REWARM={"default": {"NAME": "books", "ADAPTER": "inline"}}):
        assert client.get(TASKS).status_code == 200


def test_what_waits_in_the_outbox_is_listed_and_relayed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = Author.objects.create(name="Ada")
    author_name(ada.pk)
    with override_settings(REWARM={"default": {"NAME": "books", "ADAPTER": "inline", "COMMIT": "outbox"}}):
        author_name(ada.pk)
        with monkeypatch.context() as patch, transaction.atomic():
            patch.setattr(cache, "flush", lambda gathered: False)  # the process ends after its commit
            author_name.invalidate(ada.pk)
            transaction.on_commit(patch.undo)
        Outbox.objects.create(app="books", payload="no JSON")
        page = client.get(OUTBOX).content.decode()
        assert author_name.key(ada.pk) in page
        rows = [row.pk for row in Outbox.objects.all()]
        chosen = {"action": "relay", "_selected_action": rows}
        assert 'value="relay"' not in somebody("view_outbox").get(OUTBOX).content.decode()
        assert client.post(OUTBOX, chosen, follow=True).status_code == 200
        assert not Outbox.objects.filter(pk=rows[0]).exists()


# --- the history and the dashboard


def test_what_happens_is_counted_per_minute_and_job(shelf: Shelf) -> None:
    ada = Author.objects.create(name="Ada")
    for _ in range(5):
        author_name(ada.pk)
    author_name.refresh(ada.pk)
    shelf.bury(3)
    assert cache.history is not None
    cache.history.write()
    cache.history.write()
    found = {row.job: row for row in Minute.objects.filter(app="books").exclude(job="")}
    name = found["author_name"]
    assert (name.hits, name.misses, name.loads, name.refreshes) == (4, 1, 2, 1)
    assert name.slowest == name.waited
    assert found["shelf"].failures == 1
    author_name(ada.pk)
    cache.close()  # writes what is left
    assert sum(row.hits for row in Minute.objects.filter(job="author_name")) == 5


def test_a_project_without_time_zones_has_a_history_too(client: Client) -> None:
    ada = Author.objects.create(name="Ada")
    author_name(ada.pk)
    assert cache.history is not None
    with override_settings(USE_TZ=False):
        cache.history.write()
        assert Minute.objects.get(job="author_name").misses == 1
        assert b"the history cannot be read" not in client.get(BOARD).content


def test_a_letter_whose_row_is_gone_keeps_no_other_from_being_retried(client: Client, shelf: Shelf) -> None:
    def fails(book: Book) -> None:
        raise ValueError("not now")

    book, job = Book.objects.create(title="Notes"), cache.job(ttl=60, name="about")(fails)
    job.refresh(book)
    book.delete()
    ids = shelf.bury(1)
    shelf.broken = False
    page = client.post(DEAD, {"action": "retry", "_selected_action": ids}, follow=True).content.decode()
    assert ("1 task queued again." in page, "matching query does not exist" in page) == (True, True)


def test_nothing_is_counted_unless_asked_for() -> None:
    with override_settings(REWARM={"default": {"NAME": "books", "ADAPTER": "inline"}}):
        assert cache.history is None
        author_name.refresh(Author.objects.create(name="Ada").pk)
        cache.close()
    assert Minute.objects.count() == 0


def test_counts_of_a_transaction_wait_for_its_end_and_old_ones_are_forgotten() -> None:
    assert cache.history is not None
    now = timezone.now()
    Minute.objects.create(app="books", job="old", at=now - timedelta(days=8))
    Minute.objects.create(app="books", job="young", at=now - timedelta(days=6))
    author_name(Author.objects.create(name="Ada").pk)
    with transaction.atomic():
        cache.history.write()
        assert not Minute.objects.filter(job="author_name").exists()
    cache.history.write()
    assert Minute.objects.filter(job="author_name").exists()
    assert list(Minute.objects.filter(job__in=["old", "young"]).values_list("job", flat=True)) == ["young"]


def test_a_thread_writes_and_a_worker_after_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "EVERY", 0.05)
    author_name(Author.objects.create(name="Ada").pk)
    deadline = time.monotonic() + 20
    while not Minute.objects.filter(job="author_name", misses=1).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    cache.close()
    assert Minute.objects.get(job="author_name").misses == 1
    Minute.objects.all().delete()
    monkeypatch.setattr(history, "EVERY", 1e6)
    assert cache.history is not None
    cache.history._written = -1e9
    cache.emit(events.Read(app="books", job="titles", key="k", state="STALE"))
    cache.run("unreadable")
    assert Minute.objects.get(job="titles").stales == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_counts_its_own() -> None:
    assert cache.history is not None
    cache.emit(events.Read(app="books", job="titles", key="k", state="HIT"))
    with cache.history._lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: that is what is shown
        if not (child := os.fork()):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)  # a lock that nobody gives back
            cache.emit(events.Read(app="books", job="titles", key="k", state="MISS"))
            counts = [dict(one) for one in cache.history._counts.values()]
            os._exit(0 if counts == [{"misses": 1}] and cache.history._thread is not None else 1)
    assert os.waitpid(child, 0)[1] == 0
    cache.close()
    assert [(row.hits, row.misses) for row in Minute.objects.filter(job="titles")] == [(1, 0)]


def test_the_dashboard_shows_figures_of_each_job(client: Client) -> None:
    now = timezone.now().replace(second=0, microsecond=0)
    figures = {"hits": 90, "stales": 5, "misses": 5, "loads": 10, "refreshes": 4, "waited": 4000, "slowest": 2500}
    Minute.objects.create(app="books", job="titles", at=now, **figures)
    Minute.objects.create(app="books", job="titles", at=now - timedelta(hours=3), **figures)
    Minute.objects.create(app="books", job="", at=now, depth=17)
    page = client.get(BOARD).content.decode()
    for text in ("90.0 %", "180", "1 s", "slowest 2.5 s", "17 at most", "90 hits, 5 stale, 5 misses"):
        assert text in page, text
    assert "180" not in client.get(BOARD, {"span": "1h"}).content.decode()
    assert client.get(BOARD, {"span": "<script>", "app": "<script>"}).status_code == 200
    assert "nothing in this time" in client.get(BOARD, {"app": "second"}).content.decode()
    assert "Nothing is recorded" in client.get(BOARD, {"app": "second"}).content.decode()


@pytest.mark.parametrize("ledger", ["redis"], indirect=True)
def test_entries_are_counted_where_the_store_lists_them(client: Client) -> None:
    for n in range(12):
        titles(n)
    (row,) = [row for row in dashboard.look(cache, "1h", count=True).rows if row.job == "titles"]
    assert row.entries == "12"
    cached = override_settings(REWARM={"default": {"NAME": "books", "ADAPTER": "inline"}})
    with cached:
        titles(1)
        assert "do not list their keys" in client.get(BOARD, {"count": ""}).content.decode()
        assert titles.read(1).state == "HIT", "looking has invalidated nothing"


@pytest.mark.parametrize(
    ("most", "top"), [(0, 1), (1, 1), (1.5, 2), (3, 3), (7, 8), (10, 10), (11, 20), (999, 1000), (43_210, 60_000)]
)
def test_an_axis_ends_at_a_round_number(most: float, top: float) -> None:
    assert dashboard.nice(most) == top


def test_a_line_is_broken_where_nothing_is_known() -> None:
    assert dashboard._runs([None, 1.0, 2.0, None, 3.0]) == [(1, [1.0, 2.0]), (4, [3.0])]


@pytest.mark.parametrize("wrong", [-1, "7", True])
def test_a_wrong_history_is_told(wrong: Any) -> None:
    with override_settings(REWARM={"default": {"HISTORY": wrong}}):
        assert "HISTORY" in str(cache.problem)


def test_an_old_release_s_payload_is_shown_as_it_is(client: Client) -> None:
    cache.run(json.dumps({"v": 1, "app": "books"}))
    (letter,) = cache.dead.list()
    assert "&quot;app&quot;: &quot;books&quot;" in client.get(f"{DEAD}default:{letter.id}/").content.decode()
    assert caches["default"] is cache
