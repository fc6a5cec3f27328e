"""What a flow's requests reach: one application's store, ledger, queue and sources. Made at its first use."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

from . import events, freshness, worker
from .adapter import Adapter, Capability
from .background import Heart, LoopThread
from .drivers import adrive, drive
from .eager import Eager
from .effects import Flow, Load, Loaded, Send, Wait
from .errors import StoreError
from .freshness import Found
from .gates import gate_of
from .local import GRACE, AsyncioAdapter
from .policies import DEFAULTS, milliseconds
from .rescue import Repost, Rescuer
from .retry import Retry, seconds
from .sending import Sender
from .steps import Renew, Step
from .stores.base import STEPS as LEDGER_STEPS
from .stores.base import Backend, Extend, Ledger, Store
from .target import LOADING, Target
from .task import VERSION, Task

if TYPE_CHECKING:
    from .app import Rewarm

T = TypeVar("T")
PLAIN = Retry()


class Runtime:
    """Runs flows (`drive`, `adrive`) for one application. See `drivers.Host`."""

    def __init__(self, app: Rewarm, store: Store, ledger: Ledger, adapter: Adapter) -> None:
        self.app, self.store, self.ledger, self.adapter = app, store, ledger, adapter
        self.name, self.signing_keys, self.emit = app.name, app.settings.signing_keys, app.emit
        self.dead_key, self.journal = f"{app.name}::dead", f"{app.name}::journal"
        self.patience = round(seconds(app.settings.rescue) * 1000) if app.settings.rescue else 0  # ms; 0: no journal
        self.heart, self.loop, self.eager = Heart(), LoopThread(), Eager(self)
        self.sender, self.rescuer = Sender(self), Rescuer(self)
        self.bypass = False  # every read loads
        self.one_server = cast(object, ledger) is store
        self.one_trip = self.one_server and store.ordered

    # --- steps

    def run(self, steps: Sequence[Step]) -> list[Any]:
        if self.one_trip:  # which carries the steps of both
            return self.store.run(steps)
        answers: list[Any] = []
        for backend, part in self._split(steps):
            with _answered(answers):
                answers += backend.run(part)
        return answers

    async def arun(self, steps: Sequence[Step]) -> list[Any]:
        if self.one_trip:
            return await self.store.arun(steps)
        answers: list[Any] = []
        for backend, part in self._split(steps):
            with _answered(answers):
                answers += await backend.arun(part)
        return answers

    def _split(self, steps: Sequence[Step]) -> Iterator[tuple[Backend, list[Step]]]:
        """A batch for several servers, in its order: a task is done for the ledger only once the store has done it."""
        for ours, part in groupby(steps, lambda step: isinstance(step, LEDGER_STEPS)):
            yield (self.ledger if ours else self.store), list(part)

    # --- effects

    def do(self, effect: Any) -> Any:
        match effect:
            case Load():
                return self._load(effect)
            case Wait():
                began = time.monotonic()
                time.sleep(pause(effect))
                return elapsed(began)
            case Send() | worker.Resend():
                return self.sender.send(*self.outgoing(effect))
            case Repost(task):
                return self.sender.repost(self.sender.follow(task, self._policy(task, "route")))
            case worker.Pace(seconds):
                return time.sleep(seconds)
            case worker.Warm():
                return self.drive(freshness.queue(self.target_of(effect.job, effect.args), 0, None, "drop"))
        raise AssertionError(f"no such effect: {effect!r}")

    async def ado(self, effect: Any) -> Any:
        match effect:
            case Load():
                return await self._aload(effect)
            case Wait():
                began = time.monotonic()
                await asyncio.sleep(pause(effect))
                return elapsed(began)
            case Send() | worker.Resend():
                return await self.sender.asend(*self.outgoing(effect))
            case Repost(task):
                return await self.sender.arepost(self.sender.follow(task, self._policy(task, "route")))
            case worker.Pace(seconds):
                return await asyncio.sleep(seconds)
            case worker.Warm():
                return await self.adrive(freshness.queue(self.target_of(effect.job, effect.args), 0, None, "drop"))
        raise AssertionError(f"no such effect: {effect!r}")

    def drive(self, flow: Flow[T]) -> T:
        return drive(flow, self)

    async def adrive(self, flow: Flow[T]) -> T:
        return await adrive(flow, self)

    def _load(self, effect: Load) -> Loaded:
        target = cast(Target, effect.target)
        gate = gate_of(target)
        if gate and (refusal := gate.refusal(*self._counted([gate.admit]))):
            return Loaded(None, 0, "raised", refusal)
        job, values, began = target.job, target.values, time.monotonic()
        try:
            with self._loading(effect):
                value, keep = self.app.wait_for(job.acall(values)) if job.is_async else job.call(values)
        except BaseException as error:
            got = Loaded(None, elapsed(began), "raised", error)
        else:
            got = Loaded(value, elapsed(began), keep=keep)
        if gate and _tells(got) and (steps := gate.report(got.error)):
            gate.reported(self._counted(steps))
        return got

    async def _aload(self, effect: Load) -> Loaded:
        target = cast(Target, effect.target)
        gate = gate_of(target)
        if gate and (refusal := gate.refusal(*await self._acounted([gate.admit]))):
            return Loaded(None, 0, "raised", refusal)
        job, values, began = target.job, target.values, time.monotonic()
        try:
            with self._loading(effect):
                value, keep = await (job.acall(values) if job.is_async else self.app.in_thread(job.call, values))
        except BaseException as error:
            got = Loaded(None, elapsed(began), "raised", error)
        else:
            got = Loaded(value, elapsed(began), keep=keep)
        if gate and _tells(got) and (steps := gate.report(got.error)):
            gate.reported(await self._acounted(steps))
        return got

    def _counted(self, steps: Sequence[Step]) -> list[Any]:
        """A gate's steps; no answers if the ledger is away: that neither forbids a load nor costs its value."""
        try:
            return self.ledger.run(steps)
        except StoreError:
            return []

    async def _acounted(self, steps: Sequence[Step]) -> list[Any]:
        """`_counted` on the running event loop."""
        try:
            return await self.ledger.arun(steps)
        except StoreError:
            return []

    @contextmanager
    def _loading(self, effect: Load) -> Iterator[None]:
        """A load's lease is renewed, and what it reads of other entries is fresh."""
        token = LOADING.set(True)
        try:
            with self._renewing(effect):
                yield
        finally:
            LOADING.reset(token)

    def _renewing(self, effect: Load) -> AbstractContextManager[Any]:
        if not effect.n:
            return nullcontext()
        t, lease = effect.target, effect.target.lease
        renew = Renew(t.key, effect.born, effect.n, lease)
        return self.heart.beating(lambda: self.store.run([renew]), lease / 3000, t.place / 1000)

    def holding(self, record: str, claim: int) -> AbstractContextManager[Any]:
        """A context that keeps a task's claim (ms) alive for ten times as long."""
        extend = Extend(record, claim)
        return self.heart.beating(lambda: self.ledger.run([extend]), claim / 3000, claim / 100)

    # --- reads

    def read(self, target: Target) -> Found:
        """The read that every verb ends in."""
        if self.bypass:
            return self._bypassed(self._load(Load(target)))
        found = drive(freshness.read(target), self)
        return self.told(target, found)

    async def aread(self, target: Target) -> Found:
        if self.bypass:
            return self._bypassed(await self._aload(Load(target)))
        found = await adrive(freshness.read(target), self)
        return self.told(target, found)

    def _bypassed(self, got: Loaded) -> Found:
        if got.error is not None:
            raise got.error
        return Found("MISS", got.value)

    def told(self, target: Target, found: Found) -> Found:
        """Say how a read went, and put off what a transaction does not let it do."""
        app = self.app
        if app.listeners:
            app.emit(events.Read(app=self.name, job=target.job.name, key=target.key, state=found.state))
        if found.state != "HIT" and not found.refreshing and app.in_transaction():
            app.when_committed(lambda: self.drive(freshness.requeue(target)))
        return found

    # --- tasks

    def now(self) -> float:
        """Seconds since the epoch, moved by `testing.travel`."""
        return time.time() + self.app.travelled

    def record(self, task_id: str) -> str:
        """The ledger's key for a task."""
        return f"{self.name}::task:{task_id}"

    def stamps(self, tags: Iterable[str], jobs: Iterable[str]) -> list[str]:
        """The keys of the stamps of tags and of whole jobs. No job name is empty, so `::` belongs to us."""
        return [*(f"{self.name}:tag:{tag}" for tag in tags), *(f"{self.name}::job:{job}" for job in jobs)]

    def stray(self, task: Task) -> str:
        """Why this worker cannot run a task that another release may have sent; "" if it can."""
        if task.v > VERSION:
            return f"payload version {task.v} is newer than this worker's {VERSION}: upgrade the worker"
        if task.app != self.name:
            return f"no application {task.app!r} on this worker (there is {self.name!r})"
        if task.kind == "refresh" and task.job not in self.app.jobs:
            return f"application {self.name!r} has no job {task.job!r}"
        return ""

    def retry(self, task: Task) -> Retry:
        return self._policy(task, "retry") or PLAIN

    def _policy(self, task: Task, name: str) -> Any:
        """What the job says for a refresh's arguments; None for other tasks and where the job is not known."""
        if task.kind != "refresh" or self.stray(task):
            return None
        job = self.app.jobs[task.job or ""]
        policy = job.policies[name]
        if policy.function is None:
            return policy.fixed
        try:
            return policy(job.signature.decode(task.args))
        except Exception:  # arguments that no longer fit are told when the job itself wants them
            return DEFAULTS[name]

    def target(self, task: Task) -> Target:
        return self.target_of(task.job or "", task.args)

    def target_of(self, job: str, args: Any) -> Target:
        bound = self.app.jobs[job]
        return Target(bound, bound.signature.decode(args))

    def refresh_task(self, target: Target, born: bytes, q: int, delay: float, id: str = "") -> Task:
        now = self.now()
        return Task(
            id=id or task_id(target.key, born, q), app=self.name, kind="refresh", job=target.job.name,
            args=target.job.signature.encode(target.values), key=target.key, born=born.hex(), q=q,
            due=now + delay if delay else None, not_after=now + delay + target.place / 1000, enqueued_at=now,
        )  # fmt: skip

    def new_task(self, kind: str, args: dict[str, Any], job: str | None = None) -> Task:
        return Task(id=uuid4().hex, app=self.name, kind=kind, job=job, args=args, enqueued_at=self.now())

    def renew(self, task: Task, args: dict[str, Any], delay: float) -> Task:
        """The next task of a chain: same id and route, other arguments, a new attempt budget and signature."""
        due = self.now() + delay if delay else None
        return replace(task, args=args, attempt=1, due=due, sig=None, enqueued_at=self.now())

    def sweep_pause(self, keys: int) -> float:
        """Seconds before the next slice of a sweep that has just marked so many keys."""
        rate = self.app.settings.sweep_rate
        return keys / rate if rate else 0.0

    def rest(self, task: Task) -> int:
        """Milliseconds for which readers leave a task's source alone that has failed for good."""
        throttle = self._policy(task, "throttle")
        return milliseconds(throttle, least=0) if throttle else 0

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the queue can promise, and what the journal adds to it."""
        adds = {Capability.DELAY, Capability.REDELIVERY} if self.patience else set()
        return self.adapter.capabilities | adds

    def outgoing(self, effect: Any) -> tuple[Task, float]:
        if isinstance(effect, worker.Resend):
            return self.sender.follow(effect.task, self._policy(effect.task, "route")), effect.delay
        target, delay = effect.target, effect.delay / 1000
        task = self.refresh_task(target, effect.born, effect.q, delay, effect.id)
        return self.sender.route(task, effect.route, target.policy("route")), delay

    def attend(self) -> None:
        """This process works for the application: it rescues too, if tasks are rescued."""
        if self.patience:
            self.rescuer.start()

    async def aclose(self) -> None:
        """`close`; what belongs to the running loop is closed on it."""
        if isinstance(self.adapter, AsyncioAdapter):
            await self.adapter.ajoin(GRACE)
        await self.store.aclose()
        if not self.one_server:
            await self.ledger.aclose()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        self.rescuer.close()
        self.adapter.close()
        self.heart.close()
        self.loop.close()
        self.store.close()
        if not self.one_server:
            self.ledger.close()


def task_id(key: str, born: bytes, q: int) -> str:
    """A refresh's id follows from its entry, incarnation and place: every copy of the task has it."""
    return blake2b(b"%b\0%b\0%d" % (key.encode(), born, q), digest_size=16).hexdigest()


def _tells(got: Loaded) -> bool:
    """A load says how its source is, unless it was cancelled."""
    return got.error is None or isinstance(got.error, Exception)


@contextmanager
def _answered(answers: list[Any]) -> Iterator[None]:
    """Let an error tell what the other server had answered before."""
    try:
        yield
    except StoreError as error:
        error.answered = tuple(answers)
        raise


def pause(effect: Wait) -> float:
    """Seconds: from 5 ms doubling to 50 ms, with jitter so that waiters do not ask in step."""
    ceiling = min(50.0, 5.0 * (1 << min(effect.turn, 4)))
    return min(float(effect.limit), ceiling * random.uniform(0.5, 1.0)) / 1000


def elapsed(began: float) -> int:
    return int((time.monotonic() - began) * 1000)
