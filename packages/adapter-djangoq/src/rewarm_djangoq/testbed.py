"""django-q2 as the conformance suite sees it: its ORM broker on SQLite and PostgreSQL, and Redis."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import Any

from rewarm import Adapter
from rewarm_conformance.testbed import Setting, Testbed


class DjangoQOrm(Testbed):
    """SQLite. `retry` of 8 s stands for what a project sets: somewhat more than its longest task."""

    broker = "directory"
    redelivery_seconds = 12.0
    imports_app = False

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "rewarm_djangoq.trial_settings",
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
        from django_q.conf import Conf

        from .adapter import DjangoQAdapter

        adapter = DjangoQAdapter(namespace)
        adapter.conf = native = type("Conf", (Conf,), {})()  # a switch of its own: the settings are the process's
        return native, adapter

    def worker(self, namespace: str, queue: str | None = None) -> list[str]:
        return ["env", f"Q_CLUSTER_NAME={queue or namespace}", sys.executable, "-m", "django", "qcluster"]

    def make_eager(self, native: Any) -> None:
        native.SYNC = True

    def failed(self, namespace: str, log: str) -> bool:
        from django_q.models import Failure

        return bool(Failure.objects.filter(cluster=namespace).exists())

    def transaction(self, native: Any) -> AbstractContextManager[Any] | None:
        from django.db import transaction

        block: AbstractContextManager[Any] = transaction.atomic()
        return block

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("django", "django-q2")}


class DjangoQPostgresql(DjangoQOrm):
    broker = "postgresql"
    loss_windows: Mapping[str, str] = {  # rows are taken in no order at all
        "ORDER-01": "https://github.com/Koed00/django-q/issues/622"
    }


class DjangoQRedis(DjangoQOrm):
    """Neither delay nor redelivery: see docs/queues.md."""

    broker = "redis"
    loss_windows: Mapping[str, str] = {  # between two tasks a kill may lose none
        "LOAD-02": "https://github.com/GDay/django-q2/blob/master/docs/brokers.rst"
    }

    def transaction(self, native: Any) -> None:
        return None


class DjangoQRescue(DjangoQRedis):
    """The Redis broker; the journal carries its delays too. The command rescues beside the cluster."""

    rescue = 3.0
    redelivery_seconds = 10.0
    delay_tolerance = 2.0
    loss_windows: Mapping[str, str] = {}

    def worker(self, namespace: str, queue: str | None = None) -> list[str]:
        rescue = f"{sys.executable} -m rewarm.cli rescue --every 0.5"
        return ["sh", "-c", f'{rescue} & exec "$@"', "sh", *super().worker(namespace, queue)]
