"""Rules: which entries a change of rows makes old."""

from __future__ import annotations

import pytest
from books.caches import author_name, loads, members, titles
from books.models import Author, Book, Tag, Team
from django.db import transaction

from rewarm import State
from rewarm_django import cache, changes
from rewarm_django.testing import capture

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def state(job, *args):
    found = job.peek(*args)
    return found and found.state


def test_a_created_row_makes_the_list_it_belongs_to_old() -> None:
    author = Author.objects.create(name="Ada")
    assert titles(author.pk) == []
    Book.objects.create(title="Notes", author=author)
    assert state(titles, author.pk) is State.STALE
    titles.refresh(author.pk)
    assert titles(author.pk) == ["Notes"]


def test_r4_watch_fields_of_a_plain_save_are_those_that_changed() -> None:
    author = Author.objects.create(name="Ada")
    author_name(author.pk)
    author.motto = "onwards"
    author.save()
    assert state(author_name, author.pk) is State.HIT
    author.name = "Ada L"
    author.save()
    assert state(author_name, author.pk) is State.STALE


def test_r6_a_foreign_key_that_moves_makes_both_sides_old(rule) -> None:
    rule(model=Author, job=members, field_mapping={"team_id": "team_id"})
    one, two = Team.objects.create(name="one"), Team.objects.create(name="two")
    ada = Author.objects.create(name="Ada", team=one)
    assert (members(one.pk), members(two.pk, limit=5)) == (["Ada"], [])
    ada.team = two
    ada.save()
    assert (state(members, one.pk), state(members, two.pk, 5)) == (State.STALE, State.STALE)


def test_r8_fifty_saves_are_one_task(rule) -> None:
    rule(model=Author, job=author_name, field_mapping={"author_id": "pk"}, rewarm=True)
    ada = Author.objects.create(name="Ada")
    with capture(cache) as tasks:
        with transaction.atomic():
            for number in range(50):
                ada.name = f"Ada {number}"
                with transaction.atomic():
                    ada.save()
        assert [task.kind for task in tasks] == ["refresh"]
    rows = [Author.objects.create(name=str(number)) for number in range(50)]
    with capture(cache) as tasks:
        with transaction.atomic():
            for number, row in enumerate(rows):
                row.name = f"row {number}"
                row.save()
        [task] = tasks
        assert (task.kind, len(task.args["refresh"])) == ("invalidate", 50)


def test_r2_a_delete_inside_atomic_invalidates(rule) -> None:
    rule(model=Author, job=author_name, field_mapping={"author_id": "pk"})
    ada = Author.objects.create(name="Ada")
    pk = ada.pk
    author_name(pk)
    with transaction.atomic():
        ada.delete()
        assert state(author_name, pk) is State.HIT
    assert state(author_name, pk) is State.STALE


def test_r3_each_database_has_its_own_commit(rule) -> None:
    rule(model=Author, job=author_name, field_mapping={"author_id": "pk"})
    ada = Author(name="Ada")
    ada.save(using="other")
    author_name.entry(ada.pk).set("Ada")
    with transaction.atomic(using="default"):
        with transaction.atomic(using="other"):
            ada.name = "Ada L"
            ada.save(using="other")
            assert author_name.entry(ada.pk).peek().state is State.HIT
        assert author_name.entry(ada.pk).peek().state is State.STALE


def test_r7_bulk_and_many_to_many(rule) -> None:
    rule(model=Book, job=titles, field_mapping={"author_id": "author_id"}, watch_fields=["tags", "title"])
    ada = Author.objects.create(name="Ada")
    book = Book.objects.create(title="Notes", author=ada)
    titles(ada.pk)
    book.tags.add(Tag.objects.create(name="engine"))
    assert state(titles, ada.pk) is State.STALE
    titles.reload(ada.pk)
    Book.objects.filter(pk=book.pk).update(title="More notes")
    assert state(titles, ada.pk) is State.STALE
    assert titles.reload(ada.pk) == ["More notes"]
    with changes(Book.objects.all()):
        Book.objects.all().delete()
    assert state(titles, ada.pk) is State.STALE
    assert loads["titles"] == 3
