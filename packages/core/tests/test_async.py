"""Colour: async jobs for blocking callers, blocking jobs for async callers, loops, contexts, cancellation."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rewarm import BlockingCall, Breaker, Rewarm, State
from rewarm.stores import MemoryStore
from rewarm.stores.redis import RedisStore
from rewarm.testing import capture, drain

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


@pytest.fixture
def app() -> Iterator[Rewarm]:
    with Rewarm("shop", adapter="inline") as made:
        yield made


async def here(n: int = 0) -> Any:
    await asyncio.sleep(0)
    return [n, threading.current_thread().name, who.get()]


def there(n: int = 0) -> Any:
    return [n, threading.current_thread().name, who.get()]


def test_an_async_job_is_called_as_a_coroutine(app: Rewarm) -> None:
    job = app.job(ttl=60)(here)

    async def main() -> Any:
        coroutine = job(1)
        assert asyncio.iscoroutine(coroutine)
        return await coroutine, threading.current_thread().name

    (_, loaded_on, _), mine = asyncio.run(main())
    assert loaded_on == mine


def test_a_blocking_verb_loads_an_async_job_on_one_loop_thread_with_the_callers_context(app: Rewarm) -> None:
    job = app.job(ttl=60)(here)
    token = who.set("me")
    try:
        loads = [job.get(n) for n in range(3)]
        assert job.reload(9)[2] == "me"
    finally:
        who.reset(token)
    assert {(name, asker) for _, name, asker in loads} == {("rewarm-loop", "me")}


def test_an_awaited_blocking_job_loads_in_a_thread_with_the_callers_context(app: Rewarm) -> None:
    job = app.job(ttl=60)(there)

    async def main() -> Any:
        who.set("me")
        return await job.aget(1)

    _, name, asker = asyncio.run(main())
    assert asker == "me"
    assert name != threading.current_thread().name


@pytest.mark.parametrize("verb", ["get", "read", "reload"])
def test_a_blocking_verb_of_an_async_job_on_a_loop_names_its_twin(app: Rewarm, verb: str) -> None:
    job = app.job(ttl=60)(here)

    async def main() -> None:
        for owner, args in ((job, (1,)), (job.entry(1), ())):
            with pytest.raises(BlockingCall, match=rf"await here\.a{verb}\(\)"):
                getattr(owner, verb)(*args)
        with pytest.raises(BlockingCall, match="await"):
            app.get_many([job.entry(1)])

    asyncio.run(main())


def test_invalidate_and_delete_work_anywhere(app: Rewarm) -> None:
    job = app.job(ttl=60, tags=["t"])(here)

    async def main() -> None:
        await job(1)
        job.invalidate(1)
        app.invalidate(tags=["t"])
        job.invalidate_all()
        assert (await job.apeek(1)).state == State.STALE  # type: ignore[union-attr]
        job.delete(1)
        assert await job.apeek(1) is None

    asyncio.run(main())


def test_a_blocking_job_may_be_read_on_a_loop(app: Rewarm) -> None:
    job = app.job(ttl=60)(there)

    async def main() -> Any:
        return job(1)

    assert asyncio.run(main())[1] == threading.current_thread().name


def test_readers_on_one_loop_wait_for_one_load(store: MemoryStore | RedisStore) -> None:
    loads: list[int] = []

    async def main() -> None:
        async with Rewarm("shop", store=store, adapter="inline") as app:

            @app.job(ttl=60, name="slow")
            async def slow() -> int:
                loads.append(1)
                await asyncio.sleep(0.05)
                return len(loads)

            assert await asyncio.gather(*(slow() for _ in range(20))) == [1] * 20

    asyncio.run(main())
    assert loads == [1]


@pytest.mark.parametrize("colour", ["async", "thread"])
def test_a_cancelled_load_lets_the_next_reader_load_at_once(store: MemoryStore | RedisStore, colour: str) -> None:
    loads: list[int] = []

    async def main() -> None:
        async with Rewarm("shop", store=store, adapter="inline") as app:
            started, opened = asyncio.Event(), threading.Event()
            loop = asyncio.get_running_loop()

            async def aload() -> int:
                loads.append(1)
                if len(loads) == 1:
                    started.set()
                    await asyncio.Event().wait()
                return len(loads)

            def load() -> int:
                loads.append(1)
                if len(loads) == 1:
                    loop.call_soon_threadsafe(started.set)
                    opened.wait(20)
                return len(loads)

            source: Callable[..., Any] = aload if colour == "async" else load
            job = app.job(ttl=60, name="job", lease=30, wait=20)(source)
            reading = asyncio.create_task(job.aget())
            await asyncio.wait_for(started.wait(), 20)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert await asyncio.wait_for(job.aget(), 10) == 2
            opened.set()

    asyncio.run(main())


def test_a_waiting_reader_can_be_cancelled_without_harm(store: MemoryStore | RedisStore) -> None:
    async def main() -> None:
        async with Rewarm("shop", store=store, adapter="inline") as app:
            opened, started = asyncio.Event(), asyncio.Event()

            async def load() -> str:
                started.set()
                await opened.wait()
                return "loaded"

            job = app.job(ttl=60, name="job")(load)
            first = asyncio.create_task(job.aget())
            await started.wait()
            second = asyncio.create_task(job.aget())
            while not second.done():
                await asyncio.sleep(0)
                second.cancel()
            opened.set()
            assert await first == "loaded"
            assert (await job.aread()).state == State.HIT

    asyncio.run(main())


def test_several_loops_in_turn_and_at_once_use_one_application(store: MemoryStore | RedisStore) -> None:
    app = Rewarm("shop", store=store, adapter="inline")
    job = app.job(ttl=60)(here)

    async def main(n: int) -> Any:
        value = await job(n)
        await job.ainvalidate(n)
        await store.aclose()  # this loop's connections
        return value[0]

    assert [asyncio.run(main(n)) for n in (1, 2)] == [1, 2]
    found: list[int] = []
    threads = [threading.Thread(target=lambda n=n: found.append(asyncio.run(main(n)))) for n in range(3, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == [3, 4, 5, 6]
    app.close()


def test_closing_ends_the_loop_thread_and_whoever_waits_for_it() -> None:
    app = Rewarm("shop", adapter="inline")
    started = threading.Event()
    ended: list[BaseException] = []
    loops: list[threading.Thread] = []

    @app.job(ttl=60, name="never")
    async def never() -> None:
        loops.append(threading.current_thread())
        started.set()
        await asyncio.Event().wait()

    def read() -> None:
        try:
            never.get()
        except BaseException as error:
            ended.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(20)
    app.close()
    reader.join(20)
    assert not reader.is_alive()
    assert len(ended) == 1
    loops[0].join(20)
    assert not loops[0].is_alive()
    gc.collect()  # a loop left open would warn, and a warning is an error here


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_async_load_that_would_exit_ends_no_other(error: type[BaseException]) -> None:
    with Rewarm("shop", adapter="inline") as app:

        @app.job(ttl=60, name="job")
        async def load(n: int) -> int:
            if n == 0:
                raise error
            return n

        with pytest.raises(error):
            load.get(0)
        assert [load.get(n) for n in (1, 2)] == [1, 2]


def test_an_async_load_that_stops_its_loop_ends_no_other(app: Rewarm) -> None:
    @app.job(ttl=60, name="job")
    async def load(n: int) -> int:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return n

    assert [load.get(n) for n in (0, 1)] == [0, 1]


def test_a_closed_application_opens_its_loop_again() -> None:
    app = Rewarm("shop", adapter="inline")
    job = app.job(ttl=60)(here)
    for n in range(3):
        assert job.get(n)[0] == n
        app.close()


def test_async_tasks_run_on_a_blocking_worker_and_blocking_ones_on_an_async_worker(app: Rewarm) -> None:
    jobs = [app.job(ttl=60)(here), app.job(ttl=60)(there)]
    with capture(app) as tasks:
        for job in jobs:
            job.refresh(1)
        payloads = list(tasks.payloads)
        assert drain(app) == 2
        assert [job.peek(1).state for job in jobs] == ["HIT", "HIT"]  # type: ignore[union-attr]

        async def main() -> list[str]:
            return [await app.arun(payload) for payload in payloads]

        assert asyncio.run(main()) == ["skipped", "skipped"]
        for job in jobs:
            job.refresh(2)
        payloads = tasks.payloads[:]
        assert asyncio.run(main()) == ["done", "done"]


# --- batches and their contexts


def test_a_batch_is_open_in_its_own_context_only(app: Rewarm) -> None:
    job = app.job(ttl=60)(here)

    async def main() -> None:
        for n in (1, 2):
            await job(n)
        async with app.batch():
            await job.ainvalidate(1)
            assert (await job.apeek(1)).state == State.HIT  # type: ignore[union-attr]
            await asyncio.to_thread(threading.Thread(target=job.invalidate, args=(2,)).run)
        assert (await job.apeek(1)).state == State.STALE  # type: ignore[union-attr]

    asyncio.run(main())
    outside = contextvars.Context()
    with app.batch():
        outside.run(job.reload, 3)
        outside.run(job.invalidate, 3)
        assert job.peek(3).state == State.STALE  # type: ignore[union-attr]


@pytest.mark.parametrize("fails", [False, True], ids=["ends", "raises"])
def test_a_task_that_outlives_the_batch_it_was_started_in_loses_no_invalidation(app: Rewarm, fails: bool) -> None:
    job = app.job(ttl=60)(here)

    async def main() -> None:
        await job(1)
        ended = asyncio.Event()

        async def later() -> None:
            await ended.wait()
            await job.ainvalidate(1)

        try:
            async with app.batch():
                task = asyncio.create_task(later())
                await asyncio.sleep(0)
                if fails:
                    raise LookupError
        except LookupError:
            pass
        ended.set()
        await task
        assert (await job.apeek(1)).state == State.STALE  # type: ignore[union-attr]

    asyncio.run(main())


def test_gathered_children_join_their_parents_batch(app: Rewarm) -> None:
    job = app.job(ttl=60)(here)

    async def main() -> None:
        for n in range(3):
            await job(n)
        async with app.batch():
            await asyncio.gather(*(job.ainvalidate(n) for n in range(3)))
            assert {(await job.apeek(n)).state for n in range(3)} == {"HIT"}  # type: ignore[union-attr]
        assert {(await job.apeek(n)).state for n in range(3)} == {"STALE"}  # type: ignore[union-attr]

    asyncio.run(main())


def test_a_load_on_the_loop_thread_may_have_another_run_in_place() -> None:
    app = Rewarm("nested", adapter="inline")
    last = app.job(ttl=60, name="last")(here)

    @app.job(ttl=60, name="inner")
    async def inner(n: int) -> int:
        last.entry(n).invalidate(refresh=True)
        return n

    @app.job(ttl=60, name="outer")
    async def outer(n: int) -> int:
        inner.entry(n).invalidate(refresh=True)
        return n

    assert outer.get(1) == 1
    assert [job.peek(1).state for job in (inner, last)] == [State.HIT] * 2  # type: ignore[union-attr]
    app.close()


def test_reads_that_are_cancelled_say_nothing_of_the_source() -> None:
    app, stuck = Rewarm("cancelled", adapter="inline"), [True]

    @app.job(ttl=60, name="slow", breaker=Breaker(failures=2), throttle=60)
    async def slow(n: int) -> int:
        if stuck:
            await asyncio.sleep(60)
        return n

    async def main() -> int:
        for _ in range(4):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(slow.aget(1), 0.05)
        stuck.clear()
        return await asyncio.wait_for(slow.aget(1), 10)

    assert asyncio.run(main()) == 1
    app.close()
