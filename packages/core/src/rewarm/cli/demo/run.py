"""The demo from beginning to end: the same traffic through both caches, and what came of it."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigurationError, OutcomeTimeout
from ...receipt import Receipt
from ..server import Server
from . import queues
from .caches import CACHES, open_cache
from .journal import Account
from .processes import Worker, readers, worker
from .report import Result, Side
from .source import copy_packages, edit, modules_of
from .traffic import Plan

START, SETTLE = 60.0, 60.0
"""Seconds for a worker to take its first task, and for all that was queued to end."""

LABELS = {"hand-written": "hand-written cache", "rewarm": "Rewarm"}
Show = Callable[[str, float, str], None]
"""Tells the display what is being done, the share of it that is done, and a note."""


@dataclass
class Demo:
    """What the command was asked for. `store`: memory, redis (a private server), a URL, or None for what will do."""

    queue: str
    store: str | None
    seconds: float
    readers: int
    show: Show

    def run(self) -> Result:
        """Raises ConfigurationError for what cannot be set up."""
        queue = queues.find(self.queue)
        store = self.store or ("redis" if queue else "memory")
        if not re.fullmatch(r"memory|redis|(rediss?|unix)://.+", store):
            raise ConfigurationError(f"--store {store}: give memory, redis (a private server), or redis://host:port/0")
        if queue and store == "memory":
            raise ConfigurationError(f"the workers of {self.queue!r} are other processes: give --store redis or a URL")
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rewarm-demo-")))
            name = f"demo-{secrets.token_hex(4)}"
            private = stack.enter_context(_server()).url if queue or store == "redis" else ""
            os.environ |= {
                "REWARM_DEMO_NAME": name,
                "REWARM_DEMO_FOLDER": str(folder),
                "REWARM_DEMO_QUEUE": self.queue,
                "REWARM_DEMO_BROKER": private,
                "REWARM_DEMO_STORE": private if store == "redis" else store,
            }
            from .jobs import app, package  # set up by what the environment says now

            stack.enter_context(app)
            if "://" in store:
                stack.callback(_forget, store, name)
            packages = copy_packages(folder / "rewarm")
            shutil.copytree(folder / "rewarm", folder / "hand-written")
            if queue:
                running = stack.enter_context(worker(queue.worker, folder / "worker.log"))
                self._first_task(package.refresh(packages[0]), running)
            plans = [Plan(side, packages, self.readers, self.queue == "asyncio", folder) for side in CACHES]
            naive, ours = (self._traffic(plan, processes=store != "memory") for plan in plans)
            account = Account(folder / "journal")
            return Result(self.queue, store, self.readers, self.seconds, account, ours, naive)

    def _first_task(self, receipt: Receipt, worker: Worker) -> None:
        """Wait until the worker has run it."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < START and worker.running:
            self.show(f"starting a {self.queue} worker", waited / START, "")
            try:
                receipt.outcome(timeout=0.2)
                return
            except OutcomeTimeout:
                continue
        raise ConfigurationError(f"the {self.queue} worker did not take a task:\n{worker.said()}")

    def _traffic(self, plan: Plan, *, processes: bool) -> Side:
        """Readers on one cache while this thread edits the source."""
        with readers(plan, processes) as crowd:
            until = time.monotonic() + self.seconds
            for reader in crowd:
                reader.tell(until)
            edits = self._edit(plan, until)
            tallies = [reader.hear() for reader in crowd]
            if plan.side == "rewarm":
                self._settle(plan.folder / "journal")
        return Side(edits, tallies)

    def _edit(self, plan: Plan, until: float) -> int:
        cache, board, mix = open_cache(plan.side), plan.board(), plan.mix("edits")
        made, due = [0] * len(plan.packages), time.monotonic()
        for pause, package, where in mix.saves():
            due += pause
            while (now := time.monotonic()) < min(due, until):
                note = f"{sum(board.reads):,} reads, {sum(board.wrong):,} wrong"
                self.show(LABELS[plan.side], 1 - (until - now) / self.seconds, note)
                time.sleep(min(due - now, until - now, 0.05))
            if now >= until:
                break
            name, number = plan.packages[package], made[package] + 1
            modules = modules_of(plan.folder / plan.side / name)
            edit(modules[int(where * len(modules))], number)
            cache.invalidate(name)
            made[package] = board.floors[package] = number
        return sum(made)

    def _settle(self, journal: Path) -> None:
        """Wait until every task that was queued has ended. What is left then is lost."""
        deadline = time.monotonic() + SETTLE
        while (pending := Account(journal).pending) and time.monotonic() < deadline:
            self.show(LABELS["rewarm"], 1.0, f"{len(pending)} tasks to end")
            time.sleep(0.02)


def _server() -> Server:
    try:
        return Server()
    except LookupError as error:
        raise ConfigurationError(str(error)) from error


def _forget(url: str, name: str) -> None:
    """Leave nothing on a server that is not ours."""
    from redis import Redis

    with Redis.from_url(url) as client:
        for key in client.scan_iter(f"{name}:*", count=1000):
            client.unlink(key)
