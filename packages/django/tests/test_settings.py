"""Settings, checks, and which queue is meant."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from books.caches import titles
from books.models import Author
from django.conf import settings as live
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from rewarm import ConfigurationError, Rewarm
from rewarm.adapter import process_apps
from rewarm_django import caches, detect
from rewarm_django.settings import KEYWORDS


def ids(deploy: bool = False) -> list[str]:
    found = checks.run_checks(tags=["rewarm"], include_deployment_checks=deploy)
    assert all(message.hint for message in found)
    return sorted(message.id for message in found)


def test_the_tests_project_is_as_it_should_be() -> None:
    assert ids() == []
    assert (caches["default"].name, caches["second"].name) == ("books", "second")
    assert caches["second"].settings.routes == {"refresh": {"queue": "low"}}
    assert titles.app is caches["default"]


def test_whatever_the_core_takes_can_be_set() -> None:
    given: dict[str, Any] = {
        "STORE": "memory", "ADAPTER": "inline", "LEDGER": "memory", "ROUTES": {"refresh": {"queue": "low"}},
        "SIGNING_KEYS": ["s" * 32], "ON_STORE_ERROR": "raise", "ON_ENQUEUE_ERROR": "inline",
    }  # fmt: skip
    assert {key.lower() for key in given} <= set(KEYWORDS)
    with override_settings(REWARM={"default": given}):
        found = caches["default"].settings
        assert (found.on_store_error, found.on_enqueue_error, found.signing_keys) == ("raise", "inline", (b"s" * 32,))
    assert caches["default"].settings.on_store_error == "load"


@pytest.mark.django_db(databases=["default", "other"])  # Django 6 checks the databases as well
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"default": {"STOER": "memory"}}, "no 'STOER'; there are NAME, COMMIT"),
        ({"default": {"COMMIT": "later"}}, "'later', none of on_commit, outbox, queue"),
        ({"default": {"POLICIES": {"tll": 3}}}, "no 'tll'; there are ttl"),
        ({"default": {"ADAPTER": "carrier-pigeon"}}, "no adapter 'carrier-pigeon'"),
        ({"default": {"STORE": "cache://nowhere"}}, "cache://nowhere"),
        ({"default": {"ON_STORE_ERROR": "shrug"}}, "none of load, raise"),
        ({"default": {"RELAY_EVERY": "often"}}, "'RELAY_EVERY'.* is 'often': give a number of seconds"),
        ({"default": {"STORE": "http://x"}}, "store='http://x'"),
        ({"default": {"LEDGER": "databse"}}, "'databse': give 'memory'"),
        ({"default": {"NAME": "My shop"}}, "'NAME'.* is 'My shop': use"),
        ({"STORE": "memory"}, "'STORE'.* is one level too high"),
        ({"default": 3}, "give a dict"),
        ("redis://", "give a dict of dicts"),
    ],
)
def test_r15_an_option_that_is_not_known_is_an_error_with_a_hint(given: Any, told: str) -> None:
    with override_settings(REWARM=given):
        found = checks.run_checks(tags=["rewarm"])
        assert any(
            re.search(told, message.msg) and message.hint and message.id in ("rewarm.E001",) for message in found
        ), found
        with pytest.raises(SystemCheckError):
            call_command("check")
        with pytest.raises(ConfigurationError, match=told):
            caches["default"].runtime  # noqa: B018
    assert ids() == []


@pytest.fixture
def celery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The current Celery application, in this test only."""
    from celery import Celery, _state

    app = Celery("unused", broker="memory://", set_as_current=False)
    monkeypatch.setattr(_state, "default_app", app)
    monkeypatch.setattr(_state._tls, "current_app", app, raising=False)
    yield app
    app.close()
    process_apps.pop("books", None)  # where its adapter has put the application


def test_a_queue_in_other_processes_needs_a_store_that_they_see(celery: Any) -> None:
    with override_settings(REWARM={"default": {"NAME": "books", "ADAPTER": "celery"}}):
        assert ids() == ["rewarm.E003"]
    celery.conf.task_always_eager = True
    given = {"NAME": "books", "ADAPTER": "celery", "STORE": "redis://127.0.0.1:1/0"}
    with override_settings(REWARM={"default": given}):
        assert ids(deploy=True) == ["rewarm.W011", "rewarm.W013"]


def test_a_transactional_level_needs_a_transactional_queue() -> None:
    with override_settings(REWARM={"default": {"ADAPTER": "inline", "COMMIT": "queue"}}):
        assert ids() == ["rewarm.E004"]


def test_deploy_warns_of_what_is_fine_only_while_developing() -> None:
    with override_settings(REWARM={"default": {"ADAPTER": "inline", "SIGNING_KEYS": ["s" * 32]}}):
        assert ids(deploy=True) == ["rewarm.W012", "rewarm.W013"]
        caches["default"].job(ttl=3, serializer="pickle", name="pickled")(lambda: 3)
        try:
            assert "rewarm.W010" in ids(deploy=True)
        finally:
            del caches["default"].jobs["pickled"]
    assert "rewarm.W014" in ids(deploy=True)  # of "second", which has no name of its own


def test_rules_are_checked(rule: Any) -> None:
    from rewarm_django.registry import registry

    before = len(registry.rules)
    rule(model="books.Author", job="titles", field_mapping={"author_id": "nmae"})
    rule(model="books.Author", job="no_such_job")
    rule(model="books.Auhtor", tags=["x"])
    rule(model="books.Author", job="titles", field_mapping={"author": "pk"})
    rule(model="books.Author", job="members", field_mapping={"limit": "pk"})
    rule(model="books.Author", job="members", field_mapping={"team_id": "team.pk"}, rewarm=True)
    assert ids() == ["rewarm.E005"] * 5 + ["rewarm.W001"]
    assert len(registry.rules) == before + 6
    with pytest.raises(ConfigurationError, match="what does it invalidate"):
        rule(model=Author)
    with pytest.raises(ConfigurationError, match="decides by itself"):
        rule(model=Author, invalidator=print, field_mapping={"a": "b"})
    with pytest.raises(ConfigurationError, match="no 'prioritty'"):
        rule(model=Author, tags=["x"], dispatcher_config={"prioritty": "high"})
    with pytest.raises(TypeError, match="unexpected keyword"):
        rule(model=Author, tags=["x"], field_maping={})


# --- which queue


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has imported no queue."""
    for name in ("celery._state", "dramatiq.broker"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("settings", "installed", "name"),
    [
        ({}, [], "threads"),
        ({"CELERY_BROKER_URL": "memory://"}, [], "celery"),
        ({"RQ_QUEUES": {"default": {"URL": "redis://localhost"}}}, ["django_rq"], "rq"),
        ({"Q_CLUSTER": {"orm": "default"}}, ["django_q"], "djangoq"),
        ({}, ["huey.contrib.djhuey"], "huey"),
        ({"DRAMATIQ_BROKER": {}}, [], "dramatiq"),
        ({"TASKS": {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}}, [], "django-tasks"),
        ({"TASKS": {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}}, [], "threads"),
    ],
)
def test_the_queue_is_the_one_that_is_configured(settings: Any, installed: Any, name: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(detect, "_installed", lambda: installed)
    for key, value in settings.items():
        monkeypatch.setattr(live, key, value, raising=False)
    assert detect.queue() == name


@pytest.mark.usefixtures("alone")
def test_several_queues_are_an_error_that_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "_installed", lambda: ["django_rq", "django_q"])
    monkeypatch.setattr(live, "RQ_QUEUES", {"default": {}}, raising=False)
    monkeypatch.setattr(live, "Q_CLUSTER", {}, raising=False)
    with pytest.raises(
        ConfigurationError, match=r"rq \(settings RQ_QUEUES\), djangoq \(settings Q_CLUSTER\): say which"
    ):
        detect.queue()


@pytest.mark.usefixtures("alone")
def test_cachebacks_choice_of_a_queue_holds_whatever_else_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "CELERY_BROKER_URL", "memory://", raising=False)
    monkeypatch.setattr(live, "CACHEBACK_TASK_QUEUE", "rq", raising=False)
    assert detect.queue() == "rq"
    monkeypatch.setattr(live, "CACHEBACK_TASK_QUEUE", "kafka", raising=False)
    with pytest.raises(ConfigurationError, match="CACHEBACK_TASK_QUEUE is 'kafka', none of celery"):
        detect.queue()


@pytest.mark.usefixtures("alone")
def test_a_missing_adapter_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "CELERY_BROKER_URL", "memory://", raising=False)
    monkeypatch.setattr(detect, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="pip install rewarm-celery"):
        detect.queue()


def test_policies_are_defaults_of_all_jobs() -> None:
    with override_settings(
        REWARM={"default": {"NAME": "books", "ADAPTER": "inline", "POLICIES": {"ttl": 7, "wait": 3}}}
    ):
        app = caches["default"]
        made = app.job(name="plain")(lambda: 1)
        other = app.job(name="other", wait=9)(lambda: 1)
        try:
            assert (made.policies["ttl"].fixed, made.policies["wait"].fixed, other.policies["wait"].fixed) == (7, 3, 9)
        finally:
            del app.jobs["plain"], app.jobs["other"]
    with pytest.raises(ConfigurationError, match="needs ttl="):
        caches["default"].job(name="plain")


def test_an_application_is_a_rewarm() -> None:
    assert isinstance(caches["default"], Rewarm)
    with pytest.raises(ConfigurationError, match="no 'third'; there are default, second"):
        caches["third"]


@pytest.mark.django_db
def test_the_migrations_are_complete() -> None:
    call_command("makemigrations", "rewarm_django", check=True, dry_run=True, verbosity=0)
