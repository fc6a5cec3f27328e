"""Backends and settings of Django's task framework that lose or delay work."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections

from rewarm import Finding

from .tasks import DATABASE, DUMMY, DjangoTasksAdapter


def examine(adapter: DjangoTasksAdapter) -> list[Finding]:
    """What `TASKS` should have otherwise. Connects to nothing."""
    return list(_database(adapter) if adapter.is_a(DATABASE) else _other(adapter))


def _database(adapter: DjangoTasksAdapter) -> Iterator[Finding]:
    yield Finding(
        "warning", "a task whose worker was killed stays RUNNING for ever",
        "rescue=60, and `rewarm rescue --every 5` beside the workers; without it: reads queue another after `timeout`",
    )  # fmt: skip
    yield Finding("info", "rows of finished tasks stay in the table", "manage.py prune_db_task_results, once a day")
    connection = connections[adapter.database]
    mode = connection.settings_dict.get("OPTIONS", {}).get("transaction_mode")
    if connection.vendor == "sqlite" and mode not in ("IMMEDIATE", "EXCLUSIVE"):
        yield Finding(
            "warning", 'on SQLite a transaction that reads first ends with "database is locked" when a worker writes',
            f'DATABASES[{adapter.database!r}]["OPTIONS"] = {{"transaction_mode": "IMMEDIATE"}}',
        )  # fmt: skip


def _other(adapter: DjangoTasksAdapter) -> Iterator[Finding]:
    who = f"TASKS[{adapter.alias!r}] ({type(adapter.backend).__name__})"
    if adapter.eager:
        yield Finding(
            "warning", f"{who} runs tasks in the process that queues them", "the database backend, in production"
        )  # fmt: skip
    elif adapter.is_a(DUMMY):
        yield Finding("error", f"{who} runs no task at all", "another backend, outside of tests")
    else:
        yield Finding("info", f"{who}: what it loses, and whether tasks outlive its restart, is not known here")
        if not adapter.backend.supports_defer:
            yield Finding(
                "warning", f"{who} cannot delay: a failed task is dead at once", "rescue=60: the journal delays"
            )  # fmt: skip
