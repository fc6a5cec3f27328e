"""Broken queues and workers, and testbeds that point nowhere."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

from rewarm import NotAcknowledged
from rewarm.adapter import ENTRY
from rewarm.errors import TaskDead

from ..reference import Consumer, Queue, ReferenceTestbed
from . import breaks
from .adapters import changed, field


@breaks("SMOKE-01", "no ping ran")
class WrongQueue(ReferenceTestbed):
    boot_seconds = 1.0

    def worker(self, namespace: str, queue: str | None = None) -> list[str]:
        return super().worker(namespace, f"{namespace}-nobody-sends-here")


@breaks("APP-02", "without REWARM_APP no ping ran")
class ImportsNoApp(ReferenceTestbed):
    """What the worker's command line imports makes the queue alone."""

    def worker(self, namespace: str, queue: str | None = None) -> list[str]:
        bare = f"{__package__}.bare:native"
        return [bare if word.endswith(":native") else word for word in super().worker(namespace, queue)]


class EarlyConsumer(Consumer):
    """Acknowledges first, then runs."""

    def handle(self, id: str, payload: str) -> None:
        self.queue.done(id)
        try:
            self.queue.entries[ENTRY](payload)
        except NotAcknowledged:
            return
        except TaskDead as error:
            self.queue.fail(self.queue.put(payload, delay=60.0), repr(error))


@breaks("DELIVER-02", "4 of 5 payloads never started")
class KeepsTheLast(ReferenceTestbed):
    """The first worker of a queue finds one payload; the next one takes over what there is."""

    class consumer_class(Consumer):
        def run(self, threads: int) -> None:
            first = Path(f"{self.queue.path}.used")
            if not first.exists():
                first.touch()
                with self.queue.open() as connection:
                    connection.execute("delete from message where sequence < (select max(sequence) from message)")
            super().run(threads)


@breaks("DELIVER-05", "an attempt was delivered [2-9] times")
class TwoMayTakeIt(ReferenceTestbed):
    """Looks, and takes a moment later: within one process a lock keeps others out."""

    class queue_class(Queue):
        lock = threading.Lock()

        def claim(self, queue: str) -> tuple[str, str] | None:
            with self.lock, self.open() as connection:
                found: tuple[str, str] | None = connection.execute(
                    "select id, payload from message where queue = ? and due <= ? and failed is null "
                    "order by priority, sequence limit 1", (queue, time.time()),
                ).fetchone()  # fmt: skip
                if found is not None:
                    time.sleep(0.02)
                    self.hold(found[0])
                return found


@breaks("RETRY-03", "an attempt was delivered [2-9] times")
class NeverAcknowledges(ReferenceTestbed):
    """Second attempts that nothing follows: their lease runs out, and they come back."""

    class queue_class(Queue):
        local = threading.local()

        def put(self, *args: Any, **options: Any) -> str:
            self.local.acknowledges = True
            return super().put(*args, **options)

        def done(self, id: str) -> None:
            if self.local.acknowledges:
                super().done(id)

    class consumer_class(Consumer):
        def handle(self, id: str, payload: str) -> None:
            NeverAcknowledges.queue_class.local.acknowledges = field(payload, "attempt", 1) != 2
            super().handle(id, payload)


@breaks("RETRY-05", "an attempt was delivered [2-9] times")
class RetriesNatively(ReferenceTestbed):
    """After a pause, as queues do."""

    class queue_class(Queue):
        def fail(self, id: str, error: str) -> None:
            super().fail(id, error)
            with self.open() as connection:
                ((payload,),) = connection.execute("select payload from message where id = ?", (id,))
            self.put(payload, delay=5.0)


@breaks("CRASH-01", "it did not run again")
class AcksEarly(ReferenceTestbed):
    consumer_class = EarlyConsumer


@breaks("LOAD-02", "of 200 (were lost|payloads never started)")
class HoardsAndAcksEarly(ReferenceTestbed):
    class consumer_class(EarlyConsumer):
        def handle(self, id: str, payload: str) -> None:
            hoard = {id: payload, **dict(filter(None, (self.queue.claim(self.name) for _ in range(39))))}
            for one in hoard:
                self.queue.done(one)
            for one, held in hoard.items():
                super().handle(one, held)


@breaks("CRASH-03", "of 5 were lost")
class StopsAtOnce(ReferenceTestbed):
    class consumer_class(EarlyConsumer):
        def run(self, threads: int) -> None:
            self.stopping.set = lambda: os._exit(0)  # type: ignore[method-assign]
            super().run(threads)


@breaks("CRASH-06", "never started")
class LongLease(ReferenceTestbed):
    class queue_class(Queue):
        lease = 600.0


@breaks("CRASH-07", "had to be killed")
class IgnoresTheSignal(ReferenceTestbed):
    stop_seconds = 3.0

    class consumer_class(Consumer):
        def run(self, threads: int) -> None:
            self.stopping.set = lambda: None  # type: ignore[method-assign]
            super().run(threads)


@breaks("CRASH-08", "a start was attempt 2")
class StopBurnsAnAttempt(ReferenceTestbed):
    class consumer_class(Consumer):
        held: ClassVar[dict[str, str]] = {}

        def run(self, threads: int) -> None:
            self.stopping.set = self.burn  # type: ignore[method-assign]
            super().run(threads)

        def handle(self, id: str, payload: str) -> None:
            self.held[id] = payload
            super().handle(id, payload)
            self.held.pop(id)

        def burn(self) -> None:
            for id, payload in list(self.held.items()):  # its threads go on meanwhile
                self.queue.put(changed(payload, attempt=field(payload, "attempt", 1) + 1))
                self.queue.done(id)
            os._exit(0)


@breaks("CRASH-09", "it did not come back")
class AcksWhatShouldStay(ReferenceTestbed):
    class consumer_class(Consumer):
        def handle(self, id: str, payload: str) -> None:
            super().handle(id, payload)
            with self.queue.open() as connection:
                connection.execute("delete from message where id = ? and failed is null", (id,))


@breaks("BROKER-01", "5 of 5 payloads never started")
class KeepsNothing(ReferenceTestbed):
    class consumer_class(Consumer):
        def run(self, threads: int) -> None:
            restarted = Path(self.queue.path).parent.parent.stat().st_mtime  # when the directory was last moved
            with self.queue.open() as connection:
                connection.execute("delete from message where due < ?", (restarted,))
            super().run(threads)


@breaks("BROKER-02", "it did not")
class EndsWithTheConnection(ReferenceTestbed):
    class consumer_class(Consumer):
        def work(self) -> None:
            while Path(self.queue.path).exists() and not self.stopping.is_set():
                if (found := self.queue.claim(self.name)) is not None:
                    self.handle(*found)
                time.sleep(self.idle)
            os._exit(1)
