"""The model answer: a durable queue on SQLite, its worker, its adapter and its testbed."""

from __future__ import annotations

import argparse
import importlib
import signal
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, ClassVar

from rewarm import Adapter, Capability, NotAcknowledged, Route
from rewarm.adapter import ENTRY
from rewarm.errors import TaskDead

from .testbed import Testbed

LEVELS = {"high": 0, "normal": 1, "low": 2}
SCHEMA = """create table if not exists message (
    id text primary key, queue text, priority int, due real, payload text, failed text, sequence integer)"""


class Queue:
    """Messages in one SQLite file. A claim moves the due time one lease ahead: who dies gives back.

    Opens the file for each call, so that a file that is gone is noticed at once.
    """

    lease = 2.0

    def __init__(self, path: str, name: str) -> None:
        self.path, self.name, self.eager = path, name, False
        self.entries: dict[str, Callable[[str], None]] = {}

    @contextmanager
    def open(self, mode: str = "rw") -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"file:{self.path}?mode={mode}", uri=True, timeout=20, isolation_level=None)
        try:
            connection.execute("pragma synchronous = off")  # survives its processes, not the host
            yield connection
        finally:
            connection.close()

    def put(self, payload: str, queue: str | None = None, priority: int = 1, delay: float = 0.0) -> str:
        id = uuid.uuid4().hex
        with self.open() as connection:
            connection.execute(
                "insert into message select ?, ?, ?, ?, ?, null, ifnull(max(sequence), 0) + 1 from message",
                (id, queue or self.name, priority, time.time() + delay, payload),
            )
        return id

    def claim(self, queue: str) -> tuple[str, str] | None:
        """The next message that is due, by priority and age -> id and payload."""
        now = time.time()
        with self.open() as connection:
            found = connection.execute(
                "update message set due = ? where id = (select id from message where queue = ? and due <= ? and "
                "failed is null order by priority, sequence limit 1) returning id, payload",
                (now + self.lease, queue, now),
            ).fetchall()
        return found[0] if found else None

    def hold(self, id: str) -> None:
        with self.open() as connection:
            connection.execute("update message set due = ? where id = ?", (time.time() + self.lease, id))

    def done(self, id: str) -> None:
        with self.open() as connection:
            connection.execute("delete from message where id = ?", (id,))

    def fail(self, id: str, error: str) -> None:
        with self.open() as connection:
            connection.execute("update message set failed = ? where id = ?", (error, id))

    def count(self, queue: str, failed: bool = False) -> int:
        with self.open() as connection:
            query = f"select count(*) from message where queue = ? and failed is {'not ' if failed else ''}null"
            return int(connection.execute(query, (queue,)).fetchone()[0])


class Consumer:
    """A worker: threads that claim, run and delete, until SIGTERM."""

    idle = 0.02

    def __init__(self, queue: Queue, name: str) -> None:
        self.queue, self.name, self.stopping = queue, name, threading.Event()

    def run(self, threads: int) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.stopping.set())
        working = [threading.Thread(target=self.work) for _ in range(threads)]
        for thread in working:
            thread.start()
        for thread in working:
            while thread.is_alive():
                thread.join(0.5)  # a signal may go to another thread; its handler runs when this one looks up

    def work(self) -> None:
        while not self.stopping.is_set():
            try:
                found = self.queue.claim(self.name)
                if found is not None:
                    self.handle(*found)
                    continue
            except sqlite3.OperationalError as error:
                print("the file is away:", error, file=sys.stderr, flush=True)
            self.stopping.wait(self.idle)

    def handle(self, id: str, payload: str) -> None:
        ended = threading.Event()
        beating = threading.Thread(target=self.beat, args=(id, ended), daemon=True)
        beating.start()
        try:
            self.queue.entries[ENTRY](payload)
        except NotAcknowledged:
            return  # the lease runs out
        except TaskDead as error:
            print(f"{id} failed: {error!r}", file=sys.stderr, flush=True)
            self.queue.fail(id, repr(error))
        else:
            self.queue.done(id)
        finally:
            ended.set()
            beating.join()

    def beat(self, id: str, ended: threading.Event) -> None:
        while not ended.wait(self.queue.lease / 3):
            self.queue.hold(id)


class ReferenceAdapter(Adapter):
    """Rewarm on the reference queue."""

    name: ClassVar[str] = "reference"
    capabilities = frozenset(
        {Capability.DELAY, Capability.REDELIVERY, Capability.PERSISTENCE, Capability.PRIORITY, Capability.DEPTH}
    )
    max_hop = 0.8  # needed by no one; so that hops are seen

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    @property
    def eager(self) -> bool:  # type: ignore[override]
        return self.queue.eager

    def install(self) -> None:
        self.queue.entries[ENTRY] = self.deliver

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        return self.queue.put(payload, route.queue, LEVELS[route.priority], delay)

    def depth(self, queue: str | None = None) -> int:
        return self.queue.count(queue or self.queue.name)


class ReferenceTestbed(Testbed):
    """The reference queue as the suite sees it."""

    broker = "directory"
    redelivery_seconds = 4.0
    queue_class: ClassVar[type[Queue]] = Queue
    adapter_class: ClassVar[type[ReferenceAdapter]] = ReferenceAdapter
    consumer_class: ClassVar[type[Consumer]] = Consumer

    def build(self, namespace: str) -> tuple[Queue, Adapter]:
        queue = self.queue_class(f"{self.url}/{namespace}.sqlite", namespace)
        return queue, self.adapter_class(queue)

    def prepare(self, namespace: str) -> None:
        with Queue(f"{self.url}/{namespace}.sqlite", namespace).open("rwc") as connection:
            connection.execute(SCHEMA)

    def worker(self, namespace: str, queue: str | None = None) -> list[str]:
        return [sys.executable, "-m", __name__, "rewarm_conformance.probe:native", queue or namespace,
                "--consumer", f"{self.consumer_class.__module__}:{self.consumer_class.__qualname__}"]  # fmt: skip

    def make_eager(self, native: Any) -> None:
        native.eager = True

    def failed(self, namespace: str, log: str) -> bool:
        return self.build(namespace)[0].count(namespace, failed=True) > 0


def main() -> None:
    parser = argparse.ArgumentParser(description="A worker of the reference queue.")
    parser.add_argument("native", help="module:attribute of a Queue")
    parser.add_argument("name", help="the queue to consume")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--consumer", default="rewarm_conformance.reference:Consumer")
    given = parser.parse_args()
    native, consumer = (named(path) for path in (given.native, given.consumer))
    consumer(native, given.name).run(given.threads)


def named(path: str) -> Any:
    """The object at "module:qualified.name"."""
    module, _, name = path.partition(":")
    return attrgetter(name)(importlib.import_module(module))


if __name__ == "__main__":
    main()
