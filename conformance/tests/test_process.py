"""Worker processes: nothing is left of one that was killed or ended by itself."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from rewarm_conformance.process import Worker

CHILD = "import time; time.sleep(60)"
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {child!r}], process_group=0 if {apart} else None)
print(child.pid, flush=True)
time.sleep({seconds})
"""

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"


def worker(tmp_path: Path, *, apart: bool, seconds: float) -> tuple[Worker, psutil.Process]:
    """A worker with one child, which `apart` gives a process group of its own."""
    code = PARENT.format(child=CHILD, apart=apart, seconds=seconds)
    started = Worker([sys.executable, "-c", code], {}, tmp_path / "log")
    return started, psutil.Process(int(until(started.tail)))


def until(found):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 20
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return value


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("apart", [False, True])
def test_a_kill_takes_the_whole_tree(tmp_path: Path, apart: bool) -> None:
    started, child = worker(tmp_path, apart=apart, seconds=60)
    assert started.owns(child.pid)
    started.kill()
    assert not started.alive
    assert gone(child)


@pytest.mark.parametrize("apart", [False, True])
def test_what_a_dead_leader_left_is_killed_too(tmp_path: Path, apart: bool) -> None:
    started, child = worker(tmp_path, apart=apart, seconds=0)
    until(lambda: not started.alive)
    assert not gone(child)
    started.kill()
    assert gone(child)


def test_a_stop_that_is_heard_has_a_status_and_one_that_is_not_has_none(tmp_path: Path) -> None:
    started = Worker([sys.executable, "-c", CHILD], {}, tmp_path / "log")
    assert started.stop(20) == -15
    deaf = Worker([sys.executable, "-c", DEAF], {}, tmp_path / "deaf")
    until(deaf.tail)
    assert deaf.stop(0.1) is None
    assert not deaf.alive


def test_a_leader_that_dies_of_the_signal_and_leaves_its_children_has_not_stopped(tmp_path: Path) -> None:
    started, child = worker(tmp_path, apart=False, seconds=60)
    assert started.stop(0.5) is None
    assert gone(child)
