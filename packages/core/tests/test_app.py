"""The application: settings, routes, batches, events, and what happens when the store or the queue is away."""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from rewarm import (
    Adapter,
    ArgumentError,
    Capability,
    ConfigurationError,
    EnqueueError,
    Outcome,
    Rewarm,
    Route,
    State,
    StoreError,
    events,
)
from rewarm.cli.server import Server
from rewarm.stores import MemoryStore
from rewarm.stores.redis import RedisStore
from rewarm.task import Task, loads
from rewarm.testing import capture, drain


class Queue(Adapter):
    """Keeps what it is given, with its route; refuses while it is `away`."""

    name: ClassVar[str] = "queue"
    capabilities = frozenset({Capability.DELAY})
    in_process = True

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.payloads: list[str] = []
        self.routes: list[Route] = []
        self.served: list[str] = []
        self.away = False

    def install(self) -> None: ...

    def serve(self, queue: str) -> None:
        self.served.append(queue)

    def enqueue(self, payload: str, *, route: Route, delay: float) -> None:
        if self.away:
            raise OSError("broker is away")
        self.tasks.append(loads(payload))
        self.payloads.append(payload)
        self.routes.append(route)


class Case:
    def __init__(self, store: Any, **settings: Any) -> None:
        self.queue, self.loads, self.seen = Queue(), 0, []  # type: ignore[var-annotated]
        self.app = Rewarm("shop", store=store, adapter=self.queue, **settings)
        self.app.listen(self.seen.append)

    def job(self, name: str = "job", **policies: Any) -> Any:
        def load(n: int = 0) -> str:
            self.loads += 1
            return f"load {self.loads}"

        return self.app.job(name=name, **{"ttl": 60, **policies})(load)

    def events(self, *kinds: type[events.Event]) -> list[events.Event]:
        return [event for event in self.seen if isinstance(event, kinds)]


@pytest.fixture
def case(store: MemoryStore | RedisStore) -> Iterator[Case]:
    made = Case(store)
    yield made
    made.app.close()


# --- settings


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"on_store_error": "ignore"}, "none of load, raise"),
        ({"on_enqueue_error": "ignore"}, "none of log, raise, inline"),
        ({"colour": 1}, "no setting 'colour'"),
        ({"routes": {"a": 5}}, r"routes\['a'\].*give a Route"),
        ({"routes": {"a": {"colour": 1}}}, r"routes\['a'\]"),
        ({"routes": {"a": {"priority": "urgent"}}}, "urgent"),
        ({"signing_keys": ["short"]}, "16 bytes"),
        ({"adapter": None}, "give an Adapter"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_and_told_what_there_is(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Rewarm("shop").configure(**settings)


@pytest.mark.parametrize(
    ("store", "told"),
    [("redis", "such as redis://"), ("ftp://host", "store URL"), (5, "a store is"), ("redis://host:port", "store")],
    ids=str,
)
def test_a_store_that_is_none_is_refused_at_first_use(store: Any, told: str) -> None:
    app = Rewarm("shop", store=store)
    job = app.job(ttl=1, name="job")(lambda: 1)
    with pytest.raises(ConfigurationError, match=told):
        job()


def test_late_configuration_changes_only_what_it_names() -> None:
    app = Rewarm("shop", on_store_error="raise", routes={"refresh": {"queue": "low"}})
    app.job(ttl=60, name="job")(lambda: 1)
    queue = Queue()
    app.configure(adapter=queue, on_enqueue_error="raise")
    assert (app.settings.on_store_error, app.settings.on_enqueue_error) == ("raise", "raise")
    app.jobs["job"].refresh()
    assert [task.queue for task in queue.tasks] == ["low"]


# --- routes


def test_the_hosts_routes_come_before_the_jobs_and_the_kinds(store: MemoryStore | RedisStore) -> None:
    routes = {"thumbs.*": Route("low", "low"), "invalidate": {"queue": "fast"}, "refresh": {"options": {"x": 1}}}
    case = Case(store, routes=routes)
    jobs = [
        case.job("thumbs.path", route=Route("own")), case.job("plain"), case.job("routed", route={"queue": "own"}),
        case.job("thumbsx"),
    ]  # fmt: skip
    for job in jobs:
        job.refresh()
    jobs[2].entry(5).refresh(route=Route("asked", "high", {"y": 2}))
    case.app.invalidate(tags=["t"], fence="task")
    jobs[1].sweep()
    assert [(route.queue, route.priority, dict(route.options)) for route in case.queue.routes] == [
        ("low", "low", {}), (None, "normal", {"x": 1}), ("own", "normal", {"x": 1}), (None, "normal", {"x": 1}),
        ("asked", "high", {"y": 2}), ("fast", "high", {}), (None, "low", {}),
    ]  # fmt: skip
    assert {"low", "fast", "own"} <= set(case.queue.served)
    case.app.close()


def test_a_star_is_the_only_special_character_of_a_pattern(store: MemoryStore | RedisStore) -> None:
    case = Case(store, routes={"a.b": {"queue": "dot"}, "[x]*": {"queue": "star"}})
    for name in ("a.b", "axb", "[x]yz", "x"):
        case.job(name).refresh()
    assert [route.queue for route in case.queue.routes] == ["dot", None, "star", None]
    case.app.close()


def test_a_follow_up_goes_where_its_task_went(case: Case) -> None:
    job = case.job(route={"queue": "own", "priority": "high", "options": {"x": 1}})
    job.entry(1).refresh(delay=100)
    assert case.app.run(case.queue.payloads.pop()) is Outcome.DEFERRED
    assert case.queue.routes[0] == case.queue.routes[1] == Route("own", "high", {"x": 1})


# --- batches


def test_a_batch_merges_and_sends_one_task(case: Case) -> None:
    job = case.job(tags=["t:{n}"])
    for n in range(4):
        job(n)
    with case.app.batch():
        for n in (1, 1, 2):
            job.invalidate(n)
            job.entry(n).invalidate(refresh=True)
            job.refresh(n)
        case.app.invalidate(tags=["t:3", "t:3"])
        job.refresh(0)
        assert {job.peek(n).state for n in range(4)} == {State.HIT}
        assert case.queue.tasks == []
    assert [job.peek(n).state for n in range(4)] == ["HIT", "STALE", "STALE", "STALE"]
    (task,) = case.queue.tasks
    assert (task.kind, task.args["refresh"]) == ("invalidate", [["job", [1]], ["job", [2]], ["job", [0]]])
    (told,) = case.events(events.Invalidated)
    assert (told.keys, told.tags) == ((job.key(1), job.key(2)), ("t:3",))  # type: ignore[attr-defined]


def test_a_batch_that_raises_sends_nothing(case: Case) -> None:
    job = case.job()
    job(1)

    def block() -> None:
        with case.app.batch():
            job.invalidate(1)
            job.refresh(1)
            job.entry(1).invalidate(fence="task")
            raise LookupError

    with pytest.raises(LookupError):
        block()
    assert (job.peek(1).state, case.queue.tasks) == (State.HIT, [])


def test_a_batch_within_a_batch_joins_it(case: Case) -> None:
    job = case.job()
    job(1)
    with case.app.batch():
        with case.app.batch():
            job.invalidate(1)
        assert job.peek(1).state == State.HIT
    assert job.peek(1).state == State.STALE


def test_one_refresh_of_a_batch_is_a_refresh(case: Case) -> None:
    job = case.job()
    with case.app.batch():
        receipt = job.refresh(1)
    assert [task.kind for task in case.queue.tasks] == ["refresh"]
    assert receipt.id == case.queue.tasks[0].id


def test_an_empty_batch_sends_nothing(case: Case) -> None:
    with case.app.batch():
        pass
    assert (case.queue.tasks, case.seen) == ([], [])


def test_a_batch_may_be_awaited(case: Case) -> None:
    job = case.job()
    job(1)

    async def main() -> None:
        async with case.app.batch():
            await job.ainvalidate(1)
            await job.arefresh(1)
            assert (await job.apeek(1)).state == State.HIT
        assert (await job.apeek(1)).state == State.STALE
        await case.app.aclose()

    asyncio.run(main())
    assert [task.kind for task in case.queue.tasks] == ["refresh"]


def test_a_large_batch_is_split_and_everything_arrives(case: Case) -> None:
    job = case.job()
    with capture(case.app) as tasks:
        with case.app.batch():
            for n in range(1200):
                job.entry(n).invalidate(fence="task")
                job.refresh(n)
        assert {len(task.args["refresh"]) for task in tasks} <= {500, 200}
        assert drain(case.app, 60) == 3 + 1200
        assert all(job.peek(n) is not None for n in range(0, 1200, 100))


def test_the_receipts_of_a_batch_end_with_it(case: Case) -> None:
    job = case.job()
    with case.app.batch():
        receipt = job.invalidate(1)
        assert receipt.status() == "queued"
    assert receipt.status() == "done"


# --- invalidating


@pytest.mark.parametrize("tags", ["text", [5]], ids=str)
def test_tags_are_a_list_of_texts(case: Case, tags: Any) -> None:
    with pytest.raises(ArgumentError, match="tag"):
        case.app.invalidate(tags=tags)


def test_an_unknown_job_is_named_with_those_that_there_are(case: Case) -> None:
    case.job("one")
    with pytest.raises(ConfigurationError, match="no job 'two'; there are one"):
        case.app.invalidate(jobs=["two"])


def test_a_fence_in_a_task_holds_from_when_it_has_run(case: Case) -> None:
    job = case.job(tags=["t"])
    job(1)
    receipt = case.app.invalidate(tags=["t"], entries=[job.entry(1)], jobs=[job], fence="task")
    assert (job.peek(1).state, receipt.status()) == (State.HIT, "queued")
    (task,) = case.queue.tasks
    assert (task.not_after, task.tags, task.priority) == (None, ("t",), "high")
    assert case.app.run(case.queue.payloads[0]) is Outcome.DONE
    assert (job.peek(1).state, receipt.outcome()) == (State.STALE, Outcome.DONE)


# --- the queue is away


@pytest.mark.parametrize("policy", ["log", "raise", "inline"])
def test_a_stale_read_goes_by_on_enqueue_error(store: MemoryStore | RedisStore, policy: str) -> None:
    case = Case(store, on_enqueue_error=policy)
    job = case.job()
    job(1)
    job.invalidate(1)
    case.queue.away = True
    if policy == "raise":
        with pytest.raises(EnqueueError, match="broker is away"):
            job(1)
    else:
        read = job.read(1)
        assert (read.value, read.state, read.refreshing) == ("load 1", State.STALE, False)
    assert job.peek(1).state == (State.HIT if policy == "inline" else State.STALE)
    (told,) = case.events(events.EnqueueFailed)
    assert "broker is away" in str(told.error)  # type: ignore[attr-defined]
    case.queue.away = False
    if policy != "inline":  # the place was given up: the next read queues
        assert job.read(1).refreshing
        assert len(case.queue.tasks) == 1
    case.app.close()


@pytest.mark.parametrize("policy", ["log", "raise", "inline"])
def test_a_miss_that_queues_goes_by_on_enqueue_error(store: MemoryStore | RedisStore, policy: str) -> None:
    case = Case(store, on_enqueue_error=policy)
    job = case.job(on_miss="queue", empty="empty", ttl=lambda value: len(value))
    case.queue.away = True
    if policy == "raise":
        with pytest.raises(EnqueueError):
            job(1)
        return
    read = job.read(1)
    assert (read.value, read.state, read.refreshing, read.expires_in) == ("empty", State.MISS, False, 0.0)
    assert (job.peek(1) is not None) == (policy == "inline")
    case.app.close()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("policy", ["log", "raise", "inline"])
def test_a_fenced_invalidation_with_refresh_goes_by_it_too(
    store: MemoryStore | RedisStore, policy: str, count: int
) -> None:
    case = Case(store, on_enqueue_error=policy)
    job = case.job()
    for n in range(count):
        job(n)
    case.queue.away = True

    def act() -> None:
        with case.app.batch():
            for n in range(count):
                job.entry(n).invalidate(refresh=True)

    if policy == "raise":
        with pytest.raises(EnqueueError):
            act()
    else:
        act()
    states = {job.peek(n).state for n in range(count)}
    assert states == {State.HIT if policy == "inline" else State.STALE}  # fenced in any case
    case.app.close()


@pytest.mark.parametrize("count", [1, 3])
def test_a_receipt_of_what_the_queue_refused_does_not_wait_for_it(case: Case, count: int) -> None:
    job = case.job()
    case.queue.away = True
    with case.app.batch():
        receipts = [job.entry(n).invalidate(refresh=True) for n in range(count)]
    assert all(receipt.status() not in ("queued", "running", "retrying") for receipt in receipts)


@pytest.mark.parametrize("policy", ["log", "raise", "inline"])
def test_refresh_and_a_fence_in_a_task_always_raise(store: MemoryStore | RedisStore, policy: str) -> None:
    case = Case(store, on_enqueue_error=policy)
    job = case.job()
    case.queue.away = True
    with pytest.raises(EnqueueError):
        job.refresh(1)
    with pytest.raises(EnqueueError):
        job.entry(1).invalidate(fence="task")
    with pytest.raises(EnqueueError):
        job.sweep()
    assert case.loads == 0
    case.queue.away = False
    job.refresh(1)
    assert len(case.queue.tasks) == 1
    case.app.close()


# --- the store is away


@pytest.fixture
def stopped(private_server: Callable[..., Server]) -> Server:
    """A server that has been there."""
    server = private_server()
    server.kill()
    return server


def test_a_read_without_a_store_loads_and_says_so(stopped: Server) -> None:
    case = Case(stopped.url)
    job = case.job()
    assert [job(1), job(1)] == ["load 1", "load 2"]
    assert job.read(1).state == State.MISS
    assert case.app.get_many([job.entry(1), job.entry(2)]) == ["load 4", "load 5"]
    told = case.events(events.StoreFailed)
    assert told
    assert {event.key for event in told} >= {job.key(1), job.key(2)}  # type: ignore[attr-defined]
    case.app.close()


def test_on_store_error_raise_raises(stopped: Server) -> None:
    case = Case(stopped.url, on_store_error="raise")
    job = case.job()
    for read in (job, job.get, job.read, lambda n: case.app.get_many([job.entry(n)])):
        with pytest.raises(StoreError):
            read(1)
    assert case.loads == 0
    case.app.close()


@pytest.mark.parametrize("policy", ["load", "raise"])
def test_an_invalidation_without_a_store_always_raises(stopped: Server, policy: str) -> None:
    case = Case(stopped.url, on_store_error=policy)
    job = case.job()
    for verb in (
        lambda: job.invalidate(1), lambda: case.app.invalidate(tags=["t"]), job.invalidate_all,
        lambda: job.delete(1), lambda: job.entry(1).set("x"), lambda: job.entry(1).writing().__enter__(),
    ):  # fmt: skip
        with pytest.raises(StoreError):
            verb()
    case.app.close()


def test_an_awaited_read_without_a_store_loads_too(stopped: Server) -> None:
    case = Case(stopped.url)
    job = case.job()

    async def main() -> None:
        async with case.app:
            assert await job.aget(1) == "load 1"
            with pytest.raises(StoreError):
                await job.ainvalidate(1)

    asyncio.run(main())


def test_a_store_that_goes_away_during_the_load_costs_the_entry_and_not_the_value(
    private_server: Callable[..., Server],
) -> None:
    server = private_server()
    app = Rewarm("shop", store=server.url)

    @app.job(ttl=60, name="job")
    def job() -> str:
        server.kill()
        return "value"

    assert job() == "value"
    server.restart()
    assert job.peek() is None
    app.close()


def test_a_full_server_reads_and_holds_every_invalidation(private_server: Callable[..., Server]) -> None:
    server = private_server("--maxmemory-policy", "noeviction")
    case = Case(server.url)
    job = case.job(tags=["t:{n}"])
    for n in range(4):
        job(n)
    server.call("CONFIG SET maxmemory 1")
    assert [job.read(n).state for n in range(4)] == ["HIT"] * 4
    job.invalidate(0)
    case.app.invalidate(tags=["t:1"])
    job.delete(2)
    assert [job.peek(n) is not None and job.peek(n).state == State.HIT for n in range(4)] == [False, False, False, True]
    before = case.loads
    assert job(9) == f"load {before + 1}"  # a miss cannot be stored
    assert job.read(1).value == "load 2"  # stale, and cannot be queued
    server.call("CONFIG SET maxmemory 0")
    job(9)
    assert job.peek(9).state == State.HIT
    case.app.close()


# --- events


def test_listeners_hear_what_happens_in_order_until_they_end(case: Case) -> None:
    heard: list[events.Event] = []
    end = case.app.listen(heard.append)
    job = case.job()
    job(1)
    job(1)
    job.invalidate(1)
    job(1)
    case.app.run(case.queue.payloads[0])
    end()
    end()
    job(1)
    assert [type(event).__name__ for event in heard] == [
        "Loaded", "Read", "Read", "Invalidated", "Enqueued", "Read", "TaskStarted", "Loaded", "TaskEnded",
    ]  # fmt: skip
    assert {event.app for event in heard} == {"shop"}


def test_many_fresh_reads_are_heard_as_reads(case: Case) -> None:
    job = case.job()
    for n in range(3):
        job(n)
    case.seen.clear()
    case.app.get_many([job.entry(n) for n in range(3)])
    assert [event.state for event in case.events(events.Read)] == ["HIT"] * 3  # type: ignore[attr-defined]


def test_a_listener_that_raises_is_reported_and_harms_nobody(case: Case) -> None:
    def broken(event: events.Event) -> None:
        raise ValueError("broken")

    case.app.listen(broken)
    heard: list[events.Event] = []
    case.app.listen(heard.append)
    job = case.job()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert job(1) == "load 1"
    assert any("broken" in str(warning.message) for warning in told)
    assert heard


def test_what_goes_wrong_is_logged_under_the_applications_name(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    def broken() -> None:
        raise LookupError("gone")

    job = case.app.job(ttl=60, name="broken")(broken)
    with pytest.raises(LookupError):
        job()
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("rewarm.shop", "WARNING")
    assert "LookupError" in (record.exc_text or "")


# --- several applications


def test_two_applications_in_one_process_and_on_one_store_know_nothing_of_each_other(
    store: MemoryStore | RedisStore,
) -> None:
    apps = [Rewarm(name, store=store, adapter="inline") for name in ("shop", "other")]
    jobs = [app.job(ttl=60, name="job", tags=["t"])(lambda n, who=app.name: who) for app in apps]
    assert [job(1) for job in jobs] == ["shop", "other"]
    apps[0].invalidate(tags=["t"], jobs=["job"])
    apps[0].run("nonsense")
    assert [job.peek(1).state for job in jobs] == ["STALE", "HIT"]  # type: ignore[union-attr]
    assert [len(app.dead.list()) for app in apps] == [1, 0]
    jobs[0].reload(1)
    jobs[1].sweep()
    assert [job.peek(1).state for job in jobs] == ["HIT", "STALE"]  # type: ignore[union-attr]
    for app in apps:
        app.close()


def test_an_entry_or_a_job_of_another_application_is_refused(case: Case) -> None:
    other = Rewarm("other", adapter="inline")
    job, own = other.job(ttl=60, name="job")(lambda n: n), case.job()
    assert own.name == job.name
    with pytest.raises(ConfigurationError, match="other"):
        case.app.invalidate(entries=[job.entry(1)])
    with pytest.raises(ConfigurationError, match="other"):
        case.app.invalidate(jobs=[job])
    with pytest.raises(ConfigurationError, match="other"):
        case.app.get_many([job.entry(1)])


def test_of_two_applications_of_one_name_on_one_queue_the_later_wins_with_a_warning() -> None:
    queue = Queue()
    first = Rewarm("shop", adapter=queue)
    with pytest.warns(RuntimeWarning, match="two applications are called 'shop'"):
        second = Rewarm("shop", adapter=queue)
    assert queue.find('{"app": "shop"}') is second
    assert first is not second


def test_an_application_is_used_from_many_threads(store: MemoryStore | RedisStore) -> None:
    with Rewarm("shop", store=store, adapter="inline") as app:
        job = app.job(ttl=60, name="job")(lambda n: n)
        wrong: list[Any] = []

        def work(seed: int) -> None:
            for step in range(60):
                n = (seed + step) % 7
                if (value := job(n)) != n:
                    wrong.append(value)
                if step % 5 == 0:
                    job.invalidate(n)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []
