"""The demo as a user runs it: a process, and one JSON object."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from rewarm.cli.demo.queues import QUEUES

OUTCOMES = {"done", "skipped", "retried", "deferred", "dead"}


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rewarm.cli", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize(
    ("queue", "store"),
    [
        ("threads", "memory"),
        ("inline", "memory"),
        ("asyncio", "memory"),
        ("threads", "redis"),
        *(
            pytest.param(
                name, "redis",
                marks=pytest.mark.skipif(not find_spec(f"rewarm_{name}"), reason=f"rewarm_{name} is not installed"),
            )
            for name in QUEUES
        ),
    ],
)  # fmt: skip
def test_no_wrong_value_is_served_as_fresh(queue: str, store: str) -> None:
    # a busy machine may make too little traffic at first to tell a broken cache from a right one; the broken one is the
    # same beside every queue
    local = queue not in QUEUES
    for seconds in (4, 8, 16) if local else (2, 8, 16):
        ended = demo("--queue", queue, "--store", store, "--readers", "2", "--seconds", str(seconds), "--json")
        assert ended.returncode == 0, ended.stderr
        (line,) = ended.stdout.splitlines()
        told = json.loads(line)
        assert told["wrong_fresh"] == told["lost"] == 0
        if told["hit"] and told["tasks"]["done"] and (told["naive_wrong_fresh"] or not local):
            break
    assert (told["queue"], told["store"]) == (queue, store)
    assert told["naive_wrong_fresh"] > 0 or not local
    assert told["reads"] == told["hit"] + told["stale"] + told["miss"]
    assert told["hit"]
    assert told["miss"]
    assert told["loads"] < told["reads"]
    assert set(told["tasks"]) == OUTCOMES
    assert told["tasks"]["done"]
    assert not told["tasks"]["dead"]


def test_plain_text_that_fits_80_columns() -> None:
    ended = demo("--seconds", "1")

    assert ended.returncode == 0, ended.stderr
    assert "\x1b" not in ended.stdout
    assert "wrong values served as fresh" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_an_unknown_queue_says_what_is_there_and_what_to_install() -> None:
    ended = demo("--queue", "carrier-pigeon")

    assert ended.returncode == 2
    assert "pip install rewarm-carrier-pigeon" in ended.stderr
    assert "threads" in ended.stderr


def test_a_memory_store_does_not_reach_workers() -> None:
    pytest.importorskip("rewarm_celery")
    ended = demo("--queue", "celery", "--store", "memory")

    assert ended.returncode == 2
    assert "--store redis" in ended.stderr


def test_a_store_that_is_none() -> None:
    ended = demo("--store", "floppy")

    assert ended.returncode == 2
    assert "redis://" in ended.stderr
