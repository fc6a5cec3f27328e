"""Rewarm on Django's own task framework: `django.tasks` (Django 6), or `django_tasks`, which brings it to Django 5.2.

The framework is an interface, its backends are the queues. What a backend can do is asked of it; what it keeps is known
of one, `django_tasks_db`, whose workers are `manage.py db_worker`.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

from django.db import connections, router
from django.utils import timezone

from rewarm import Adapter, Capability, ConfigurationError, Finding, Rewarm, Route
from rewarm.adapter import process_apps

LEVELS = {"high": 50, "normal": 0, "low": -50}  # the framework's range is ±100
DATABASE = "django_tasks_db.backend.DatabaseBackend"
IMMEDIATE = "backends.immediate.ImmediateBackend"
DUMMY = "backends.dummy.DummyBackend"


class DjangoTasksAdapter(Adapter):
    """`backend`: a key of `TASKS`.   `queue`: where tasks go unless routed; None: "default", or, if the backend's
    `QUEUES` do not list it, the first that they do.

    On the database backend tasks are rows of your database, and may be part of its transactions; those that a killed
    worker held stay RUNNING for ever, which `RESCUE` makes good.
    """

    name: ClassVar[str] = "django-tasks"

    def __init__(self, backend: str = "default", queue: str | None = None) -> None:
        self.alias, self._queue = backend, queue

    @property
    def apps(self) -> MutableMapping[str, Rewarm]:
        return process_apps

    def install(self) -> None:
        """Nothing: workers import the task by its path."""

    @property
    def backend(self) -> Any:
        """The backend that settings describe. Raises ConfigurationError."""
        handler = backends()
        if self.alias not in handler.settings:
            raise ConfigurationError(f"TASKS has no {self.alias!r}; there are {', '.join(handler.settings)}")
        return handler[self.alias]

    def is_a(self, path: str) -> bool:
        """The backend is of this class, or of one made from it; `path` may leave out the package."""
        return any(f"{one.__module__}.{one.__qualname__}".endswith(path) for one in type(self.backend).__mro__)

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        backend, shown = self.backend, set()
        if backend.supports_defer:
            shown.add(Capability.DELAY)
        if backend.supports_priority:
            shown.add(Capability.PRIORITY)
        if self.is_a(DATABASE):
            shown |= {Capability.PERSISTENCE, Capability.DEPTH, Capability.TRANSACTIONAL}
        return frozenset(shown)

    @property
    def eager(self) -> bool:  # type: ignore[override]
        return self.is_a(IMMEDIATE)

    @property
    def database(self) -> str:
        """The alias of the database whose transactions tasks are part of."""
        return str(router.db_for_write(self._rows().model)) if self.is_a(DATABASE) else ""

    def serve(self, queue: str) -> None:
        if (known := self.backend.queues) and queue not in known:
            raise ConfigurationError(
                f"a route names the queue {queue!r}, which TASKS[{self.alias!r}]['QUEUES'] does not list: add it there"
            )

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._send(payload, route, delay)
        with ThreadPoolExecutor(1) as beside:  # Django refuses its database in an event loop's thread
            return beside.submit(self._send, payload, route, delay, aside=True).result()

    def _send(self, payload: str, route: Route, delay: float, *, aside: bool = False) -> str:
        how: dict[str, Any] = {"backend": self.alias, "queue_name": route.queue or self.queue}
        if self.backend.supports_priority:
            how["priority"] = LEVELS[route.priority]
        if delay:
            how["run_after"] = timezone.now() + timedelta(seconds=delay)
        try:
            return str(entry().using(**{**how, **route.options}).enqueue(payload).id)
        finally:
            if aside:
                connections.close_all()

    @property
    def queue(self) -> str:
        return self._queue or usual_queue(self.alias)

    def depth(self, queue: str | None = None) -> int | None:
        """Payloads that wait and are due; None where the backend cannot tell."""
        if not self.is_a(DATABASE):
            return None
        return int(self._rows().ready().filter(backend_name=self.alias, queue_name=queue or self.queue).count())

    def _rows(self) -> Any:
        return import_module("django_tasks_db.models").DBTaskResult.objects

    def doctor(self) -> list[Finding]:
        from .tasks_doctor import examine

        return examine(self)


def backends() -> Any:
    """The framework's `task_backends`. Raises ConfigurationError if there is no framework."""
    for module in ("django.tasks", "django_tasks"):
        if find_spec(module):
            return import_module(module).task_backends
    raise ConfigurationError("Django before 6.0 has no tasks of its own: pip install 'django-tasks-db[compat]'")


def usual_queue(alias: str) -> str:
    listed = backends().settings[alias].get("QUEUES") or ["default"]
    return "default" if "default" in listed else str(listed[0])


@cache
def entry() -> Any:
    """The framework's task: `rewarm_django.tasks.run`, a path that never changes, with the payload as its argument."""
    handler = backends()
    alias = "default" if "default" in handler.settings else next(iter(handler.settings))
    return handler[alias].task_class(func=work, backend=alias, queue_name=usual_queue(alias))


def work(payload: str) -> None:
    """The worker entry: any exception is shown as FAILED, and nothing that is raised brings the task back."""
    DjangoTasksAdapter().insist(payload)


work.__name__ = work.__qualname__ = "run"


def __getattr__(name: str) -> Any:
    if name == "run":  # made when a worker asks for it: the framework reads settings then
        return entry()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
