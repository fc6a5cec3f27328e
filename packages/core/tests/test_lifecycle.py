"""From import to close: when things connect, start and end; forks, processes and late configuration."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rewarm import Adapter, Capability, ConfigurationError, Outcome, Rewarm, Route, State
from rewarm.adapter import ProcessTable
from rewarm.cli.server import Server
from rewarm.stores import MemoryStore
from rewarm.stores.redis import RedisStore
from rewarm.testing import drain

SOON = 20.0


class Elsewhere(Adapter):
    """A queue whose workers are other processes."""

    name: ClassVar[str] = "elsewhere"
    capabilities = frozenset({Capability.DELAY})

    def __init__(self) -> None:
        self.payloads: list[str] = []
        self.installed = 0

    def install(self) -> None:
        self.installed += 1

    def enqueue(self, payload: str, *, route: Route, delay: float) -> None:
        self.payloads.append(payload)


def python(code: str, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


# --- importing and first use


def test_importing_takes_nothing_that_is_not_in_the_standard_library() -> None:
    names = ("redis", "celery", "django", "click", "rich", "dramatiq", "rq", "huey", "opentelemetry", "asyncpg")
    code = f"import rewarm, sys; print([m for m in sys.modules if m.split('.')[0] in {names!r}])"
    assert python(code).stdout == "[]\n"


def test_nothing_connects_and_no_thread_starts_before_first_use() -> None:
    threads = threading.active_count()
    app = Rewarm("shop", store="redis://203.0.113.1:1/0", adapter="threads", ledger="redis://203.0.113.1:2/0")
    job = app.job(ttl=60, tags=["t:{n}"], name="job")(lambda n: n)
    app.configure(on_store_error="raise", routes={"job": {"queue": "low"}}, signing_keys=["k" * 16])
    assert job.key(1) == job.entry(1).key
    assert job.entry(1).tags == ("t:1",)
    assert job.load(3) == 3
    assert app._runtime is None
    assert threading.active_count() == threads
    app.close()


def test_a_fresh_read_starts_no_thread() -> None:
    with Rewarm("shop") as app:
        job = app.job(ttl=60, name="job")(lambda: 1)
        job()
        threads = threading.active_count()
        for _ in range(10):
            job()
        assert threading.active_count() == threads


def test_what_is_never_used_can_be_closed_and_collected() -> None:
    app = Rewarm("shop")
    app.job(ttl=60, name="job")(lambda: 1)
    app.close()
    app.close()
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


def test_what_was_used_can_be_collected_too() -> None:
    app = Rewarm("shop")
    app.job(ttl=60, name="job")(lambda: 1)()
    app.close()
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


# --- configuring


def test_an_application_is_configured_after_its_decorators_and_before_its_first_use() -> None:
    app = Rewarm("shop")
    job = app.job(ttl=60, name="job")(lambda: 1)
    store = MemoryStore()
    app.configure(store=store, adapter="inline")
    job()
    assert store.raw(job.key()) is not None
    for late in ({"store": "memory"}, {"adapter": "threads"}, {}):
        with pytest.raises(ConfigurationError, match="in use already"):
            app.configure(**late)
    app.close()
    app.configure(adapter="threads")
    assert app.settings.adapter.name == "threads"


def test_jobs_may_be_added_after_first_use() -> None:
    with Rewarm("shop", adapter="inline") as app:
        assert app.job(ttl=60, name="one")(lambda: 1)() == 1
        assert app.job(ttl=60, name="two")(lambda: 2)() == 2


def test_a_memory_store_is_refused_where_workers_are_other_processes() -> None:
    queue = Elsewhere()
    app = Rewarm("shop", adapter=queue)
    job = app.job(ttl=60, name="job")(lambda: 1)
    for use in (job, job.refresh, job.peek, lambda: app.run("{}")):
        with pytest.raises(ConfigurationError, match="store='redis://"):
            use()
    assert queue.payloads == []
    queue.eager = True
    assert job() == 1
    app.close()


def test_a_memory_ledger_is_refused_there_too(valkey: Server) -> None:
    app = Rewarm("shop", store=valkey.url, ledger="memory", adapter=Elsewhere())
    with pytest.raises(ConfigurationError, match="cannot see a memory ledger: give ledger='redis://"):
        app.invalidate(tags=["t"], fence="task")


def test_an_adapter_is_installed_when_it_is_bound() -> None:
    queue = Elsewhere()
    app = Rewarm("shop", adapter=queue)
    assert (queue.installed, queue.apps) == (1, {"shop": app})
    Rewarm("other", adapter=queue)
    assert (queue.installed, sorted(queue.apps)) == (2, ["other", "shop"])


def test_a_worker_finds_applications_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"caches_{os.getpid()}"
    (tmp_path / f"{name}.py").write_text(
        "from rewarm import Rewarm\none = Rewarm('one', adapter='inline')\ntwo = Rewarm('two', adapter='inline')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("REWARM_APP", f"{name}:one, {name}:two")
    table = ProcessTable()
    assert (table["two"].name, table["one"].name) == ("two", "one")
    with pytest.raises(KeyError):
        table["three"]
    monkeypatch.setenv("REWARM_APP", "json:loads")
    with pytest.raises(ConfigurationError, match="not a Rewarm application"):
        table["three"]


# --- closing


def test_closed_and_used_again(store: MemoryStore | RedisStore) -> None:
    app = Rewarm("shop", store=store)
    job = app.job(ttl=60, name="job")(lambda: 1)
    for _ in range(3):
        assert job() == 1
        job.invalidate()
        job()
        drain(app)
        assert job.read().state == State.HIT
        app.close()
    assert job.peek() is not None
    app.close()


def test_closing_waits_for_the_tasks_that_are_queued(store: MemoryStore | RedisStore) -> None:
    app = Rewarm("shop", store=store)
    done: list[int] = []

    @app.job(ttl=60, name="job")
    def job(n: int) -> int:
        done.append(n)
        return n

    for n in range(50):
        job.refresh(n)
    app.close()
    assert sorted(done) == list(range(50))
    assert {job.peek(n) is not None for n in range(50)} == {True}
    app.close()


def test_a_given_client_is_not_closed(valkey: Server) -> None:
    import redis

    with redis.Redis(port=valkey.port) as client:
        client.ping()
        app = Rewarm("shop", store=client)
        app.job(ttl=60, name="job")(lambda: 1)()
        app.close()
        assert client.ping()


def test_at_exit_local_tasks_are_given_time_and_nothing_is_left_open(valkey: Server) -> None:
    code = """
import sys, time, asyncio
from rewarm import Rewarm
app = Rewarm("leaving", store=sys.argv[1])
@app.job(ttl=60, name="slow")
def slow():
    time.sleep(0.3)
    print("refreshed", flush=True)
    return 1
@app.job(ttl=60, name="async")
async def quick():
    return 2
print(quick.get())
slow.refresh()
"""
    ran = python(code, valkey.url)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("2\nrefreshed\n", "", 0)


# --- forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("colour", ["def", "async def"])
def test_a_forked_child_uses_connections_threads_and_loops_of_its_own(
    store: MemoryStore | RedisStore, colour: str
) -> None:
    app = Rewarm("shop", store=store)

    def load(n: int) -> int:
        return os.getpid()

    async def aload(n: int) -> int:
        return os.getpid()

    job: Any = app.job(ttl=60, name="job", lease=0.3)(load if colour == "def" else aload)
    job.get(0)
    job.refresh(1).outcome(SOON)
    children = []
    for n in range(2, 5):
        child = os.fork()
        if child == 0:
            try:
                for _ in range(20):
                    assert job.reload(n) == os.getpid()
                assert job.refresh(n + 10).outcome(SOON) is Outcome.DONE
                assert job.get(n + 10) == os.getpid()
                app.close()
                os._exit(0)
            except BaseException as error:
                sys.stderr.write(repr(error))
                os._exit(1)
        children.append(child)
        for _ in range(20):
            assert job.reload(n * 100) == os.getpid()
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert job.refresh(6).outcome(SOON) is Outcome.DONE
    if isinstance(store, RedisStore):
        assert {job.peek(n).value != os.getpid() for n in (2, 3, 4)} == {True}
    app.close()


# --- the server comes and goes


def test_a_server_that_restarts_is_found_again(private_server: Callable[..., Server]) -> None:
    server = private_server()
    app = Rewarm("shop", store=server.url)
    loads: list[int] = []
    job = app.job(ttl=60, name="job")(lambda: loads.append(1))
    job()
    server.restart()
    job()
    assert job.read().state == State.HIT
    job.invalidate()
    job()
    drain(app)
    assert (job.read().state, len(loads)) == (State.HIT, 3)
    app.close()


def test_a_load_whose_worker_was_killed_delays_the_next_by_its_lease(valkey: Server) -> None:
    code = """
import os, sys
from rewarm import Rewarm
app = Rewarm("killed", store=sys.argv[1])
app.job(ttl=60, name="job", lease=0.3)(lambda: os._exit(9))()
"""
    valkey.call("FLUSHALL")
    assert python(code, valkey.url).returncode == 9
    with Rewarm("killed", store=valkey.url) as app:
        job = app.job(ttl=60, name="job", lease=0.3, wait=SOON)(lambda: "next")
        assert job() == "next"
        assert job.peek().value == "next"  # type: ignore[union-attr]
