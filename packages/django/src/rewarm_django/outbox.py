"""The outbox: what a transaction invalidates is a row of the same transaction until it is done."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ObjectDoesNotExist
from django.core.signals import request_finished
from django.db import DatabaseError, Error, connections, router
from django.utils import timezone

from rewarm import Capability, NotAcknowledged, Outcome, RewarmError, StoreError, Task
from rewarm.gather import Gathered, sort
from rewarm.steps import Drop, Look
from rewarm.stores.base import Recall

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
        with _told(alias):
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

    done = 0
    for alias in databases():
        with _told(alias):
            rows = Outbox.objects.using(alias)
            known = {name: app for name in rows.values_list("app", flat=True).distinct() if (app := _named(name))}
            old = rows.filter(app__in=known, created__lte=timezone.now() - timedelta(seconds=grace))
            done += sum(_relayed(rows, row, known[row.app]) for row in old.order_by("pk")[:limit])
    return done


@contextmanager
def _told(alias: str) -> Iterator[None]:
    """A database that is away keeps its own rows, and no others."""
    try:
        yield
    except Error as error:
        logger.error("the outbox of %r could not be read: %s", alias, error)


def _named(name: str) -> Application | None:
    from .applications import caches

    if (app := caches.named(name)) is None:
        logger.error("the outbox has rows of an application %r that REWARM does not describe", name)
    return app


def _relayed(rows: Any, row: Any, app: Application) -> bool:
    local = app.runtime.adapter.in_process or app.runtime.adapter.eager  # nothing outside this process remembers it
    try:
        if local:
            app.runtime.run([Recall(app.runtime.record("outbox")), Look(app.name)])  # are they there?
        _free(app, row.payload)
        outcome = app.run(row.payload)  # as a worker would: whatever comes of it is done, queued again or buried
    except (NotAcknowledged, StoreError) as error:
        logger.error("a row of the outbox stays: %s", error)
        return False
    if local and outcome in (Outcome.DEFERRED, Outcome.RETRIED):
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
    except Exception as error:  # the request is answered; a test may have forbidden the database
        logger.error("the outbox could not be read: %s", error)


def connect() -> None:
    request_finished.connect(relay_after_request, dispatch_uid="rewarm_django.relay")
