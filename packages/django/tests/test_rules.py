"""Rules: which entries a change of rows makes old."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from books.caches import author_name, everything, label, loads, members, titles
from books.models import Author, Book, Novel, Tag, Team, Word
from django.core.serializers import deserialize, serialize
from django.db import OperationalError, connection, connections, transaction
from django.db.models import F

from rewarm import Outcome, Route, State, TaskDead
from rewarm_django import cache, caches, changes, invalidate_for, on
from rewarm_django.registry import registry
from rewarm_django.rules import attname
from rewarm_django.testing import capture

PROJECT = Path(__file__).with_name("project")
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def state(job: Any, *args: Any) -> State | None:
    found = job.peek(*args)
    return None if found is None else found.state


@pytest.fixture
def ada() -> Author:
    """An author whose name is cached."""
    made = Author.objects.create(name="Ada")
    assert author_name(made.pk) == "Ada"
    return made


# --- the defects of a seed system


def test_r1_rules_have_one_name_in_every_process() -> None:
    code = (
        "import django; django.setup(); import books.urls; from rewarm_django.registry import registry;"
        "print(*registry.rules, sep='\\n')"
    )
    for seed in "12":
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT,
            env={**os.environ, "PYTHONHASHSEED": seed, "DJANGO_SETTINGS_MODULE": "books.settings"},
        )  # fmt: skip
        assert set(done.stdout.split()) == set(registry.rules)


def test_r1_a_task_of_an_unknown_rule_is_tried_again_and_then_a_dead_letter(rule: Any, ada: Author) -> None:
    made = rule(model=Author, invalidator=lambda job, instance: None, run="worker", name="forgotten")
    with capture() as tasks:
        ada.save()
        [payload] = tasks.payloads
        del cache.jobs[f"rule.{made.name}"]
        assert cache.run(payload) is Outcome.RETRIED
        assert cache.run(payload.replace('"attempt":1', '"attempt":10')) is Outcome.DEAD
        assert "no job 'rule.forgotten'" in cache.dead.list()[0].reason


def test_r2_a_delete_inside_a_transaction_invalidates_by_the_values_it_had(ada: Author) -> None:
    pk = ada.pk
    with transaction.atomic():
        ada.delete()
        assert ada.pk is None
        assert state(author_name, pk) is State.HIT
    assert state(author_name, pk) is State.STALE


def test_r3_the_commit_that_counts_is_that_of_the_rows_database() -> None:
    ada = Author(name="Ada")
    ada.save(using="other")
    author_name.entry(ada.pk).set("Ada")
    with transaction.atomic(using="default"):
        with transaction.atomic(using="other"):
            ada.name = "Ada L"
            ada.save(using="other")
            assert state(author_name, ada.pk) is State.HIT
        assert state(author_name, ada.pk) is State.STALE
        # and one that is in no transaction waits for none
        with on("other"):
            author_name.entry(ada.pk).set("Ada L")
        assert state(author_name, ada.pk) is State.HIT
        ada.name = "Ada M"
        ada.save(using="other")
        assert state(author_name, ada.pk) is State.STALE


def test_r4_of_a_plain_save_only_the_fields_that_changed_count(ada: Author) -> None:
    ada = Author.objects.get(pk=ada.pk)
    ada.motto = "onwards"
    ada.save()
    assert state(author_name, ada.pk) is State.HIT
    ada.name = "Ada L"
    ada.save()
    assert state(author_name, ada.pk) is State.STALE
    assert author_name.reload(ada.pk) == "Ada L"
    ada.save()
    ada.save(update_fields=["name"])
    assert state(author_name, ada.pk) is State.HIT


def test_an_empty_list_of_watched_fields_watches_them_all(ada: Author, rule: Any) -> None:
    rule(model=Author, job=everything, watch_fields=[])
    everything()
    ada.motto = "onwards"
    ada.save()
    assert state(everything) is State.STALE


def test_r5_a_rewarm_that_fails_on_the_worker_is_a_failure_of_its_task(rule: Any) -> None:
    app = cache

    @app.job(ttl=600, name="broken")
    def broken(author_id: int) -> str:
        raise ValueError("no such thing")

    rule(model=Author, job=broken, field_mapping={"author_id": "pk"}, rewarm=True, trigger_on_create=True)
    with capture() as tasks:
        Author.objects.create(name="Ada")
        with pytest.raises(TaskDead):
            app.runtime.adapter.deliver(tasks.payloads[0])
        assert app.dead.list()[0].reason == "not retryable"


@pytest.mark.parametrize("level", ["rule", "application"])
def test_r5_each_level_alone_makes_a_failing_rule_raise(rule: Any, ada: Author, level: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(cache, "raises", level == "application")
    asked = True if level == "rule" else None
    rule(model=Author, job=author_name, field_mapping={"author_id": "motto.nothing"}, raise_exception=asked)
    with pytest.raises(AttributeError):
        ada.save()


def test_r5_otherwise_its_whole_job_is_invalidated(rule: Any, ada: Author, caplog: Any) -> None:
    rule(model=Author, job=everything, field_mapping={"author_id": "motto.nothing"})
    everything()
    ada.save()
    assert state(everything) is State.STALE
    assert "its whole job is invalidated" in caplog.text
    rule(model=Author, job=author_name, field_mapping={"author_id": "motto.no"}, raise_exception=False, name="quiet")
    cache.raises = True
    try:
        with pytest.raises(AttributeError):  # the other rule, whose application says so
            ada.save()
    finally:
        cache.raises = False


def test_r6_a_foreign_key_that_moves_makes_both_sides_old(rule: Any) -> None:
    rule(model=Author, job=members, field_mapping={"team_id": "team_id"})
    one, two, three = (Team.objects.create(name=name) for name in ("one", "two", "three"))
    ada = Author.objects.create(name="Ada", team=one)
    assert (members(one.pk), members(two.pk, limit=5), members(three.pk)) == (["Ada"], [], [])
    ada.team = two
    ada.save()
    assert [state(members, *key) for key in ((one.pk,), (two.pk, 5))] == [State.STALE] * 2
    assert state(members, three.pk) is State.HIT


def test_r6_a_path_through_the_old_foreign_key_is_followed(rule: Any) -> None:
    found = []
    rule(model=Author, tags=lambda author: found.append(author.team.name) or [])
    one, two = Team.objects.create(name="one"), Team.objects.create(name="two")
    ada = Author.objects.create(name="Ada", team=one)
    ada = Author.objects.select_related("team").get(pk=ada.pk)
    ada.team = two
    ada.save()
    assert found == ["one", "two"]


def test_r7_updates_in_bulk_and_related_rows(rule: Any) -> None:
    rule(model=Book, job=titles, field_mapping={"author_id": "author_id"}, watch_fields=["tags"])
    ada, bob = Author.objects.create(name="Ada"), Author.objects.create(name="Bob")
    book, other = Book.objects.create(title="Notes", author=ada), Book.objects.create(title="Tables", author=bob)
    engine = Tag.objects.create(name="engine")

    def fresh() -> list[State | None]:
        """States of both, which are fresh again afterwards."""
        seen = [state(titles, ada.pk), state(titles, bob.pk)]
        titles.reload(ada.pk), titles.reload(bob.pk)
        return seen

    fresh()
    old, hit = State.STALE, State.HIT
    book.tags.add(engine)
    assert fresh() == [old, hit]
    engine.books.add(other)
    assert fresh() == [hit, old]
    engine.books.clear()
    assert fresh() == [old, old]
    book.tags.set([engine])
    assert fresh() == [old, hit]
    Book.objects.filter(pk=book.pk).update(sold=F("sold") + 1)
    assert fresh() == [hit, hit]
    Book.objects.filter(pk=book.pk).update(title="More notes")
    assert fresh() == [old, hit]
    Book.objects.filter(author=ada).update(author=bob)
    assert fresh() == [old, old]
    book.title = "Moved"
    assert Book.objects.bulk_update([book], ["title"]) == 1
    assert fresh() == [hit, old]
    Book.objects.bulk_create([Book(title="New", author=ada)])
    assert fresh() == [old, hit]
    with changes(Book.objects.filter(author=ada)), connection.cursor() as cursor:
        cursor.execute("DELETE FROM books_book_tags")
        cursor.execute("DELETE FROM books_book WHERE title = 'New'")
    assert fresh() == [old, hit]
    other.tags.clear()
    Book.objects.all()._raw_delete("default")
    assert fresh() == [hit, old]


def test_both_sides_of_a_many_to_many_relation_may_be_watched(rule: Any, ada: Author) -> None:
    rule(model=Author, job=author_name, field_mapping={"author_id": "pk"}, watch_fields=["friends"])
    bob = Author.objects.create(name="Bob")

    def seen() -> list[State | None]:
        found = [state(author_name, one.pk) for one in (ada, bob)]
        author_name.reload(ada.pk), author_name.reload(bob.pk)
        return found

    seen()
    ada.friends.add(bob)
    assert seen() == [State.STALE] * 2
    bob.friends.clear()
    assert seen() == [State.STALE] * 2
    found: list[int] = []
    rule(model=Tag, tags=lambda tag: found.append(tag.pk) or [], watch_fields=["books"])
    rule(model=Tag, tags=lambda tag: found.append(-1) or [], name="of its own fields")
    book, engine = Book.objects.create(title="Notes"), Tag.objects.create(name="engine")
    book.tags.add(engine)
    engine.books.clear()
    engine.books.add(book)
    book.tags.clear()
    assert found == [engine.pk] * 4
    assert attname(Tag, "books") == "books"
    assert attname(Author, "book_set") == attname(Author, "book") == "book"


@pytest.mark.parametrize("how", ["create", "bulk_create", "save", "delete", "m2m"])
def test_a_key_that_was_assigned_as_text_names_the_entry_of_the_number(rule: Any, ada: Author, how: str) -> None:
    rule(model=Book, job=author_name, field_mapping={"author_id": "author_id"}, trigger_on_create=True)
    book, text, engine = Book.objects.create(title="Notes"), str(ada.pk), Tag.objects.create(name="engine")
    if how in ("delete", "m2m"):
        book = Book.objects.create(title="Tables", author_id=text)
    author_name.reload(ada.pk)
    if how == "create":
        Book.objects.create(title="More notes", author_id=text)
    elif how == "bulk_create":
        Book.objects.bulk_create([Book(title="More notes", author_id=text)])
    elif how == "save":
        book.author_id = text
        book.save()
    elif how == "delete":
        book.delete()
    else:
        book.tags.add(engine)
    assert state(author_name, ada.pk) is State.STALE


class Replica:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "other"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_bulk_calls_write_where_djangos_own_do(rule: Any, ada: Author, settings: Any) -> None:
    rule(model=Book, job=titles, field_mapping={"author_id": "author_id"})
    book = Book.objects.create(title="Notes", author=ada)
    titles.reload(ada.pk)
    book.title = "Tables"
    assert Book.objects.filter(published=False).bulk_update([book], ["title"]) == 0
    settings.DATABASE_ROUTERS = [Replica()]
    assert Book.objects.bulk_update([book], ["title"]) == 1
    settings.DATABASE_ROUTERS = []
    assert (Book.objects.get(pk=book.pk).title, state(titles, ada.pk)) == ("Tables", State.STALE)
    there = Author.objects.using("other").create(pk=ada.pk, name="Ada")
    there.book_set.create(title="Elsewhere")
    titles.reload(ada.pk)
    there.book_set.update(title="Moved")
    assert state(titles, ada.pk) is State.STALE


def test_an_async_job_is_read_by_a_blocking_view_of_an_async_server(ada: Author) -> None:
    async def name(author_id: int) -> str:
        return (await Author.objects.aget(pk=author_id)).name

    job = cache.job(ttl=60, name="async.name")(name)

    def view() -> Any:
        try:
            return job.get(ada.pk)
        finally:
            connections.close_all()

    async def serve() -> Any:
        async with ThreadSensitiveContext():  # one thread for each request, as Django's handler has it
            return await sync_to_async(view)()

    assert async_to_sync(serve)() == "Ada"


def test_async_jobs_of_other_servers_share_one_loop_and_get_over_a_database_that_was_away(rule: Any) -> None:
    loops: list[Any] = []

    async def count(n: int) -> int:
        loops.append(asyncio.get_running_loop())
        if not n:
            await sync_to_async(lambda: connections["default"].close())()
        return await Author.objects.acount()

    job = cache.job(ttl=60, name="count")(count)
    assert [job.get(n) for n in (1, 0, 2)] == [0, 0, 0]
    assert len(set(loops)) == 1


def test_r8_fifty_saves_of_one_row_are_one_task(rule: Any, ada: Author) -> None:
    for motto in "abc":
        rule(model=Author, job=author_name, field_mapping={"author_id": "pk"}, rewarm=True, name=motto)
    with capture() as tasks:
        with transaction.atomic():
            for number in range(50):
                ada.name = f"Ada {number}"
                with transaction.atomic():
                    ada.save()
        assert [(task.kind, task.job) for task in tasks] == [("refresh", "author_name")]


def test_r8_fifty_rows_are_one_task(rule: Any) -> None:
    rule(model=Author, job=author_name, field_mapping={"author_id": "pk"}, rewarm=True)
    rows = [Author.objects.create(name=str(number)) for number in range(50)]
    with capture() as tasks:
        with transaction.atomic():
            for number, row in enumerate(rows):
                row.name = f"row {number}"
                row.save()
        [task] = tasks
        assert (task.kind, len(task.args["refresh"])) == ("invalidate", 50)


def test_r9_a_prefix_is_literal() -> None:
    app = caches["second"]

    @app.job(ttl=600, tags=["slug:{slug}"], name="page")
    def page(slug: str, number: int = 1) -> str:
        return slug

    for strange in ("*", "?", "[x]", "\\", "x"):
        for slug in ("*", "?", "[x]", "\\", "x", "y"):
            page.reload(slug)
        page.sweep(strange)
        assert [slug for slug in ("*", "?", "[x]", "\\", "x", "y") if state(page, slug) is State.STALE] == [strange]
        page.reload(strange)
        app.invalidate(tags=[f"slug:{strange}"])
        assert [slug for slug in ("*", "?", "[x]", "\\", "x", "y") if state(page, slug) is State.STALE] == [strange]


def test_r10_arguments_that_differ_have_keys_that_differ() -> None:
    @cache.job(ttl=600, name="any")
    def anything(one: Any, two: Any = None) -> str:
        return ""

    calls = [
        (1,), ("1",), (None,), ("null",), (True,), (1.0,), ("a::b",), ("a", "b"), ("a||b",), ("a:b",), ("a,b",),
        (["a", "b"],), (["a,b"],), ([1, 2],), (["1", "2"],), ("",), ([],),
    ]  # fmt: skip
    keys = [anything.key(*call) for call in calls]
    assert len(set(keys)) == len(calls)


def test_r11_an_invalidator_runs_where_its_rule_says(rule: Any, ada: Author) -> None:
    ran: list[tuple[str, Any]] = []

    def here(job: Any, instance: Author) -> None:
        ran.append(("here", instance.name))

    async def there(job: Any, instance: Author, signal_type: str, **extras: Any) -> None:
        ran.append(("there", (job.name, instance.name, signal_type, extras)))

    rule(model=Author, job=author_name, invalidator=here, name="here")
    rule(model=Author, job=author_name, invalidator=there, run="worker", name="there")
    with capture() as tasks:
        with transaction.atomic():
            ada.name = "Ada L"
            ada.save(update_fields=["name"])
            assert ran == []
        assert ran == [("here", "Ada L")]
        assert [task.job for task in tasks] == ["rule.there"]
        assert cache.run(tasks.payloads[0]) is Outcome.DONE
    extras = {"instance_created": False, "update_fields": frozenset({"name"})}
    assert ran[1] == ("there", ("author_name", "Ada L", "post_save", extras))


def test_r12_one_load_for_many_processes(herd: Any) -> None:
    assert herd("core") == {"loads of a cold key": 1, "tasks of a stale key": 1}


def test_r13_a_load_that_was_overtaken_is_refused(ada: Author) -> None:
    begun, go = threading.Event(), threading.Event()

    @cache.job(ttl=600, name="slow", tags=["author:{author_id}"])
    def slow(author_id: int) -> str:
        value = Author.objects.get(pk=author_id).name
        if not begun.is_set():
            begun.set()
            assert go.wait(10)
        return value

    def read() -> None:
        try:
            assert slow(ada.pk) == "Ada"
        finally:
            connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(10)
    Author.objects.filter(pk=ada.pk).update(name="Ada L")
    slow.invalidate(ada.pk)
    go.set()
    reader.join()
    assert state(slow, ada.pk) is not State.HIT
    assert slow(ada.pk) == "Ada L"


def test_r14_a_broker_that_is_down_neither_fails_the_save_nor_keeps_the_old_value_fresh(
    rule: Any, ada: Author, caplog: Any, monkeypatch: Any
) -> None:
    from redis import Redis
    from rq import Queue

    from rewarm_rq import RQAdapter

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        adapter = RQAdapter(Queue(connection=Redis(port=closed.getsockname()[1])))
        rule(model=Author, job=author_name, field_mapping={"author_id": "pk"}, rewarm=True)
        monkeypatch.setattr(cache.runtime, "adapter", adapter)
        ada.name = "Ada L"
        ada.save()
    assert Author.objects.get().name == "Ada L"
    assert state(author_name, ada.pk) is State.STALE
    assert "EnqueueFailed" in caplog.text


def test_r16_all_conditions_must_hold(rule: Any) -> None:
    rule(
        model=Book, job=everything, watch_fields=["sold"],
        invalidate_when={"published": True, "!author": None, "facts": {}},
    )  # fmt: skip
    ada = Author.objects.create(name="Ada")
    book = Book.objects.create(title="Notes", author=ada, published=False)
    everything()

    def saved(**values: Any) -> State | None:
        for name, value in values.items():
            setattr(book, name, value)
        book.save()
        seen = state(everything)
        everything.reload()
        return seen

    assert saved(sold=1) is State.HIT
    assert saved(published=True) is State.HIT
    assert saved(sold=2) is State.STALE
    assert saved(author=None) is State.HIT
    assert saved(sold=3) is State.HIT
    assert saved(author=ada) is State.HIT
    assert saved(sold=4, published=False) is State.STALE  # it held before: the row leaves what was cached


def test_r17_what_counts_is_what_was_saved_not_what_was_set_after(rule: Any) -> None:
    rule(model=Author, job=members, field_mapping={"team_id": "team_id"}, trigger_on_create=True)
    told: list[int] = []
    rule(
        model=Author, invalidator=lambda job, author: told.append(author.team_id), trigger_on_create=True, name="tells"
    )
    one, two = Team.objects.create(name="one"), Team.objects.create(name="two")
    members(one.pk), members(two.pk)
    with transaction.atomic():
        ada = Author.objects.create(name="Ada", team=one)
        ada.team = two
    assert (state(members, one.pk), state(members, two.pk), told) == (State.STALE, State.HIT, [one.pk])


# --- restflow's fields


def test_creation_counts_only_if_asked_for(rule: Any) -> None:
    everything()
    made = rule(model=Book, job=everything)
    Book.objects.create(title="one")
    assert state(everything) is State.HIT
    made.trigger_on_create = True
    Book.objects.create(title="two")
    assert state(everything) is State.STALE


def test_required_arguments_that_are_none_skip_the_rule(rule: Any) -> None:
    made = rule(model=Author, job=members, field_mapping={"team_id": "team_id", "limit": "pk"})
    ada = Author.objects.create(name="Ada")
    members.entry(None, ada.pk).set([])  # type: ignore[arg-type]
    ada.save()
    assert state(members, None, ada.pk) is State.HIT
    made.require_args = ["limit"]
    ada.save()
    assert state(members, None, ada.pk) is State.STALE
    members.entry(None, ada.pk).set([])  # type: ignore[arg-type]
    made.require_args = False
    ada.save()
    assert state(members, None, ada.pk) is State.STALE


def test_a_mapping_of_some_arguments_takes_the_jobs_tag_or_the_whole_job(rule: Any) -> None:
    rule(model=Author, job=members, field_mapping={"team_id": "team_id"})
    one, two = Team.objects.create(name="one"), Team.objects.create(name="two")
    members(one.pk, 3), members(two.pk, 3)
    ada = Author.objects.create(name="Ada", team=one)
    ada.save()
    assert (state(members, one.pk, 3), state(members, two.pk, 3)) == (State.STALE, State.HIT)
    rule(model=Author, job="members", field_mapping={"limit": "pk"})
    ada.save()
    assert state(members, two.pk, 3) is State.STALE


def test_a_route_of_its_own(rule: Any, ada: Author) -> None:
    rule(
        model=Author, job=author_name, field_mapping={"author_id": "pk"}, rewarm=True,
        dispatcher_config={"queue": "slow", "priority": "low"},
    )  # fmt: skip
    with capture() as tasks:
        ada.save()
        assert tasks[0].route == Route("slow", "low")


def test_an_application_of_its_own(rule: Any, ada: Author) -> None:
    @caches["second"].job(ttl=600, name="upper")
    def upper(author_id: int) -> str:
        return Author.objects.get(pk=author_id).name.upper()

    rule(model="books.Author", job="upper", dispatcher="second", field_mapping={"author_id": "pk"})
    upper(ada.pk)
    ada.save()
    assert state(upper, ada.pk) is State.STALE


def test_rules_of_a_model_hold_for_its_children(rule: Any) -> None:
    ada = Author.objects.create(name="Ada")
    titles(ada.pk)
    Novel.objects.create(title="Long", author=ada, pages=900)
    assert state(titles, ada.pk) is State.STALE


def test_by_hand(ada: Author) -> None:
    invalidate_for(ada)
    assert state(author_name, ada.pk) is State.STALE


# --- what rows were


def test_loaded_values_outlive_a_rollback(ada: Author) -> None:
    for again in (False, True):
        try:
            with transaction.atomic():
                ada.name = "Ada L"
                ada.save()
                if not again:
                    raise KeyError
        except KeyError:
            assert state(author_name, ada.pk) is State.HIT
    assert state(author_name, ada.pk) is State.STALE


def test_loaded_values_follow_a_refresh_from_the_database(ada: Author) -> None:
    Author.objects.filter(pk=ada.pk).update(name="Bob")
    ada.refresh_from_db()
    author_name.reload(ada.pk)
    ada.save()
    assert state(author_name, ada.pk) is State.HIT
    ada.name = "Ada"
    ada.save()
    assert state(author_name, ada.pk) is State.STALE


def test_a_field_that_was_deferred_counts_once_it_is_known(ada: Author) -> None:
    lazy = Author.objects.defer("name").get(pk=ada.pk)
    assert lazy.name == "Ada"
    lazy.save()
    assert state(author_name, ada.pk) is State.HIT
    lazy = Author.objects.defer("name").get(pk=ada.pk)
    lazy.name = "Ada L"
    lazy.save()
    assert state(author_name, ada.pk) is State.STALE


def test_an_instance_made_by_hand_is_compared_with_its_row(ada: Author) -> None:
    Author(pk=ada.pk, name="Ada").save()
    assert state(author_name, ada.pk) is State.HIT
    Author(pk=ada.pk, name="Ada L").save()
    assert state(author_name, ada.pk) is State.STALE


def test_compare_with_the_database_sees_what_others_wrote(rule: Any) -> None:
    one, two, three = (Team.objects.create(name=name) for name in ("one", "two", "three"))
    rule(model=Author, job=members, field_mapping={"team_id": "team_id"}, compare="database")
    ada = Author.objects.create(name="Ada", team=one)
    Author.objects.filter(pk=ada.pk).update(team=two)
    members(two.pk)
    ada.team = three
    ada.save()
    assert state(members, two.pk) is State.STALE


def test_a_value_that_only_the_database_knows_is_read_back(rule: Any) -> None:
    @cache.job(ttl=600, name="bestsellers")
    def bestsellers(sold: int) -> int:
        return Book.objects.filter(sold=sold).count()

    rule(model=Book, job=bestsellers, field_mapping={"sold": "sold"})
    book = Book.objects.create(title="Notes")
    bestsellers(0), bestsellers(1), bestsellers(2)
    book.sold = F("sold") + 1
    book.save()
    assert [state(bestsellers, number) for number in range(3)] == [State.STALE, State.STALE, State.HIT]


def test_a_value_that_is_changed_in_place_has_changed(rule: Any) -> None:
    rule(model=Book, job=everything, watch_fields=["facts"])
    book = Book.objects.create(title="Notes", facts={"pages": 3})
    everything()
    book.save()
    assert state(everything) is State.HIT
    book.facts["pages"] = 4
    book.save()
    assert state(everything) is State.STALE


def test_fixtures_invalidate_too(ada: Author) -> None:
    ada.name = "Ada L"
    for loaded in deserialize("json", serialize("json", [ada])):
        loaded.save()
    assert state(author_name, ada.pk) is State.STALE


# --- arguments that are rows


def test_a_row_is_an_argument_by_label_key_and_database() -> None:
    ada = Author.objects.create(name="Ada")
    book = Book.objects.create(title="Notes", author=ada)
    with capture() as tasks:
        label.refresh(book)
        assert tasks[0].args == [{"$model": ["books.book", book.pk, "default"]}]
        Book.objects.filter(pk=book.pk).update(title="More")
        assert cache.run(tasks.payloads[0]) is Outcome.DONE
        assert label(book) == "More on default"
    twin = Book(pk=book.pk, title="Other")
    twin.save(using="other")
    assert label(twin) == "Other on other"
    assert label.key(twin) != label.key(book)


def test_a_row_that_is_gone_skips_the_task() -> None:
    book = Book.objects.create(title="Notes")
    with capture() as tasks:
        label.refresh(book)
        Book.objects.all().delete()
        assert cache.run(tasks.payloads[0]) is Outcome.SKIPPED
        assert cache.dead.list() == []


def test_a_database_that_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label, "load", Mock(side_effect=OperationalError("the connection was closed")))
    with capture() as tasks:
        label.refresh(Book.objects.create(title="Notes"))
        assert cache.run(tasks.payloads[0]) is Outcome.RETRIED
        assert cache.dead.list() == []


def test_a_rule_may_map_the_row_itself(rule: Any) -> None:
    rule(model=Book, job=label, field_mapping={"book": ""})
    book = Book.objects.create(title="Notes")
    label(book)
    book.save()
    assert state(label, book) is State.STALE


# --- asyncio


def test_async_saves_deletes_and_reads() -> None:
    async def main() -> list[State | None]:
        ada = await Author.objects.acreate(name="Ada")
        pk, seen = ada.pk, []
        assert await author_name.aget(pk) == "Ada"
        ada.name = "Ada L"
        await ada.asave()
        for _ in range(2):
            found = await author_name.apeek(pk)
            seen.append(found.state if found else None)
            await author_name.areload(pk)
        await ada.adelete()
        found = await author_name.apeek(pk)
        return [*seen, found.state if found else None]

    assert async_to_sync(main)() == [State.STALE, State.HIT, State.STALE]


def test_loads_count() -> None:
    """The counters that other tests trust."""
    word = Word.objects.create(text="a word")
    everything(), everything()
    assert (loads["everything"], word.pk) == (1, "a word")
