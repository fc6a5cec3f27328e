"""django-cacheback's names and signatures: changing the import is the migration.

A job here is found by its class's path, as there; its configuration travels with it. Where cacheback pickles, values
travel as JSON, model instances as their columns.
"""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections import namedtuple
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from django.core.cache import caches as backends

from rewarm import ArgumentError, BoundJob, ConfigurationError, EnqueueError, Entry, Read, Route, State
from rewarm import Job as CoreJob
from rewarm.errors import StoreError

from ..applications import Application, caches
from .paths import locate, path_of

logger = logging.getLogger("cacheback")
MEMCACHE_MAX_EXPIRATION = 2_592_000
NAME = "cacheback"  # of the one core job that carries all of these
Call = namedtuple("Call", ["args", "kwargs"])

_built: ContextVar[dict[str, Any] | None] = ContextVar("rewarm_cacheback", default=None)
_expiry: ContextVar[float | None] = ContextVar("rewarm_cacheback_expiry", default=None)


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
        given = _expiry.get()
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
        return _route(_job(path, init).task_options)


def _job(path: str, init: list[Any]) -> Job:
    """The instance that asked, or one like it."""
    given = _built.get()
    if given is not None and given["path"] == path and given["init"] == init:
        found: Job = given["job"]
        return found
    made: Job = locate(path, Job)(*init[0], **init[1])
    return made


def _route(options: Any) -> Route:
    """Celery's and RQ's options of a task: `queue` (or RQ's name), the rest goes to the queue's own send call."""
    given = dict(options or {})
    queue = given.pop("queue", None) or given.pop("name", None)
    if (timeout := given.pop("default_timeout", None)) is not None:
        given["job_timeout"] = timeout
    return Route(queue, options=given)


class Job:
    """A cached read: write `fetch`. Everything else is as in cacheback 4."""

    lifetime: float = 600
    refresh_timeout: float = 60
    cache_alias: str | None = None
    cache_ttl: float = MEMCACHE_MAX_EXPIRATION
    fetch_on_miss = True
    fetch_on_stale_threshold: float | None = None
    set_data_kwarg = "data"
    task_options: dict[str, Any] | None = None
    MISS, HIT, STALE = 0, 1, 2

    _init: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(cls)
        made._init = args, kwargs  # how the worker constructs it, unless get_init_args say otherwise
        return made

    def __init__(self) -> None:
        self.cache_alias = self.cache_alias or getattr(settings, "CACHEBACK_CACHE_ALIAS", None)
        self.task_options = self.task_options or {}

    @property
    def class_path(self) -> str:
        return path_of(type(self))

    def get_init_args(self) -> Any:
        return self._init[0]

    def get_init_kwargs(self) -> dict[str, Any]:
        return self._init[1]

    @property
    def cache(self) -> Any:
        """The Django cache that `cache_alias` names."""
        return backends[self.cache_alias or "default"]

    # --- the API

    def get(self, *raw_args: Any, **raw_kwargs: Any) -> Any:
        """Fresh, stale while a refresh is queued, or fetched."""
        args, kwargs = self._prepared(raw_args, raw_kwargs)
        call = Call(args=raw_args, kwargs=raw_kwargs)
        entry = self._entry(args, kwargs)
        with _using(self):
            result, status, sync = self._get(entry, args, kwargs)
        return self.process_result(result, call=call, cache_status=status, sync_fetch=sync)

    def _get(self, entry: Entry[Any], args: Any, kwargs: Any) -> tuple[Any, int, bool | None]:
        asks = self.fetch_on_stale_threshold is not None
        asks = asks or type(self).should_stale_item_be_fetched_synchronously is not _THRESHOLD
        if asks and (seen := entry.peek()) is not None and seen.state is State.STALE:
            delta = -seen.expires_in if seen.expires_in < 0 else 0.0
            if self.should_stale_item_be_fetched_synchronously(delta, *args, **kwargs):
                return entry.reload(), self.STALE, True
        found: Read[Any] = entry.read()
        if found.state is State.HIT:
            return found.value, self.HIT, None
        if found.state is State.STALE:
            return found.value, self.STALE, False
        return found.value, self.MISS, self.should_missing_item_be_fetched_synchronously(*args, **kwargs)

    def invalidate(self, *raw_args: Any, **raw_kwargs: Any) -> None:
        """Old from now on; a refresh is queued if there is anything, and a fetch that runs is refused."""
        entry = self._entry(*self._prepared(raw_args, raw_kwargs))
        with _using(self):
            entry.invalidate(refresh=entry.peek() is not None)

    def delete(self, *raw_args: Any, **raw_kwargs: Any) -> None:
        """Remove; the next `get` is a miss."""
        self._entry(*self._prepared(raw_args, raw_kwargs)).delete()

    def raw_get(self, *raw_args: Any, **raw_kwargs: Any) -> tuple[float, Any] | None:
        """(expiry, data) as it is stored, or None."""
        with _using(self):
            seen = self._entry(*self._prepared(raw_args, raw_kwargs)).peek()
        return None if seen is None else (time.time() + seen.expires_in, seen.value)

    def set(self, *raw_args: Any, **raw_kwargs: Any) -> None:
        """Store a value: the keyword `data` (see `set_data_kwarg`), or the last argument."""
        if self.set_data_kwarg in raw_kwargs:
            data = raw_kwargs.pop(self.set_data_kwarg)
        elif raw_args:
            *rest, data = raw_args
            raw_args = tuple(rest)
        else:
            raise TypeError(f"set() needs the value, as the keyword {self.set_data_kwarg!r} or as the last argument")
        entry = self._entry(*self._prepared(raw_args, raw_kwargs))
        with _using(self):
            entry.set(data)

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Fetch now, store, return."""
        with _using(self):
            return self._entry(args, kwargs).reload()

    def async_refresh(self, *args: Any, **kwargs: Any) -> None:
        """Queue a refresh. If the queue refuses, fetch here; if that fails too, it is logged."""
        try:
            with _using(self):
                self._entry(args, kwargs).refresh()
        except (EnqueueError, ConfigurationError) as error:
            logger.error("the refresh could not be queued, so it is done here: %s", error, exc_info=error)
            try:
                self.refresh(*args, **kwargs)
            except Exception as failed:
                logger.error("it failed here as well: %s", failed, exc_info=failed)

    def store(self, key: str, expiry: float, data: Any) -> None:
        """Store under a key of `key()`, to be fresh until `expiry` (seconds since the epoch)."""
        token = _expiry.set(expiry)
        try:
            with _using(self):
                self._bound.entry(self.class_path, self._travels(), [[], {}], key).set(data)
        finally:
            _expiry.reset(token)

    def should_refresh(self, *args: Any, **kwargs: Any) -> bool:
        """There is nothing, nothing fresh, or a None. Tasks that came too late are skipped without asking."""
        with _using(self):
            seen = self._entry(args, kwargs).peek()
        return seen is None or seen.state is not State.HIT or seen.value is None

    # --- hooks

    def fetch(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the source. The only method that a job must have."""
        raise NotImplementedError

    def empty(self) -> Any:
        """What a miss returns while its fetch is queued."""
        return None

    def expiry(self, *args: Any, **kwargs: Any) -> float:
        """Until when a value is fresh, in seconds since the epoch."""
        return time.time() + self.lifetime

    def timeout(self, *args: Any, **kwargs: Any) -> float:
        """Until when a queued refresh is waited for, in seconds since the epoch."""
        return time.time() + self.refresh_timeout

    def should_missing_item_be_fetched_synchronously(self, *args: Any, **kwargs: Any) -> bool:
        return self.fetch_on_miss

    def should_stale_item_be_fetched_synchronously(self, delta: float, *args: Any, **kwargs: Any) -> bool:
        """delta: seconds since the value became stale. The threshold counts from its writing."""
        if self.fetch_on_stale_threshold is None:
            return False
        return delta > self.fetch_on_stale_threshold - self.lifetime

    def prepare_args(self, *args: Any) -> Any:
        return args

    def prepare_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        return kwargs

    def key(self, *args: Any, **kwargs: Any) -> str:
        """Class path and canonical arguments: types and boundaries count, a model's key and database stand for it."""
        codec = self._app.codec
        try:
            return f"{self.class_path}:{codec.dumps(list(args))}:{codec.dumps(kwargs)}"
        except ArgumentError as error:
            raise RuntimeError(f"{error}; or write {type(self).__name__}.key()") from error

    def hash(self, value: Any) -> str:
        """Of a tuple of arguments, for keys of one's own."""
        import hashlib

        return hashlib.md5(self.to_bytestring(value), usedforsecurity=False).hexdigest()

    def to_bytestring(self, value: Any) -> bytes:
        """The canonical text, of which no two values have the same."""
        return value if isinstance(value, bytes) else self._app.codec.dumps(value).encode()

    def process_result(self, result: Any, call: Call, cache_status: int, sync_fetch: bool | None = None) -> Any:
        """What `get` returns. sync_fetch: True if it was fetched here, False if that is queued, None on a hit."""
        return result

    @classmethod
    def perform_async_refresh(
        cls, klass_str: str, obj_args: Any, obj_kwargs: Any, call_args: Any, call_kwargs: Any
    ) -> None:
        """Construct a job and refresh it here if it needs that. What a task of the seed's called."""
        job = locate(klass_str, Job)(*obj_args, **obj_kwargs)
        if job.should_refresh(*call_args, **call_kwargs):
            job.refresh(*call_args, **call_kwargs)

    # --- on the core

    @property
    def _app(self) -> Application:
        """Of `cache_alias`: a key of REWARM, or of CACHES; without one, the default application."""
        alias = self.cache_alias
        if alias is None or alias in caches:
            return caches[alias or "default"]
        return caches.adopt(_On(alias))

    @property
    def _bound(self) -> BoundJob[..., Any]:
        app = self._app
        return carry(app, app.name).jobs[NAME]

    def _prepared(self, args: Any, kwargs: Any) -> tuple[Any, dict[str, Any]]:
        return self.prepare_args(*args), self.prepare_kwargs(**kwargs)

    def _travels(self) -> list[Any]:
        return [list(self.get_init_args()), dict(self.get_init_kwargs())]

    def _entry(self, args: Any, kwargs: dict[str, Any]) -> Entry[Any]:
        key = self.key(*args, **kwargs)
        with _using(self):
            found: Entry[Any] = self._bound.entry(self.class_path, self._travels(), [list(args), kwargs], key)
        return found


_THRESHOLD = Job.should_stale_item_be_fetched_synchronously


class _On(Application):
    """The default application's settings, on another of Django's caches."""

    def described(self) -> dict[str, Any]:
        return {**caches["default"].described(), "NAME": f"{NAME}-{self.alias}", "STORE": f"cache://{self.alias}"}


def carry(app: Application, name: str) -> Application:
    """The application of this name, which may be one of ours, with the job that carries all of these."""
    if name.startswith(f"{NAME}-") and (alias := name.removeprefix(f"{NAME}-")) in settings.CACHES:
        app = caches[alias] if alias in caches else caches.adopt(_On(alias))
    if NAME not in app.jobs:
        app.add(_Carrier())
    return app


class _using:
    """Policies that ask for an instance get this one: it may have been given attributes that do not travel."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __enter__(self) -> None:
        self.token = _built.set({"path": self.job.class_path, "init": self.job._travels(), "job": self.job})

    def __exit__(self, *_: Any) -> None:
        _built.reset(self.token)


class FunctionJob(Job):
    """Caches a function: the first argument of every method. It must be found by its module and name."""

    def __init__(
        self, lifetime: float | None = None, fetch_on_miss: bool | None = None, cache_alias: str | None = None,
        task_options: dict[str, Any] | None = None, set_data_kwarg: str | None = None,
    ) -> None:  # fmt: skip
        given = {
            "lifetime": None if lifetime is None else float(lifetime), "fetch_on_miss": fetch_on_miss,
            "cache_alias": cache_alias, "task_options": task_options, "set_data_kwarg": set_data_kwarg,
        }  # fmt: skip
        self.__dict__.update({name: value for name, value in given.items() if value is not None})
        super().__init__()

    def prepare_args(self, fn: Any, *args: Any) -> Any:
        return (fn if isinstance(fn, str) else path_of(fn, ":"), *args)

    def _entry(self, args: Any, kwargs: dict[str, Any]) -> Entry[Any]:
        return super()._entry(FunctionJob.prepare_args(self, *args), kwargs)  # `refresh(f, …)` prepares nothing

    def fetch(self, fn_string: str, *args: Any, **kwargs: Any) -> Any:
        function = locate(fn_string, object)
        return getattr(function, "fn", function)(*args, **kwargs)


class QuerySetJob(Job):
    """Base of the two below."""

    def __init__(
        self, model: Any, lifetime: float | None = None, fetch_on_miss: bool | None = None,
        cache_alias: str | None = None, task_options: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        if isinstance(model, str):
            from django.apps import apps

            model = apps.get_model(model)
        self.model = model
        given = {"lifetime": lifetime, "fetch_on_miss": fetch_on_miss, "cache_alias": cache_alias}
        self.__dict__.update({name: value for name, value in given.items() if value is not None})
        self.task_options = task_options
        super().__init__()

    def get_init_args(self) -> Any:
        return (self.model._meta.label_lower, *self._init[0][1:])

    def get_init_kwargs(self) -> dict[str, Any]:
        return {name: value for name, value in self._init[1].items() if name != "model"}

    def key(self, *args: Any, **kwargs: Any) -> str:
        return f"{self.model._meta.label_lower}:{super().key(*args, **kwargs)}"


class QuerySetGetJob(QuerySetJob):
    """`get(**lookups)`: one instance."""

    def fetch(self, *args: Any, **kwargs: Any) -> Any:
        return self.model.objects.get(**kwargs)


class QuerySetFilterJob(QuerySetJob):
    """`get(**lookups)`: the instances, as a list: a queryset would have to be pickled."""

    def fetch(self, *args: Any, **kwargs: Any) -> Any:
        return list(self.model.objects.filter(**kwargs))


def cacheback(
    lifetime: float | None = None, fetch_on_miss: bool | None = None, cache_alias: str | None = None,
    job_class: type[Job] | None = None, task_options: dict[str, Any] | None = None, **job_class_kwargs: Any,
) -> Callable[[Callable[..., Any]], Any]:  # fmt: skip
    """Cache a function. `.fn` is the bare one, `.job` the job, whose methods take the function first.

    Raises ConfigurationError for a method or a nested function, which a worker could not find.
    """
    job = (job_class or FunctionJob)(
        lifetime=lifetime, fetch_on_miss=fetch_on_miss, cache_alias=cache_alias, task_options=task_options,
        **job_class_kwargs,
    )  # type: ignore[call-arg]  # fmt: skip

    def decorate(fn: Callable[..., Any]) -> Any:
        qualname = getattr(fn, "__qualname__", "")
        if inspect.ismethod(fn) or "." in qualname or "<lambda>" in qualname:
            raise ConfigurationError(
                f"{qualname} is a method or a nested function, which no worker finds by name: cache a function of a "
                "module, or write a Job"
            )

        @functools.wraps(fn)
        def cached(*args: Any, **kwargs: Any) -> Any:
            return job.get(fn, *args, **kwargs)

        cached.fn, cached.job = fn, job  # type: ignore[attr-defined]
        return cached

    return decorate


def get_job_class(klass_str: str) -> type[Job] | None:
    """The class at a path, or None, with a line in the log."""
    try:
        found: type[Job] = locate(klass_str, Job)
    except (ConfigurationError, StoreError) as error:
        logger.error("no job class %r: %s", klass_str, error)
        return None
    return found


def enqueue_task(kwargs: dict[str, Any], task_options: dict[str, Any] | None = None) -> None:
    """Queue the refresh that the seed's keywords describe. Raises ConfigurationError, EnqueueError."""
    job = locate(kwargs["klass_str"], Job)(*kwargs.get("obj_args", ()), **kwargs.get("obj_kwargs", {}))
    entry = job._entry(tuple(kwargs.get("call_args", ())), dict(kwargs.get("call_kwargs", {})))
    entry.refresh(route=_route(task_options) if task_options else None)
