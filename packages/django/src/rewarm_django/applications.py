"""The applications that `REWARM` describes: `cache` is the default one, `caches["name"]` any."""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from asgiref.sync import SyncToAsync, async_to_sync, sync_to_async
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connections, models

from rewarm import ConfigurationError, EnqueueError, Job, Outcome, Retry, Rewarm, StoreError, events
from rewarm.app import NAME
from rewarm.gather import Gathered
from rewarm.job import JobDecorator, Policies, Seconds
from rewarm.stores import open_ledger, open_store

from . import commit, detect, outbox, references
from .history import History
from .ledger_db import DatabaseLedger, note
from .settings import DEFAULT_STORE, KEYWORDS, aliases, described
from .store import CacheStore

T = TypeVar("T")
logger = logging.getLogger("rewarm.django")
AWAY = (ConnectionError, TimeoutError, OperationalError, InterfaceError)
RETRY = Retry(on=AWAY, discard=ObjectDoesNotExist)  # the source is a database; a row that is gone is no failure


class Application(Rewarm):
    """A `Rewarm` that Django's settings describe. `alias`: its key in `REWARM`."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        try:
            own = self.described()
        except ConfigurationError:
            own = {}  # reported when it is set up
        name = own.get("NAME") or alias
        super().__init__(name if NAME.fullmatch(name) else "default")
        self.problem = ConfigurationError(
            f"REWARM[{alias!r}] is not set up yet: is rewarm_django in INSTALLED_APPS, and has django.setup() run?"
        )
        self.level, self.raises = "on_commit", False
        self.relay_every: float | None = None
        self.history: History | None = None
        self.unsent: Gathered | None = None  # what a commit could not send; the next one tries again
        self.ready, self._urls_known = False, False
        self.values = references.Rows()
        super().add_type(references.TAG, models.Model, references.encode, references.decode)

    # --- setting up

    def described(self) -> dict[str, Any]:
        """Its settings. Raises ConfigurationError."""
        return described(self.alias)

    def setup(self) -> None:
        """Take the settings. Raises ConfigurationError; until it has succeeded a first use is refused with the same."""
        self.ready = False
        try:
            own = self.described()
            own = {"STORE": DEFAULT_STORE, "ADAPTER": None, "TRANSACTIONS": commit.Transactions(), **own}
            given = {name: own.get(name.upper(), default) for name, default in KEYWORDS.items()}
            given["store"], given["ledger"] = _store(given["store"]), _ledger(given["ledger"])
            open_ledger(given["ledger"], open_store(given["store"]))  # are they some? Nothing connects
            if given["adapter"] in (None, "auto"):
                given["adapter"] = detect.queue()
            self.close()
            self.configure(**given)
        except ConfigurationError as problem:
            self.problem = problem
            raise
        self.level, self.raises, self.relay_every = own["COMMIT"], own["RAISE_EXCEPTION"], own["RELAY_EVERY"]
        if self.history is not None:
            self.listeners.remove(self.history)
        self.history = History(self, own["HISTORY"]) if own["HISTORY"] else None
        if self.history is not None:
            self.listen(self.history)
        self.ready = True

    def close(self) -> None:
        super().close()
        if self.history is not None:
            self.history.close()

    def _start(self) -> Any:
        if not self.ready:
            raise self.problem
        return super()._start()

    def job(self, *, ttl: Seconds | None = None, name: str | None = None, **policies: Unpack[Policies]) -> JobDecorator:
        """As `Rewarm.job`, over the defaults that `REWARM[...]["POLICIES"]` gives."""
        whole: dict[str, Any] = {**self._defaults(), **policies, **({} if ttl is None else {"ttl": ttl})}
        if "ttl" not in whole:
            raise ConfigurationError("a job needs ttl=: for how many seconds is a value fresh?")
        return super().job(name=name, **whole)

    if not TYPE_CHECKING:  # its overloads are the core's

        def add(self, job: Any) -> Any:
            """As `Rewarm.add`, over the same defaults."""
            job = job() if isinstance(job, type) else job
            missing = [name for name in self._defaults() if getattr(job, name, None) is None]
            if missing and isinstance(job, Job):
                job = copy.copy(job)  # it may be added to several applications
                for name in missing:
                    setattr(job, name, self._defaults()[name])
            return super().add(job)

    def _defaults(self) -> dict[str, Any]:
        try:
            given = self.described()["POLICIES"]
        except ConfigurationError:
            given = {}
        return {"retry": RETRY, "serializer": self.values, **given}

    def add_type(self, tag: str, cls: type[T], encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
        super().add_type(tag, cls, encode, decode)
        self.values.codec.add_type(tag, cls, encode, decode)

    # --- transactions

    def send(self, gathered: Gathered) -> None:
        """Merge it into the open transaction, or send it now."""
        if open_ones := commit.aliases():
            for alias in open_ones:
                commit.hold(self, alias, gathered)
        elif alias := commit.reports():
            if not self.flush(gathered) and self.level != "on_commit":
                self._keep(alias, gathered)
        else:
            self.runtime.drive(gathered.flow())

    def flush(self, gathered: Gathered) -> bool:
        """Send what a commit released, and what an earlier one could not -> whether it is sent.

        A failure is reported; it raises if `RAISE_EXCEPTION` says so.
        """
        with self._lock:
            whole, self.unsent = self.unsent or Gathered(self), None
        whole.merge(gathered)
        try:
            self.runtime.drive(whole.flow())
        except (StoreError, EnqueueError) as error:
            self._remember(whole, fenced=isinstance(error, EnqueueError))
            logger.error("%s: a commit's invalidations were not sent: %s", self.name, error, exc_info=error)
            if self.raises:
                raise
            return False
        return True

    def _keep(self, alias: str, gathered: Gathered) -> None:
        """In the outbox after all: what was saved in no transaction had none that a row could be part of."""
        try:
            outbox.keep(self, alias, commit.Part(commit.Commit(self, alias), ()), gathered)
        except DatabaseError as error:
            logger.error("%s: nor are they in the outbox of %r: %s", self.name, alias, error)

    def _remember(self, whole: Gathered, *, fenced: bool) -> None:
        """What could not be sent: sweeps, and the fences that are not up yet, those left to a task with them. Refreshes
        are left to the next reads."""
        with self._lock:
            self.unsent = self.unsent or Gathered(self)
            self.unsent.now |= whole.later if fenced else whole.now | whole.later
            self.unsent.sweeps += whole.sweeps

    # --- workers

    def run(self, payload: str) -> Outcome:
        """As `Rewarm.run`, with database connections as a request has them."""
        if (app := self._known(payload)) is not self:
            return app.run(payload)
        _tidy()
        try:
            return super().run(payload)
        finally:
            if self.history is not None:
                self.history.after_task()
            _tidy()

    async def arun(self, payload: str) -> Outcome:
        """`run` on the running event loop."""
        if (app := await self.in_thread(self._known, payload)) is not self:
            return await app.arun(payload)
        return await super().arun(payload)

    async def in_thread(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """In the thread that has this context's database connections."""
        found: T = await sync_to_async(function, thread_sensitive=True)(*args, **kwargs)
        return found

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """In a thread that an event loop waits for, on that loop: there, queries run in this very thread."""
        above = getattr(SyncToAsync.threadlocal, "main_event_loop", None)
        if above is not None and above.is_running() and not _runs_loop():
            return async_to_sync(_awaited)(coroutine)
        return super().wait_for(_tidied(coroutine))

    def emit(self, event: events.Event) -> None:
        if isinstance(event, events.TaskStarted):  # an eager one has not come through `run`
            note(self.name, event.task.id, event.task.kind, event.task.job)
        super().emit(event)

    def _known(self, payload: str) -> Application:
        """Whose the task is, with its job: a worker has had no reason to import a cached view's module, nor the names
        of another library."""
        try:
            task = json.loads(payload)
            name, job = task["app"], task.get("job") or ""
            note(name, task["id"], task["kind"], job)
        except (ValueError, TypeError, KeyError):
            return self
        if job == "cacheback":
            from .compat.carrier import carry

            return carry(self, name)
        if job and job not in self.jobs:
            self.import_views()
        return self

    def import_views(self) -> None:
        """Import what is named in the URLs, once: cached views are jobs."""
        if not self._urls_known and getattr(settings, "ROOT_URLCONF", None):
            self._urls_known = True
            from django.urls import get_resolver

            _ = get_resolver().url_patterns


class Caches(Mapping[str, Application]):
    """`caches["name"]`: made when it is first asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Application] = {}
        self._adopted: list[str] = []
        self._lock = threading.RLock()
        self.ready = False

    def __getitem__(self, alias: str) -> Application:
        with self._lock:
            if (found := self._made.get(alias)) is None:
                if alias not in list(self):
                    raise ConfigurationError(f"REWARM has no {alias!r}; there are {', '.join(_aliases())}")
                found = self._made[alias] = Application(alias)
                if self.ready:
                    found.setup()
            return found

    def __contains__(self, alias: object) -> bool:
        return alias in list(self)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*_aliases(), *self._adopted]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def named(self, name: str) -> Application | None:
        """The application of this name, which may be one of cacheback's."""
        if (found := next((app for app in self.values() if app.name == name), None)) is None:
            from .compat.carrier import carried

            found = carried(name)
        return found

    def adopt(self, app: Application) -> Application:
        """Take an application that `REWARM` does not describe."""
        with self._lock:
            if app.alias not in self._made:
                self._adopted.append(app.alias)
                self._made[app.alias] = app
                if self.ready:
                    app.setup()
            return self._made[app.alias]

    def setup(self) -> dict[str, ConfigurationError]:
        """Set all of them up -> what is wrong, by alias. `manage.py check` reports it."""
        self.ready, wrong = True, {}
        for alias in self:
            try:
                self[alias].setup()
            except ConfigurationError as problem:
                wrong[alias] = problem
        return wrong


caches = Caches()


def autodiscover() -> None:
    """Import each installed app's `caches` module and register the rules that it lists as `rules`."""
    from django.apps import apps
    from django.utils.module_loading import module_has_submodule

    from .registry import register

    for config in apps.get_app_configs():
        if config.name != "rewarm_django" and module_has_submodule(config.module, "caches"):
            module = importlib.import_module(f"{config.name}.caches")
            register(*getattr(module, "rules", ()))


async def _awaited(coroutine: Coroutine[Any, Any, T]) -> T:
    return await coroutine


async def _tidied(coroutine: Coroutine[Any, Any, T]) -> T:
    """With database connections as a request has them, in the thread where its queries run."""
    await sync_to_async(_tidy)()
    try:
        return await coroutine
    finally:
        await sync_to_async(_tidy)()


def _runs_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _aliases() -> list[str]:
    try:
        return aliases()
    except ConfigurationError:
        return ["default"]


def _tidy() -> None:
    """Let go of connections that are broken or too old, as Django does around a request."""
    if not any(connection.in_atomic_block for connection in connections.all(initialized_only=True)):
        with suppress(RuntimeError):  # pytest-django lets nobody near a connection in a test that asks for no database
            close_old_connections()


def _store(given: Any) -> Any:
    """`cache://alias`: one of Django's caches. Anything else is the core's to understand."""
    if isinstance(given, str) and given.startswith("cache://"):
        store = CacheStore(given.removeprefix("cache://") or "default")
        _ = store.cache  # is there such a cache?
        return store
    return given


__all__ = ["Application", "Caches", "autodiscover", "caches"]


def _ledger(given: Any) -> Any:
    """`database` or `database://alias`: a ledger in one of Django's databases. Anything else is as for a store."""
    if isinstance(given, str) and (given == "database" or given.startswith("database://")):
        return DatabaseLedger(given.removeprefix("database").removeprefix("://") or "default")
    return _store(given)
