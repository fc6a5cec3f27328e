"""In a TestCase: what it holds open is no transaction of the code under test."""

from __future__ import annotations

from typing import Any

import pytest
from books.caches import author_name
from books.models import Author
from django.db import connections, transaction
from django.test import TestCase

from rewarm import State
from rewarm_django import cache
from rewarm_django.fixtures import rewarm_inline, rewarm_tasks  # noqa: F401  as pytest_plugins would
from rewarm_django.testing import capture, drain, inline


def state(job: Any, *args: Any) -> State | None:
    found = job.peek(*args)
    return None if found is None else found.state


class InATestCase(TestCase):
    """What a TestCase holds open is no transaction of the code under test."""

    databases = ("default", "other")

    def setUp(self) -> None:
        assert connections["default"].in_atomic_block

    def test_reads_store_and_writes_invalidate_at_once(self) -> None:
        with inline():
            ada = Author.objects.create(name="Ada")
            assert author_name(ada.pk) == "Ada"
            assert author_name.read(ada.pk).state is State.HIT
            ada.name = "Ada L"
            ada.save()
            assert author_name.read(ada.pk).state is State.STALE
            assert author_name(ada.pk) == "Ada L"

    def test_a_transaction_is_committed_by_capture_on_commit_callbacks(self) -> None:
        ada = Author.objects.create(name="Ada")
        author_name(ada.pk)
        with capture() as tasks:
            author_name.reload(ada.pk)
            for number in range(3):
                with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
                    ada.name = f"Ada {number}"
                    ada.save()
                    author_name.entry(ada.pk).refresh()
                    assert state(author_name, ada.pk) is State.HIT
                assert (state(author_name, ada.pk), len(tasks)) == (State.STALE, number + 1)
                cache.run(tasks.payloads[-1])
                assert author_name(ada.pk) == f"Ada {number}"

    def test_without_it_nothing_is_sent(self) -> None:
        ada = Author.objects.create(name="Ada")
        author_name(ada.pk)
        with transaction.atomic():
            author_name.invalidate(ada.pk)
        assert state(author_name, ada.pk) is State.HIT


@pytest.mark.django_db
def test_with_pytest_django(django_capture_on_commit_callbacks: Any) -> None:
    ada = Author.objects.create(name="Ada")
    with capture() as tasks:
        author_name.reload(ada.pk)
        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            author_name.entry(ada.pk).invalidate(refresh=True)
            assert state(author_name, ada.pk) is State.HIT
        assert (state(author_name, ada.pk), len(tasks), drain()) == (State.STALE, 1, 1)
        assert state(author_name, ada.pk) is State.HIT


@pytest.mark.django_db
def test_with_the_fixture_of_tasks(rewarm_tasks: Any) -> None:  # noqa: F811
    author_name.refresh(7)
    assert [task.job for task in rewarm_tasks] == ["author_name"]


@pytest.mark.django_db
@pytest.mark.usefixtures("rewarm_inline")
def test_with_the_fixture_that_runs_them_in_place() -> None:
    ada = Author.objects.create(name="Ada")
    author_name.refresh(ada.pk)
    assert state(author_name, ada.pk) is State.HIT


@pytest.mark.usefixtures("django_db_setup")
def test_a_task_that_needs_no_database_runs_in_a_test_that_may_not_use_it(django_db_blocker: Any) -> None:
    with django_db_blocker.unblock():
        connections["default"].ensure_connection()  # another test left it open
    job = cache.job(ttl=60, name="plain")(lambda: 1)
    with capture():
        job.refresh()
        assert (drain(), state(job)) == (1, State.HIT)
