"""Round trips, counted exactly, with the ledger on the same server; one load and one task over all processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rewarm import Adapter, Capability, Outcome, Rewarm, Route
from rewarm.cli.server import Server
from rewarm.stores.redis import RedisStore


class Held(Adapter):
    """Keeps payloads and makes no trips of its own."""

    name: ClassVar[str] = "held"
    capabilities = frozenset({Capability.DELAY})

    def __init__(self) -> None:
        self.payloads: list[str] = []

    def install(self) -> None: ...

    def enqueue(self, payload: str, *, route: Route, delay: float) -> None:
        self.payloads.append(payload)


class Bench:
    """A job with or without tags on a store that counts; each verb blocking or awaited."""

    def __init__(self, url: str, tags: list[str], awaited: bool) -> None:
        self.store, self.queue, self.awaited = RedisStore(url), Held(), awaited
        self.app = Rewarm("shop", store=self.store, adapter=self.queue)
        self.error: Exception | None = None
        self.runner = asyncio.Runner()

        def load(n: int) -> int:
            if self.error is not None:
                raise self.error
            return n

        async def aload(n: int) -> int:
            return load(n)

        self.job: Any = self.app.job(ttl=60, name="job", tags=tags)(aload if awaited else load)

    def do(self, owner: Any, verb: str, *args: Any, **options: Any) -> Any:
        if not self.awaited:
            return getattr(owner, verb)(*args, **options)

        async def main() -> Any:
            return await getattr(owner, f"a{verb}")(*args, **options)

        return self.runner.run(main())

    def trips(self, owner: Any, verb: str, *args: Any, **options: Any) -> int:
        before = self.store.trips
        self.do(owner, verb, *args, **options)
        return self.store.trips - before

    def trips_of(self, function: Callable[..., Any], *args: Any) -> int:
        before = self.store.trips
        function(*args)
        return self.store.trips - before

    def warm(self) -> None:
        """The server learns its scripts: the first of each costs one trip more."""
        for n in (1, 2):
            self.do(self.job, "get", n)
            self.do(self.job, "invalidate", n)
            self.do(self.job, "get", n)
            self.do(self.app, "run", self.queue.payloads.pop())
            self.error = ConnectionError("down")
            self.do(self.job, "refresh", n)
            self.do(self.app, "run", self.queue.payloads.pop(0))
            self.error = None
            self.queue.payloads.clear()
            entry = self.job.entry(n)
            self.do(entry, "set", n)
            self.do(entry, "invalidate", fence="task")
            self.do(self.app, "run", self.queue.payloads.pop())
            with entry.writing():
                pass


@pytest.fixture(params=[0, 1, 3], ids=["no tags", "a tag", "three tags"])
def tags(request: pytest.FixtureRequest) -> list[str]:
    return [f"t{k}:{{n}}" for k in range(request.param)]


@pytest.fixture(params=[False, True], ids=["blocking", "awaited"])
def bench(request: pytest.FixtureRequest, valkey: Server, tags: list[str]) -> Iterator[Bench]:
    valkey.call("FLUSHALL")
    made = Bench(valkey.url, tags, request.param)
    made.warm()
    yield made
    with made.runner:
        made.runner.run(made.app.aclose())


def test_a_fresh_read_is_one_trip(bench: Bench) -> None:
    bench.do(bench.job, "reload", 5)
    assert [bench.trips(bench.job, verb, 5) for verb in ("get", "read", "peek")] == [1, 1, 1]


def test_a_stale_read_is_one_trip_and_two_when_it_queues(bench: Bench) -> None:
    bench.do(bench.job, "reload", 5)
    bench.do(bench.job, "invalidate", 5)
    assert [bench.trips(bench.job, "read", 5) for _ in range(3)] == [2, 1, 1]
    assert len(bench.queue.payloads) == 1


def test_a_miss_is_three_trips(bench: Bench) -> None:
    assert bench.trips(bench.job, "read", 5) == 3


def test_a_refresh_task_is_two_trips_with_its_ledger(bench: Bench) -> None:
    receipt = bench.do(bench.job, "refresh", 5)
    assert bench.trips(bench.app, "run", bench.queue.payloads.pop()) == 2
    assert receipt.status() == "done"


def test_queuing_a_refresh_is_two_trips(bench: Bench) -> None:
    assert bench.trips(bench.job, "refresh", 5) == 2
    assert bench.trips(bench.job, "refresh", 5) == 1  # joins


def test_a_failed_refresh_is_two_trips_too(bench: Bench) -> None:
    bench.do(bench.job, "refresh", 5)
    bench.error = ConnectionError("down")
    assert bench.trips(bench.app, "run", bench.queue.payloads.pop(0)) == 2


def test_an_invalidation_is_one_trip_for_any_number_of_keys_tags_and_jobs(bench: Bench) -> None:
    other = bench.app.job(ttl=60, name="other")(lambda: 1)
    entries = [bench.job.entry(n) for n in range(300)]
    assert bench.trips(bench.job, "invalidate", 5) == 1
    assert bench.trips(bench.job, "invalidate_all") == 1
    everything: dict[str, Any] = {"tags": [f"t{n}" for n in range(300)], "entries": entries, "jobs": [other, bench.job]}
    assert bench.trips(bench.app, "invalidate", **everything) == 1
    before = bench.store.trips
    with bench.app.batch():
        for entry in entries:
            entry.invalidate()
        bench.app.invalidate(tags=["a", "b"])
    assert bench.store.trips - before == 1


def test_leaving_the_fence_to_a_task_is_no_trip(bench: Bench) -> None:
    assert bench.trips(bench.job.entry(5), "invalidate", fence="task") == 0
    assert bench.trips(bench.app, "run", bench.queue.payloads.pop()) == 3  # claimed, fenced, done: none at once


def test_set_is_two_trips_and_delete_one(bench: Bench) -> None:
    entry = bench.job.entry(5)
    assert bench.trips(entry, "set", 7) == 2
    assert bench.trips(entry, "delete") == 1


def test_a_reload_is_two_trips(bench: Bench) -> None:
    assert bench.trips(bench.job, "reload", 5) == 2


def test_writing_is_two_trips_and_three_if_it_is_refused(bench: Bench) -> None:
    entry = bench.job.entry(5)

    async def awaited(overtaken: bool) -> int:
        before = bench.store.trips
        async with entry.writing() as writing:
            own = bench.trips_of(bench.job.invalidate, 5) if overtaken else 0
            writing.set(1)
        return bench.store.trips - before - own

    def blocking(overtaken: bool) -> int:
        before = bench.store.trips
        with entry.writing() as writing:
            own = bench.trips_of(bench.job.invalidate, 5) if overtaken else 0
            writing.set(1)
        return bench.store.trips - before - own

    for overtaken, trips in ((False, 2), (True, 3)):
        assert (bench.runner.run(awaited(overtaken)) if bench.awaited else blocking(overtaken)) == trips


def test_many_fresh_values_are_one_trip(bench: Bench) -> None:
    entries = [bench.job.entry(n) for n in range(40)]
    for entry in entries:
        bench.do(entry, "reload")
    assert bench.trips(bench.app, "get_many", entries) == 1


def test_nothing_is_sent_before_it_is_needed(bench: Bench) -> None:
    before = bench.store.trips
    entry = bench.job.entry(5)
    assert entry.key == bench.job.key(5) == repr(entry)[len("<Entry ") : -1]
    assert len(entry.tags) == len(bench.job.policies["tags"].fixed)
    assert bench.store.trips == before


# --- over processes


READERS = """
import sys, threading, time
from rewarm import Rewarm
from rewarm.stores.redis import RedisStore
import queue_of_lines

url, log, tasks, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
app = Rewarm("shop", store=url, adapter=queue_of_lines.Lines(tasks))

@app.job(ttl=60, name="slow", tags=["t"])
def slow(n: int) -> str:
    with open(log, "a") as file:
        file.write("load\\n")
    time.sleep(0.3)
    return "value"

together = threading.Barrier(count + 1)
values = []
def read():
    together.wait()
    values.append(slow(1))
threads = [threading.Thread(target=read) for _ in range(count)]
for thread in threads:
    thread.start()
print("ready", flush=True)
sys.stdin.readline()
together.wait()
for thread in threads:
    thread.join()
print(values == ["value"] * count, flush=True)
app.close()
"""

LINES = """
from rewarm import Adapter, Capability
class Lines(Adapter):
    name = "lines"
    capabilities = frozenset({Capability.DELAY})
    def __init__(self, path):
        self.path = path
    def install(self): ...
    def enqueue(self, payload, *, route, delay):
        with open(self.path, "a") as file:
            file.write(payload + "\\n")
"""


def read_from_two_processes(tmp_path: Path, url: str) -> tuple[int, list[str]]:
    """24 readers in two processes begin together -> how many loads there were, and the tasks they queued."""
    log, tasks = tmp_path / "loads", tmp_path / "tasks"
    for path in (log, tasks):
        path.write_text("")
    (tmp_path / "queue_of_lines.py").write_text(textwrap.dedent(LINES))
    (tmp_path / "reader.py").write_text(READERS)
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import reader"  # a job in __main__ would be refused
    command = [sys.executable, "-c", start, url, str(log), str(tasks), "12"]
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        for reader in readers:
            assert reader.stdout is not None
            if reader.stdout.readline() != "ready\n":
                pytest.fail(reader.communicate()[1])
        for reader in readers:
            assert reader.stdin is not None
            reader.stdin.write("go\n")
            reader.stdin.flush()
        for reader in readers:
            out, err = reader.communicate(timeout=60)
            assert out == "True\n", err
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()
    return len(log.read_text().splitlines()), tasks.read_text().splitlines()


def test_24_readers_of_a_cold_key_in_two_processes_make_one_load(valkey: Server, tmp_path: Path) -> None:
    valkey.call("FLUSHALL")
    assert read_from_two_processes(tmp_path, valkey.url) == (1, [])


@pytest.mark.parametrize("how", ["key", "tag", "job"])
def test_24_readers_of_a_stale_key_in_two_processes_queue_one_task(valkey: Server, tmp_path: Path, how: str) -> None:
    valkey.call("FLUSHALL")
    app = Rewarm("shop", store=valkey.url, adapter=Held())
    slow = app.job(ttl=60, name="slow", tags=["t"])(lambda n: "value")
    slow(1)
    {"key": lambda: slow.invalidate(1), "tag": lambda: app.invalidate(tags=["t"]), "job": slow.invalidate_all}[how]()
    loads, tasks = read_from_two_processes(tmp_path, valkey.url)
    assert (loads, len(tasks)) == (0, 1)
    assert app.run(tasks[0]) is Outcome.DONE
    assert slow.read(1).state == "HIT"
    app.close()
