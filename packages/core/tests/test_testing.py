"""The helpers for users' own tests."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from rewarm import ConfigurationError, OutcomeTimeout, Retry, Rewarm, Route, State, TaskDead
from rewarm.testing import bypass, capture, drain, inline, travel


@pytest.fixture
def app() -> Rewarm:
    """An application whose own store and queue cannot be reached: the helpers replace both."""
    return Rewarm("shop", store="redis://203.0.113.1:1/0", on_store_error="raise")


def test_inline_runs_tasks_in_place_on_an_empty_store(app: Rewarm) -> None:
    job = app.job(ttl=60, name="job")(lambda n: n)
    for _ in range(2):
        with inline(app):
            assert job.peek(1) is None
            assert job.refresh(1).status() == "done"
            assert job.read(1).state == State.HIT
    assert app._runtime is None


def test_inline_raises_from_the_loads_own_error_after_its_retries(app: Rewarm) -> None:
    calls: list[int] = []

    @app.job(ttl=60, name="job", retry=Retry(attempts=3, floor=60, cap=60))
    def job() -> None:
        calls.append(1)
        raise ConnectionError("down")

    began = time.monotonic()
    with inline(app), pytest.raises(TaskDead) as caught:
        job.refresh()
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert len(calls) == 3
    assert time.monotonic() - began < 20


def test_capture_lists_the_tasks_and_runs_none(app: Rewarm) -> None:
    job = app.job(ttl=60, name="job", tags=["t"])(lambda n: 1 // 0)
    with capture(app) as tasks:
        job.entry(7).refresh(delay=5, route=Route("low"))
        app.invalidate(tags=["t"], fence="task")
        job.sweep()
        assert [(task.kind, task.job) for task in tasks] == [
            ("refresh", "job"), ("invalidate", None), ("sweep", "job"),
        ]  # fmt: skip
        assert (tasks[0].args, tasks[0].delay, tasks[0].route.queue) == ([7], pytest.approx(5), "low")
        assert (tasks[1].tags, tasks[1].delay) == (("t",), 0)


def test_drain_runs_what_was_captured_and_what_that_queues(app: Rewarm) -> None:
    done: list[int] = []

    @app.job(ttl=60, name="job")
    def job(n: int) -> int:
        done.append(n)
        if n < 3:
            job.refresh(n + 1)
        return n

    with capture(app):
        job.refresh(0)
        assert drain(app) == 4
        assert drain(app) == 0
    assert done == [0, 1, 2, 3]


def test_drain_does_not_wait_for_what_is_due_later(app: Rewarm) -> None:
    left = [ConnectionError("down"), TimeoutError("slow")]

    @app.job(ttl=60, name="job", retry=Retry(floor=100, cap=100))
    def job() -> str:
        if left:
            raise left.pop()
        return "loaded"

    began = time.monotonic()
    with capture(app):
        job.entry().refresh(delay=300)
        assert drain(app) == 3
        assert job.peek().value == "loaded"  # type: ignore[union-attr]
    assert time.monotonic() - began < 20


def test_drain_gives_up_on_tasks_without_end(app: Rewarm) -> None:
    @app.job(ttl=60, name="job")
    def job(n: int) -> int:
        job.refresh(n + 1)
        return n

    with capture(app):
        job.refresh(0)
        with pytest.raises(OutcomeTimeout, match="still queues"):
            drain(app, timeout=0.1)


def test_drain_raises_nothing_for_a_dead_task_which_is_a_dead_letter(app: Rewarm) -> None:
    job = app.job(ttl=60, name="job")(lambda: 1 // 0)
    with capture(app):
        job.refresh()
        assert drain(app) == 1
        assert len(app.dead.list()) == 1


def test_drain_says_which_queues_it_can_empty() -> None:
    from rewarm import Adapter

    class Other(Adapter):
        name = "other"
        in_process = True

        def install(self) -> None: ...
        def enqueue(self, payload: str, *, route: Route, delay: float) -> None: ...

    with Rewarm("shop", adapter=Other()) as app, pytest.raises(ConfigurationError, match="capture"):
        drain(app)


def test_travel_moves_the_store_and_the_tasks(app: Rewarm) -> None:
    job = app.job(ttl=10, stale_while_revalidate=20, name="job")(lambda: 1)
    with capture(app):
        job()
        travel(app, 11)
        assert job.read().state == State.STALE
        travel(app, 20)
        assert job.peek() is None
    with capture(app):
        assert app.travelled == 0
        job()
        assert job.peek().state == State.HIT  # type: ignore[union-attr]


def test_travel_needs_a_memory_store(app: Rewarm) -> None:
    with pytest.raises(ConfigurationError, match="memory store"):
        travel(app, 1)
    app.close()


def test_bypass_loads_at_every_read_and_neither_looks_nor_stores() -> None:
    with Rewarm("shop", adapter="inline") as app:
        loads: list[int] = []

        @app.job(ttl=60, name="job")
        def job(n: int) -> int:
            loads.append(n)
            return len(loads)

        job(1)
        with bypass(app):
            assert [job(1), job.get(1), job.read(1).value, *app.get_many([job.entry(1)])] == [2, 3, 4, 5]
            assert job(2) == 6
            assert job.read(2).state == State.MISS
        assert (job(1), job.peek(2)) == (1, None)


def test_bypass_needs_no_store(app: Rewarm) -> None:
    job = app.job(ttl=60, name="job")(lambda: 1 // 0)
    with bypass(app), pytest.raises(ZeroDivisionError):
        job()
    app.close()


def test_bypass_works_for_async_jobs_and_for_jobs_that_queue_on_a_miss(app: Rewarm) -> None:
    @app.job(ttl=60, name="job", on_miss="queue", empty=0)
    async def job() -> int:
        return os.getpid()

    async def main() -> list[int]:
        return [await job(), (await job.aread()).value, *await app.aget_many([job.entry()])]

    with bypass(app):
        assert asyncio.run(main()) == [os.getpid()] * 3
        assert job.get() == os.getpid()
    app.close()


def test_the_helpers_nest_and_leave_no_trace(app: Rewarm) -> None:
    job = app.job(ttl=60, name="job")(lambda n: n)
    with capture(app) as outer:
        job(1)
        with inline(app):
            assert job.peek(1) is None
            job.refresh(1)
        assert (job.peek(1).state, outer) == (State.HIT, [])  # type: ignore[union-attr]
        with capture(app) as inner:
            job.refresh(2)
        assert (len(inner), outer) == (1, [])


def test_an_exception_inside_restores_the_application_too(app: Rewarm) -> None:
    for helper in (inline, capture):
        with pytest.raises(LookupError), helper(app):
            raise LookupError
    assert app._runtime is None


def test_signed_tasks_can_be_captured_and_drained() -> None:
    app = Rewarm("shop", signing_keys=["k" * 16])
    job = app.job(ttl=60, name="job")(lambda: 1)
    with capture(app) as tasks:
        job.refresh()
        assert tasks[0].sig
        drain(app)
        assert job.read().state == State.HIT


def test_the_thumbnails_of_a_library_need_no_global() -> None:
    class Thumbnails:
        def __init__(self, cache: Rewarm | None = None) -> None:
            self.cache = cache or Rewarm("thumbs")
            job = self.cache.job(name="thumbs.path", ttl=86_400, tags=["image:{image_id}"])
            self.path = job(self._render)

        def _render(self, image_id: int, size: str = "200x200") -> str:
            return f"/{image_id}/{size}"

    with Rewarm("shop", routes={"thumbs.*": {"queue": "low"}}) as host:
        with capture(host) as tasks:
            thumbs = Thumbnails(host)
            assert thumbs.path(3) == "/3/200x200"
            host.invalidate(tags=["image:3"])
            thumbs.path(3)
            assert [task.queue for task in tasks] == ["low"]
        alone = Thumbnails()
        assert alone.path(4) == "/4/200x200"
        alone.cache.close()
