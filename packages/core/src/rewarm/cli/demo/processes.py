"""The readers and the worker of the demo: started, and ended whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .traffic import Plan, Tally, serve

STOP = 10.0
"""Seconds for a worker or a reader to end by itself."""


class Reader:
    """A thread or a process that runs `serve`, and our end of the pipe to it."""

    def __init__(self, plan: Plan, number: int, process: bool) -> None:
        make: Any = multiprocessing.get_context("spawn").Process if process else threading.Thread
        self._pipe, theirs = multiprocessing.Pipe()
        self._runner = make(target=serve, args=(plan, number, theirs), daemon=True)
        self._runner.start()
        if process:
            theirs.close()  # else we would not notice its death

    def tell(self, until: float) -> None:
        """Read until then, on the monotonic clock."""
        self._pipe.send(until)

    def hear(self) -> Tally:
        """What it has to say next. Raises RuntimeError if it failed."""
        try:
            said = self._pipe.recv()
        except EOFError:
            said = "it was ended from outside"
        if isinstance(said, str):
            raise RuntimeError(f"a reader failed:\n{said}")
        tally: Tally = said
        return tally

    def leave(self) -> None:
        self._pipe.close()

    def end(self, patience: float) -> None:
        self._runner.join(patience)
        if self._runner.is_alive() and hasattr(self._runner, "kill"):
            self._runner.kill()


@contextmanager
def readers(plan: Plan, processes: bool) -> Iterator[list[Reader]]:
    """All readers of one side, ready to begin; ended afterwards."""
    crowd: list[Reader] = []
    patience = 0.0
    try:
        for number in range(plan.readers):
            crowd.append(Reader(plan, number, processes))
        for reader in crowd:
            reader.hear()
        yield crowd
        patience = STOP
    finally:
        for reader in crowd:
            reader.leave()
        for reader in crowd:
            reader.end(patience)


class Worker:
    """The queue's own worker, in a session of its own."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", *argv],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        """The end of what it wrote."""
        return self._log.read_text(errors="replace")[-2000:]

    def end(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP)
        with suppress(ProcessLookupError):  # its children, should it have left any
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def worker(argv: Sequence[str], log: Path) -> Iterator[Worker]:
    """The queue's worker; ended afterwards."""
    running = Worker(argv, log)
    try:
        yield running
    finally:
        running.end()
