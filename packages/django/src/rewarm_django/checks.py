"""System checks: what is wrong with the settings and the rules, with the fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, connections, router

from rewarm import BoundJob, ConfigurationError

from . import detect, outbox
from .applications import Application, caches
from .ledger_db import DatabaseLedger
from .registry import registry
from .rules import InvalidationRule, tags_within
from .store import CacheStore


def register() -> None:
    checks.register(applications, "rewarm")
    checks.register(rules, "rewarm")
    checks.register(databases, checks.Tags.database)
    checks.register(deployment, "rewarm", deploy=True)


def applications(**_: Any) -> list[Any]:
    """E001 settings, E002 several queues, E003 a store that workers do not see, E004 a level that cannot hold."""
    found: list[Any] = []
    for alias, app in caches.items():
        if not app.ready:
            several = "several task queues" in str(app.problem)
            found.append(
                checks.Error(
                    str(app.problem), id="rewarm.E002" if several else "rewarm.E001",
                    hint=detect.HINT if several else f"mend REWARM[{alias!r}]; see docs/django.md",
                )
            )  # fmt: skip
            continue
        adapter = app.settings.adapter
        store = app.settings.store
        shared = store.shared if isinstance(store, CacheStore) else store not in ("memory", "memory://")
        if not shared and not (adapter.in_process or adapter.eager):
            found.append(
                checks.Error(
                    f"REWARM[{alias!r}]: the workers of {adapter.name!r} cannot see {store!r}, which is this process's",
                    hint='"STORE": "redis://…", or "cache://…" of a cache that processes share', id="rewarm.E003",
                )
            )  # fmt: skip
        if app.level == "queue" and outbox.queue_database(app) is None:
            found.append(
                checks.Error(
                    f"REWARM[{alias!r}]['COMMIT'] is 'queue', but {adapter.name!r} takes no part in transactions",
                    hint="'outbox', or django-q2 with its ORM broker", id="rewarm.E004",
                )
            )  # fmt: skip
    return found


def rules(**_: Any) -> list[Any]:
    """E005 a rule that cannot work, W001 one that invalidates more than it says."""
    return [message for rule in registry.rules.values() for message in _wrong(rule)]


def _wrong(rule: InvalidationRule) -> Iterator[Any]:
    try:
        model, job = rule.model_class, rule.bound
        if isinstance(rule.model, str) and model is None:
            raise LookupError(rule.model)
    except (LookupError, ValueError, ConfigurationError) as error:
        yield checks.Error(f"rule {rule.name}: {error}", hint="name a model as app_label.Model", id="rewarm.E005")
        return
    for path in [*rule.field_mapping.values(), *(rule.watch_fields or ()), *rule.invalidate_when]:
        if problem := _no_path(model, path.removeprefix("!")):
            yield checks.Error(f"rule {rule.name}: {problem}", hint="mend the path", id="rewarm.E005")
    if job is None:
        return
    names = job.signature.names
    if unknown := [name for name in rule.field_mapping if name not in names and not _is_view(job)]:
        yield checks.Error(
            f"rule {rule.name} maps {unknown[0]!r}, which is no argument of {job.name}",
            hint=f"there are {', '.join(names) or 'none'}", id="rewarm.E005",
        )  # fmt: skip
    elif rule.rewarm and set(names) - rule.field_mapping.keys():
        missing = sorted(set(names) - rule.field_mapping.keys())
        yield checks.Error(
            f"rule {rule.name} rewarms {job.name}, but maps no {missing[0]!r}",
            hint="map every argument: the load needs them", id="rewarm.E005",
        )  # fmt: skip
    elif (
        rule.field_mapping and set(names) - rule.field_mapping.keys() and not tags_within(job, _Any(rule.field_mapping))
    ):
        yield checks.Warning(
            f"rule {rule.name} maps only {', '.join(rule.field_mapping)} of {job.name}'s arguments: it invalidates the "
            "whole job", hint=f"give the job a tag: tags=[{_template(rule)!r}]", id="rewarm.W001",
        )  # fmt: skip


class _Any(dict[str, Any]):
    """Values that format as anything."""

    def __init__(self, names: Any) -> None:
        super().__init__(dict.fromkeys(names, _Whatever()))


class _Whatever:
    def __getattr__(self, name: str) -> _Whatever:
        return self

    def __getitem__(self, name: Any) -> _Whatever:
        return self

    def __format__(self, spec: str) -> str:
        return ""


def _template(rule: InvalidationRule) -> str:
    return ",".join(f"{name}:{{{name}}}" for name in rule.field_mapping)


def _is_view(job: BoundJob[..., Any]) -> bool:
    return hasattr(job.job, "tag_templates")


def _no_path(model: Any, path: str) -> str:
    """What is wrong with a dotted path; properties and methods are taken on trust."""
    for step in path.split(".") if path else ():
        if model is None:
            return ""
        try:
            field = None if step == "pk" else model._meta.get_field(step)
        except FieldDoesNotExist:
            names = [one.attname for one in model._meta.concrete_fields]
            if step not in names and not hasattr(model, step):
                return f"{model._meta.label} has no {step!r}; there are {', '.join(names)}"
            field = None
        model = field.related_model if field is not None and field.is_relation else None
    return ""


def databases(*, databases: Any = None, **_: Any) -> list[Any]:
    """W002 an outbox without its table, W003 a ledger without its tables."""
    from .models import LedgerTask, Outbox

    found: list[Any] = []
    ledgers = {app.settings.ledger.alias for app in caches.values() if isinstance(app.settings.ledger, DatabaseLedger)}
    for alias in ledgers & set(databases or []):
        with suppress(DatabaseError):  # another check's
            if LedgerTask._meta.db_table not in connections[alias].introspection.table_names():
                found.append(
                    checks.Warning(
                        f"database {alias!r} has no tables for the ledger: tasks there cannot run",
                        hint=f"manage.py migrate --database {alias}", id="rewarm.W003",
                    )
                )  # fmt: skip
    for alias in databases or []:
        if not (
            router.allow_migrate_model(alias, Outbox) and any(outbox.writes(app, alias) for app in caches.values())
        ):
            continue
        try:
            names = connections[alias].introspection.table_names()
        except DatabaseError:
            continue  # another check's
        if Outbox._meta.db_table not in names:
            found.append(
                checks.Warning(
                    f"database {alias!r} has no table for the outbox: saves there will fail",
                    hint=f"manage.py migrate --database {alias}", id="rewarm.W002",
                )
            )  # fmt: skip
    return found


def deployment(**_: Any) -> list[Any]:
    """With `check --deploy`: what is fine while developing and is not in production."""
    return [message for app in caches.values() if app.ready for message in _deployed(app)]


def _deployed(app: Application) -> Iterator[Any]:
    given, who = app.settings, f"REWARM[{app.alias!r}]"
    pickling = [job.name for job in app.jobs.values() if job.policies["serializer"].fixed == "pickle"]
    if pickling:
        yield checks.Warning(
            f"{who}: {', '.join(sorted(pickling))} keep pickles: who has a signing key and the store can run code",
            hint='serializer="json", or an object with dumps and loads', id="rewarm.W010",
        )  # fmt: skip
    if not given.signing_keys and not given.adapter.in_process:
        yield checks.Warning(
            f"{who}: tasks are not signed: who can write to the queue can queue invalidations and refreshes",
            hint='"SIGNING_KEYS": [a secret of its own]', id="rewarm.W011",
        )  # fmt: skip
    store = given.store
    if (isinstance(store, CacheStore) and not store.shared) or store in ("memory", "memory://"):
        yield checks.Warning(
            f"{who}: {store!r} belongs to one process: each of your processes has entries of its own, and an "
            "invalidation reaches only one", hint='"STORE": "redis://…"', id="rewarm.W012",
        )  # fmt: skip
    if given.adapter.eager:
        yield checks.Warning(
            f"{who}: {given.adapter.name!r} runs tasks in place (its eager switch is on): requests wait for refreshes",
            hint="turn it off in production", id="rewarm.W013",
        )  # fmt: skip
    if app.name == app.alias:
        yield checks.Warning(
            f"{who} is called {app.name!r}: two projects on one server would share its entries",
            hint=f'"NAME": a name of the project\'s own, in {who}', id="rewarm.W014",
        )  # fmt: skip
