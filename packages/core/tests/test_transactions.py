"""Inside a transaction nothing is sent, and nothing that was read there is stored; after the commit it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rewarm import Rewarm, State, StoreError, events
from rewarm.stores import MemoryStore
from rewarm.stores.redis import RedisStore
from rewarm.testing import CaptureAdapter


class Database:
    """A transaction as an application has it."""

    def __init__(self) -> None:
        self.open = False
        self.hooks: list[Callable[[], Any]] = []

    def active(self) -> bool:
        return self.open

    def on_commit(self, function: Callable[[], Any]) -> None:
        self.hooks.append(function)

    def begin(self) -> None:
        self.open = True

    def commit(self) -> None:
        self.open = False
        hooks, self.hooks = self.hooks, []
        for hook in hooks:
            hook()

    def rollback(self) -> None:
        self.open = False
        self.hooks.clear()


class Case:
    def __init__(self, store: Any, awaited: bool) -> None:
        self.db, self.queue, self.loads = Database(), CaptureAdapter(), 0
        self.app = Rewarm("shop", store=store, adapter=self.queue, transactions=self.db)
        self.awaited, self.runner = awaited, asyncio.Runner()

        def load(n: int) -> str:
            self.loads += 1
            return f"load {self.loads}"

        async def aload(n: int) -> str:
            return load(n)

        self.job: Any = self.app.job(ttl=60, name="job", tags=["t"])(aload if awaited else load)

    def do(self, owner: Any, verb: str, *args: Any, **options: Any) -> Any:
        if not self.awaited:
            return getattr(owner, verb)(*args, **options)

        async def main() -> Any:
            return await getattr(owner, f"a{verb}")(*args, **options)

        return self.runner.run(main())

    @property
    def state(self) -> State | None:
        found = self.job.peek(1)
        return None if found is None else found.state


@pytest.fixture(params=[False, True], ids=["blocking", "awaited"])
def case(request: pytest.FixtureRequest, store: MemoryStore | RedisStore) -> Iterator[Case]:
    made = Case(store, request.param)
    yield made
    with made.runner:
        made.runner.run(made.app.aclose())


VERBS: dict[str, Callable[[Case], Any]] = {
    "invalidate": lambda case: case.do(case.job, "invalidate", 1),
    "invalidate and refresh": lambda case: case.do(case.job.entry(1), "invalidate", refresh=True),
    "fence in a task": lambda case: case.do(case.job.entry(1), "invalidate", fence="task"),
    "tag": lambda case: case.do(case.app, "invalidate", tags=["t"]),
    "job": lambda case: case.do(case.job, "invalidate_all"),
    "delete": lambda case: case.do(case.job, "delete", 1),
    "set": lambda case: case.do(case.job.entry(1), "set", "given"),
    "refresh": lambda case: case.do(case.job, "refresh", 1),
    "delayed refresh": lambda case: case.do(case.job.entry(1), "refresh", delay=5),
    "sweep": lambda case: case.do(case.job, "sweep", 1),
}


def seen(case: Case) -> tuple[Any, ...]:
    """What anybody outside can see of the entry and the queue."""
    found = case.job.peek(1)
    return found and (found.value, found.state), len(case.queue.tasks)


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_happens_before_the_commit_and_everything_after_it(case: Case, verb: str) -> None:
    case.do(case.job, "get", 1)
    before = seen(case)
    case.db.begin()
    VERBS[verb](case)
    assert seen(case) == before
    case.db.commit()
    assert seen(case) != before


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_happens_after_a_rollback(case: Case, verb: str) -> None:
    case.do(case.job, "get", 1)
    before = seen(case)
    case.db.begin()
    VERBS[verb](case)
    case.db.rollback()
    assert seen(case) == before


def test_a_miss_inside_loads_and_stores_nothing_and_is_filled_after_the_commit(case: Case) -> None:
    case.db.begin()
    assert case.do(case.job, "get", 1) == "load 1"
    assert case.do(case.job, "read", 1).value == "load 2"
    assert case.do(case.job, "reload", 1) == "load 3"
    assert (case.loads, case.state) == (3, None)
    assert case.do(case.app, "get_many", [case.job.entry(1)]) == ["load 4"]
    case.db.commit()
    assert (case.loads, case.state, len(case.queue.tasks)) == (4, None, 1)
    case.app.run(case.queue.tasks.payloads[0])
    assert (case.loads, case.state) == (5, State.HIT)
    case.do(case.job, "get", 1)
    assert case.state == State.HIT


def test_a_reload_inside_loads_what_is_fresh_too_and_stores_it_after_the_commit(case: Case) -> None:
    case.do(case.job, "get", 1)
    case.db.begin()
    assert case.do(case.job, "reload", 1) == "load 2"
    assert (case.job.peek(1).value, case.queue.tasks) == ("load 1", [])
    case.db.commit()
    case.app.run(case.queue.tasks.payloads[0])
    assert (case.job.peek(1).value, case.state) == ("load 3", State.HIT)


def test_a_reload_inside_raises_what_the_load_raises_and_queues_nothing() -> None:
    case = Case(MemoryStore(), awaited=False)
    sick = case.app.job(ttl=60, name="sick")(lambda: 1 // 0)
    case.db.begin()
    with pytest.raises(ZeroDivisionError):
        sick.reload()
    case.db.commit()
    assert case.queue.tasks == []


def test_a_job_that_queues_on_a_miss_does_not_load_inside_either() -> None:
    case, loads = Case(MemoryStore(), awaited=False), list[int]()
    slow = case.app.job(ttl=60, name="slow", on_miss="queue", empty=list)(lambda: loads.append(1))
    case.db.begin()
    found = slow.read()
    assert (found.value, found.state, found.refreshing, loads) == ([], State.MISS, False, [])
    case.db.commit()
    assert [task.job for task in case.queue.tasks] == ["slow"]


def test_a_fresh_value_is_served_inside(case: Case) -> None:
    case.do(case.job, "get", 1)
    case.db.begin()
    assert (case.do(case.job, "read", 1).state, case.loads) == (State.HIT, 1)


def test_a_stale_read_inside_queues_after_the_commit(case: Case) -> None:
    case.do(case.job, "get", 1)
    case.do(case.job, "invalidate", 1)
    case.db.begin()
    for _ in range(3):
        assert case.do(case.job, "read", 1).state == State.STALE
    assert case.queue.tasks == []
    case.db.commit()
    assert [task.kind for task in case.queue.tasks] == ["refresh"]


def test_a_stale_read_inside_queues_nothing_after_a_rollback(case: Case) -> None:
    case.do(case.job, "get", 1)
    case.do(case.job, "invalidate", 1)
    case.db.begin()
    case.do(case.job, "get", 1)
    case.db.rollback()
    assert case.queue.tasks == []


def test_a_stale_read_needs_no_refresh_if_somebody_reloads_before_the_commit(case: Case) -> None:
    case.do(case.job, "get", 1)
    case.do(case.job, "invalidate", 1)
    case.db.begin()
    case.do(case.job, "get", 1)
    case.db.open = False
    case.do(case.job, "reload", 1)
    case.db.commit()
    assert case.queue.tasks == []


def test_a_receipt_knows_nothing_until_the_commit(case: Case) -> None:
    case.db.begin()
    receipts = [case.do(case.job, "refresh", 1), case.do(case.job, "invalidate", 2)]
    assert [(receipt.id, receipt.status()) for receipt in receipts] == [("", "queued")] * 2
    case.db.commit()
    assert receipts[0].id == case.queue.tasks[0].id
    assert [receipt.status() for receipt in receipts] == ["queued", "done"]


def test_a_batch_inside_is_sent_after_the_commit_as_one(case: Case) -> None:
    case.do(case.job, "get", 1)
    case.db.begin()
    with case.app.batch():
        case.job.invalidate(1)
        case.app.invalidate(tags=["t"])
    assert case.state == State.HIT
    case.db.commit()
    assert case.state == State.STALE


def test_an_awaited_batch_inside_waits_too(case: Case) -> None:
    case.do(case.job, "get", 1)

    async def main() -> None:
        case.db.begin()
        async with case.app.batch():
            await case.job.ainvalidate(1)
        assert case.state == State.HIT
        case.db.commit()
        assert case.state == State.STALE

    case.runner.run(main())


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_writing_inside_stores_at_the_commit_and_never_after_a_rollback(case: Case, ends: str) -> None:
    case.do(case.job, "get", 1)
    case.db.begin()
    with case.job.entry(1).writing() as writing:
        writing.set("written")
    assert case.job.peek(1).value == "load 1"
    getattr(case.db, ends)()
    assert (case.job.peek(1).value, case.state) == ("written" if ends == "commit" else "load 1", State.HIT)


def test_a_store_that_is_away_at_the_commit_does_not_fail_it_for_the_sake_of_a_read() -> None:
    case = Case(MemoryStore(), awaited=False)
    told: list[events.Event] = []
    case.app.listen(told.append)
    case.job(1)
    case.job.invalidate(1)
    case.db.begin()
    case.job(1)

    def away(steps: Any) -> Any:
        raise StoreError("away")

    case.app.runtime.store.run = away  # type: ignore[method-assign]
    case.db.commit()
    assert [type(event) for event in told if isinstance(event, events.StoreFailed)] == [events.StoreFailed]


def test_an_invalidation_that_fails_at_the_commit_is_heard() -> None:
    case = Case(MemoryStore(), awaited=False)
    case.db.begin()
    case.job.invalidate(1)

    def away(steps: Any) -> Any:
        raise StoreError("away")

    case.app.runtime.store.run = away  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        case.db.commit()
