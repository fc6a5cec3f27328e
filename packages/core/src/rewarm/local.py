"""The queues that need nothing: in place, on a bounded pool of threads, on the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import os
import threading
import time
from typing import Any, ClassVar

from .adapter import Adapter, Capability
from .errors import EnqueueError, RewarmError
from .task import PRIORITIES, Route

GRACE = 5.0
"""Seconds that closing gives to tasks which are still queued or running."""


class InlineAdapter(Adapter):
    """Tasks run in place, before the call that queues them returns.

    raises: a task that ends dead raises TaskDead at that call, from the load's own error.
    """

    name: ClassVar[str] = "inline"
    capabilities = frozenset[Capability]()
    in_process = True
    eager = True

    def __init__(self, *, raises: bool = False) -> None:
        self.eager_raises = raises

    def install(self) -> None:
        pass

    def enqueue(self, payload: str, *, route: Route, delay: float) -> None:
        raise AssertionError("eager: the core runs the task and never enqueues it")


class ThreadAdapter(Adapter):
    """Tasks run on up to MAX_WORKERS daemon threads of this process, made when they are needed.

    max_queue: how many tasks may wait; one more is refused with EnqueueError. A crash loses what waits.
    """

    name: ClassVar[str] = "threads"
    capabilities = frozenset({Capability.DELAY, Capability.PRIORITY, Capability.DEPTH})
    in_process = True
    MAX_WORKERS = 4

    def __init__(self, max_workers: int | None = None, max_queue: int = 10_000) -> None:
        self.max_workers, self.max_queue = max_workers or self.MAX_WORKERS, max_queue
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._change = threading.Condition()
        self._ready: list[tuple[int, int, str]] = []  # priority, sequence, payload
        self._later: list[tuple[float, int, int, str]] = []  # due, sequence, priority, payload
        self._sequence, self._names = itertools.count(), itertools.count(1)
        self._threads = self._idle = self._running = 0
        self._closed = False

    def install(self) -> None:
        pass

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        if self._pid != os.getpid():
            self._reset()  # a forked child has the queue's memory but none of its threads
        with self._change:
            if len(self._ready) + len(self._later) >= self.max_queue:
                raise EnqueueError(f"the thread queue is full: {self.max_queue} tasks wait already")
            number, priority = next(self._sequence), PRIORITIES.index(route.priority)
            if delay > 0:
                heapq.heappush(self._later, (time.monotonic() + delay, number, priority, payload))
            else:
                heapq.heappush(self._ready, (priority, number, payload))
            self._closed = False
            self._staff()
            self._change.notify_all()  # `join` waits here too: one alone might wake the wrong one
        return str(number)

    def _staff(self) -> None:
        """Make a thread if more is to be done, or watched until it is due, than threads are idle."""
        if len(self._ready) + bool(self._later) > self._idle and self._threads < self.max_workers:
            self._threads += 1
            threading.Thread(target=self._work, name=f"rewarm-{next(self._names)}", daemon=True).start()

    def _work(self) -> None:
        while (payload := self._next()) is not None:
            try:
                self.deliver(payload)
            except RewarmError:
                pass  # dead: already buried and reported
            except BaseException as error:  # a load that ends its worker ends nobody else's
                threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))
            with self._change:
                self._running -= 1
                self._change.notify_all()

    def _next(self) -> str | None:
        """Wait for the next payload that is due. None: this thread is done."""
        with self._change:
            while True:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    _, number, priority, payload = heapq.heappop(self._later)
                    heapq.heappush(self._ready, (priority, number, payload))
                if self._ready:
                    self._running += 1
                    payload = heapq.heappop(self._ready)[2]
                    self._staff()  # what came due together runs side by side
                    return payload
                if self._closed:
                    self._threads -= 1
                    return None
                self._idle += 1
                self._change.wait(self._later[0][0] - now if self._later else None)
                self._idle -= 1

    def depth(self, queue: str | None = None) -> int:
        with self._change:
            return len(self._ready) + len(self._later)

    def join(self, timeout: float, *, delayed: bool = True) -> bool:
        """Wait until nothing runs or waits (`delayed`: nor is due later) -> False if `timeout` seconds passed."""
        if self._pid != os.getpid():
            return True
        with self._change:
            return self._change.wait_for(
                lambda: not (self._running or self._ready or (delayed and self._later)), timeout
            )

    def close(self) -> None:
        self.join(GRACE, delayed=False)
        with self._change:
            self._closed = True
            self._change.notify_all()


class AsyncioAdapter(Adapter):
    """Tasks run on the event loop that is running when they are queued. Without one they run in place.

    max_queue: how many tasks may run or wait; one more is refused with EnqueueError.
    """

    name: ClassVar[str] = "asyncio"
    capabilities = frozenset({Capability.DELAY, Capability.DEPTH})
    in_process = True

    def __init__(self, max_queue: int = 10_000) -> None:
        self.max_queue = max_queue
        self._tasks: set[asyncio.Task[Any]] = set()  # the loop itself keeps weak references only

    def install(self) -> None:
        pass

    @property
    def eager(self) -> bool:  # type: ignore[override]
        """No loop runs here: there is nothing to put a task on."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return True
        return False

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        if len(self._tasks) >= self.max_queue:
            raise EnqueueError(f"the asyncio queue is full: {self.max_queue} tasks wait already")
        task = asyncio.get_running_loop().create_task(self._deliver(payload, delay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return str(id(task))

    async def _deliver(self, payload: str, delay: float) -> None:
        if delay:
            await asyncio.sleep(delay)
        with contextlib.suppress(RewarmError):  # dead: already buried and reported
            await self.adeliver(payload)

    def depth(self, queue: str | None = None) -> int:
        return len(self._tasks)

    async def ajoin(self, timeout: float) -> bool:
        """Wait until this loop's tasks have ended -> False if `timeout` seconds passed."""
        loop, deadline = asyncio.get_running_loop(), time.monotonic() + timeout
        me = asyncio.current_task()
        while tasks := [task for task in self._tasks if task.get_loop() is loop and task is not me]:
            if (left := deadline - time.monotonic()) <= 0:
                return False
            await asyncio.wait(tasks, timeout=left)
        return True
