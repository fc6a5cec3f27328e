"""The adapter of Django's task framework, each test in a process with settings of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from rewarm.cli.server import Server

ENVIRONMENT = {"DJANGO_SETTINGS_MODULE": "rewarm_django.trial_settings"}
SETUP = """
    import django
    django.setup()
    from django.core.management import call_command
    call_command("migrate", verbosity=0)
    from django.conf import settings
    from django.db import transaction
    from django.utils import timezone
    from django_tasks_db.models import DBTaskResult
    from rewarm import Rewarm, Route
    from rewarm_django.tasks import DjangoTasksAdapter, backends
"""
CACHE = """
    import django
    django.setup()
    from rewarm import Rewarm

    cache = Rewarm("shop", store="{url}", adapter="django-tasks")
"""


@pytest.fixture
def django(tmp_path: Path) -> Callable[..., str]:
    """Runs code in a process that Django is set up in -> what it printed. `folder`: where the database is."""

    def run(code: str, folder: Path = tmp_path) -> str:
        where = {"REWARM_TRIAL_URL": str(folder), "REWARM_TRIAL_DIRECTORY": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", dedent(SETUP) + dedent(code)],
            capture_output=True, text=True, timeout=60, env={**os.environ, **ENVIRONMENT, **where},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def test_rows_of_the_queue_with_priority_and_time(django: Callable[[str], str]) -> None:
    assert django(
        """
        adapter = DjangoTasksAdapter()
        ids = [adapter.enqueue("payload", route=Route(queue), delay=0) for queue in (None, "low")]
        adapter.enqueue("payload", route=Route(priority="high", options={"queue_name": "other"}), delay=60)
        DjangoTasksAdapter(queue="low").enqueue("payload", route=Route(), delay=0)
        print(len(set(ids)), adapter.depth(), adapter.depth("low"), adapter.depth("other"))
        [later] = DBTaskResult.objects.filter(queue_name="other")
        print(later.priority, 55 < (later.run_after - timezone.now()).total_seconds() <= 60, later.args_kwargs["args"])
        print({row.task_path for row in DBTaskResult.objects.all()})
        """
    ).splitlines() == ["2 1 2 0", "50 True ['payload']", "{'rewarm_django.tasks.run'}"]  # fmt: skip


def test_a_task_is_part_of_the_transaction(django: Callable[[str], str]) -> None:
    assert django(
        """
        try:
            with transaction.atomic():
                DjangoTasksAdapter().enqueue("payload", route=Route(), delay=0)
                DjangoTasksAdapter().enqueue("payload", route=Route(), delay=5)
                raise KeyError
        except KeyError:
            print(DBTaskResult.objects.count(), DjangoTasksAdapter().database)
        """
    ) == "0 default"  # fmt: skip


def test_it_sends_from_inside_an_event_loop(django: Callable[[str], str]) -> None:
    assert django(
        """
        import asyncio
        async def inside():
            return DjangoTasksAdapter().enqueue("payload", route=Route(), delay=0)
        print(bool(asyncio.run(inside())), DBTaskResult.objects.count())
        """
    ) == "True 1"  # fmt: skip


def test_each_backend_promises_what_it_can(django: Callable[[str], str]) -> None:
    assert django(
        """
        framework = settings.TASKS["immediate"]["BACKEND"].partition(".backends")[0]
        settings.TASKS["dummy"] = {"BACKEND": f"{framework}.backends.dummy.DummyBackend"}
        settings.TASKS["own"] = {"BACKEND": "__main__.Own", "QUEUES": ["mail", "slow"]}
        class Own(backends()["immediate"].__class__.__mro__[1]):
            supports_defer = False
            def enqueue(self, task, args, kwargs): ...
        for name in settings.TASKS:
            adapter = DjangoTasksAdapter(name)
            print(name, adapter.queue, sorted(map(str, adapter.capabilities)), adapter.eager, adapter.depth())
            print(*[finding.severity for finding in adapter.doctor()])
        """
    ).splitlines() == [
        "default default ['delay', 'depth', 'persistence', 'priority', 'transactional'] False 0", "warning info",
        "immediate default ['priority'] True None", "warning",
        "dummy default ['delay', 'priority'] False None", "error",
        "own mail [] False None", "info warning",
    ]  # fmt: skip


def test_what_is_missing_from_the_settings_is_named(django: Callable[[str], str]) -> None:
    told = django(
        """
        settings.TASKS["strict"] = {"BACKEND": settings.TASKS["default"]["BACKEND"]}
        app = Rewarm("shop", adapter=DjangoTasksAdapter("strict"))
        for attempt in (
            lambda: DjangoTasksAdapter("nowhere").capabilities,
            lambda: app.configure(routes={"refresh": Route("low")}),
        ):
            try:
                attempt()
            except Exception as error:
                print(type(error).__name__, error)
        """
    ).splitlines()  # fmt: skip
    assert told == [
        "ConfigurationError TASKS has no 'nowhere'; there are default, immediate, strict",
        "ConfigurationError a route names the queue 'low', which TASKS['strict']['QUEUES'] does not list: add it there",
    ]


def test_the_immediate_backend_is_eager_mode(django: Callable[[str], str]) -> None:
    assert django(
        """
        app = Rewarm("shop", adapter=DjangoTasksAdapter("immediate"))
        double = app.job(ttl=60, name="double")(lambda n: 2 * n)
        print(double.refresh(21).outcome(0), double.peek(21).value)
        """
    ) == "done 42"  # fmt: skip


@pytest.mark.parametrize("command", ["db_worker", "rewarm_db_worker"])
def test_the_worker_as_a_user_types_it(
    command: str, django: Callable[[str], str], server: Server, shop: Callable[..., str], tmp_path: Path
) -> None:
    django("")
    told = shop(
        {"cache": CACHE.format(url=server.url)}, "django-admin", command, "--interval", "0.05",
        **ENVIRONMENT, REWARM_TRIAL_DIRECTORY=str(tmp_path), REWARM_TRIAL_URL=str(tmp_path),
        REWARM_APP="shop.cache:cache", PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert told == "done ['ada']"


def test_our_worker_outlives_an_outage_of_its_database(django: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "late"
    where = {"REWARM_TRIAL_URL": str(folder), "REWARM_TRIAL_DIRECTORY": str(tmp_path)}
    command = [sys.executable, "-m", "django", "rewarm_db_worker", "--interval", "0.05", "--no-startup-delay"]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **ENVIRONMENT, **where},
    ) as worker:
        try:
            assert worker.stderr is not None
            assert any("the database is away" in line for line in worker.stderr)
            folder.mkdir()
            told = django(
                """
                import time
                DjangoTasksAdapter().enqueue("no payload", route=Route(), delay=0)
                deadline = time.monotonic() + 30
                while not (ended := DBTaskResult.objects.finished().count()) and time.monotonic() < deadline:
                    time.sleep(0.05)
                print(ended)
                """,
                folder,
            )
        finally:
            worker.terminate()
    assert told == "1"
