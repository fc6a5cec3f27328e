"""Worker: one worker process and everything that it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

GONE = 10.0
"""Seconds that the dead may take to be gone, at worst."""


class Worker:
    """Runs a command line in a session of its own; its output goes to `log`."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.argv, self.log = list(argv), log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.argv,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pids = {self.process.pid}
        self.root = psutil.Process(self.process.pid)

    @property
    def alive(self) -> bool:
        """Asked without reaping: as long as a zombie has its number, that of the session, nobody else gets it."""
        return self.process.returncode is None and not _dead(self.root)

    def owns(self, *pids: int) -> bool:
        """Is one of these the worker or a child of it? Children that were seen once count for ever."""
        with suppress(psutil.NoSuchProcess):
            self.pids |= {child.pid for child in self.root.children(recursive=True)}
        return not self.pids.isdisjoint(pids)

    def kill(self) -> None:
        """SIGKILL to all that is left of it, also if it has ended by itself: a session outlives its leader."""
        if self.process.returncode is not None:
            return
        deadline = time.monotonic() + GONE
        while (left := self._left()) and time.monotonic() < deadline:
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.002)
        self.process.wait(GONE)

    def _left(self) -> list[psutil.Process]:
        """Its tree and its session, without the dead, parents first: who outlives a child by a moment would act on it.

        A group is not enough: RQ's work horse has one of its own; nor is the tree: orphans have another parent.
        """
        found = {self.root}
        with suppress(psutil.NoSuchProcess):
            found |= set(self.root.children(recursive=True))
        for process in psutil.process_iter():
            with suppress(OSError):
                if os.getsid(process.pid) == self.process.pid:
                    found.add(process)
        order = sorted(found, key=lambda process: (process != self.root, process.pid))
        return [process for process in order if not _dead(process)]

    def stop(self, seconds: float, signum: int = signal.SIGTERM) -> int | None:
        """Ask to stop -> the exit status, or None if the deadline passed. What is left then is killed.

        A leader that dies of the signal, and leaves others to work on, has not stopped: a shell without `exec`.
        """
        if self.process.returncode is None:
            os.kill(self.process.pid, signum)  # not reaped: the number is its own
        deadline = time.monotonic() + seconds
        while not (ended := not self.alive and not self._left_by(signum)) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.kill()
        return self.process.returncode if ended else None

    def _left_by(self, signum: int) -> bool:
        """Did the leader die of the signal, with others still alive?"""
        if self.process.returncode is not None:
            return False
        told = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # not reaped: see `alive`
        return told is not None and (told.si_code, told.si_status) == (os.CLD_KILLED, signum) and bool(self._left())

    def tail(self, lines: int = 20) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _dead(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
