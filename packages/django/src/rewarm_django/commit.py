"""Transactions, each database its own: nothing before the commit, nothing after a rollback, one merged sending."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.db import connections, transaction

from rewarm.gather import Gathered

from . import outbox

if TYPE_CHECKING:
    from .applications import Application

_only: ContextVar[tuple[str, ...] | None] = ContextVar("rewarm_django_only", default=None)


def aliases() -> list[str]:
    """The databases with an open transaction in this context. Those that a TestCase holds open do not count."""
    only = _only.get()
    if only is not None and not only:
        return []
    return [
        connection.alias
        for connection in connections.all(initialized_only=True)
        if (only is None or connection.alias in only)
        and connection.in_atomic_block
        and not (connection.atomic_blocks and all(block._from_testcase for block in connection.atomic_blocks))
    ]


@contextmanager
def on(*names: str) -> Iterator[None]:
    """`with on("other"):` what the block invalidates belongs to this database's transaction, whatever else is open.

    Without a name it belongs to none, and is sent at once.
    """
    token = _only.set(names)
    try:
        yield
    finally:
        _only.reset(token)


def reports() -> str:
    """The database of a save whose failure to send is reported and kept here, rather than raised into it; or ""."""
    return (_only.get() or ("",))[0]


class Transactions:
    """What `Rewarm(transactions=...)` wants. Where several databases are in a transaction, each commit acts: an
    invalidation too many costs a load, one too few is a stale value."""

    def active(self) -> bool:
        return bool(aliases())

    def on_commit(self, function: Callable[[], Any], /) -> None:
        for alias in aliases():
            transaction.on_commit(_Over(function), using=alias)


class _Over:
    """Acts as after the transaction, also where a test runs the hooks before it ends."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function

    def __call__(self) -> None:
        with on():
            self.function()


class Part:
    """What was gathered between two savepoints: rolled back together. A hook that does nothing by itself."""

    def __init__(self, commit: Commit, level: tuple[str, ...]) -> None:
        self.commit, self.level = weakref.ref(commit), level
        self.gathered = Gathered(commit.app)
        self.rows: list[int] = []  # of the outbox
        self.kept: set[Any] = set()  # what they name

    def __call__(self) -> None:
        pass


class Commit:
    """The hook that sends what a transaction gathered. Django drops the hooks of a savepoint that is rolled back, and
    nobody else holds their parts: those still alive are what was committed."""

    def __init__(self, app: Application, alias: str) -> None:
        self.app, self.alias, self.id = app, alias, uuid4().hex
        self.parts: list[weakref.ref[Part]] = []
        self.done = False

    def __call__(self) -> None:
        self.done = True
        parts = [part for one in self.parts if (part := one()) is not None]
        whole, rows = Gathered(self.app), [row for part in parts for row in part.rows]
        for part in parts:
            whole.merge(part.gathered)
        if self.app.level == "queue" and not rows:
            whole.sweeps = []  # the queued tasks see to them
            whole.asked = [one for one in whole.asked if one.special]
        with on():
            if not whole.empty and self.app.flush(whole) and rows:
                outbox.forget(self.alias, rows)


def current(app: Application, alias: str) -> Commit:
    """The hook of the transaction that is open on a database."""
    connection = connections[alias]
    state: dict[str, Any] = connection.__dict__.setdefault("_rewarm", {})
    commit: Commit | None = state[app.name][0]() if app.name in state else None
    if commit is None or commit.done:
        commit = Commit(app, alias)
        transaction.on_commit(commit, using=alias)
        state[app.name] = weakref.ref(commit), lambda: None
    return commit


def hold(app: Application, alias: str, gathered: Gathered) -> None:
    """Keep work until the commit, and safe until it is done as the application's level says."""
    commit, connection = current(app, alias), connections[alias]
    state, level = connection._rewarm, tuple(connection.savepoint_ids)
    part: Part | None = state[app.name][1]()
    if part is None or part.level != level:
        part = Part(commit, level)
        transaction.on_commit(part, using=alias)
        commit.parts.append(weakref.ref(part))
        state[app.name] = weakref.ref(commit), weakref.ref(part)
    if app.level != "on_commit":
        outbox.keep(app, alias, part, gathered)
    part.gathered.merge(gathered)
