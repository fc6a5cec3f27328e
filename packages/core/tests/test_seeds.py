"""Defects of django-cacheback (C), django-restflow (R) and hand-written Celery code (G) that cannot come back.

Each test bears the number under which its defect was found and reproduced there. Those of models and signals are in
`packages/django/tests`, those of a queue's own settings in the adapters' tests and in the conformance suite.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, ClassVar

import pytest

from rewarm import (
    Adapter,
    Capability,
    ConfigurationError,
    EnqueueError,
    Job,
    Outcome,
    Retry,
    Rewarm,
    Route,
    State,
    TaskDead,
    events,
)
from rewarm.cli.server import Cluster, Server
from rewarm.steps import Look, Mark, Scan, Unlink
from rewarm.stores import MemoryStore
from rewarm.stores.redis import RedisStore
from rewarm.testing import capture, inline


class Held(Adapter):
    """Holds what it is given; with `refuses` it takes nothing."""

    name: ClassVar[str] = "held"
    capabilities = frozenset({Capability.DELAY})
    in_process = True

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.refuses = False

    def install(self) -> None: ...

    def enqueue(self, payload: str, *, route: Route, delay: float) -> None:
        if self.refuses:
            raise OSError("the broker is away")
        self.sent.append(payload)

    def take(self) -> str:
        (payload,) = self.sent
        self.sent.clear()
        return payload


class Shop:
    """An application with a source that can be changed, and a queue that is stepped by hand."""

    def __init__(self, store: Any) -> None:
        self.queue = Held()
        self.app = Rewarm("shop", store=store, adapter=self.queue)
        self.value, self.loads = 1, 0
        self.during: Any = lambda: None  # what happens between asking the source and storing its answer

    def job(self, **policies: Any) -> Any:
        @self.app.job(name="price", **{"ttl": 60, **policies})
        def price(item: int = 0) -> int:
            self.loads += 1
            value = self.value
            self.during()
            return value

        return price

    def run(self) -> Outcome:
        return self.app.run(self.queue.take())


@pytest.fixture
def shop(store: MemoryStore | RedisStore) -> Iterator[Shop]:
    made = Shop(store)
    yield made
    made.app.close()


# --- django-cacheback

PAIRS: tuple[tuple[tuple[Any, ...], tuple[Any, ...]], ...] = (
    (("a:b",), ("a", "b")), ((1,), ("1",)), ((None,), ("None",)), ((None,), ("null",)), ((1,), (True,)), ((1,), (1.0,)),
    (("a,b",), ("a", "b")), (("a::b",), ("a:", "b")), (("a||b",), ("a", "b")), (("1&2",), ("1,2",)),
    (([1, 2],), (1, 2)), (((1, 2),), ([1, 2],)), (("",), ()),
)  # fmt: skip


@pytest.mark.parametrize(("one", "two"), PAIRS)
def test_c1_and_r10_types_and_boundaries_of_arguments_are_part_of_the_key(one: Any, two: Any) -> None:
    job = Rewarm("shop").job(ttl=60, name="job")(lambda *args: args)
    assert job.key(*one) != job.key(*two)


def test_c3_a_stale_read_queues_plain_json_and_loads_nothing(shop: Shop) -> None:
    price = shop.job()
    price()
    price.invalidate()
    assert price.read().state is State.STALE
    assert shop.loads == 1
    assert json.loads(shop.queue.take())["kind"] == "refresh"


def test_c4_a_reader_between_its_look_and_its_claim_takes_nothing_from_a_fresh_value(shop: Shop) -> None:
    price = shop.job()
    price()
    price.invalidate()
    store, waiting = shop.app.runtime.store, []
    run = store.run

    def overtaken(steps: Any) -> Any:
        answers = run(steps)
        if not waiting and isinstance(steps[0], Look):  # a worker commits right after the look
            waiting.append(True)
            shop.value = 2
            price.reload()
        return answers

    store.run = overtaken  # type: ignore[method-assign]
    assert price.read().value == 1
    assert (price.read().value, price.read().state) == (2, State.HIT)
    assert shop.queue.sent == []


@pytest.mark.parametrize("how", ["invalidate", "delete"])
def test_c5_and_r13_a_load_that_an_invalidation_overtook_is_never_fresh(shop: Shop, how: str) -> None:
    price = shop.job()

    def overtake() -> None:
        if shop.value == 1:
            shop.value = 2
            getattr(price, how)()

    shop.during = overtake
    price.refresh()
    shop.run()
    found = price.read()
    assert (found.value, found.state) == (2, State.HIT) or found.state is not State.HIT
    assert price.reload() == 2


def test_c6_of_two_loads_the_older_never_overwrites_the_newer(shop: Shop) -> None:
    price = shop.job()

    def newer() -> None:
        if shop.value == 1:
            shop.value = 2
            assert price.reload() == 2

    shop.during = newer
    price.refresh()
    shop.run()
    assert (price.peek().value, price.peek().state) == (2, State.HIT)


def test_c7_a_load_that_raises_is_retried_then_dead_and_shown_as_failed(store: MemoryStore | RedisStore) -> None:
    queue = Held()
    app = Rewarm("shop", store=store, adapter=queue)
    loads = []

    def price() -> None:
        loads.append(1)
        raise LookupError("no row")

    receipt = app.job(ttl=60, name="price", retry=Retry(attempts=2, on=LookupError, floor=0, cap=0.001))(
        price
    ).refresh()
    queue.deliver(queue.take())
    assert receipt.report().status == "retrying"
    time.sleep(0.01)
    with pytest.raises(TaskDead):
        queue.deliver(queue.take())
    (letter,) = app.dead.list()
    assert (len(loads), letter.attempt, "no row" in letter.errors[-1]) == (2, 2, True)
    app.close()


CROWD = """
import os, sys, time
from rewarm import Adapter, Capability, Rewarm

class Filed(Adapter):
    name, capabilities, in_process = "filed", frozenset({Capability.DELAY}), True
    def install(self): ...
    def enqueue(self, payload, *, route, delay):
        note("task")

def note(word):
    with open(sys.argv[2], "ab", buffering=0) as file:
        file.write(word.encode() + b"\\n")

app = Rewarm("crowd", store=sys.argv[1], adapter=Filed())

@app.job(ttl=60, name="price", wait=30)
def price():
    note("load")
    time.sleep(0.3)
    return 1

def crowd(count=24):
    gate, open_gate = os.pipe()
    children = []
    for _ in range(count):
        if not (pid := os.fork()):
            os.close(open_gate)
            os.read(gate, 1)  # until the parent closes its end: all start together
            note(str(price.read().state))
            os._exit(0)
        children.append(pid)
    os.close(open_gate)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    os.close(gate)

crowd()
note("--")
price.invalidate()
crowd()
"""


@pytest.mark.parametrize("kind", ["redis", "cluster"])
def test_c8_and_r12_of_24_processes_one_loads_a_cold_key_and_one_queues_a_stale_one(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    server: Server | Cluster = request.getfixturevalue("valkey" if kind == "redis" else "primaries")
    for one in [server] if isinstance(server, Server) else server.servers:
        one.call("FLUSHALL")
    log = tmp_path / "log"
    subprocess.run([sys.executable, "-c", CROWD, server.url, str(log)], check=True, timeout=120)
    cold, stale = (part.split() for part in log.read_text().split("--"))
    assert (cold.count("load"), cold.count("task"), len(cold)) == (1, 0, 25)
    assert (stale.count("load"), stale.count("task"), stale.count("STALE")) == (0, 1, 24)


def test_c8_in_one_process_24_threads_load_a_cold_key_once_and_queue_a_stale_one_once(shop: Shop) -> None:
    price, together = shop.job(), threading.Barrier(24)

    def read() -> None:
        together.wait()
        price()

    def crowd() -> None:
        threads = [threading.Thread(target=read) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    crowd()
    assert (shop.loads, shop.queue.sent) == (1, [])
    price.invalidate()
    crowd()
    assert (shop.loads, len(shop.queue.sent)) == (1, 1)


def test_c9_what_a_worker_could_not_find_is_refused_at_decoration() -> None:
    app = Rewarm("shop")
    with pytest.raises(ConfigurationError, match="a lambda or a nested function"):
        app.job(ttl=60)(lambda: 1)
    with pytest.raises(ConfigurationError, match="a method in a class body"):

        class Page:
            @app.job(ttl=60)
            def render(self) -> str:
                return ""

    assert app.job(ttl=60, name="named")(lambda: 1)() == 1


@pytest.mark.parametrize("value", [1, None])
def test_c10_a_redundant_task_right_after_a_refresh_is_skipped_whatever_the_value(shop: Shop, value: Any) -> None:
    shop.value = value
    price = shop.job(ttl=0.001, timeout=600)
    price.refresh()
    payload = shop.queue.take()
    assert [shop.app.run(payload), shop.app.run(payload)] == [Outcome.DONE, Outcome.SKIPPED]
    assert shop.loads == 1


def test_c11_the_worker_uses_the_jobs_own_configuration(shop: Shop) -> None:
    class Titles(Job):
        name = "titles"
        ttl = 3600
        retry = Retry(attempts=2, on=LookupError)

        def __init__(self, prefix: str) -> None:
            self.prefix = prefix

        def load(self, n: int) -> str:
            return f"{self.prefix}{n}"

    titles = shop.app.add(Titles("no. "))
    titles.refresh(7)
    assert shop.run() is Outcome.DONE
    read = titles.peek(7)
    assert read is not None
    assert (read.value, 3599 < read.expires_in <= 3600) == ("no. 7", True)


def test_c12_invalidating_an_absent_key_refuses_the_load_that_runs(shop: Shop) -> None:
    price = shop.job()

    def invalidated() -> None:
        if shop.value == 1:
            shop.value = 2
            price.invalidate()

    shop.during = invalidated
    assert price() == 1, "the caller's own load began before"
    found = price.read()
    assert found.state is not State.HIT or found.value == 2


def test_c13_a_write_is_one_trip_and_marking_stale_does_not_resend_the_value(valkey: Server) -> None:
    store = RedisStore(valkey.url)
    app = Rewarm("big", store=store, adapter="inline")
    job = app.job(name="big", ttl=60)(lambda: "x" * 1_000_000)
    job()
    sent = _bytes_received(valkey)
    trips = store.trips
    job.invalidate()
    assert store.trips == trips + 1
    assert _bytes_received(valkey) - sent < 10_000
    app.close()


def _bytes_received(server: Server) -> int:
    info = server.call("INFO stats").decode()
    return int(next(line for line in info.splitlines() if line.startswith("total_net_input_bytes:")).partition(":")[2])


# --- django-restflow


def test_r1_names_travel_and_an_unknown_one_is_told_and_dead(shop: Shop) -> None:
    shop.job().refresh()
    payload = json.loads(shop.queue.take())
    assert payload["job"] == "price"
    stranger = json.dumps({**payload, "job": "gone", "attempt": 99})
    assert shop.app.run(stranger) is Outcome.DEAD
    assert "has no job 'gone'" in shop.app.dead.list()[0].reason


def test_r5_a_failing_refresh_reaches_the_broker_without_further_settings(shop: Shop) -> None:
    def broken() -> None:
        raise LookupError("broken")

    shop.app.job(ttl=60, name="broken")(broken).refresh()
    with pytest.raises(TaskDead):
        shop.queue.deliver(shop.queue.take())


def test_r8_many_invalidations_in_one_batch_are_one_task(shop: Shop) -> None:
    price = shop.job(tags=["item:{item}"])
    with shop.app.batch():
        for _ in range(50):
            for _rule in range(3):
                price.entry(1).invalidate(refresh=True)
    assert len(shop.queue.sent) == 1
    shop.queue.sent.clear()
    with contextlib.suppress(LookupError), shop.app.batch():
        price.entry(1).invalidate(refresh=True)
        raise LookupError
    assert shop.queue.sent == []


@pytest.mark.parametrize("slug", ["*", "?", "[x]", "\\", "[a-z]*", "x*"])
def test_r9_glob_characters_in_an_argument_widen_no_sweep(shop: Shop, slug: str) -> None:
    page = shop.app.job(ttl=60, name="page")(lambda slug: slug)
    for name in ("x", "y", "z", "xy", slug):
        page(name)
    page.sweep(slug)
    while shop.queue.sent:
        assert shop.app.run(shop.queue.sent.pop(0)) is Outcome.DONE
    assert [page.peek(name).state for name in ("x", "y", "z", "xy")] == ["HIT"] * 4
    assert page.peek(slug).state == "STALE"


@pytest.mark.parametrize("policy", ["log", "raise"])
def test_r14_with_the_broker_down_an_invalidation_fences_and_tells(
    store: MemoryStore | RedisStore, policy: str
) -> None:
    queue = Held()
    app = Rewarm("shop", store=store, adapter=queue, on_enqueue_error=policy)
    seen: list[events.Event] = []
    app.listen(seen.append)
    price = app.job(ttl=60, name="price")(lambda: 1)
    price()
    queue.refuses = True
    if policy == "log":
        price.entry().invalidate(refresh=True)
    else:
        with pytest.raises(EnqueueError):
            price.entry().invalidate(refresh=True)
    assert price.peek().state == "STALE"  # type: ignore[union-attr]
    assert [type(event) for event in seen].count(events.EnqueueFailed) == 1
    app.close()


def test_r15_an_option_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(TypeError):
        Rewarm("shop", storee="memory")  # type: ignore[call-arg]
    app = Rewarm("shop")
    with pytest.raises(ConfigurationError, match="no setting 'storee'"):
        app.configure(storee="memory")
    with pytest.raises(ConfigurationError, match="no policy 'tll'"):
        app.job(ttl=60, tll=5)  # type: ignore[call-arg]


def test_r17_what_was_gathered_keeps_the_values_of_the_call(shop: Shop) -> None:
    row = {"id": 1}
    titles = shop.app.job(ttl=60, name="titles", tags=lambda row: [f"row:{row['id']}"])(lambda row: row["id"])
    titles({"id": 1})
    with shop.app.batch():
        titles.invalidate(row)
        row["id"] = 2
    assert titles.peek({"id": 1}).state == "STALE"


def test_r18_a_policy_that_asks_for_what_the_function_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="asks for 'request'"):
        Rewarm("shop").job(ttl=60, name="page", key=lambda request: request.user)(lambda page: page)


def test_r19_there_is_one_condition_for_storing() -> None:
    with pytest.raises(ConfigurationError, match="no policy 'cache_unless'"):
        Rewarm("shop").job(ttl=60, cache_if=lambda value: True, cache_unless=lambda value: True)  # type: ignore[call-arg]


# --- hand-written invalidation on Celery


def test_g1_what_the_documentation_imports_exists() -> None:
    docs = Path(__file__).parents[3] / "docs"
    imports = {
        line for page in docs.rglob("*.md") for line in page.read_text().splitlines() if "from rewarm import" in line
    }
    assert imports
    for line in imports:
        exec(dedent(line).strip().removeprefix(">>> "), {})


def test_g4_an_invalidation_goes_to_the_store_wherever_the_broker_is(valkey: Server) -> None:
    entries, elsewhere = RedisStore(f"redis://127.0.0.1:{valkey.port}/1"), RedisStore(f"{valkey.url}")
    app = Rewarm("shop", store=entries, ledger=elsewhere, adapter="inline")
    price = app.job(ttl=60, name="price")(lambda: 1)
    price()
    price.entry().invalidate(fence="task")
    assert entries.run([Look(price.key())])[0][0].soft == 0
    assert elsewhere.run([Look(price.key())])[0][0] is None
    app.close()
    entries.close()
    elsewhere.close()


def test_g7_an_invalidation_delivered_again_after_the_refill_changes_nothing(shop: Shop) -> None:
    price = shop.job()
    price()
    price.entry().invalidate(fence="task")
    payload = shop.queue.take()
    assert shop.app.run(payload) is Outcome.DONE
    price.reload()
    assert shop.app.run(payload) is Outcome.SKIPPED
    assert price.peek().state == "HIT"


def test_g8_and_g9_removing_is_one_plain_command_and_a_page_of_a_sweep_one_trip(valkey: Server) -> None:
    store = RedisStore(valkey.url)
    app = Rewarm("many", store=store, adapter="inline")
    job = app.job(ttl=60, name="job")(lambda n: n)
    for n in range(300):
        job(n)
    trips = store.trips
    page = store.run([Scan("many:job:", "0", 10_000)])[0]
    store.run([Mark(key) for key in page.keys])
    assert (len(page.keys), store.trips - trips) == (300, 2)
    valkey.call("CONFIG RESETSTAT")
    store.run([Unlink(key) for key in page.keys])
    commands = {
        line.partition(b":")[0] for line in valkey.call("INFO commandstats").splitlines() if b"calls=300" in line
    }
    assert (store.trips - trips, commands) == (3, {b"cmdstat_unlink"})
    app.close()


def test_g10_a_sweep_goes_on_where_it_failed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewarm.worker.SLICE", 20)
    price = shop.job()
    for item in range(90):
        price(item)
    price.sweep()
    shop.run()
    payload = shop.queue.take()
    cursor = json.loads(payload)["args"]["cursor"]
    assert cursor != "0"
    store, run = shop.app.runtime.store, shop.app.runtime.store.run
    scans: list[str] = []

    def noted(steps: Any) -> Any:
        scans.extend(step.cursor for step in steps if isinstance(step, Scan))
        return run(steps)

    store.run = noted  # type: ignore[method-assign]
    shop.queue.sent.append(payload)  # its worker died with it: it is delivered again
    while shop.queue.sent:
        assert shop.app.run(shop.queue.sent.pop(0)) is Outcome.DONE
    assert scans[0] == cursor
    assert "0" not in scans
    assert {price.peek(item).state for item in range(90)} == {"STALE"}


def test_g12_retries_that_are_used_up_leave_a_dead_letter() -> None:
    app = Rewarm("shop")

    def down() -> None:
        raise ConnectionError("down")

    job = app.job(ttl=60, name="job", retry=Retry(attempts=2))(down)
    with inline(app):
        with pytest.raises(TaskDead):
            job.refresh()
        (letter,) = app.dead.list()
        assert (letter.attempt, letter.reason, letter.stale) == (2, "attempts exhausted", (job.key(),))


def test_g13_a_thousand_tasks_need_few_connections(valkey: Server) -> None:
    valkey.call("FLUSHALL")
    before = _connections(valkey)
    app = Rewarm("shop", store=valkey.url, adapter="threads")
    job = app.job(ttl=60, name="job")(lambda n: n)
    receipts = [job.refresh(n) for n in range(1000)]
    assert {receipt.outcome(60) for receipt in receipts} == {Outcome.DONE}
    assert _connections(valkey) - before < 10
    app.close()


def _connections(server: Server) -> int:
    info = server.call("INFO stats").decode()
    name = "total_connections_received:"
    return int(next(line for line in info.splitlines() if line.startswith(name)).removeprefix(name))


def test_g15_a_sweep_takes_arguments_and_no_pattern(shop: Shop) -> None:
    price = shop.job()
    with capture(shop.app) as tasks:
        price.sweep("*")
        price.invalidate("*")
    (task,) = tasks
    assert (task.kind, task.args["prefix"]) == ("sweep", 'shop:price:"*",')
