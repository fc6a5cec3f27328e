"""The job of django-cacheback: its attributes, methods and hooks."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import namedtuple
from typing import Any

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS
from django.core.cache import caches as backends

from rewarm import ArgumentError, BoundJob, ConfigurationError, EnqueueError, Entry, Read, State

from ..applications import Application, caches
from .carrier import NAME, OnCache, carry, expires_at, using
from .paths import locate, path_of

logger = logging.getLogger("cacheback")
MEMCACHE_MAX_EXPIRATION = 2_592_000
Call = namedtuple("Call", ["args", "kwargs"])


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
        self.cache_alias = self.cache_alias or getattr(settings, "CACHEBACK_CACHE_ALIAS", DEFAULT_CACHE_ALIAS)
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
        return backends[self.cache_alias or DEFAULT_CACHE_ALIAS]

    # --- the API

    def get(self, *raw_args: Any, **raw_kwargs: Any) -> Any:
        """Fresh, stale while a refresh is queued, or fetched."""
        args, kwargs = self._prepared(raw_args, raw_kwargs)
        call = Call(args=raw_args, kwargs=raw_kwargs)
        entry = self._entry(args, kwargs)
        with using(self):
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
        with using(self):
            entry.invalidate(refresh=entry.peek() is not None)

    def delete(self, *raw_args: Any, **raw_kwargs: Any) -> None:
        """Remove; the next `get` is a miss."""
        self._entry(*self._prepared(raw_args, raw_kwargs)).delete()

    def raw_get(self, *raw_args: Any, **raw_kwargs: Any) -> tuple[float, Any] | None:
        """(expiry, data) as it is stored, or None."""
        with using(self):
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
        with using(self):
            entry.set(data)

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Fetch now, store, return."""
        with using(self):
            return self._entry(args, kwargs).reload()

    def async_refresh(self, *args: Any, **kwargs: Any) -> None:
        """Queue a refresh. If the queue refuses, fetch here; if that fails too, it is logged."""
        try:
            with using(self):
                self._entry(args, kwargs).refresh()
        except (EnqueueError, ConfigurationError) as error:
            logger.error("the refresh could not be queued, so it is done here: %s", error, exc_info=error)
            try:
                self.refresh(*args, **kwargs)
            except Exception as failed:
                logger.error("it failed here as well: %s", failed, exc_info=failed)

    def store(self, key: str, expiry: float, data: Any) -> None:
        """Store under a key of `key()`, to be fresh until `expiry` (seconds since the epoch)."""
        token = expires_at.set(expiry)
        try:
            with using(self):
                self._bound.entry(self.class_path, self._travels(), [[], {}], key).set(data)
        finally:
            expires_at.reset(token)

    def should_refresh(self, *args: Any, **kwargs: Any) -> bool:
        """There is nothing, nothing fresh, or a None. Tasks that came too late are skipped without asking."""
        with using(self):
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
        """Of `cache_alias`: a key of REWARM, or of CACHES."""
        alias = self.cache_alias or DEFAULT_CACHE_ALIAS
        return caches[alias] if alias in caches else caches.adopt(OnCache(alias))

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
        with using(self):
            found: Entry[Any] = self._bound.entry(self.class_path, self._travels(), [list(args), kwargs], key)
        return found


_THRESHOLD = Job.should_stale_item_be_fetched_synchronously


_THRESHOLD = Job.should_stale_item_be_fetched_synchronously
