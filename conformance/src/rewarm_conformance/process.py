"""Worker: one worker process and everything that it starts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil


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

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def owns(self, *pids: int) -> bool:
        """Is one of these the worker or a child of it? Children that were seen once count for ever."""
        with suppress(psutil.NoSuchProcess):
            self.pids |= {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}
        return not self.pids.isdisjoint(pids)

    def kill(self) -> None:
        """SIGKILL to the whole tree. A group is not enough: RQ's work horse has one of its own."""
        try:
            root = psutil.Process(self.process.pid)
            tree = [root, *root.children(recursive=True)]  # before the kill: orphans change their parent
        except psutil.NoSuchProcess:
            tree = []
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)
        psutil.wait_procs(tree, timeout=10)

    def stop(self, seconds: float, signum: int = signal.SIGTERM) -> int | None:
        """Ask to stop -> the exit status, or None if the deadline passed and the tree was killed."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signum)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def tail(self, lines: int = 20) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
