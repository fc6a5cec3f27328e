"""Carries jobs that are found by the path of their class: one core job, whose arguments say which, how to make it, and
the call."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.conf import settings

from rewarm import Job as CoreJob
from rewarm import Route

from ..applications import Application, caches
from .paths import locate

if TYPE_CHECKING:
    from .job import Job

NAME = "cacheback"  # of the core job

built: ContextVar[dict[str, Any] | None] = ContextVar("rewarm_cacheback", default=None)
expires_at: ContextVar[float | None] = ContextVar("rewarm_cachebackexpires_at", default=None)


class _Carrier(CoreJob):
    """The core job: its arguments say which class, how to construct it, and the call. Policies ask the instance.

    The key is the instance's own; how a job is constructed is no part of it.
    """

    name = NAME

    def __init__(self) -> None:
        pass

    def load(self, path: str, init: list[Any], call: list[Any], key: str) -> Any:
        job = _job(path, init)
        return job.fetch(*call[0], **call[1])

    def key(self, key: str) -> str:  # a policy
        return key

    def ttl(self, path: str, init: list[Any], call: list[Any]) -> float:
        given = expires_at.get()
        job = _job(path, init)
        expiry = job.expiry(*call[0], **call[1]) if given is None else given
        return max(0.001, float(expiry - time.time()))

    def stale_while_revalidate(self, path: str, init: list[Any]) -> float:
        job = _job(path, init)
        return max(0.0, float(job.cache_ttl - job.lifetime))

    def timeout(self, path: str, init: list[Any], call: list[Any]) -> float:
        """A queued refresh is respected for so long: the seed's refresh timeout, and not less than its tasks need."""
        job = _job(path, init)
        return max(1.0, float(job.timeout(*call[0], **call[1]) - time.time()))

    def lease(self, path: str, init: list[Any], call: list[Any]) -> float:
        return self.timeout(path, init, call)

    def on_miss(self, path: str, init: list[Any], call: list[Any]) -> str:
        job = _job(path, init)
        return "load" if job.should_missing_item_be_fetched_synchronously(*call[0], **call[1]) else "queue"

    def empty(self, path: str, init: list[Any]) -> Any:
        return _job(path, init).empty()

    def route(self, path: str, init: list[Any]) -> Route:
        return route_of(_job(path, init).task_options)


def _job(path: str, init: list[Any]) -> Job:
    """The instance that asked, or one like it."""
    given = built.get()
    if given is not None and given["path"] == path and given["init"] == init:
        found: Job = given["job"]
        return found
    from .job import Job

    made: Job = locate(path, Job)(*init[0], **init[1])
    return made


def route_of(options: Any) -> Route:
    """Celery's and RQ's options of a task: `queue` (or RQ's name), the rest goes to the queue's own send call."""
    given = dict(options or {})
    queue = given.pop("queue", None) or given.pop("name", None)
    if (timeout := given.pop("default_timeout", None)) is not None:
        given["job_timeout"] = timeout
    return Route(queue, options=given)


class OnCache(Application):
    """The default application's settings, on another of Django's caches."""

    def described(self) -> dict[str, Any]:
        return {**caches["default"].described(), "NAME": f"{NAME}-{self.alias}", "STORE": f"cache://{self.alias}"}


def carry(app: Application, name: str) -> Application:
    """The application of this name, which may be one of ours, with the job that carries all of these."""
    app = carried(name) or app
    if NAME not in app.jobs:
        app.add(_Carrier())
    return app


def carried(name: str) -> Application | None:
    """The application of one of Django's caches that has this name, with that job; None if it is none of ours."""
    if not name.startswith(f"{NAME}-") or (alias := name.removeprefix(f"{NAME}-")) not in settings.CACHES:
        return None
    app = caches[alias] if alias in caches else caches.adopt(OnCache(alias))
    return app if NAME in app.jobs else carry(app, "")


class using:
    """Policies that ask for an instance get this one: it may have been given attributes that do not travel."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __enter__(self) -> None:
        self.token = built.set({"path": self.job.class_path, "init": self.job._travels(), "job": self.job})

    def __exit__(self, *_: Any) -> None:
        built.reset(self.token)
