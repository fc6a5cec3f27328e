"""What workers import: the testbed's queue object (`native`) and an application (`app`) whose jobs write the journal.

Everything comes from REWARM_TESTBED, REWARM_NAMESPACE, REWARM_SETTING and REWARM_JOURNAL. The suite uses the same
`Probe` to send.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import signal
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from rewarm import NotAcknowledged, Retry, Rewarm, events
from rewarm.task import Task
from rewarm.worker import Outcome

from .journal import Journal
from .testbed import Setting, Testbed

GATE_SECONDS = 60.0
ATTEMPTS = 3
LEASE = 1.0
"""Seconds for which a dead load blocks its entry."""

BOOTED = 0.5
"""Seconds after which a worker that runs its first payload has told its master, if it has one, that it is there."""

REFUSED = "x_refused"
"""Field of a payload whose first delivery raises NotAcknowledged."""

running: ContextVar[Task | None] = ContextVar("rewarm_probe_task", default=None)


class ProbeError(Exception):
    """What a failing probe raises: worth another attempt after `retry_after` seconds."""

    def __init__(self, pause: float) -> None:
        super().__init__(f"the probe fails; again after {pause} s")
        self.retry_after = pause


class Probe:
    """One application on the testbed's adapter."""

    def __init__(
        self, testbed: Testbed, namespace: str, journal: Journal, *, suffix: str = "", **settings: Any
    ) -> None:
        self.native, self.adapter = testbed.build(namespace)
        self.journal, self.directory = journal, testbed.directory
        self.app = testbed.app(namespace + suffix, self.adapter, store=testbed.store(namespace), **settings)
        add_jobs(self, self.app)
        self.run, self.app.run = self.app.run, self.deliver  # type: ignore[method-assign]
        self.arun, self.app.arun = self.app.arun, self.adeliver  # type: ignore[method-assign]

    # --- the jobs: each starts with a token, by which the suite finds its events

    def ok(self, token: str) -> str:
        with Run(self, token):
            return "ok"

    def echo(self, token: str, value: Any) -> None:
        with Run(self, token, value=tell(value)):
            return

    def fails(self, token: str, times: int, pause: float) -> str:
        """Fails in its first `times` attempts."""
        with Run(self, token) as task:
            if task is None or task.attempt <= times:
                raise ProbeError(pause)
            return "ok"

    def refuses(self, token: str) -> None:
        """Fails with an error that no retry is worth."""
        with Run(self, token):
            raise ValueError("the probe refuses")

    def slow(self, token: str, seconds: float) -> str:
        with Run(self, token):
            time.sleep(seconds)
            return "ok"

    def gated(self, token: str) -> str:
        """Asks the source first, and returns when the gate is open."""
        with Run(self, token):
            value = self.source(token)
            deadline = time.monotonic() + GATE_SECONDS
            while not self.gate(token).exists() and time.monotonic() < deadline:
                time.sleep(0.005)
            return value

    def dies(self, token: str) -> None:
        """Takes its worker with it, each time."""
        with Run(self, token):
            time.sleep(BOOTED)  # Dramatiq's master waits for ever for one killed while it says that it has booted
            os.kill(os.getpid(), signal.SIGKILL)

    def unwritten(self, token: str) -> str:
        """Takes its worker with it, once, after the value is there and before it is stored (see `add_jobs`)."""
        with Run(self, token):
            return self.source(token)

    def cut(self, token: str, pause: float) -> str:
        """Fails once, and takes its worker with it when the next attempt is queued (see `heard`)."""
        with Run(self, token) as task:
            if task is None or task.attempt == 1:
                raise ProbeError(pause)
            return "ok"

    def spawns(self, token: str, count: int) -> int:
        """Queues more tasks."""
        with Run(self, token):
            for number in range(count):
                self.app.jobs["ok"].refresh(f"{token}.{number}")
            return count

    def nests(self, token: str, level: int) -> int:
        """Queues itself, without end."""
        with Run(self, f"{token}.{level}"):
            self.app.jobs["nests"].refresh(token, level + 1)
            return level

    # --- helpers

    def source(self, token: str) -> str:
        """What a load asks: a file that the suite writes."""
        try:
            return (self.directory / f"source-{token}").read_text()
        except FileNotFoundError:
            return "0"

    def write_source(self, token: str, value: str) -> None:
        (self.directory / f"source-{token}").write_text(value)

    def gate(self, token: str) -> Path:
        return self.directory / f"gate-{token}"

    def deliver(self, payload: str) -> Outcome:
        """What workers call in place of `app.run`."""
        self.refuse_once(payload)
        return self.run(payload)

    async def adeliver(self, payload: str) -> Outcome:
        """What workers that run coroutines call in place of `app.arun`."""
        self.refuse_once(payload)
        return await self.arun(payload)

    def refuse_once(self, payload: str) -> None:
        """NotAcknowledged at the first delivery of a payload that asks for it."""
        token = json.loads(payload).get(REFUSED) if isinstance(payload, str) and REFUSED in payload else None
        if token and self.once(f"refused-{token}"):
            self.journal.write("refused", token)
            raise NotAcknowledged("the probe keeps the message")

    def once(self, name: str) -> bool:
        """True for the first caller of all processes."""
        try:
            (self.directory / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def die_once(self, token: str) -> bool:
        if self.once(f"died-{token}"):
            self.journal.write("kill", token)
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    def heard(self, event: events.Event) -> None:
        """The core's events that are evidence."""
        match event:
            case events.TaskStarted(task=task):
                running.set(task)
            case events.TaskEnded(task=task, outcome=outcome, reason=reason):
                running.set(None)
                self.journal.write("end", token_of(task), task.id, task.attempt, outcome=str(outcome), reason=reason)
            case events.Buried(id=id, task=task, reason=reason):
                self.journal.write("dead", token_of(task), id, task.attempt if task else 0, reason=reason)
            case events.Enqueued(task=task, delay=delay):
                self.journal.write("queued", token_of(task), task.id, task.attempt, delay=delay)
                if task.job == "cut" and task.attempt == 2:
                    self.die_once(token_of(task))
            case events.EnqueueFailed(task=task, error=error):
                self.journal.write("refused", token_of(task), task.id, task.attempt, error=str(error))


class Run:
    """Journals one run of a probe's job."""

    def __init__(self, probe: Probe, token: str, **data: Any) -> None:
        self.journal, self.token, self.data = probe.journal, token, data
        self.task = running.get()

    def __enter__(self) -> Task | None:
        task = self.task
        if task is None:  # a reader loads
            self.journal.write("start", self.token, **self.data)
        else:
            carried = {"key": task.key, "args": tell(task.args), "rest": dict(task.rest)}
            self.journal.write("start", self.token, task.id, task.attempt, **carried, **self.data)
        return task

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        id, attempt = (self.task.id, self.task.attempt) if self.task else ("", 0)
        self.journal.write("failed" if kind else "done", self.token, id, attempt)


def add_jobs(probe: Probe, app: Rewarm) -> None:
    """Give the application the probe's jobs, and listen to it."""
    plain: list[Callable[..., Any]] = [probe.ok, probe.echo, probe.fails, probe.refuses, probe.spawns, probe.nests]
    held: list[Callable[..., Any]] = [probe.slow, probe.gated, probe.dies, probe.cut, probe.unwritten]
    app.listen(probe.heard)
    for load in (*plain, *held):
        app.job(
            name=load.__name__,
            ttl=300,
            retry=Retry(attempts=ATTEMPTS, on=ProbeError),
            lease=LEASE if load in held else 60,
            wait=20,
            cache_if=probe.die_once if load == probe.unwritten else True,
        )(load)


def token_of(task: Task | None) -> str:
    args = task.args if task is not None else None
    return str(args[0]) if isinstance(args, list) and args else ""


def tell(value: Any) -> str:
    """A value with its types, as text; its digest if it is long."""
    text = (
        f"{type(value).__name__}:{value!r}" if not isinstance(value, list | dict) else json.dumps(value, sort_keys=True)
    )
    return text if len(text) < 200 else f"{len(text)}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def locate(path: str) -> Any:
    """The object at "module:attribute"."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def from_environment(**settings: Any) -> Probe:
    testbed = locate(os.environ["REWARM_TESTBED"])(Setting.loads(os.environ["REWARM_SETTING"]))
    journal = Journal(os.environ["REWARM_JOURNAL"])
    return Probe(testbed, os.environ["REWARM_NAMESPACE"], journal, **settings)


if "REWARM_TESTBED" in os.environ:  # in a worker; the suite itself imports this module for `Probe`
    probe = from_environment()
    native, app = probe.native, probe.app
