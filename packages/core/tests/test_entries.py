"""Every verb of a job and of its entries, blocking and not, on every store, in every form."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from datetime import timedelta
from typing import Any

import pytest

from rewarm import Job, Outcome, OutcomeTimeout, Read, Receipt, Retry, Rewarm, Route, SerializeError, State
from rewarm.freshness import Found
from rewarm.steps import Look
from rewarm.stores import MemoryStore
from rewarm.stores.redis import RedisStore
from rewarm.testing import CaptureAdapter, capture

FORMS = ("def", "async def", "class", "async class")


class Case:
    """One job over a source with a version, in one form."""

    def __init__(self, store: Any, form: str, **policies: Any) -> None:
        self.version = 0
        self.loads = 0
        self.app = Rewarm("shop", store=store, adapter="inline")
        case = self

        def load(item: int, size: str = "s") -> dict[str, Any]:
            case.loads += 1
            return {"item": item, "size": size, "version": case.version}

        async def aload(item: int, size: str = "s") -> dict[str, Any]:
            await asyncio.sleep(0)
            return load(item, size)

        policies = {"ttl": 60, "tags": ["item:{item}"], **policies}
        source = aload if "async" in form else load
        if "class" in form:
            members = {**policies, "name": "price", "load": staticmethod(source)}
            self.job: Any = self.app.add(type("Price", (Job,), members)())
        else:
            self.job = self.app.job(name="price", **policies)(source)

    def state(self, *args: Any) -> State | None:
        found = self.job.peek(*(args or (1,)))
        return None if found is None else found.state


@pytest.fixture(params=FORMS)
def case(request: pytest.FixtureRequest, store: MemoryStore | RedisStore) -> Iterator[Case]:
    made = Case(store, request.param)
    yield made
    made.app.close()


Call = Callable[..., Any]


@pytest.fixture(params=["job", "entry", "ajob", "aentry"])
def call(request: pytest.FixtureRequest, case: Case) -> Iterator[Call]:
    """A verb of the job or of the entry of item 1, blocking or awaited."""
    way: str = request.param
    with asyncio.Runner() as runner:

        def verb(name: str, **options: Any) -> Any:
            owner, args = (case.job.entry(1), ()) if way.endswith("entry") else (case.job, (1,))
            if way.startswith("a"):
                answer = getattr(owner, f"a{name}")(*args, **options)
                assert inspect.isawaitable(answer)
                return runner.run(_await(answer))
            return getattr(owner, name)(*args, **options)

        yield verb
        runner.run(case.app.aclose())


async def _await(answer: Any) -> Any:
    return await answer


def test_get_loads_once_and_then_hits(case: Case, call: Call) -> None:
    assert call("get") == call("get") == {"item": 1, "size": "s", "version": 0}
    assert case.loads == 1


def test_read_says_how_it_went(case: Case, call: Call) -> None:
    first, second = call("read"), call("read")
    assert isinstance(first, Read)
    assert (first.state, first.age, first.expires_in, first.refreshing, first.error) == (
        State.MISS, 0.0, 60.0, False, None,
    )  # fmt: skip
    assert (second.state, second.value) == (State.HIT, first.value)
    assert 0 <= second.age < 30 < second.expires_in <= 60
    with pytest.raises(FrozenInstanceError):
        first.value = None


def test_a_value_is_never_fresh_for_longer_than_its_ttl_however_late_our_clock_is(store: MemoryStore) -> None:
    with Rewarm("shop", store=store, adapter="inline") as app:
        entry = app.job(ttl=60, name="job")(lambda: 1).entry()
        entry.get()
        ((seen, _),) = app.runtime.run([Look(entry.key)])
        late = entry._told(Found("HIT", 1, seen._replace(now=seen.loaded - 500)))
        assert (late.age, late.expires_in) == (0.0, 60.0)


def test_peek_looks_and_neither_loads_nor_queues(case: Case, call: Call) -> None:
    assert call("peek") is None
    assert case.loads == 0
    call("get")
    assert call("peek").state == State.HIT
    call("invalidate")
    assert (call("peek").state, call("peek").refreshing, case.loads) == (State.STALE, False, 1)


def test_a_stale_read_serves_the_old_value_and_refreshes(case: Case, call: Call) -> None:
    call("get")
    case.version = 1
    call("invalidate")
    assert (call("read").state, call("get")["version"], case.loads) == (State.STALE, 1, 2)


def test_refresh_loads_where_nothing_is_and_gives_a_receipt(case: Case, call: Call) -> None:
    receipt = call("refresh")
    assert isinstance(receipt, Receipt)
    assert (receipt.outcome(), receipt.status(), receipt.kind) == (Outcome.DONE, "done", "refresh")
    assert case.state() == State.HIT
    case.version = 1
    assert call("refresh").id != receipt.id
    assert call("get")["version"] == 1


def test_reload_loads_here_and_now(case: Case, call: Call) -> None:
    call("get")
    case.version = 1
    assert call("reload")["version"] == 1
    assert call("get")["version"] == 1
    assert case.loads == 2


def test_invalidate_makes_stale_and_delete_removes(case: Case, call: Call) -> None:
    call("get")
    receipt = call("invalidate")
    assert (receipt.status(), receipt.outcome(), receipt.cancel()) == ("done", Outcome.DONE, False)
    assert case.state() == State.STALE
    assert call("delete") is None
    assert case.state() is None
    assert call("read").state == State.MISS


def test_invalidating_or_deleting_what_is_not_there_does_nothing(case: Case, call: Call) -> None:
    assert call("invalidate").status() == "done"
    call("delete")
    assert (case.state(), case.loads) == (None, 0)


@pytest.fixture(params=["blocking", "awaited"])
def do(request: pytest.FixtureRequest, case: Case) -> Iterator[Call]:
    """A verb of anything, blocking or its twin."""
    with asyncio.Runner() as runner:

        def verb(owner: Any, name: str, *args: Any, **options: Any) -> Any:
            if request.param == "awaited":
                return runner.run(_await(getattr(owner, f"a{name}")(*args, **options)))
            return getattr(owner, name)(*args, **options)

        yield verb
        runner.run(case.app.aclose())


def test_the_entrys_options(case: Case, do: Call) -> None:
    entry = case.job.entry(1)
    entry.get() if not inspect.iscoroutinefunction(case.job.load) else case.job.get(1)
    case.version = 1
    assert do(entry, "refresh", delay=timedelta(seconds=1), route=Route("low")).outcome() is Outcome.DONE
    assert entry.peek().value["version"] == 1
    case.version = 2
    assert do(entry, "invalidate", refresh=True).outcome() is Outcome.DONE
    assert (entry.peek().value["version"], entry.peek().state) == (2, State.HIT)
    assert do(entry, "invalidate", fence="task").outcome() is Outcome.DONE
    assert entry.peek().state == State.STALE
    with pytest.raises(ValueError, match="neither 'now' nor 'task'"):
        do(entry, "invalidate", fence="later")


def test_set_stores_a_value_that_is_current(case: Case, do: Call) -> None:
    entry = case.job.entry(1)
    do(entry, "set", {"given": True})
    assert (entry.peek().value, entry.peek().state, case.loads) == ({"given": True}, State.HIT, 0)
    do(case.app, "invalidate", tags=["item:1"])
    assert entry.peek().state == State.STALE
    with pytest.raises(SerializeError):
        do(entry, "set", object())


def test_a_whole_job_is_invalidated(case: Case, do: Call) -> None:
    for item in (1, 2):
        case.job.get(item)
    assert do(case.job, "invalidate_all").status() == "done"
    assert [case.state(item) for item in (1, 2)] == [State.STALE, State.STALE]


def test_a_sweep_reaches_exactly_the_entries_with_these_first_arguments(case: Case, do: Call) -> None:
    for args in ((1,), (1, "m"), (10,), (2, "s")):
        case.job.get(*args)
    assert do(case.job, "sweep", 1).outcome() is Outcome.DONE
    assert [case.state(*args) for args in ((1,), (1, "m"), (10,), (2, "s"))] == ["STALE", "STALE", "HIT", "HIT"]
    assert do(case.job, "sweep").outcome() is Outcome.DONE
    assert {case.state(*args) for args in ((1,), (1, "m"), (10,), (2, "s"))} == {State.STALE}


def test_many_are_read_in_order(case: Case, do: Call) -> None:
    case.job.get(2)
    values = do(case.app, "get_many", [case.job.entry(item) for item in (3, 2, 1, 2)])
    assert [value["item"] for value in values] == [3, 2, 1, 2]
    assert case.loads == 3
    assert do(case.app, "get_many", []) == []


def test_tags_entries_and_jobs_are_invalidated_together(case: Case, do: Call) -> None:
    other = case.app.job(ttl=60, name="other")(lambda: 1)
    other()
    for item in (1, 2, 3):
        case.job.get(item)
    do(case.app, "invalidate", tags=["item:1"], entries=[case.job.entry(2)], jobs=[other])
    assert [case.state(item) for item in (1, 2, 3)] == ["STALE", "STALE", "HIT"]
    assert other.peek().state == State.STALE
    do(case.app, "invalidate", jobs=["price"])
    assert case.state(3) == State.STALE


# --- sweeps


@pytest.mark.parametrize("literal", ["*", "?", "[a]", "a\\", "a*", ",", '"', "#", "\n", "é"], ids=ascii)
def test_a_sweep_takes_its_arguments_literally(store: MemoryStore | RedisStore, literal: str) -> None:
    app = Rewarm("shop", store=store, adapter="inline")
    job = app.job(ttl=60, name="named")(lambda name, n=0: n)
    others = ["a", "ab", literal + "x", "x" + literal, "y" * 80]
    for name in (literal, *others):
        job(name)
    job.sweep(literal)
    assert job.peek(literal).state == "STALE"
    assert {job.peek(name).state for name in others} == {"HIT"}
    app.close()


def test_long_arguments_are_swept_exactly_too(store: MemoryStore | RedisStore) -> None:
    app = Rewarm("shop", store=store, adapter="inline")
    job = app.job(ttl=60, name="long")(lambda text, n: n)
    for text in ("x" * 100, "x" * 101):
        for n in (1, 2):
            job(text, n)
    job.sweep("x" * 100)
    assert [job.peek("x" * size, n).state for size in (100, 101) for n in (1, 2)] == ["STALE", "STALE", "HIT", "HIT"]
    app.close()


def test_a_job_with_a_key_of_its_own_is_swept_by_one_literal_prefix(store: MemoryStore | RedisStore) -> None:
    app = Rewarm("shop", store=store, adapter="inline")
    job = app.job(ttl=60, name="keyed", key="{a}/{b}")(lambda a, b: [a, b])
    for a in ("x", "xy", "*"):
        job(a, 1)
    job.sweep("x/")
    assert [job.peek(a, 1).state for a in ("x", "xy", "*")] == ["STALE", "HIT", "HIT"]
    for wrong in ((1,), ("x", "y")):
        with pytest.raises(TypeError, match="one literal prefix"):
            job.sweep(*wrong)
    app.close()


def test_a_sweep_leaves_jobs_with_longer_names_alone(store: MemoryStore | RedisStore) -> None:
    app = Rewarm("shop", store=store, adapter="inline")
    short, longer = (app.job(ttl=60, name=name)(lambda n: n) for name in ("price", "prices"))
    for job in (short, longer):
        job(1)
    short.sweep()
    assert [job.peek(1).state for job in (short, longer)] == ["STALE", "HIT"]
    app.close()


# --- writing


@pytest.fixture
def price(store: MemoryStore | RedisStore) -> Iterator[Any]:
    with Rewarm("shop", store=store, adapter="inline") as app:
        yield app.job(ttl=60, name="price", tags=["all"])(lambda item: f"loaded {item}")


def test_writing_stores_what_was_written(price: Any) -> None:
    entry = price.entry(1)
    entry.get()
    with entry.writing() as writing:
        writing.set("written")
        assert entry.peek().value == "loaded 1"
    assert (entry.peek().value, entry.peek().state) == ("written", State.HIT)


def test_writing_without_a_value_or_with_an_error_invalidates(price: Any) -> None:
    entry = price.entry(1)
    entry.get()
    with entry.writing():
        pass
    assert entry.peek().state == State.STALE
    entry.reload()
    writing = entry.writing()
    writing.__enter__().set("written")
    writing.__exit__(LookupError, LookupError(), None)
    assert (entry.peek().state, entry.peek().value) == (State.STALE, "loaded 1")


def test_of_two_overlapping_writers_the_refused_one_marks(price: Any) -> None:
    entry = price.entry(1)
    with entry.writing() as first:
        with entry.writing() as second:
            second.set("second")
        assert (entry.peek().value, entry.peek().state) == ("second", State.HIT)
        first.set("first")
    assert (entry.peek().value, entry.peek().state) == ("second", State.STALE)


def test_a_writer_who_began_first_and_ends_first_is_refused_too(price: Any) -> None:
    entry = price.entry(1)
    with entry.writing() as first:
        inner = entry.writing()
        late = inner.__enter__()
        first.set("first")
    assert entry.peek() is None or entry.peek().state == State.STALE
    late.set("late")
    inner.__exit__(None, None, None)
    assert entry.peek().state == State.STALE


@pytest.mark.parametrize("how", ["key", "tag", "job", "delete"])
def test_what_is_invalidated_while_it_is_written_is_not_fresh(price: Any, how: str) -> None:
    entry = price.entry(1)
    with entry.writing() as writing:
        verbs: dict[str, Callable[[], Any]] = {
            "key": entry.invalidate, "tag": lambda: price.app.invalidate(tags=["all"]),
            "job": price.invalidate_all, "delete": entry.delete,
        }  # fmt: skip
        verbs[how]()
        writing.set("old")
    found = entry.peek()
    assert found is None or found.state == State.STALE


def test_a_load_that_a_writer_overtook_is_refused(price: Any) -> None:
    def load(item: int) -> str:
        with slow.entry(item).writing() as writing:
            writing.set("written")
        return "older"

    slow = price.app.job(ttl=60, name="slow")(load)
    assert slow(1) == "older"
    assert (slow.peek(1).value, slow.peek(1).state) == ("written", State.HIT)


def test_writing_may_be_awaited(price: Any) -> None:
    async def main() -> None:
        async with price.app, price.entry(1).writing() as writing:
            writing.set("written")

    entry = price.entry(1)
    store = price.app.runtime.store
    asyncio.run(main())
    assert price.app.runtime.store is store or isinstance(store, MemoryStore)
    assert entry.peek().value == "written"


def test_a_value_that_cannot_be_stored_is_refused_inside_the_block(price: Any) -> None:
    entry = price.entry(1)
    entry.get()
    with pytest.raises(SerializeError), entry.writing() as writing:
        writing.set(object())
    assert entry.peek().state == State.STALE


# --- one load for all


def test_readers_of_a_cold_key_wait_for_one_load(store: MemoryStore | RedisStore) -> None:
    loads, opened = [], threading.Event()  # type: ignore[var-annotated]

    def load(item: int) -> str:
        loads.append(threading.get_ident())
        opened.wait(20)
        return "loaded"

    with Rewarm("shop", store=store, adapter="inline") as app:
        job = app.job(ttl=60, name="slow")(load)
        values: list[str] = []
        readers = [threading.Thread(target=lambda: values.append(job(1))) for _ in range(12)]
        for reader in readers:
            reader.start()
        while not loads:
            time.sleep(0.001)
        opened.set()
        for reader in readers:
            reader.join(20)
        assert (values, len(loads)) == (["loaded"] * 12, 1)


def test_when_patience_is_over_a_reader_loads_and_stores_nothing(store: MemoryStore | RedisStore) -> None:
    inside: list[Any] = []
    with Rewarm("shop", store=store, adapter="inline") as app:

        def load(item: int) -> str:
            if not inside:
                inside.append("first")
                inside.append(job.read(1))
                inside.append(job.peek(1))
                return "first"
            return "impatient"

        job = app.job(ttl=60, name="slow", wait=0.05)(load)
        began = time.monotonic()
        assert job(1) == "first"
        assert time.monotonic() - began >= 0.05
        assert (inside[1].value, inside[1].state, inside[2]) == ("impatient", State.MISS, None)
        assert job.peek(1).value == "first"


def test_a_failing_load_lets_the_next_reader_try_at_once(store: MemoryStore | RedisStore) -> None:
    answers: list[Any] = [ConnectionError("down"), "up"]

    def load() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    with Rewarm("shop", store=store, adapter="inline") as app:
        job = app.job(ttl=60, name="flaky", wait=20)(load)
        with pytest.raises(ConnectionError):
            job()
        began = time.monotonic()
        assert job() == "up"
        assert time.monotonic() - began < 5


def test_a_long_load_keeps_its_lease_until_it_ends(store: MemoryStore | RedisStore) -> None:
    loads: list[int] = []

    def load() -> int:
        loads.append(1)
        time.sleep(1.5)  # three leases
        return len(loads)

    with Rewarm("shop", store=store, adapter="inline") as app:
        job = app.job(ttl=60, name="long", lease=0.5)(load)
        readers = [threading.Thread(target=job) for _ in range(3)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(20)
        assert len(loads) == 1
        assert job.peek().value == 1


def test_a_load_is_not_renewed_beyond_its_timeout_and_its_value_is_refused(store: MemoryStore | RedisStore) -> None:
    started, opened = threading.Event(), threading.Event()
    answers = iter(["late", "in time"])

    def load() -> str:
        answer = next(answers)
        if answer == "late":
            started.set()
            opened.wait(20)
        return answer

    with Rewarm("shop", store=store, adapter="inline") as app:
        job = app.job(ttl=60, name="hangs", lease=0.05, timeout=0.1, wait=20)(load)
        hanging: list[str] = []
        thread = threading.Thread(target=lambda: hanging.append(job()))
        thread.start()
        assert started.wait(20)
        assert job() == "in time"
        opened.set()
        thread.join(20)
        assert hanging == ["late"]
        assert (job.peek().value, job.peek().state) == ("in time", State.HIT)


# --- receipts


def test_a_refresh_joins_one_that_is_queued(case: Case) -> None:
    with capture(case.app) as tasks:
        first, second = case.job.refresh(1), case.job.refresh(1)
        assert (first.id, len(tasks)) == (second.id, 1)
        assert tasks[0].id == first.id
        assert (first.status(), first.kind) == ("queued", "refresh")
        with pytest.raises(OutcomeTimeout, match="is queued"):
            first.outcome(0.01)


def test_a_refresh_joins_a_retry_that_waits(store: MemoryStore | RedisStore) -> None:
    queue, waits = CaptureAdapter(), Retry(on=ZeroDivisionError, floor=5)
    with Rewarm("shop", store=store, adapter=queue) as app:
        sick = app.job(ttl=60, name="sick", timeout=30, retry=waits)(lambda: 1 // 0)
        first = sick.refresh()
        app.run(queue.tasks.payloads[0])
        assert [task.attempt for task in queue.tasks] == [1, 2]
        assert sick.refresh().id == sick.entry().invalidate(refresh=True).id == first.id
        assert len(queue.tasks) == 2


@pytest.mark.parametrize("how", ["refresh", "invalidate", "sooner"])
def test_a_refresh_that_is_due_later_holds_up_no_other(store: MemoryStore | RedisStore, how: str) -> None:
    queue, loads = CaptureAdapter(), list[int]()
    with Rewarm("shop", store=store, adapter=queue) as app:
        entry = app.job(ttl=60, name="job")(lambda: loads.append(1)).entry()
        late = entry.refresh(delay=600)
        if how == "invalidate":
            now = entry.invalidate(refresh=True)
        else:
            now = entry.refresh(delay=60 if how == "sooner" else 0)
        assert entry.refresh(delay=900).id == now.id != late.id
        assert (late.id, now.id) == tuple(task.id for task in queue.tasks)
        for payload in reversed(queue.tasks.payloads):
            app.run(json.dumps({**json.loads(payload), "due": None}))
        assert (now.status(), late.status(), len(loads)) == ("done", "skipped", 1)


def test_a_refresh_joins_a_load_that_runs(store: MemoryStore | RedisStore) -> None:
    receipts: list[Receipt] = []
    with Rewarm("shop", store=store, adapter="inline") as app:

        def load() -> int:
            receipts.append(job.refresh())
            assert receipts[0].status() == "running"
            return 1

        job = app.job(ttl=60, name="job")(load)
        job()
        assert (receipts[0].status(), len(receipts)) == ("done", 1)


def test_a_receipt_of_what_was_deleted_is_unknown(case: Case) -> None:
    with capture(case.app):
        receipt = case.job.refresh(1)
        case.job.delete(1)
        assert receipt.status() == "unknown"


def test_receipts_have_twins(case: Case) -> None:
    async def main() -> None:
        receipt = await case.job.arefresh(1)
        assert (await receipt.astatus(), await receipt.aoutcome()) == ("done", Outcome.DONE)
        assert not await receipt.acancel()
        await case.app.aclose()

    asyncio.run(main())
