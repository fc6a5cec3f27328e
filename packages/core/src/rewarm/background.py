"""Two helpers that run beside the caller: an event loop for blocking verbs, and a heart that renews leases."""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
CANCELLED_WITHIN = 1.0
"""Seconds that closing waits for cancelled loads."""


_serving = threading.local()
"""`loop`: this thread serves one of these loops."""


class LoopThread:
    """One event loop on a daemon thread, made at first use, and again in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result, with the caller's context variables."""
        if not getattr(_serving, "loop", False):
            return self._run(coroutine)
        beside = LoopThread()  # for a load, on such a thread, that waits for another one
        try:
            return beside._run(coroutine)
        finally:
            beside.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        done: Future[T] = Future()

        def start() -> None:
            task = loop.create_task(coroutine)
            task.add_done_callback(lambda ended: _copy(ended, done))

        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._pid, self._loop = os.getpid(), asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._serve, args=(self._loop,), name="rewarm-loop", daemon=True)
                self._thread.start()
            loop: asyncio.AbstractEventLoop = self._loop
            loop.call_soon_threadsafe(start, context=contextvars.copy_context())  # before any `stop`
        return done.result()

    def close(self) -> None:
        """End the loop. What runs on it is cancelled: nobody shall wait for it for ever."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is None or self._pid != os.getpid():
                return
            loop.call_soon_threadsafe(loop.stop)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CANCELLED_WITHIN)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        _serving.loop = True
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            while True:  # until `close`: a load that stops the loop, or would exit, ends nothing else
                with suppress(SystemExit, KeyboardInterrupt):  # its caller is told
                    runner.get_loop().run_forever()
                if self._loop is not loop:
                    break


def _copy(ended: asyncio.Task[T], done: Future[T]) -> None:
    if ended.cancelled():
        done.set_exception(asyncio.CancelledError())
    elif error := ended.exception():
        done.set_exception(error)
    else:
        done.set_result(ended.result())


class Heart:
    """Beats for every load that is running: one daemon thread, asleep unless a load outlives a third of its lease."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._change = threading.Condition()
        self._beats: set[Beat] = set()
        self._wakes = -math.inf  # when the thread looks again; -inf: there is no thread
        self._closed = False

    def beating(self, beat: Callable[[], Any], every: float, until: float) -> Beat:
        """A context in which `beat()` is called each `every` seconds, for at most `until` seconds."""
        return Beat(self, beat, every, until)

    def add(self, beat: Beat) -> None:
        if self._pid != os.getpid():
            self._reset()
        with self._change:
            self._beats.add(beat)
            if self._wakes == -math.inf:
                self._wakes = beat.next
                threading.Thread(target=self._work, name="rewarm-heart", daemon=True).start()
            elif beat.next < self._wakes:
                self._wakes = beat.next
                self._change.notify()

    def remove(self, beat: Beat) -> None:
        with self._change:
            self._beats.discard(beat)

    def _work(self) -> None:
        while True:
            with self._change:
                self._wakes = min((beat.next for beat in self._beats), default=math.inf)
                if self._closed:
                    return
                now = time.monotonic()
                if self._wakes > now:
                    self._change.wait(None if self._wakes == math.inf else self._wakes - now)
                    continue
                due = [beat for beat in self._beats if beat.next <= now]
            for beat in due:
                beat.fire()

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify()


class Beat(AbstractContextManager["Beat"]):
    """One running load. A beat that fails is tried again at the next turn: the lease may outlive an outage."""

    def __init__(self, heart: Heart, call: Callable[[], Any], every: float, until: float) -> None:
        now = time.monotonic()
        self.heart, self.call, self.every = heart, call, every
        self.next, self.end = now + every, now + until

    def fire(self) -> None:
        if time.monotonic() >= self.end:
            self.heart.remove(self)
            return
        self.next += self.every
        with suppress(ConnectionError):
            self.call()

    def __enter__(self) -> Beat:
        self.heart.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.heart.remove(self)
