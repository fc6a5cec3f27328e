"""Django's task framework as the conformance suite sees it: its database backend on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import Any

from rewarm import Adapter, Route
from rewarm_conformance.testbed import Setting, Testbed


class DjangoTasks(Testbed):
    """SQLite, without a journal: what a killed worker held is lost."""

    broker = "directory"
    imports_app = False
    known_failures: Mapping[str, str] = {  # the worker ends with its connection
        "BROKER-02": "https://github.com/RealOrangeOne/django-tasks-db/issues/49"
    }
    loss_windows: Mapping[str, str] = {  # between two tasks a kill may lose none
        "LOAD-02": "https://github.com/RealOrangeOne/django-tasks/issues/46"
    }
    command = "db_worker"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "rewarm_django.trial_settings",
            "REWARM_TRIAL_URL": self.url, "REWARM_TRIAL_DIRECTORY": setting.directory,
        }  # fmt: skip
        import django

        django.setup()

    def prepare(self, namespace: str) -> None:
        from django.core.management import call_command

        if not (flag := self.directory / "migrated").exists():
            call_command("migrate", verbosity=0)
            flag.touch()

    def build(self, namespace: str) -> tuple[Any, Adapter]:
        from django.db import close_old_connections, connection

        from .tasks import DjangoTasksAdapter

        class Requests(DjangoTasksAdapter):
            """Sends as a request of its own each time: SQLite does not notice that its file is gone."""

            def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
                if not connection.in_atomic_block:
                    close_old_connections()
                return super().enqueue(payload, route=route, delay=delay)

        adapter = Requests(queue=namespace)
        return adapter, adapter

    def worker(self, namespace: str, queue: str | None = None) -> list[str]:
        return [
            sys.executable, "-m", "django", self.command, "--queue-name", queue or namespace, "--interval", "0.05",
            "--no-startup-delay",
        ]  # fmt: skip

    def make_eager(self, native: Any) -> None:
        native.alias = "immediate"

    def failed(self, namespace: str, log: str) -> bool:
        from django_tasks_db.models import DBTaskResult

        return bool(DBTaskResult.objects.failed().filter(queue_name=namespace).exists())

    def transaction(self, native: Any) -> AbstractContextManager[Any] | None:
        from django.db import transaction

        block: AbstractContextManager[Any] = transaction.atomic()
        return block

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("django", "django-tasks-db")}


class DjangoTasksRescue(DjangoTasks):
    """With a journal, and our worker, which looks into it and outlives an outage of the database."""

    rescue = 3.0
    redelivery_seconds = 10.0
    delay_tolerance = 2.0
    known_failures: Mapping[str, str] = {}
    loss_windows: Mapping[str, str] = {}
    command = "rewarm_db_worker"


class DjangoTasksPostgresql(DjangoTasksRescue):
    broker = "postgresql"
