"""Bed: what checks drive: one namespace, an application that sends, and workers."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import pytest

from rewarm import EnqueueError, Receipt, Route
from rewarm.adapter import Adapter
from rewarm.entry import Entry
from rewarm.stores.base import Cancel, Start
from rewarm.task import Task
from rewarm.testing import CaptureAdapter
from rewarm.worker import DELIVERIES, KEEP

from . import checkers
from .checkers import Broken, Judgement
from .journal import History
from .probe import LEASE, Probe
from .process import Worker

if TYPE_CHECKING:
    from .lab import Lab

PATIENCE = float(os.environ.get("REWARM_PATIENCE", "1"))
QUIET = 0.5
"""Seconds in which nothing more may happen."""
ARRIVAL = 15.0
"""Seconds for a payload to start on a running worker."""
ANSWER = 30.0
"""Seconds in which `enqueue` returns or raises, whatever the broker does."""
APPS = "rewarm_conformance.probe:app,rewarm_conformance.second:app"


class CheckFailed(Exception):
    """A rule did not hold. Only judgements raise it; all else that goes wrong is an error of suite or testbed."""

    def __init__(self, broken: Broken) -> None:
        super().__init__(f"expected {broken.expected}; seen: {broken.seen}")
        self.broken = broken


def judge(*judgements: Judgement) -> None:
    """Raise CheckFailed for the first that did not hold."""
    for broken in judgements:
        if broken is not None:
            raise CheckFailed(broken)


class Sent(NamedTuple):
    """A refresh that was sent."""

    token: str
    entry: Entry[Any]
    receipt: Receipt


class Bed:
    """One namespace: an application that sends, and workers."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.testbed, self.journal = lab, lab.testbed, lab.journal
        self.namespace = "rw" + uuid.uuid4().hex[:10]
        self.workers: list[Worker] = []
        self.sent: set[str] = set()
        self.since = time.monotonic()  # of the check that uses it
        self.testbed.prepare(self.namespace)
        self.probe = self.producer()
        self.app, self.adapter = self.probe.app, self.probe.adapter

    # --- sending

    def producer(self, **settings: Any) -> Probe:
        """Another sender of this namespace, as a second process would be one."""
        with warnings.catch_warnings():  # where a queue's table is the process's, the name is there already
            warnings.filterwarnings("ignore", "two applications are called", RuntimeWarning)
            return Probe(self.lab.testbed_class(self.lab.setting), self.namespace, self.journal, **settings)

    def send(self, job: str, *args: Any, token: str = "", **options: Any) -> Sent:
        """Refresh an entry of a probe's job. `options` go to `Entry.refresh`. A refusal fails the check."""
        token = token or new_token()
        entry = self.app.jobs[job].entry(token, *args)
        self.sent.add(token)
        self.journal.write("sent", token)
        try:
            return Sent(token, entry, entry.refresh(**options))
        except EnqueueError as error:
            raise CheckFailed(Broken("the queue takes the payload", f"EnqueueError: {error}")) from error

    def tokens(self, count: int, job: str = "ok", *args: Any, **options: Any) -> list[str]:
        return [self.send(job, *args, **options).token for _ in range(count)]

    def task(self, job: str, *args: Any) -> Task:
        """A refresh that holds its place in the store and was not sent."""
        runtime, captured = self.app.runtime, CaptureAdapter()
        before, runtime.adapter = runtime.adapter, captured
        try:
            self.app.jobs[job].entry(*args).refresh()
        finally:
            runtime.adapter = before
        return captured.tasks[0]

    def post(self, task: Task | str, **fields: Any) -> str | None:
        """Give a payload to the queue as it is, `fields` added -> the queue's id. A refusal fails the check."""
        payload = task if isinstance(task, str) else json.dumps({**json.loads(task.dumps()), **fields})
        token = "" if isinstance(task, str) else str((task.args or [""])[0])
        self.journal.write("sent", token)
        try:
            return self.adapter.enqueue(payload, route=Route(), delay=0.0)
        except Exception as error:
            raise CheckFailed(Broken("the queue takes the payload", repr(error))) from error

    def post_many(self, tasks: Sequence[tuple[Task, Route]]) -> None:
        """Give payloads to the queue in one call. A refusal fails the check."""
        for task, _ in tasks:
            self.journal.write("sent", str(task.args[0]))
        try:
            self.adapter.enqueue_many([(task.dumps(), route) for task, route in tasks])
        except Exception as error:
            raise CheckFailed(Broken("the queue takes payloads in one call", repr(error))) from error

    def depths(self, expected: Mapping[str | None, int]) -> list[int | None]:
        """How many wait in each of these queues; asked until they are as many as expected, or time is over."""
        deadline = time.monotonic() + self.patience(ARRIVAL)
        while True:
            found = [self.adapter.depth(queue) for queue in expected]
            if found == [*expected.values()] or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def cancel(self, task: Task) -> None:
        """Ask that a task not run."""
        self.app.runtime.run([Cancel(self.app.runtime.record(task.id), KEEP)])

    def pretend_deliveries(self, id: str, count: int) -> None:
        """As if so many deliveries of a task had not ended."""
        record = self.app.runtime.record(id)
        self.app.runtime.run([Start(record, 1, 0, DELIVERIES, KEEP) for _ in range(count)])

    def answered(self, call: Callable[[], Any]) -> None:
        """Make a call that may hang. The check fails if it neither returns nor raises in time."""
        seconds, done = self.patience(ANSWER), Future[None]()
        self.calls.put((call, done))
        try:
            done.result(seconds)
        except TimeoutError:
            if done.done():  # its own
                raise
            raise CheckFailed(Broken(f"a call returns or raises within {seconds:.0f} s", "it still waits")) from None

    @cached_property
    def calls(self) -> SimpleQueue[tuple[Callable[[], Any], Future[None]]]:
        """What a thread is to call: always the same one, since a client may keep a connection for each."""
        calls: SimpleQueue[tuple[Callable[[], Any], Future[None]]] = SimpleQueue()

        def serve() -> None:
            while True:
                call, done = calls.get()
                try:
                    call()
                    done.set_result(None)
                except BaseException as error:
                    done.set_exception(error)

        threading.Thread(target=serve, daemon=True).start()
        return calls

    # --- workers

    def plain_environment(self) -> dict[str, str]:
        """This process's, with its import path."""
        return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def start(self, queue: str | None = None, *, ready: bool = True, apps: str | None = APPS) -> Worker:
        """Start a worker; by default wait until a ping has run in it."""
        argv = self.testbed.worker(self.namespace, queue)
        if isinstance(argv, str):  # would be taken letter by letter
            raise CheckFailed(Broken("`worker` returns a list of words", f"one string: {argv}"))
        argv = [str(word) for word in argv]  # a word may be a path
        environment = {
            "REWARM_TESTBED": self.lab.path, "REWARM_NAMESPACE": self.namespace, "REWARM_JOURNAL": self.journal.path,
            "REWARM_SETTING": self.lab.setting.dumps(), "PYTHONPATH": self.plain_environment()["PYTHONPATH"],
            **({"REWARM_APP": apps} if apps else {}), **self.testbed.environment(self.namespace),
        }  # fmt: skip
        log = self.lab.directory / f"{self.namespace}-{len(self.workers)}.log"
        try:
            worker = Worker(argv, environment, log)
        except OSError as error:
            raise CheckFailed(Broken("the worker's command starts", f"{error}: {' '.join(argv)}")) from error
        self.workers.append(worker)
        self.journal.write("spawn", worker=worker.process.pid)
        if ready and (broken := self.ready(worker, queue)) is not None:
            raise CheckFailed(broken)
        return worker

    def ready(self, worker: Worker | None = None, queue: str | None = None) -> Broken | None:
        """Ping through the queue until this worker has answered."""
        worker = worker or self.workers[-1]
        began = time.monotonic()
        deadline = began + max(10.0, 3 * self.testbed.boot_seconds * PATIENCE)  # no rule: only who is broken waits
        while time.monotonic() < deadline and worker.alive:
            options = {"route": Route(queue)} if queue else {}
            alone = len(self.workers) == 1  # else one ping for each, which keeps it busy
            pings = set(self.tokens(len(self.workers), "slow", 0.0 if alone else 0.02, **options))
            history = self.wait(_all_started(pings), 1.0, whole=True)
            if any(worker.owns(one.pid, one.ppid) for one in history if one.event == "start" and one.t > began):
                return None
        state = "runs"
        if not worker.alive:
            worker.kill()  # reaps it, after all that it has left
            state = f"ended with status {worker.process.returncode}"
        return Broken("a ping runs in a worker", f"no ping ran; the worker {state}: {' '.join(worker.argv)}")

    def kill(self, worker: Worker | None = None) -> float:
        """SIGKILL to a worker's whole tree -> the instant."""
        worker = worker or self.workers[-1]
        worker.kill()
        self.journal.write("kill", worker=worker.process.pid)
        return time.monotonic()

    def stop(self, worker: Worker | None = None, *, busy: float = 0.0) -> int | None:
        """Ask a worker to stop -> its exit status, None if it had to be killed. `busy`: seconds that its tasks take."""
        worker = worker or self.workers[-1]
        self.journal.write("term", worker=worker.process.pid)
        return worker.stop(self.patience(self.testbed.stop_seconds) + busy, self.testbed.stop_signal)

    @contextlib.contextmanager
    def supervised(self) -> Iterator[None]:
        """A worker that dies is replaced, as a service manager would: what is left of it goes too."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.05):
                if not any(worker.alive for worker in self.workers):
                    for worker in self.workers:
                        worker.kill()
                    self.start(ready=False)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.app.close()

    # --- waiting

    def patience(self, seconds: float) -> float:
        return min(seconds * PATIENCE, self.lab.limit or seconds * PATIENCE)

    @property
    def recovery(self) -> float:
        """Seconds until what a killed worker held has started again, at worst."""
        return self.testbed.redelivery_seconds + self.testbed.boot_seconds + LEASE

    def until_sent(self, probe: Probe, token: str, seconds: float = ARRIVAL) -> None:
        """Send until the queue takes it: it may need a moment. A check fails if it never does."""
        deadline = time.monotonic() + self.patience(seconds)
        while True:
            try:
                self.answered(lambda: probe.app.jobs["ok"].refresh(token))
                return
            except EnqueueError as error:
                if time.monotonic() > deadline:
                    raise CheckFailed(Broken("the queue takes payloads again", f"EnqueueError: {error}")) from error
            time.sleep(0.1)

    @property
    def history(self) -> History:
        return self.journal.history()

    def wait(self, done: Callable[[History], object], seconds: float = ARRIVAL, *, whole: bool = False) -> History:
        """Poll until `done` or the deadline. `whole`: regardless of patience."""
        deadline = time.monotonic() + (seconds if whole else self.patience(seconds))
        looked = time.monotonic()
        while not done(history := self.history) and (now := time.monotonic()) < deadline:
            time.sleep(max(0.01, 3 * (now - looked)))  # looking at a long history must not take the workers' time
            looked = time.monotonic()
        return history

    def grown(self, count: Callable[[History], int], goal: int, seconds: float) -> History:
        """Wait until the count has reached its goal, or has not grown for so long: what is slow is not wrong."""
        reached = count(self.history)
        while reached < goal:
            before = reached
            reached = count(self.wait(lambda h: count(h) > before, seconds))  # noqa: B023 (called in this round)
            if reached == before:
                break
        return self.history

    def started(self, *tokens: str, times: int = 1, seconds: float = ARRIVAL) -> History:
        """Wait until each has started so often, or none has for `seconds`."""
        return self.grown(lambda h: _sum(tokens, checkers.starts(h, tokens), times), times * len(tokens), seconds)

    def finished(self, *tokens: str, times: int = 1, seconds: float = ARRIVAL) -> History:
        """Wait until so many deliveries of each have ended, or none has for `seconds`."""
        return self.grown(lambda h: _sum(tokens, checkers.endings(h, tokens), times), times * len(tokens), seconds)

    def quiet(self, broken: Callable[[History], object], seconds: float = QUIET) -> History:
        """Nothing more may happen: wait, or see that something did. Impatience does not shorten it: what happens too
        much ends the wait, and what a busy machine delays must still be seen."""
        return self.wait(broken, seconds / min(1.0, PATIENCE))

    def delivered_once(
        self, history: History, tokens: Collection[str], what: str = "payload", spare: int = 0
    ) -> Judgement:
        """As the checker says; with rescue, what waits too long is sent again, to be skipped or put off."""
        if self.testbed.rescue is not None:
            history = [one for one in history if one.data.get("outcome") not in ("skipped", "deferred")]
        return checkers.delivered_once(history, tokens, what, spare)

    def open_gate(self, token: str) -> None:
        self.probe.gate(token).touch()

    def letters(self) -> list[Any]:
        """The application's dead letters."""
        return self.app.dead.list()

    def eager(self, *, switch: bool = False, **settings: Any) -> Probe:
        """A sender in eager mode, in memory: by the queue's own switch, or with its adapter's flag raised."""
        probe = self.producer()
        if switch:
            self.testbed.make_eager(probe.native)
        else:
            override(probe.adapter, eager=True)
        probe.app.configure(store="memory", **settings)
        return probe


def _sum(tokens: Collection[str], counts: Counter[str], times: int) -> int:
    """What is counted of each, up to `times`."""
    return sum(min(counts[token], times) for token in tokens)


def _all_started(tokens: Collection[str]) -> Callable[[History], bool]:
    return lambda history: len(checkers.starts(history, tokens)) == len(tokens)


def override(adapter: Adapter, **values: Any) -> None:
    """Let an adapter say so, whether it has these as attributes of its class, its own, or properties."""

    def fixed(value: Any) -> property:
        return property(lambda _: value)

    says = {name: fixed(value) for name, value in values.items()}
    adapter.__class__ = type(f"Changed{type(adapter).__name__}", (type(adapter),), says)


def new_token() -> str:
    return uuid.uuid4().hex[:12]


def untested(reason: str) -> NoReturn:
    """The testbed lacks a control."""
    pytest.skip(reason)
