"""The queues that need nothing: threads, an event loop, in place; and the core's own eager mode."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, ClassVar

import pytest

from rewarm import (
    Adapter,
    Capability,
    EnqueueError,
    Outcome,
    OutcomeTimeout,
    Retry,
    Rewarm,
    Route,
    State,
    TaskDead,
    events,
)
from rewarm.eager import NESTED
from rewarm.local import AsyncioAdapter, InlineAdapter, ThreadAdapter
from rewarm.testing import drain

SOON = 20.0  # seconds: a deadline, never a pause


class Deliveries(ThreadAdapter):
    """The thread queue alone: a delivery is a call."""

    def __init__(self, deliver: Callable[[str], Any], **settings: Any) -> None:
        super().__init__(**settings)
        self.calls = deliver

    def deliver(self, payload: str) -> None:
        self.calls(payload)


def put(queue: Adapter, payload: str, priority: str = "normal", delay: float = 0.0) -> None:
    queue.enqueue(payload, route=Route(priority=priority), delay=delay)


class Gate:
    """Deliveries wait until it is opened; `entered` counts those that have begun."""

    def __init__(self) -> None:
        self.opened, self.order, self.entered = threading.Event(), [], threading.Semaphore(0)  # type: ignore[var-annotated]

    def __call__(self, payload: str) -> None:
        self.order.append(payload)
        self.entered.release()
        assert self.opened.wait(SOON)

    def wait(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.entered.acquire(timeout=SOON)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


# --- threads


def test_no_thread_is_made_before_the_first_task() -> None:
    before = threading.active_count()
    Deliveries(print)
    assert threading.active_count() == before


def test_at_most_max_workers_run_at_once(gate: Gate) -> None:
    queue = Deliveries(gate)
    for number in range(10):
        put(queue, str(number))
    gate.wait(ThreadAdapter.MAX_WORKERS)
    assert not gate.entered.acquire(timeout=0.05)
    assert queue.depth() == 10 - ThreadAdapter.MAX_WORKERS
    gate.opened.set()
    assert queue.join(SOON)
    assert len(gate.order) == 10


def test_tasks_that_wait_for_each_other_get_threads_of_their_own() -> None:
    together = threading.Barrier(2, timeout=SOON)
    met: list[str] = []

    def deliver(payload: str) -> None:
        if payload != "first":
            together.wait()
        met.append(payload)

    queue = Deliveries(deliver)
    for _ in range(20):
        put(queue, "first")
        assert queue.join(SOON)  # one thread is idle now, and two tasks come at once
        put(queue, "a")
        put(queue, "b")
        assert queue.join(SOON)
    assert met.count("a") == met.count("b") == 20


def test_delayed_tasks_that_come_due_together_run_side_by_side() -> None:
    together, met = threading.Barrier(3, timeout=5), []  # type: ignore[var-annotated]
    queue = Deliveries(lambda payload: met.append(together.wait()))
    for number in range(3):
        put(queue, str(number), delay=0.05)
    assert queue.join(SOON)
    assert sorted(met) == [0, 1, 2]


def test_a_thread_that_waits_in_join_takes_nobodys_wake_up() -> None:
    opened, ran = threading.Event(), threading.Semaphore(0)
    queue = Deliveries(lambda payload: opened.wait(SOON) if payload == "long" else ran.release(), max_workers=2)
    put(queue, "long")
    put(queue, "short")
    assert ran.acquire(timeout=SOON)
    joining = threading.Thread(target=lambda: queue.join(SOON, delayed=False))
    joining.start()
    waiting = queue._change._waiters  # type: ignore[attr-defined]
    for _ in range(3):  # each wake-up changes who is the first to be woken next
        assert drained(lambda: len(waiting) == 2)
        put(queue, "is due later", delay=60)
        assert drained(lambda: len(waiting) == 2)
        put(queue, "short")
        assert ran.acquire(timeout=5)
    opened.set()
    joining.join(SOON)
    assert not joining.is_alive()


def test_a_full_queue_refuses_and_says_so(gate: Gate) -> None:
    queue = Deliveries(gate, max_workers=1, max_queue=2)
    put(queue, "runs")
    gate.wait()
    put(queue, "waits")
    put(queue, "is due later", delay=60)
    with pytest.raises(EnqueueError, match="full: 2 tasks"):
        put(queue, "one too many")


def test_a_higher_priority_overtakes(gate: Gate) -> None:
    queue = Deliveries(gate, max_workers=1)
    put(queue, "first")
    gate.wait()
    for priority in ("low", "normal", "high", "low", "normal", "high"):
        put(queue, priority, priority)
    gate.opened.set()
    assert queue.join(SOON)
    assert gate.order == ["first", "high", "high", "normal", "normal", "low", "low"]


def test_a_delayed_task_does_not_run_early_and_does_not_hold_up_others() -> None:
    ran: list[tuple[str, float]] = []
    queue = Deliveries(lambda payload: ran.append((payload, time.monotonic())))
    began = time.monotonic()
    put(queue, "late", delay=0.2)
    put(queue, "sooner", delay=0.1)
    put(queue, "now")
    assert queue.join(SOON)
    assert [payload for payload, _ in ran] == ["now", "sooner", "late"]
    assert ran[1][1] - began >= 0.1
    assert ran[2][1] - began >= 0.2


@pytest.mark.parametrize("error", [TaskDead("dead"), ValueError("bug"), SystemExit(), KeyboardInterrupt()], ids=repr)
def test_whatever_a_delivery_raises_the_next_one_runs(error: BaseException, monkeypatch: Any) -> None:
    ran: list[str] = []
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    def deliver(payload: str) -> None:
        if payload == "bad":
            raise error
        ran.append(payload)

    queue = Deliveries(deliver, max_workers=1)
    for payload in ("bad", "bad", "good"):
        put(queue, payload)
    assert queue.join(SOON)
    assert ran == ["good"]
    assert [args.exc_value for args in told] == ([] if isinstance(error, TaskDead) else [error] * 2)


def test_closing_waits_for_what_runs_and_ends_the_threads(gate: Gate) -> None:
    queue = Deliveries(gate, max_workers=2)
    put(queue, "a")
    put(queue, "b")
    gate.wait(2)
    threading.Timer(0.1, gate.opened.set).start()
    queue.close()
    assert gate.order == ["a", "b"]
    assert queue.join(0)
    assert drained(lambda: queue._threads == 0)


def test_closing_gives_a_task_that_hangs_five_seconds_and_no_more(gate: Gate, monkeypatch: Any) -> None:
    from rewarm import local

    assert local.GRACE == 5.0
    monkeypatch.setattr(local, "GRACE", 0.1)
    queue = Deliveries(gate)
    put(queue, "hangs")
    gate.wait()
    began = time.monotonic()
    queue.close()
    assert 0.1 <= time.monotonic() - began < 3


def test_a_closed_queue_opens_again_with_the_next_task() -> None:
    ran: list[str] = []
    queue = Deliveries(ran.append)
    for payload in ("one", "two"):
        put(queue, payload)
        assert queue.join(SOON)
        queue.close()
    assert ran == ["one", "two"]


def drained(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SOON
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own_and_none_of_its_parents_tasks(gate: Gate) -> None:
    app = Rewarm("shop")
    job = app.job(ttl=60, name="pid")(os.getpid)
    job.refresh().outcome()
    put(app.settings.adapter, "parent's", delay=60)
    child = os.fork()
    if child == 0:
        try:
            assert app.settings.adapter.join(0)  # type: ignore[attr-defined]
            job.delete()
            assert job.refresh().outcome(10) is Outcome.DONE
            assert job() == os.getpid()
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert job() == os.getpid()


def test_a_stale_read_refreshes_on_a_thread() -> None:
    with Rewarm("shop") as app:
        job = app.job(ttl=60, name="thread")(lambda: threading.current_thread().name)
        first = job()
        job.invalidate()
        assert (job.read().state, job()) == (State.STALE, first)
        drain(app)
        assert job.read().state == State.HIT
        assert job().startswith("rewarm-")


def test_a_refresh_on_threads_retries_after_its_backoff() -> None:
    with Rewarm("shop") as app:
        calls: list[float] = []

        @app.job(ttl=60, name="flaky", retry=Retry(floor=0.05, cap=0.05))
        def flaky() -> int:
            calls.append(time.monotonic())
            if len(calls) < 3:
                raise ConnectionError("down")
            return len(calls)

        assert flaky.refresh().outcome(SOON) is Outcome.DONE
        assert flaky() == 3
        assert all(later - sooner >= 0.045 for sooner, later in pairwise(calls))


def test_drain_waits_for_the_threads_and_gives_up_in_time() -> None:
    opened = threading.Event()
    with Rewarm("shop") as app:
        job = app.job(ttl=60, name="slow")(lambda: opened.wait(SOON))
        job.refresh()
        with pytest.raises(OutcomeTimeout):
            drain(app, timeout=0.05)
        opened.set()
        assert drain(app) == 0
        assert job.peek() is not None


def test_the_full_queue_is_an_event_and_the_read_goes_on() -> None:
    opened = threading.Event()
    app = Rewarm("shop", adapter=ThreadAdapter(max_workers=1, max_queue=1))
    seen: list[Any] = []
    app.listen(seen.append)
    started = threading.Semaphore(0)

    @app.job(ttl=60, name="slow")
    def slow(n: int) -> int:
        if threading.current_thread() is not threading.main_thread():
            started.release()
            opened.wait(SOON)
        return n

    for n in range(3):
        slow(n)
        slow.invalidate(n)
    assert slow.read(0).refreshing
    assert started.acquire(timeout=SOON)
    assert slow.read(1).refreshing
    full = slow.read(2)
    assert (full.value, full.state, full.refreshing) == (2, State.STALE, False)
    assert [type(event) for event in seen if isinstance(event, events.EnqueueFailed)] == [events.EnqueueFailed]
    with pytest.raises(EnqueueError, match="full"):
        slow.refresh(2)
    opened.set()
    app.close()


# --- asyncio


def test_a_task_runs_on_the_loop_that_queued_it() -> None:
    app = Rewarm("shop", adapter="asyncio")
    where: list[Any] = []

    @app.job(ttl=60, name="here")
    async def here(n: int) -> int:
        where.append(asyncio.get_running_loop())
        return n

    async def main() -> None:
        async with app:
            receipt = await here.arefresh(1)
            assert await receipt.aoutcome() is Outcome.DONE
            assert where == [asyncio.get_running_loop()]

    asyncio.run(main())


def test_tasks_on_the_loop_are_not_collected_while_they_wait() -> None:
    app = Rewarm("shop", adapter="asyncio")
    done: list[int] = []

    @app.job(ttl=60, name="waits")
    async def waits(n: int) -> int:
        await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0)
        done.append(n)
        return n

    async def main() -> None:
        async with app:
            for n in range(5):
                await waits.arefresh(n)
            gc.collect()

    asyncio.run(main())
    assert sorted(done) == [0, 1, 2, 3, 4]


def test_without_a_loop_the_asyncio_queue_runs_in_place() -> None:
    app = Rewarm("shop", adapter="asyncio")
    where: list[str] = []

    @app.job(ttl=60, name="here")
    def here(n: int) -> int:
        where.append(threading.current_thread().name)
        return n

    assert here.refresh(1).status() == "done"
    assert where == [threading.current_thread().name]
    assert drain(app) == 0


def test_the_loops_queue_is_bounded() -> None:
    app = Rewarm("shop", adapter=AsyncioAdapter(max_queue=2))
    job = app.job(ttl=60, name="job")(lambda n: n)

    async def main() -> None:
        async with app:
            await job.entry(1).arefresh(delay=0.05)
            await job.entry(2).arefresh(delay=0.05)
            with pytest.raises(EnqueueError, match="full: 2 tasks"):
                await job.arefresh(3)

    asyncio.run(main())
    assert job.peek(1) is None  # the memory store went with close()


def test_closing_on_the_loop_lets_its_tasks_end() -> None:
    app = Rewarm("shop", adapter="asyncio")
    ended: list[int] = []

    @app.job(ttl=60, name="slow")
    async def slow() -> int:
        await asyncio.sleep(0.1)
        ended.append(1)
        return 1

    async def main() -> None:
        async with app:
            await slow.arefresh()

    asyncio.run(main())
    assert ended == [1]


def test_a_delay_on_the_loop_is_kept() -> None:
    app = Rewarm("shop", adapter="asyncio")
    job = app.job(ttl=60, name="when")(lambda: time.monotonic())

    async def main() -> None:
        async with app:
            began = time.monotonic()
            receipt = await job.entry().arefresh(delay=0.1)
            await receipt.aoutcome()
            assert (await job.aget()) - began >= 0.09

    asyncio.run(main())


# --- eager


class Switched(Adapter):
    """A queue with an eager switch of its own, which must not be connected to while it is on."""

    name: ClassVar[str] = "switched"
    capabilities = frozenset({Capability.DELAY})
    eager = True

    def __init__(self, *, raises: bool = False) -> None:
        self.eager_raises = raises
        self.connections = 0

    def install(self) -> None: ...

    def enqueue(self, payload: str, *, route: Route, delay: float) -> None:
        self.connections += 1


@pytest.fixture(params=["inline", "switched"])
def eager(request: pytest.FixtureRequest) -> Rewarm:
    return Rewarm("shop", adapter="inline" if request.param == "inline" else Switched())


def test_an_eager_task_has_run_before_refresh_returns(eager: Rewarm) -> None:
    job = eager.job(ttl=60, name="job")(lambda n: n)
    receipt = job.refresh(1)
    assert receipt.status() == "done"
    assert receipt.outcome(0) is Outcome.DONE
    assert job.peek(1).value == 1  # type: ignore[union-attr]


def test_an_eager_delay_is_not_waited_for(eager: Rewarm) -> None:
    job = eager.job(ttl=60, name="job")(lambda n: n)
    assert job.entry(1).refresh(delay=3600).status() == "done"


def test_an_eager_stale_read_serves_the_old_value_and_the_next_one_the_new(eager: Rewarm) -> None:
    values = iter("abc")
    job = eager.job(ttl=60, name="job")(lambda: next(values))
    job()
    job.invalidate()
    assert [job(), job()] == ["a", "b"]


def test_eager_arguments_travel_through_the_same_json(eager: Rewarm) -> None:
    given: list[Any] = []

    @eager.job(ttl=60, name="job")
    def job(items: list[int]) -> int:
        given.append(items)
        return len(items)

    items = [1, 2]
    job.refresh(items)
    assert given == [items]
    assert given[0] is not items


def test_eager_retries_do_not_sleep(eager: Rewarm) -> None:
    calls: list[int] = []

    @eager.job(ttl=60, name="job", retry=Retry(attempts=4, floor=100, cap=100))
    def job() -> int:
        calls.append(1)
        if len(calls) < 4:
            raise ConnectionError("down")
        return 7

    began = time.monotonic()
    assert job.refresh().status() == "done"
    assert time.monotonic() - began < 10
    assert (len(calls), job.peek().value) == (4, 7)  # type: ignore[union-attr]


def test_an_eager_task_that_dies_is_a_dead_letter_and_no_exception(eager: Rewarm) -> None:
    @eager.job(ttl=60, name="job")
    def job() -> int:
        raise ValueError("bad")

    receipt = job.refresh()
    assert receipt.status() == "dead"
    assert [letter.id for letter in eager.dead.list()] == [receipt.id]


@pytest.mark.parametrize("adapter", [InlineAdapter(raises=True), Switched(raises=True)], ids=["inline", "switched"])
def test_an_eager_task_that_dies_raises_where_that_is_asked_for(adapter: Adapter) -> None:
    app = Rewarm("shop", adapter=adapter)
    bad = ValueError("bad")

    @app.job(ttl=60, name="job")
    def job() -> int:
        raise bad

    with pytest.raises(TaskDead) as caught:
        job.refresh()
    assert caught.value.__cause__ is bad


def test_an_eager_invalidation_task_and_a_sweep_run_in_place(eager: Rewarm) -> None:
    job = eager.job(ttl=60, name="job", tags=["t"])(lambda n: n)
    for verb in (
        lambda: job.entry(1).invalidate(fence="task"),
        lambda: eager.invalidate(tags=["t"], fence="task"),
        lambda: job.sweep(1),
        job.invalidate_all,
    ):
        job.reload(1)
        assert job.peek(1).state == State.HIT  # type: ignore[union-attr]
        assert verb().status() == "done"
        assert job.peek(1).state == State.STALE  # type: ignore[union-attr]


def test_eager_tasks_that_queue_tasks_are_bounded(eager: Rewarm) -> None:
    depth: list[int] = []

    @eager.job(ttl=60, name="job", retry=Retry(attempts=1))
    def job(n: int) -> int:
        depth.append(n)
        job.refresh(n + 1)
        return n

    job.refresh(0)
    assert depth == list(range(NESTED))
    assert any("nested" in error for letter in eager.dead.list() for error in letter.errors)


async def _nested(app: Rewarm) -> int:
    depth: list[int] = []

    @app.job(ttl=60, name="ajob", retry=Retry(attempts=1))
    async def job(n: int) -> int:
        depth.append(n)
        await job.arefresh(n + 1)
        return n

    await job.arefresh(0)
    return len(depth)


def test_eager_works_on_a_loop_too(eager: Rewarm) -> None:
    assert asyncio.run(_nested(eager)) == NESTED


def test_eager_opens_no_connection() -> None:
    queue = Switched()
    app = Rewarm("shop", adapter=queue)
    job = app.job(ttl=60, name="job", retry=Retry(attempts=2))(lambda n: 1 // 0)
    job.refresh(1)
    app.invalidate(tags=["t"], fence="task")
    job.sweep()
    assert queue.connections == 0
    queue.eager = False
    app.close()
    with pytest.raises(Exception, match="memory store"):
        job.refresh(1)


def test_an_eager_payload_is_signed_and_checked(eager: Rewarm) -> None:
    eager.configure(signing_keys=["k" * 32])
    job = eager.job(ttl=60, name="job")(lambda n: n)
    assert job.refresh(1).status() == "done"
    payload = {"v": 1, "id": "x", "app": "shop", "kind": "invalidate", "args": {}}
    assert eager.run(json.dumps(payload)) is Outcome.DEAD
