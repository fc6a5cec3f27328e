"""The outbox: what a transaction invalidates is a row of the same transaction until it is done."""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ObjectDoesNotExist
from django.core.signals import request_finished
from django.db import DatabaseError, connections, router
from django.utils import timezone

from rewarm import Capability, NotAcknowledged, RewarmError, Task
from rewarm.gather import Gathered, sort
from rewarm.steps import Drop, Look

if TYPE_CHECKING:
    from .applications import Application
    from .commit import Part

logger = logging.getLogger("rewarm.django")
GRACE = 5.0  # s: a younger row is most likely being sent by the process that wrote it
LIMIT = 500  # rows of one database that one look takes
_looked = 0.0
_tables: set[str] = set()


def keep(app: Application, alias: str, part: Part, gathered: Gathered) -> None:
    """Write what `gathered` adds to the part: a row of the outbox, or tasks of a queue in this very database."""
    queued = not writes(app, alias)
    names = [name for name in (*gathered.now, *gathered.later) if name not in part.kept]
    asked = {
        one.target.key: one
        for one in gathered.asked
        if ("refresh", one.target.key) not in part.kept and not (queued and one.special)
    }
    sweeps = [task for task in gathered.sweeps if task.id not in part.kept]
    part.kept |= {*names, *(("refresh", key) for key in asked), *(task.id for task in sweeps)}
    tasks = list(sweeps)
    if names or asked:
        warm = [[one.target.job.name, one.target.job.signature.encode(one.target.values)] for one in asked.values()]
        args: dict[str, Any] = {**sort(names), "refresh": warm}
        tasks.append(app.runtime.sender.route(app.runtime.new_task("invalidate", args)))
    for task in tasks:
        if queued:
            app.runtime.sender.send(task, 0.0)
        else:
            part.rows.append(_write(app, alias, task))


def writes(app: Application, alias: str) -> bool:
    """A transaction of this database leaves rows in its outbox."""
    return app.level == "outbox" or (app.level == "queue" and queue_database(app) != alias)


def _write(app: Application, alias: str, task: Task) -> int:
    from .models import Outbox

    row = Outbox.objects.using(alias).create(app=app.name, payload=task.dumps(app.runtime.signing_keys))
    return int(row.pk)


def queue_database(app: Application) -> str | None:
    """The database whose transactions the queue's tasks are part of; None if there is none."""
    adapter = app.settings.adapter
    if Capability.TRANSACTIONAL not in adapter.capabilities:
        return None
    orm = getattr(getattr(adapter, "conf", None), "ORM", None)  # django-q2's
    return str(orm or getattr(adapter, "database", "default"))


def forget(alias: str, rows: list[int]) -> None:
    """They are done. A failure is reported only: the relay does them again, which harms nothing."""
    from .models import Outbox

    try:
        Outbox.objects.using(alias).filter(pk__in=rows).delete()
    except DatabaseError as error:
        logger.warning("%d rows of the outbox stay until the relay sees them: %s", len(rows), error)


def databases() -> list[str]:
    """Those that have the outbox's table."""
    from .models import Outbox

    table = Outbox._meta.db_table
    for alias in set(connections) - _tables:
        if router.allow_migrate_model(alias, Outbox) and table in connections[alias].introspection.table_names():
            _tables.add(alias)
    return [alias for alias in connections if alias in _tables]


def waiting() -> int:
    """Rows in all outboxes."""
    from .models import Outbox

    return sum(Outbox.objects.using(alias).count() for alias in databases())


def relay(grace: float = GRACE, limit: int = LIMIT) -> int:
    """Do what processes died over between their commit and its end -> how many rows are done.

    grace: seconds that a row must be old.   limit: of rows, in each database. Call it from whatever runs regularly:
    `manage.py rewarm relay`, a periodic task, or nothing, since requests look every `RELAY_EVERY` seconds.
    """
    from .models import Outbox

    return sum(
        _relayed(Outbox.objects.using(alias), row)
        for alias in databases()
        for row in Outbox.objects.using(alias)
        .filter(created__lte=timezone.now() - timedelta(seconds=grace))
        .order_by("pk")[:limit]
    )


def _relayed(rows: Any, row: Any) -> bool:
    from .applications import caches

    if (app := caches.named(row.app)) is None:
        logger.error("the outbox has a row of an application %r that REWARM does not describe", row.app)
        return False
    try:
        _free(app, row.payload)
        app.run(row.payload)  # as a worker would: whatever comes of it is done, queued again or buried
    except NotAcknowledged as error:
        logger.error("a row of the outbox stays: %s", error)
        return False
    rows.filter(pk=row.pk).delete()
    return True


def _free(app: Application, payload: str) -> None:
    """Give up the places that the dead process took: it may have died before their tasks reached the queue, and a task
    that did is superseded."""
    try:
        warm = json.loads(payload)["args"]["refresh"]
    except (ValueError, KeyError, TypeError):
        return
    for job, values in warm:
        if job in app.jobs:
            with suppress(RewarmError, ObjectDoesNotExist):
                key = app.runtime.target_of(job, values).key
                ((seen, _),) = app.runtime.run([Look(key)])
                if seen is not None and seen.q and not seen.r:
                    app.runtime.run([Drop(key, seen.born, seen.q)])


def relay_after_request(**_: Any) -> None:
    """Look now and then, in the process that just answered a request."""
    global _looked
    from .applications import caches

    every = [app.relay_every for app in caches.values() if app.level != "on_commit" and app.relay_every is not None]
    if not every or time.monotonic() - _looked < min(every):
        return
    _looked = time.monotonic()
    try:
        relay(limit=100)
    except DatabaseError as error:
        logger.error("the outbox could not be read: %s", error)


def connect() -> None:
    request_finished.connect(relay_after_request, dispatch_uid="rewarm_django.relay")
