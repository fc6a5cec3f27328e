"""`manage.py rewarm_db_worker`: django_tasks_db's `db_worker`, with its options, that needs no supervisor.

`db_worker` ends when its database is away for a moment (https://github.com/RealOrangeOne/django-tasks-db/issues/49).
"""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandError
from django.db import InterfaceError, OperationalError, connections

from rewarm_django.tasks import DjangoTasksAdapter

try:
    from django_tasks_db.management.commands import db_worker
except ImportError as error:
    raise CommandError(f"rewarm_db_worker needs django-tasks-db: pip install django-tasks-db ({error})") from error

PAUSE = 1.0  # s: between two tries while the database is away


class Command(db_worker.Command):
    help = "db_worker that outlives an outage of its database and, with RESCUE, sends again what killed workers held"

    def handle(self, **options: Any) -> None:
        DjangoTasksAdapter(options["backend_name"]).attend()
        super().handle(**options)

    def execute(self, *args: Any, **options: Any) -> Any:
        while True:
            try:
                return super().execute(*args, **options)  # Django's checks, which ask the database too, and `handle`
            except (OperationalError, InterfaceError) as error:
                self.stderr.write(f"the database is away, next try in {PAUSE:g} s: {error}")
                connections.close_all()
                time.sleep(PAUSE)
