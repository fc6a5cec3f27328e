"""Rewarm: ties jobs, store, ledger and adapter together. One per application or embedding library; no globals."""

from __future__ import annotations

import atexit
import re
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from . import events, freshness, worker
from . import rescue as rescuing
from .adapter import Adapter, Capability
from .batch import Batch
from .binding import bind
from .codec import Codec
from .dead import DeadLetters
from .effects import Flow
from .entry import Entry, Fence
from .errors import ConfigurationError, DuplicateJob, StoreError
from .gather import Gathered, names_of, targets_of, texts_of
from .job import AsyncJob, BoundJob, FunctionJob, Job, JobDecorator, Loads, P, Policies, R, Seconds
from .receipt import Receipt
from .runtime import Runtime
from .settings import Settings, Transactions, matches, route_of, settings_from
from .steps import Look
from .stores import open_ledger, open_store
from .target import Target
from .task import Route, Task
from .worker import Outcome

T = TypeVar("T")
NAME = re.compile(r"[a-z][a-z0-9_.-]*")
PRIORITY = {"invalidate": "high", "refresh": "normal", "sweep": "low"}


class Rewarm:
    """An application's caches.

    name: `[a-z][a-z0-9_.-]*`; prefixes keys and travels in payloads, so that several may share store and queue.
    store: a URL, a redis-py client or a Store.   ledger: the same; None: where the store is.
    adapter: an Adapter, its name, or "module:Class".   routes: kind or job pattern (`*`) -> Route or dict.
    signing_keys: payloads are signed with the first and accepted with any.
    on_store_error: a read "load"s, storing nothing, or "raise"s.
    on_enqueue_error: what reads and fenced invalidations do when the queue refuses: "log", "raise" or "inline".
    transactions: an object with `active()` and `on_commit(function)`.
    rescue: seconds after which a task that has not ended is sent again; None: the queue loses none.
    sweep_rate: keys per second that a sweep invalidates at most.

    Nothing connects and no thread starts before first use. Raises ConfigurationError.
    """

    def __init__(
        self,
        name: str,
        *,
        store: Any = "memory",
        adapter: Any = "threads",
        ledger: Any = None,
        routes: Mapping[str, Any] | None = None,
        signing_keys: Sequence[str | bytes] = (),
        on_store_error: str = "load",
        on_enqueue_error: str = "log",
        transactions: Transactions | None = None,
        rescue: float | timedelta | None = None,
        sweep_rate: float | None = None,
    ) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is no application name: use [a-z][a-z0-9_.-]*")
        self.name, self.codec, self.settings = name, Codec(), Settings()
        self.jobs: dict[str, BoundJob[..., Any]] = {}
        self.dead = DeadLetters(self)
        self.listeners: list[Callable[[events.Event], Any]] = []
        self.travelled = 0.0
        self._lock = threading.RLock()
        self._runtime: Runtime | None = None
        self._closes_at_exit = False
        self._batch = Batch(self)
        self.configure(
            store=store, adapter=adapter, ledger=ledger, routes=routes or {}, signing_keys=signing_keys,
            on_store_error=on_store_error, on_enqueue_error=on_enqueue_error, transactions=transactions,
            rescue=rescue, sweep_rate=sweep_rate,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Rewarm {self.name}: {len(self.jobs)} jobs>"

    # --- setting up

    def configure(self, **given: Any) -> None:
        """Set what the constructor takes, after the decorators have run. Raises ConfigurationError after first use."""
        if self._runtime is not None:
            raise ConfigurationError(f"{self.name} is in use already: configure it before its first read or task")
        self.settings = settings_from(self.settings, given)
        if "adapter" in given:
            self.settings.adapter.bind(self)
        for route in (*self.settings.routes.values(), *(job.policies["route"].fixed for job in self.jobs.values())):
            self._serve(route)

    def job(self, *, ttl: Seconds, name: str | None = None, **policies: Unpack[Policies]) -> JobDecorator:
        """Make a function a cached read. Times are seconds or timedelta; see `Policies` and the reference.

        Raises ConfigurationError for a wrong policy and DuplicateJob for a name that is taken, both at once.
        """

        def decorate(function: Callable[..., Any]) -> Any:
            return self.add(FunctionJob(function, name, {"ttl": ttl, **policies}))

        if unknown := policies.keys() - Policies.__annotations__.keys():
            raise ConfigurationError(
                f"there is no policy {sorted(unknown)[0]!r}; there are ttl, name, {', '.join(Policies.__annotations__)}"
            )
        return decorate

    @overload
    def add(self, job: Callable[[], Loads[P, Coroutine[Any, Any, R]]]) -> AsyncJob[P, R]: ...
    @overload
    def add(self, job: Callable[[], Loads[P, R]]) -> BoundJob[P, R]: ...
    @overload
    def add(self, job: Loads[P, Coroutine[Any, Any, R]]) -> AsyncJob[P, R]: ...
    @overload
    def add(self, job: Loads[P, R]) -> BoundJob[P, R]: ...
    def add(self, job: Any) -> Any:
        """Bind a Job, or a subclass that needs no arguments, to this application. Raises as `job` does."""
        job = job() if isinstance(job, type) else job
        if not isinstance(job, Job):
            raise ConfigurationError(f"add() takes a Job, not {job!r}")
        bound = bind(self, job)
        with self._lock:
            other = self.jobs.get(bound.name)
            if other is not None and (other.module, other.place) != (bound.module, bound.place):
                raise DuplicateJob(
                    f"two jobs of {self.name} are called {bound.name!r}: {other.module}.{other.place} and "
                    f"{bound.module}.{bound.place}; give one of them a name="
                )
            self.jobs[bound.name] = bound
        self._serve(bound.policies["route"].fixed)
        if self._runtime is not None:
            self._refuse_main(self._runtime.adapter, [bound])
        return bound

    def _serve(self, route: Any) -> None:
        if route and (queue := route_of(route).queue) is not None:
            self.settings.adapter.serve(queue)

    def add_type(self, tag: str, cls: type[T], encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
        """Let a type of your own be an argument and a value. Raises ConfigurationError."""
        self.codec.add_type(tag, cls, encode, decode)

    def listen(self, callback: Callable[[events.Event], Any]) -> Callable[[], None]:
        """Call back with every event, in the thread where it happens. Returns a function that ends it."""
        self.listeners.append(callback)
        return lambda: self.listeners.remove(callback) if callback in self.listeners else None

    def emit(self, event: events.Event) -> None:
        """Log an event and tell the listeners. One that raises is reported and harms nobody."""
        events.log(event)
        for listener in tuple(self.listeners):
            try:
                listener(event)
            except Exception as error:
                warnings.warn(f"listener {listener!r} raised {error!r}", RuntimeWarning, stacklevel=2)

    # --- using

    @property
    def runtime(self) -> Runtime:
        """Store, ledger and queue, opened at first use. Internal."""
        return self._runtime or self._start()

    def _start(self) -> Runtime:
        with self._lock:
            if self._runtime is None:
                given = self.settings
                store = open_store(given.store)
                ledger = open_ledger(given.ledger, store)
                for what, backend in ("store", store), ("ledger", ledger):
                    if not (backend.shared or given.adapter.in_process or given.adapter.eager):
                        raise ConfigurationError(
                            f"{self.name}: the workers of {given.adapter.name!r} are other processes and cannot see a "
                            f"memory {what}: give {what}='redis://...'"
                        )
                self._refuse_main(given.adapter, self.jobs.values())
                self._runtime = Runtime(self, store, ledger, given.adapter)
                if not self._closes_at_exit:
                    self._closes_at_exit = True
                    atexit.register(_close, weakref.ref(self))
        return self._runtime

    def _refuse_main(self, adapter: Adapter, jobs: Iterable[BoundJob[..., Any]]) -> None:
        for job in jobs:
            if job.module == "__main__" and not (adapter.in_process or adapter.eager):
                raise ConfigurationError(
                    f"job {job.name!r} is defined in __main__, which a worker of {adapter.name!r} does not import: "
                    "move it to a module"
                )

    def invalidate(
        self,
        *,
        tags: Iterable[str] = (),
        entries: Iterable[Entry[Any]] = (),
        jobs: Iterable[BoundJob[..., Any] | str] = (),
        fence: Fence = "now",
    ) -> Receipt:
        """Fence tags, entries and whole jobs, however many, in one round trip. Raises StoreError.

        fence: "task" leaves it to the worker. Raises EnqueueError then.
        """
        gathered = Gathered(self)
        receipt = gathered.invalidate(targets_of(self, entries), texts_of(tags), names_of(self, jobs), fence, False)
        self.submit(gathered)
        return receipt

    async def ainvalidate(
        self,
        *,
        tags: Iterable[str] = (),
        entries: Iterable[Entry[Any]] = (),
        jobs: Iterable[BoundJob[..., Any] | str] = (),
        fence: Fence = "now",
    ) -> Receipt:
        """`invalidate` on the running event loop."""
        gathered = Gathered(self)
        receipt = gathered.invalidate(targets_of(self, entries), texts_of(tags), names_of(self, jobs), fence, False)
        await self.asubmit(gathered)
        return receipt

    def get_many(self, entries: Iterable[Entry[T]]) -> list[T]:
        """The values of many entries, in order; one round trip for those that are fresh."""
        wanted = list(entries)
        for entry in wanted:
            entry._may_load("get")
        fresh = self.runtime.drive(_fresh(targets_of(self, wanted), self.runtime.bypass))
        return [entry.get() if found is None else found.value for entry, found in zip(wanted, fresh, strict=True)]

    async def aget_many(self, entries: Iterable[Entry[T]]) -> list[T]:
        """`get_many` on the running event loop."""
        wanted = list(entries)
        fresh = await self.runtime.adrive(_fresh(targets_of(self, wanted), self.runtime.bypass))
        return [
            await entry.aget() if found is None else found.value for entry, found in zip(wanted, fresh, strict=True)
        ]

    def batch(self) -> Batch:
        """`with app.batch():` merges the invalidations and refreshes of the block; nothing is sent if it raises."""
        return self._batch

    def in_transaction(self) -> bool:
        """A transaction is open in this context."""
        transactions = self.settings.transactions
        return transactions is not None and transactions.active()

    def when_committed(self, function: Callable[[], Any]) -> None:
        """Act now, or after the commit of the transaction that is open."""
        transactions = self.settings.transactions
        if transactions is not None and transactions.active():
            transactions.on_commit(function)
        else:
            function()

    async def in_thread(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a blocking call beside the running event loop. A host that minds which thread overrides it."""
        import asyncio  # late: importing rewarm costs little

        return await asyncio.to_thread(function, *args, **kwargs)

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """A coroutine's result, where no event loop runs. A host that minds which thread overrides it."""
        return self.runtime.loop.run(coroutine)

    # --- workers

    def run(self, payload: str) -> Outcome:
        """Run one delivery of a task. Raises only NotAcknowledged: see `Adapter.deliver`."""
        outcome: Outcome = self.runtime.drive(worker.deliver(self.runtime, payload)).outcome
        return outcome

    async def arun(self, payload: str) -> Outcome:
        """`run` on the running event loop."""
        outcome: Outcome = (await self.runtime.adrive(worker.deliver(self.runtime, payload))).outcome
        return outcome

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this application's tasks can count on: its queue's capabilities, and what `rescue` adds."""
        return self.runtime.capabilities

    def rescue(self) -> int:
        """Send again what the queue has lost -> how many tasks. Nothing without `Rewarm(rescue=...)`.

        Workers do so by themselves. Raises StoreError, EnqueueError.
        """
        rescued: int = self.runtime.drive(rescuing.rescue(self.runtime))
        return rescued

    async def arescue(self) -> int:
        """`rescue` on the running event loop."""
        rescued: int = await self.runtime.adrive(rescuing.rescue(self.runtime))
        return rescued

    def close(self) -> None:
        """Give local tasks 5 s to end, then close connections. The next use opens them again."""
        if (runtime := self._runtime) is not None:
            runtime.close()
            self._leave(runtime)

    async def aclose(self) -> None:
        """`close` on the running event loop."""
        if (runtime := self._runtime) is not None:
            await runtime.aclose()
            self._leave(runtime)

    def _leave(self, runtime: Runtime) -> None:
        """Only now: the tasks that closing waits for still need its store."""
        with self._lock:
            if self._runtime is runtime:
                self._runtime = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- internal: what entries, jobs and batches call

    def route(self, task: Task, asked: Any = None, job: Any = None) -> Route:
        """Where a task goes: as asked, else the first of the host's routes that matches, else the job's, the kind's."""
        names = [task.kind, *([task.job] if task.job else [])]
        host = next(
            (route for pattern, route in self.settings.routes.items() if any(matches(pattern, n) for n in names)),
            None,
        )
        return route_of(asked, host, job, {"priority": PRIORITY.get(task.kind, "normal")})

    def submit(self, gathered: Gathered) -> None:
        """Send what was gathered: now, at the end of the batch, or after the commit."""
        self._batch.submit(gathered)

    async def asubmit(self, gathered: Gathered) -> None:
        """`submit` on the running event loop."""
        await self._batch.asubmit(gathered)

    def send(self, gathered: Gathered) -> None:
        """Send what no batch holds back: after the commit if a transaction is open, else now."""
        self.when_committed(lambda: self.runtime.drive(gathered.flow()))


def _close(reference: weakref.ref[Rewarm]) -> None:
    """At exit: an application that is gone has nothing to close."""
    if (app := reference()) is not None:
        app.close()


def _fresh(targets: Sequence[Target], bypass: bool) -> Flow[list[freshness.Found | None]]:
    """What is fresh, in one round trip; None where a read of its own is needed."""
    if bypass or not targets:
        return [None] * len(targets)
    try:
        answers = yield [Look(target.key, target.stamps) for target in targets]
    except StoreError:
        return [None] * len(targets)  # each read applies its own policy
    judged = [(target, freshness.judge(target, *answer)) for target, answer in zip(targets, answers, strict=True)]
    return [
        target.job.app.runtime.told(target, found) if found is not None and found.state == freshness.HIT else None
        for target, found in judged
    ]
