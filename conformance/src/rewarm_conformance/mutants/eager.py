"""Broken cores whose eager mode is not what it should be."""

from __future__ import annotations

import contextlib
import importlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from rewarm.eager import Eager
from rewarm.signature import Signature
from rewarm.task import Task

from . import breaks
from .cores import BrokenCore


@breaks("EAGER-01", "never started")
class EagerElsewhere(BrokenCore):
    owner, attribute = Eager, "run"

    def instead(self, original: Callable[..., Any]) -> Any:
        def run(eager: Eager, task: Task) -> None:
            if task.job == "ok":
                threading.Timer(0.5, original, (eager, task)).start()
            else:
                original(eager, task)

        return run


@breaks("EAGER-02", "the argument")
class EagerWithLists(BrokenCore):
    owner, attribute = Eager, "run"

    def instead(self, original: Callable[..., Any]) -> Any:
        decode = Signature.decode

        def flat(signature: Signature, data: Any) -> tuple[Any, ...]:
            return tuple(list(value) if isinstance(value, tuple) else value for value in decode(signature, data))

        def run(eager: Eager, task: Task) -> None:
            Signature.decode = flat  # type: ignore[assignment, method-assign]
            original(eager, task)
            Signature.decode = decode  # type: ignore[method-assign]

        return run


@breaks("EAGER-03", "it slept 1[0-9] s")
class EagerSleeps(BrokenCore):
    """Six seconds of a longer pause, so that nobody has to wait for all of it."""

    owner, attribute = Eager, "_enter"

    def instead(self, original: Callable[..., Any]) -> Any:
        def enter(eager: Eager, task: Task) -> Any:
            time.sleep(min(6.0, max(0.0, (task.due or 0.0) - time.time())))
            return original(eager, task)

        return enter


@breaks("EAGER-04", "TaskDead with eager_raises=True: False")
class EagerIsSilent(BrokenCore):
    owner, attribute = Eager, "_leave"

    def instead(self, original: Callable[..., Any]) -> Any:
        return lambda eager, task, ended: None


@breaks("EAGER-05", "it connected to")
class EagerConnects(BrokenCore):
    owner, attribute = Eager, "run"

    def instead(self, original: Callable[..., Any]) -> Any:
        def run(eager: Eager, task: Task) -> None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", 1), timeout=0.1)
            original(eager, task)

        return run


@breaks("EAGER-06", "RecursionError|[0-9]{3,} levels")
class NestsWithoutEnd(BrokenCore):
    owner, attribute = importlib.import_module("rewarm.eager"), "NESTED"

    def instead(self, original: Any) -> Any:
        return 10**9
