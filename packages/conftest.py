"""What the tests of the adapters share: a private server, and a project whose worker is started as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from rewarm.cli.server import Server

SEND = "from shop.cache import tweets; print(tweets.refresh('ada').outcome(30), tweets.peek('ada').value)"
JOB = """

@cache.job(ttl=900)
def tweets(username: str) -> list[str]:
    return [username]
"""
QUEUES = {"celery", "dramatiq", "rq", "huey", "django_q"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for a test module, which chooses names of its own for each test."""
    try:
        started = Server()
    except LookupError as missing:
        if "redis" in os.environ.get("REWARM_REQUIRE_SERVICES", "").replace(",", " ").split():
            raise
        pytest.skip(str(missing))
    with started:
        yield started


@pytest.fixture
def shop(tmp_path: Path) -> Callable[..., str]:
    """`shop(modules, command, *arguments)`: in a project with these modules, start the worker, refresh `tweets("ada")`
    from another process -> what came of it. Keywords are environment variables of both."""

    def run(modules: dict[str, str], *command: str, **environment: str) -> str:
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop" / "__init__.py").touch()
        for name, text in modules.items():
            (tmp_path / "shop" / f"{name}.py").write_text(dedent(text) + (JOB if name == "cache" else ""))
        both = {"cwd": tmp_path, "env": {**os.environ, **environment}}
        argv = [Path(sys.executable).parent / command[0], *command[1:]]
        with open(tmp_path / "log", "wb") as log:
            worker = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True, **both)  # type: ignore[call-overload]
        try:
            sent = subprocess.run([sys.executable, "-c", SEND], capture_output=True, text=True, timeout=60, **both)  # type: ignore[call-overload]
        finally:
            worker.terminate()
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(worker.pid, 9)
                worker.wait()
        return sent.stdout.strip() or f"{sent.stderr}\n{(tmp_path / 'log').read_text()}"

    return run


@pytest.fixture
def imported() -> Callable[..., set[str]]:
    """`imported(statement)`: which queues a process has imported after it."""

    def run(statement: str, **environment: str) -> set[str]:
        code = f"import json, sys; {statement}; print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, **environment}
        )
        return QUEUES & set(json.loads(done.stdout))

    return run
