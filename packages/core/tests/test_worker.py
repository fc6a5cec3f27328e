"""What a worker does with a payload, however it arrives: once, twice, late, broken, or with the store away."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm import (
    Adapter,
    Capability,
    ConfigurationError,
    EnqueueError,
    NotAcknowledged,
    Outcome,
    PayloadError,
    Retry,
    Rewarm,
    Route,
    StoreError,
    TaskDead,
    events,
)
from rewarm.adapter import ProcessTable
from rewarm.cli.server import Server
from rewarm.freshness import Load
from rewarm.job import FunctionJob
from rewarm.steps import Commit, Look, Mark
from rewarm.stores import MemoryStore, Store
from rewarm.stores.base import Settle, Start
from rewarm.stores.redis import RedisStore
from rewarm.task import WIRE
from rewarm.worker import DELIVERIES, deliver


class Held(Adapter):
    """A queue that holds what it is given until the test takes a step. `refuses`: it takes nothing."""

    name: ClassVar[str] = "held"
    capabilities = frozenset({Capability.DELAY})
    in_process = True

    def __init__(self, *, delay: bool = True, max_hop: float | None = None) -> None:
        self.capabilities = frozenset({Capability.DELAY} if delay else ())
        self.max_hop = max_hop
        self.sent: list[tuple[str, float]] = []
        self.refuses = False

    def install(self) -> None: ...

    def enqueue(self, payload: str, *, route: Route, delay: float) -> None:
        if self.refuses:
            raise OSError("the broker is away")
        self.sent.append((payload, delay))

    def take(self) -> str:
        """The only payload that waits."""
        ((payload, _),) = self.sent
        self.sent.clear()
        return payload

    def wire(self) -> dict[str, Any]:
        ((payload, _),) = self.sent
        wire: dict[str, Any] = json.loads(payload)
        return wire


class Failing(Store):
    """A store that can go away, for all steps or for those of some kinds."""

    def __init__(self, store: Any) -> None:
        self.store, self.shared = store, store.shared
        self.away: Callable[[list[Any]], bool] = lambda steps: False

    def run(self, steps: Any) -> list[Any]:
        if self.away(list(steps)):
            raise StoreError("the store is away")
        answers: list[Any] = self.store.run(steps)
        return answers

    def advance(self, seconds: float) -> None:
        self.store.advance(seconds)


class Shop:
    """An application with one job, a queue that is stepped by hand, and everything that happened."""

    def __init__(self, store: Any, adapter: Held | None = None, **settings: Any) -> None:
        self.queue = adapter or Held()
        self.app = Rewarm("shop", store=store, adapter=self.queue, **settings)
        self.seen: list[events.Event] = []
        self.app.listen(self.seen.append)
        self.loads = 0
        self.answer: Callable[[int], Any] = lambda item: {"item": item, "load": self.loads}

    def job(self, **policies: Any) -> Any:
        @self.app.job(name="price", **{"ttl": 60, **policies})
        def price(item: int) -> Any:
            self.loads += 1
            return self.answer(item)

        return price

    def run(self) -> Outcome:
        return self.app.run(self.queue.take())

    @property
    def ended(self) -> tuple[str, str]:
        last = [event for event in self.seen if isinstance(event, events.TaskEnded)][-1]
        return last.outcome, last.reason


@pytest.fixture
def shop(store: MemoryStore | RedisStore) -> Iterator[Shop]:
    made = Shop(store)
    yield made
    made.app.close()


def fails(*errors: BaseException) -> Callable[[int], Any]:
    """A source that raises these, one at each call, and then answers."""
    left = list(errors)

    def answer(item: int) -> Any:
        if left:
            raise left.pop(0)
        return "loaded"

    return answer


@contextmanager
def not_acknowledged() -> Iterator[None]:
    with pytest.raises(NotAcknowledged):
        yield


# --- payloads that cannot be read


@pytest.mark.parametrize("payload", ["", "nonsense", "[]", "{}", '{"v": 1}', "\udc80", '"\\ud800"'], ids=ascii)
def test_an_unreadable_payload_becomes_a_dead_letter_with_its_raw_text(shop: Shop, payload: str) -> None:
    assert shop.app.run(payload) is Outcome.DEAD
    (letter,) = shop.app.dead.list()
    assert letter.payload == payload
    assert letter.reason.startswith("the payload")
    assert [event.task for event in shop.seen if isinstance(event, events.Buried)] == [None]


def test_the_same_unreadable_payload_is_buried_once(shop: Shop) -> None:
    for payload in ("nonsense", "nonsense", "other"):
        shop.app.run(payload)
    assert [letter.payload for letter in shop.app.dead.list()] == ["nonsense", "other"]


def test_an_unreadable_letter_can_be_shown_and_dropped_but_not_retried(shop: Shop) -> None:
    shop.app.run("nonsense")
    (letter,) = shop.app.dead.list()
    assert shop.app.dead.show(letter.id) == letter
    with pytest.raises(PayloadError):
        shop.app.dead.retry(letter.id)
    shop.app.dead.drop(letter.id)
    assert shop.app.dead.list() == []


def test_an_unreadable_payload_that_cannot_be_buried_is_not_acknowledged() -> None:
    store = Failing(MemoryStore())
    app = Rewarm("shop", store=store, ledger=MemoryStoreAway())
    with not_acknowledged():
        app.run("nonsense")


class MemoryStoreAway(MemoryStore):
    def run(self, steps: Any) -> list[Any]:
        raise StoreError("the ledger is away")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
BASES: list[dict[str, Any]] = [
    {"v": 1, "id": "a", "app": "shop", "kind": "refresh", "job": "price", "args": [1], "key": "shop:price:1,",
     "born": "00" * 8, "q": 1},
    {"v": 1, "id": "b", "app": "shop", "kind": "invalidate", "args": {"keys": ["shop:price:1,"], "tags": ["t"]}},
    {"v": 1, "id": "c", "app": "shop", "kind": "sweep", "job": "price", "args": {"prefix": "shop:price:"}},
    {"v": 2, "id": "d", "app": "shop", "kind": "fold", "args": None},
]  # fmt: skip
argued = st.dictionaries(
    st.sampled_from(["prefix", "cursor", "run", "slice", "keys", "tags", "jobs", "refresh"]), anything, max_size=3
)


def _changed(base: dict[str, Any], changes: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    more = {"args": {**base["args"], **args}} if isinstance(base["args"], dict) else {}
    return {**base, **more, **changes}


almost = st.builds(
    _changed, st.sampled_from(BASES), st.dictionaries(st.sampled_from(WIRE), anything, max_size=2), argued
)


@settings(deadline=None, max_examples=500)
@given(st.text() | anything.map(json.dumps) | almost.map(json.dumps))
def test_no_payload_makes_the_worker_raise_and_none_is_lost(payload: str) -> None:
    shop = Shop(MemoryStore())
    shop.job(retry=lambda item: Retry(), route=lambda item: Route())
    outcome = shop.app.run(payload)
    assert bool(shop.app.dead.list()) == (outcome is Outcome.DEAD)
    assert bool(shop.queue.sent) >= (outcome in (Outcome.RETRIED, Outcome.DEFERRED))


# --- releases that differ


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"job": "gone"}, "has no job 'gone'"), ({"app": "old"}, "no application 'old'"), ({"v": 2}, "newer")],
    ids=["job", "app", "version"],
)
def test_what_another_release_sent_is_retried_before_it_is_dead(shop: Shop, changes: dict[str, Any], told: str) -> None:
    shop.job().refresh(1)
    payload = json.dumps({**json.loads(shop.queue.take()), **changes, "colour": "kept"})
    outcomes = []
    while True:
        outcomes.append(shop.app.run(payload))
        if outcomes[-1] is not Outcome.RETRIED:
            break
        again = shop.queue.wire()
        assert (again["attempt"], again["colour"]) == (len(outcomes) + 1, "kept")
        payload = shop.queue.take()
    assert outcomes == [Outcome.RETRIED] * 9 + [Outcome.DEAD]
    (letter,) = shop.app.dead.list()
    assert told in letter.reason
    assert json.loads(letter.payload)["colour"] == "kept"
    assert shop.loads == 0


@pytest.mark.parametrize("keys", [(), ["its own key, of many bytes"]], ids=["unsigned", "signed"])
def test_a_task_of_another_application_is_sent_on_as_it_came_whoever_signed_it(store: Any, keys: Any) -> None:
    other = Rewarm("other", store=store, adapter=Held(), signing_keys=keys)
    other.add(FunctionJob(len, "length", {"ttl": 60})).entry("").refresh()
    sent = other.settings.adapter.wire()  # type: ignore[attr-defined]
    shop = Shop(store, signing_keys=["the keys of this application"])
    assert shop.app.run(json.dumps(sent)) is Outcome.RETRIED
    again = shop.queue.wire()
    assert (again["attempt"], again.get("sig"), again["app"]) == (2, sent.get("sig"), "other")
    assert shop.app.run(json.dumps({**sent, "app": "shop"})) is Outcome.DEAD
    shop.app.close()
    other.close()


def test_a_task_that_waited_for_its_job_runs_once_the_job_is_there(shop: Shop) -> None:
    price = shop.job()
    price.refresh(1)
    del shop.app.jobs["price"]
    assert shop.run() is Outcome.RETRIED
    shop.app.jobs["price"] = price
    # due later; the memory store and Redis alike are not asked before that
    assert shop.run() is Outcome.DEFERRED
    shop.app.travelled += 120
    assert shop.run() is Outcome.DONE


def test_unknown_fields_survive_a_retry(shop: Shop) -> None:
    shop.answer = fails(ConnectionError("down"))
    shop.job().refresh(1)
    assert shop.app.run(json.dumps({**json.loads(shop.queue.take()), "later": [1]})) is Outcome.RETRIED
    assert shop.queue.wire()["later"] == [1]


def test_a_task_of_another_version_of_the_job_is_skipped(shop: Shop) -> None:
    shop.job(version=1).refresh(1)
    shop.job(version=2)
    assert shop.run() is Outcome.SKIPPED
    assert "another version" in shop.ended[1]
    assert shop.loads == 0


def test_arguments_that_no_longer_fit_are_a_dead_letter(shop: Shop) -> None:
    shop.job().refresh(1)
    payload = json.dumps({**json.loads(shop.queue.take()), "args": [1, 2, 3]})
    assert shop.app.run(payload) is Outcome.DEAD
    assert "price() takes a list of (item)" in shop.app.dead.list()[0].errors[-1]


def test_a_retry_policy_that_needs_arguments_fails_as_a_dead_letter_not_as_an_exception(shop: Shop) -> None:
    shop.job(retry=lambda item: Retry(attempts=item)).refresh(1)
    payload = json.dumps({**json.loads(shop.queue.take()), "args": [1, 2, 3]})
    assert shop.app.run(payload) is Outcome.DEAD


def test_a_job_whose_retry_depends_on_its_arguments_can_be_swept(shop: Shop) -> None:
    price = shop.job(retry=lambda item: Retry(attempts=item))
    price(1)
    price.sweep()
    while shop.queue.sent:  # on a cluster, a slice for each primary
        assert shop.run() is Outcome.DONE
    assert price.peek(1).state == "STALE"


# --- time


def test_a_task_is_not_run_before_it_is_due(shop: Shop) -> None:
    shop.job().entry(1).refresh(delay=30)
    assert shop.queue.sent[0][1] == 30
    assert shop.run() is Outcome.DEFERRED
    ((_, delay),) = shop.queue.sent
    assert 29 < delay <= 30
    shop.app.travelled += 31
    assert shop.run() is Outcome.DONE


def test_a_task_whose_time_is_over_is_skipped_and_gives_up_its_place(shop: Shop) -> None:
    price = shop.job(timeout=10)
    price.refresh(1)
    shop.app.travelled += 11
    assert shop.run() is Outcome.SKIPPED
    assert "not_after" in shop.ended[1]
    assert shop.loads == 0
    price.refresh(1)
    assert len(shop.queue.sent) == 1


def test_long_delays_travel_in_hops(store: MemoryStore | RedisStore) -> None:
    shop = Shop(store, Held(max_hop=100))
    price = shop.job()
    price.entry(1).refresh(delay=250)
    hops = []
    while shop.queue.sent:
        hops.append(shop.queue.sent[0][1])
        shop.app.travelled += hops[-1]
        first = shop.queue.wire()
        outcome = shop.run()
        if shop.queue.sent:
            again = shop.queue.wire()
            assert (again["attempt"], again["due"], again["id"]) == (1, first["due"], first["id"])
    assert outcome is Outcome.DONE
    assert hops[:2] == [100, 100]
    assert hops[2] == pytest.approx(50, abs=1)
    assert len(hops) == 3


def test_a_queue_that_cannot_delay_refuses_rather_than_runs_early(store: MemoryStore | RedisStore) -> None:
    shop = Shop(store, Held(delay=False))
    shop.answer = fails(ConnectionError("down"))
    price = shop.job()
    with pytest.raises(EnqueueError, match="cannot delay"):
        price.entry(1).refresh(delay=5)
    price.refresh(1)
    assert shop.run() is Outcome.DEAD
    assert shop.queue.sent == []
    (letter,) = shop.app.dead.list()
    assert "could not be queued" in letter.reason
    assert "ConnectionError: down" in letter.errors[-1]


# --- retries


def test_a_failed_attempt_is_queued_again_after_its_backoff(shop: Shop) -> None:
    shop.answer = fails(ConnectionError("down"), TimeoutError("slow"))
    price = shop.job(retry=Retry(floor=10, cap=10))
    receipt = price.refresh(1)
    first = shop.queue.wire()
    outcomes = []
    while shop.queue.sent:
        outcomes.append(shop.run())
        if shop.queue.sent:
            again = shop.queue.wire()
            assert again["attempt"] == len(outcomes) + 1
            assert {name: again.get(name) for name in ("id", "born", "q", "key", "args")} == {
                name: first.get(name) for name in ("id", "born", "q", "key", "args")
            }
            assert shop.queue.sent[0][1] == 10
            assert receipt.status() == "retrying"
            shop.app.travelled += 10
    assert outcomes == [Outcome.RETRIED, Outcome.RETRIED, Outcome.DONE]
    assert receipt.outcome() is Outcome.DONE
    assert price.peek(1).value == "loaded"


def test_nobody_else_queues_while_a_retry_is_on_its_way(shop: Shop) -> None:
    price = shop.job(stale_while_revalidate=3600)
    price(1)
    shop.answer = fails(ConnectionError("down"))
    price.invalidate(1)
    assert price.read(1).refreshing
    assert shop.run() is Outcome.RETRIED
    assert price.read(1).refreshing
    assert len(shop.queue.sent) == 1


def test_an_errors_retry_after_is_obeyed(shop: Shop) -> None:
    error = ConnectionError("busy")
    error.retry_after = 42  # type: ignore[attr-defined]
    shop.answer = fails(error)
    shop.job().refresh(1)
    assert shop.run() is Outcome.RETRIED
    assert shop.queue.sent[0][1] == 42


def test_an_error_that_is_not_worth_it_is_dead_at_once(shop: Shop) -> None:
    shop.answer = fails(ValueError("no such item"))
    price = shop.job()
    receipt = price.refresh(1)
    assert shop.run() is Outcome.DEAD
    assert receipt.outcome() is Outcome.DEAD
    (letter,) = shop.app.dead.list()
    assert (letter.reason, letter.job, letter.key, letter.attempt, letter.kind) == (
        "not retryable", "price", price.key(1), 1, "refresh",
    )  # fmt: skip
    assert "ValueError: no such item" in letter.errors[-1]
    (buried,) = [event for event in shop.seen if isinstance(event, events.Buried)]
    assert buried.id == receipt.id


def test_attempts_run_out(shop: Shop) -> None:
    shop.answer = fails(*(ConnectionError(f"down {k}") for k in (1, 2, 3)))
    shop.job(retry=Retry(attempts=2)).refresh(1)
    assert shop.run() is Outcome.RETRIED
    shop.app.travelled += 60
    assert shop.run() is Outcome.DEAD
    (letter,) = shop.app.dead.list()
    assert letter.reason == "attempts exhausted"
    assert [error.splitlines()[-1] for error in letter.errors] == [f"ConnectionError: down {k}" for k in (1, 2)]


def test_a_discarded_error_ends_as_skipped_and_leaves_the_place(shop: Shop) -> None:
    shop.answer = fails(LookupError("gone"))
    price = shop.job(retry=Retry(discard=LookupError))
    receipt = price.refresh(1)
    assert shop.run() is Outcome.SKIPPED
    assert receipt.outcome() is Outcome.SKIPPED
    assert shop.app.dead.list() == []
    price.refresh(1)
    assert shop.run() is Outcome.DONE


@pytest.mark.parametrize("throttle", [0, 0.3])
def test_a_dead_task_gives_up_its_place_and_its_source_rests(shop: Shop, throttle: float) -> None:
    price = shop.job(throttle=throttle)
    price(1)
    price.invalidate(1)
    shop.answer = fails(ValueError("bad"))
    price(1)
    assert shop.run() is Outcome.DEAD
    deadline, reads = time.monotonic() + 5, 1
    while not price.read(1).refreshing and time.monotonic() < deadline:
        reads += 1
        time.sleep(0.01)
    assert (reads > 1) == bool(throttle)
    assert shop.run() is Outcome.DONE
    assert shop.app.dead.list() == []
    assert price.read(1).state == "HIT"


def test_who_asks_for_a_refresh_gets_one_while_the_source_rests(shop: Shop) -> None:
    price = shop.job()
    price(1)
    price.invalidate(1)
    shop.answer = fails(ValueError("bad"))
    price(1)
    assert shop.run() is Outcome.DEAD
    assert not price.read(1).refreshing
    receipt = price.refresh(1)
    assert shop.run() is Outcome.DONE
    assert receipt.outcome() is Outcome.DONE


def test_a_retry_that_would_come_too_late_is_not_queued(shop: Shop) -> None:
    shop.answer = fails(ConnectionError("down"))
    shop.job(timeout=5, retry=Retry(floor=60, cap=60)).refresh(1)
    assert shop.run() is Outcome.DEAD
    assert shop.queue.sent == []


# --- dead letters


def test_dead_letters_are_listed_shown_dropped_and_purged(shop: Shop) -> None:
    price = shop.job()
    for item in (1, 2, 3):
        shop.answer = fails(ValueError("bad"))
        price.refresh(item)
        shop.run()
    letters = shop.app.dead.list()
    assert [letter.key for letter in letters] == [price.key(item) for item in (1, 2, 3)]
    assert shop.app.dead.show(letters[1].id) == letters[1]
    shop.app.dead.drop(letters[1].id)
    assert shop.app.dead.list() == [letters[0], letters[2]]
    assert shop.app.dead.purge() == 2
    assert shop.app.dead.list() == []
    assert shop.app.dead.purge() == 0


@pytest.mark.parametrize("verb", ["show", "drop", "retry"])
def test_a_letter_that_is_not_there_is_named(shop: Shop, verb: str) -> None:
    with pytest.raises(ConfigurationError, match="'nobody'"):
        getattr(shop.app.dead, verb)("nobody")


def test_a_dead_refresh_can_be_retried(shop: Shop) -> None:
    shop.answer = fails(ValueError("bad"))
    price = shop.job()
    price.refresh(1)
    shop.run()
    (letter,) = shop.app.dead.list()
    receipt = shop.app.dead.retry(letter.id)
    assert shop.app.dead.list() == []
    assert shop.run() is Outcome.DONE
    assert receipt.outcome() is Outcome.DONE
    assert price.peek(1).value == "loaded"


def test_a_dead_invalidation_is_retried_as_the_same_task(shop: Shop) -> None:
    price = shop.job()
    price(1)
    receipt = price.entry(1).invalidate(fence="task")
    payload = shop.queue.take()
    for _ in range(6):
        shop.app.runtime.run([Start(shop.app.runtime.record(receipt.id), 1, 0, 100, 60_000)])
    assert shop.app.run(payload) is Outcome.DEAD
    assert price.peek(1).state == "HIT"
    assert shop.app.dead.retry(receipt.id).id == receipt.id
    assert shop.run() is Outcome.DONE
    assert price.peek(1).state == "STALE"
    assert receipt.status() == "done"


@pytest.mark.parametrize("keys", [(), ["its own key, of many bytes"]], ids=["unsigned", "signed"])
def test_a_letter_of_another_application_is_sent_on_as_it_came(store: Any, keys: Any) -> None:
    other = Rewarm("other", store=store, adapter=Held(), signing_keys=keys)
    other.invalidate(tags=["all"], fence="task")
    sent = other.settings.adapter.wire()  # type: ignore[attr-defined]
    shop = Shop(store, signing_keys=["the keys of this application"])
    assert shop.app.run(json.dumps({**sent, "attempt": 10})) is Outcome.DEAD
    shop.app.dead.retry(sent["id"])
    again = shop.queue.wire()
    assert (again["attempt"], again.get("sig"), again["app"]) == (1, sent.get("sig"), "other")
    shop.app.close()
    other.close()


def test_a_letter_stays_where_its_job_is_not_known(shop: Shop) -> None:
    shop.answer = fails(ValueError("bad"))
    price = shop.job()
    price.refresh(1)
    shop.run()
    (letter,) = shop.app.dead.list()
    del shop.app.jobs["price"]
    with pytest.raises(ConfigurationError, match="no job 'price': import the module"):
        shop.app.dead.retry(letter.id)
    assert shop.app.dead.list() == [letter]
    shop.app.jobs["price"] = price
    shop.app.dead.retry(letter.id)
    assert shop.run() is Outcome.DONE


def test_a_letter_stays_if_the_queue_refuses_its_retry(shop: Shop) -> None:
    shop.answer = fails(ValueError("bad"))
    shop.job().refresh(1)
    shop.run()
    (letter,) = shop.app.dead.list()
    shop.queue.refuses = True
    with pytest.raises(EnqueueError):
        shop.app.dead.retry(letter.id)
    assert shop.app.dead.list() == [letter]


# --- deliveries that come twice, or never end


def test_a_duplicate_of_a_finished_task_changes_nothing(shop: Shop) -> None:
    price = shop.job()
    price.refresh(1)
    payload = shop.queue.take()
    assert shop.app.run(payload) is Outcome.DONE
    header = price.peek(1)
    assert shop.app.run(payload) is Outcome.SKIPPED
    assert (shop.loads, price.peek(1).value) == (1, header.value)


def test_a_duplicate_of_an_invalidation_does_not_invalidate_again(shop: Shop) -> None:
    price = shop.job()
    price.entry(1).invalidate(fence="task")
    payload = shop.queue.take()
    assert shop.app.run(payload) is Outcome.DONE
    price(1)
    assert shop.app.run(payload) is Outcome.SKIPPED
    assert price.peek(1).state == "HIT"


def test_a_duplicate_that_comes_while_the_first_copy_loads_is_deferred(shop: Shop) -> None:
    price = shop.job(lease=20)
    receipt = price.refresh(1)
    payload = shop.queue.take()
    inner: list[Outcome] = []

    def answer(item: int) -> str:
        inner.append(shop.app.run(payload))
        return "loaded"

    shop.answer = answer
    assert shop.app.run(payload) is Outcome.DONE
    assert inner == [Outcome.DEFERRED]
    ((_, delay),) = shop.queue.sent
    assert 15 < delay <= 20
    shop.app.travelled += 20
    assert shop.run() is Outcome.SKIPPED
    assert (shop.loads, receipt.status()) == (1, "done")


def test_busy_duplicates_do_not_count_as_deliveries_that_killed_their_worker(shop: Shop) -> None:
    price = shop.job(lease=20)
    price.refresh(1)
    payload = shop.queue.take()
    inner: list[Outcome] = []

    def answer(item: int) -> str:
        if not inner:
            inner.extend(shop.app.run(payload) for _ in range(20))
            raise ConnectionError("once more")
        return "loaded"

    shop.answer = answer
    assert shop.app.run(payload) is Outcome.RETRIED
    assert set(inner) == {Outcome.DEFERRED}
    assert shop.app.dead.list() == []


def test_a_task_whose_deliveries_never_end_is_dead_and_no_late_copy_starts_it_again(shop: Shop) -> None:
    price = shop.job(lease=0.2)
    price.refresh(1)
    payload = shop.queue.take()
    for _ in range(DELIVERIES):
        die_in_the_load(shop.app, payload)
    while (outcome := shop.app.run(payload)) is Outcome.DEFERRED:  # the last load may still be alive
        assert shop.app.dead.list() == []
    assert outcome is Outcome.DEAD
    assert all(delay <= 0.2 for _, delay in shop.queue.sent)  # nor is its burial put off for longer
    assert "kill its worker" in shop.app.dead.list()[0].reason
    assert shop.app.run(payload) is Outcome.SKIPPED
    assert shop.loads == 0


def test_no_copy_buries_a_task_whose_last_allowed_delivery_is_alive(shop: Shop) -> None:
    price = shop.job(lease=20)
    receipt = price.refresh(1)
    payload = shop.queue.take()
    record = shop.app.runtime.record(receipt.id)
    shop.app.runtime.run([Start(record, 1, 0, DELIVERIES, 60_000) for _ in range(DELIVERIES - 1)])
    inner: list[Outcome] = []

    def answer(item: int) -> str:
        inner.append(shop.app.run(payload))
        return "loaded"

    shop.answer = answer
    assert shop.app.run(payload) is Outcome.DONE
    assert inner == [Outcome.DEFERRED]
    assert not any(isinstance(event, events.Buried) for event in shop.seen)


def die_in_the_load(app: Rewarm, payload: str) -> None:
    """A delivery up to its load, from which it never comes back; again while the lease of the last one lives."""
    while True:
        flow, answer = deliver(app.runtime, payload), None
        with contextlib.suppress(StopIteration):
            while not isinstance(request := flow.send(answer), Load):
                answer = app.runtime.run(request) if isinstance(request, list) else None
            return


def test_a_load_that_stops_its_worker_is_not_swallowed_and_leaves_its_place(shop: Shop) -> None:
    shop.answer = fails(KeyboardInterrupt())
    price = shop.job()
    price.refresh(1)
    payload = shop.queue.take()
    with pytest.raises(KeyboardInterrupt):
        shop.app.run(payload)
    assert shop.app.run(payload) is Outcome.DONE
    assert price.peek(1).value == "loaded"


# --- cancelling


def test_a_queued_task_can_be_cancelled(shop: Shop) -> None:
    price = shop.job()
    receipt = price.refresh(1)
    assert receipt.status() == "queued"
    assert receipt.cancel()
    assert receipt.status() == "cancelled"
    assert shop.run() is Outcome.SKIPPED
    assert receipt.outcome() is Outcome.SKIPPED
    assert shop.loads == 0


def test_cancelling_a_task_that_is_retried_ends_its_retries(shop: Shop) -> None:
    shop.answer = fails(ConnectionError("down"))
    receipt = shop.job().refresh(1)
    assert shop.run() is Outcome.RETRIED
    assert receipt.cancel()
    shop.app.travelled += 60
    assert shop.run() is Outcome.SKIPPED
    assert (shop.loads, receipt.status()) == (1, "cancelled")


def test_a_cancelled_task_leaves_its_place_to_the_next_one(shop: Shop) -> None:
    price = shop.job()
    first = price.refresh(1)
    first.cancel()
    second = price.refresh(1)
    assert second.id != first.id
    outcomes = [shop.app.run(payload) for payload, _ in shop.queue.sent]
    assert outcomes == [Outcome.SKIPPED, Outcome.DONE]
    assert second.status() == "done"


def test_what_has_ended_cannot_be_cancelled(shop: Shop) -> None:
    receipt = shop.job().refresh(1)
    shop.run()
    assert not receipt.cancel()
    assert receipt.status() == "done"


# --- sweeps


@pytest.fixture
def slices_of_100(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices so small that few entries make several."""
    monkeypatch.setattr("rewarm.worker.SLICE", 100)


def test_a_sweep_travels_in_slices_and_ends_as_one_task(store: MemoryStore | RedisStore) -> None:
    shop = Shop(store)
    price = shop.job()
    for item in range(1200):
        price(item)
    receipt = price.sweep()
    slices = 0
    while shop.queue.sent:
        assert shop.queue.wire()["id"] == receipt.id
        assert receipt.status() == "queued"
        assert shop.run() is Outcome.DONE
        slices += 1
    assert slices > 1
    assert receipt.outcome() is Outcome.DONE
    assert {price.peek(item).state for item in range(1200)} == {"STALE"}


def test_a_duplicated_slice_does_not_fork_the_sweep(shop: Shop, slices_of_100: None) -> None:
    price = shop.job()
    for item in range(120):
        price(item)
    price.sweep()
    payload = shop.queue.take()
    assert shop.app.run(payload) is Outcome.DONE
    follow = len(shop.queue.sent)
    assert shop.app.run(payload) is Outcome.SKIPPED
    assert len(shop.queue.sent) == follow == 1


def test_a_cancelled_sweep_goes_no_further(shop: Shop, slices_of_100: None) -> None:
    price = shop.job()
    for item in range(120):
        price(item)
    receipt = price.sweep()
    shop.run()
    assert receipt.cancel()
    assert shop.run() is Outcome.SKIPPED
    assert shop.queue.sent == []
    assert receipt.outcome() is Outcome.SKIPPED


def test_a_sweep_that_dies_midway_says_so_and_can_be_taken_up_again(shop: Shop, slices_of_100: None) -> None:
    price = shop.job()
    for item in range(120):
        price(item)
    receipt = price.sweep()
    payload = shop.queue.take()
    shop.queue.refuses = True
    assert shop.app.run(payload) is Outcome.DEAD
    assert receipt.status() == "dead"
    shop.queue.refuses = False
    shop.app.dead.retry(receipt.id)
    while shop.queue.sent:
        assert shop.run() is Outcome.DONE
    assert receipt.status() == "done"
    assert {price.peek(item).state for item in range(120)} == {"STALE"}


@pytest.mark.parametrize(
    "args",
    [{"prefix": ""}, {"prefix": "shopping:price:"}, {"prefix": "other:price:"}, {}],
    ids=["empty", "longer", "other", "none"],
)
def test_a_sweep_never_leaves_its_own_application(shop: Shop, args: dict[str, Any]) -> None:
    for name in ("other", "shopping"):
        other = Rewarm(name, store=shop.app.settings.store, adapter=Held())
        job = other.job(ttl=60, name="price")(lambda item: item)
        job(1)
        payload = {"v": 1, "id": f"x{name}", "app": "shop", "kind": "sweep", "job": "price", "args": args}
        assert shop.app.run(json.dumps(payload)) is Outcome.DEAD
        assert job.peek(1).state == "HIT"


# --- invalidations that queue more


def test_an_invalidate_task_queues_the_refreshes_it_carries(shop: Shop) -> None:
    price = shop.job()
    with shop.app.batch():
        for item in (1, 2):
            price.entry(item).invalidate(refresh=True)
    assert shop.run() is Outcome.DONE
    assert [json.loads(payload)["kind"] for payload, _ in shop.queue.sent] == ["refresh", "refresh"]
    assert [shop.app.run(payload) for payload, _ in tuple(shop.queue.sent)] == [Outcome.DONE, Outcome.DONE]
    assert {price.peek(item).state for item in (1, 2)} == {"HIT"}


def test_one_refresh_whose_arguments_no_longer_fit_keeps_no_other_from_being_queued(shop: Shop) -> None:
    price = shop.job()
    with shop.app.batch():
        for item in (1, 2, 3):
            price.entry(item).invalidate(refresh=True)
    wire = json.loads(shop.queue.take())
    wire["args"]["refresh"][1] = ["price", [2, "more than it takes"]]
    assert shop.app.run(json.dumps(wire)) is Outcome.DONE
    assert [json.loads(payload)["args"] for payload, _ in shop.queue.sent] == [[1], [3]]
    assert "not refreshed: price (ArgumentError" in shop.ended[1]
    assert shop.app.dead.list() == []


def test_a_fence_that_the_store_did_not_take_goes_up_with_the_next_delivery() -> None:
    store = Failing(MemoryStore())
    shop = Shop(store, ledger=MemoryStore())
    price = shop.job()
    price(1)
    receipt = price.entry(1).invalidate(fence="task")
    store.away = lambda steps: any(isinstance(step, Mark) for step in steps)
    assert shop.run() is Outcome.DEFERRED
    store.away = lambda steps: False
    shop.app.travelled += 60
    assert shop.run() is Outcome.DONE
    assert (price.peek(1).state, receipt.status()) == ("STALE", "done")


def test_an_invalidation_is_marked_done_only_after_the_trip_that_put_up_its_fence(shop: Shop) -> None:
    store = shop.app.runtime.store
    batches: list[list[Any]] = []
    run = store.run
    store.run = lambda steps: batches.append(list(steps)) or run(steps)  # type: ignore[method-assign,assignment,func-returns-value]
    price = shop.job()
    price.entry(1).invalidate(fence="task")
    batches.clear()
    assert shop.run() is Outcome.DONE
    kinds = [set(map(type, batch)) & {Mark, Settle} for batch in batches]
    assert [kind for kind in kinds if kind] == [{Mark}, {Settle}]


@pytest.mark.parametrize("kind", ["refresh", "invalidate", "sweep"])
def test_an_outage_of_the_store_alone_is_no_delivery_that_killed_its_worker(kind: str) -> None:
    store = Failing(MemoryStore())
    shop = Shop(store, ledger=MemoryStore())
    price = shop.job(timeout=3600)
    verbs = {"refresh": price.entry(1).refresh, "sweep": price.sweep}
    verbs.get(kind, lambda: price.entry(1).invalidate(fence="task"))()
    store.away = lambda steps: True
    for _ in range(2 * DELIVERIES):
        assert shop.run() is Outcome.DEFERRED
        shop.app.travelled += 31
    store.away = lambda steps: False
    assert shop.run() is Outcome.DONE
    assert shop.app.dead.list() == []


def test_refreshes_that_an_outage_kept_from_being_queued_are_queued_by_the_next_delivery() -> None:
    store = Failing(MemoryStore())
    shop = Shop(store, ledger=store.store)
    price = shop.job()
    with shop.app.batch():
        for item in (1, 2):
            price.entry(item).invalidate(refresh=True)
    payload = shop.queue.take()
    store.away = lambda steps: any(isinstance(step, Look) for step in steps)
    assert shop.app.run(payload) is Outcome.DEFERRED
    store.away = lambda steps: False
    shop.app.travelled += 120
    store.advance(120)
    assert shop.run() is Outcome.DONE
    assert [json.loads(payload)["kind"] for payload, _ in shop.queue.sent] == ["refresh", "refresh"]


# --- what the worker needs is away


def test_a_delivery_while_the_store_is_away_is_deferred() -> None:
    store = Failing(MemoryStore())
    shop = Shop(store, ledger=MemoryStore())
    price = shop.job()
    price.refresh(1)
    payload = shop.queue.take()
    store.away = lambda steps: True
    assert shop.app.run(payload) is Outcome.DEFERRED
    assert shop.queue.wire()["attempt"] == 1
    assert shop.queue.sent[0][1] >= 1
    store.away = lambda steps: False
    shop.app.travelled += 60
    assert shop.run() is Outcome.DONE
    assert price.peek(1).state == "HIT"


@pytest.mark.parametrize("outage", ["at the commit", "from the load on"])
def test_a_result_that_cannot_be_stored_is_loaded_again(outage: str) -> None:
    store = Failing(MemoryStore())
    shop = Shop(store, ledger=MemoryStore())
    price = shop.job(lease=1)
    price.refresh(1)
    payload = shop.queue.take()
    store.away = lambda steps: (
        shop.loads == 1 and (outage == "from the load on" or any(isinstance(step, Commit) for step in steps))
    )
    assert shop.app.run(payload) in (Outcome.RETRIED, Outcome.DEFERRED)
    store.away = lambda steps: False
    shop.app.travelled += 60
    store.advance(60)
    assert shop.run() is Outcome.DONE
    assert price.peek(1).value["load"] == 2


def test_a_follow_up_that_cannot_be_queued_is_buried(shop: Shop) -> None:
    shop.answer = fails(ConnectionError("down"))
    shop.job().refresh(1)
    payload = shop.queue.take()
    shop.queue.refuses = True
    assert shop.app.run(payload) is Outcome.DEAD
    (letter,) = shop.app.dead.list()
    assert "could not be queued" in letter.reason


def test_only_a_follow_up_that_can_be_neither_queued_nor_buried_keeps_the_message() -> None:
    ledger = MemoryStore()
    shop = Shop(Failing(MemoryStore()), ledger=ledger)
    shop.answer = fails(ConnectionError("down"))
    shop.job().refresh(1)
    payload = shop.queue.take()
    shop.queue.refuses = True
    away = MemoryStoreAway()
    ledger.run = away.run  # type: ignore[method-assign]
    with not_acknowledged():
        shop.app.run(payload)
    with not_acknowledged():
        shop.queue.deliver(payload)


def test_a_redis_that_was_stopped_defers_and_comes_back(private_server: Callable[..., Server]) -> None:
    server = private_server()
    shop = Shop(RedisStore(f"{server.url}?socket_connect_timeout=2"))
    price = shop.job()
    price.refresh(1)
    payload = shop.queue.take()
    server.kill()
    assert shop.app.run(payload) is Outcome.DEFERRED
    follow = shop.queue.take()
    shop.queue.refuses = True
    with not_acknowledged():
        shop.app.run(payload)
    shop.queue.refuses = False
    server.restart()
    shop.app.travelled += 60
    assert shop.app.run(follow) is Outcome.SKIPPED  # the place was lost with the server's memory
    price.refresh(1)
    assert shop.run() is Outcome.DONE
    shop.app.close()


# --- what the queue is told


def test_deliver_shows_a_dead_task_as_failed_and_acknowledges_all_else(shop: Shop) -> None:
    shop.answer = fails(ValueError("bad"), ConnectionError("down"))
    price = shop.job()
    price.refresh(1)
    with pytest.raises(TaskDead):
        shop.queue.deliver(shop.queue.take())
    price.refresh(1)
    shop.queue.deliver(shop.queue.take())
    shop.app.travelled += 60
    shop.queue.deliver(shop.queue.take())
    shop.queue.deliver('{"v":1,"id":"z","app":"shop","kind":"invalidate","args":{}}')


def test_several_apps_share_one_entry() -> None:
    queue, loaded = Held(), []
    apps = [Rewarm(name, adapter=queue, store=MemoryStore()) for name in ("one", "two")]
    for app in apps:
        app.job(ttl=60, name="job")(lambda app=app.name: loaded.append(app)).refresh()
    for payload, _ in reversed(queue.sent):
        queue.deliver(payload)
    assert loaded == ["two", "one"]


def test_a_payload_for_nobody_here_is_kept_for_the_next_release() -> None:
    shop = Shop(MemoryStore())
    shop.queue.deliver('{"v":1,"id":"z","app":"elsewhere","kind":"invalidate","args":{}}')
    assert shop.queue.wire()["attempt"] == 2


def test_a_worker_without_any_application_says_what_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewarm.adapter.process_apps", ProcessTable())  # other tests leave theirs
    with pytest.raises(ConfigurationError, match="REWARM_APP"):
        Held().deliver("{}")


# --- signatures


KEYS = ["n" * 32, "o" * 32]


def test_a_worker_runs_what_any_of_its_keys_signed(store: MemoryStore | RedisStore) -> None:
    old = Shop(store, signing_keys=KEYS[1:])
    old.job()
    new = Shop(store, signing_keys=KEYS)
    new.job().refresh(1)
    with pytest.raises(TaskDead):
        old.queue.deliver(new.queue.take())
    old.app.dead.purge()
    old.app.jobs["price"].refresh(2)  # type: ignore[call-arg]
    assert new.app.run(old.queue.take()) is Outcome.DONE


def test_an_unsigned_or_changed_payload_is_dead_and_runs_nothing(store: MemoryStore | RedisStore) -> None:
    shop = Shop(store, signing_keys=KEYS)
    shop.job().refresh(1)
    wire = json.loads(shop.queue.take())
    for bad in ({**wire, "args": [2]}, {**wire, "sig": "v1,AAAA"}, {k: v for k, v in wire.items() if k != "sig"}):
        assert shop.app.run(json.dumps(bad)) is Outcome.DEAD
    assert shop.loads == 0
    assert all("signature" in letter.reason for letter in shop.app.dead.list())
    assert shop.app.run(json.dumps(wire)) is Outcome.DONE


def test_retries_and_dead_letters_stay_signed(store: MemoryStore | RedisStore) -> None:
    shop = Shop(store, signing_keys=KEYS)
    shop.answer = fails(ConnectionError("down"), ValueError("bad"))
    shop.job().refresh(1)
    assert shop.run() is Outcome.RETRIED
    shop.app.travelled += 60
    assert shop.run() is Outcome.DEAD
    (letter,) = shop.app.dead.list()
    shop.app.dead.retry(letter.id)
    assert shop.run() is Outcome.DONE


# --- loads and the fence


def test_a_load_that_an_invalidation_overtook_is_not_stored_as_fresh(shop: Shop) -> None:
    price = shop.job()
    versions = iter([1, 2])

    def answer(item: int) -> int:
        version = next(versions)
        if version == 1:
            price.invalidate(1)
        return version

    shop.answer = answer
    price.refresh(1)
    assert shop.run() is Outcome.DONE
    assert (price.peek(1).state, price.peek(1).value) == ("HIT", 2)


def test_a_tag_that_is_invalidated_while_the_load_runs_makes_its_value_stale(shop: Shop) -> None:
    price = shop.job(tags=["item:{item}"])

    def answer(item: int) -> str:
        shop.app.invalidate(tags=["item:1"])
        return "old"

    shop.answer = answer
    price.refresh(1)
    assert shop.run() is Outcome.DONE
    assert price.peek(1).state == "STALE"


def test_two_workers_with_one_task_load_once(shop: Shop) -> None:
    price = shop.job(lease=20)
    price.refresh(1)
    payload = shop.queue.take()
    started, go = threading.Event(), threading.Event()

    def answer(item: int) -> str:
        started.set()
        go.wait(20)
        return "loaded"

    shop.answer = answer
    outcomes: list[Outcome] = []
    first = threading.Thread(target=lambda: outcomes.append(shop.app.run(payload)))
    first.start()
    assert started.wait(20)
    assert shop.app.run(payload) is Outcome.DEFERRED
    go.set()
    first.join(20)
    assert (outcomes, shop.loads) == ([Outcome.DONE], 1)


def test_a_value_that_cannot_be_stored_kills_the_task_with_its_reason(shop: Shop) -> None:
    shop.answer = lambda item: object()
    shop.job().refresh(1)
    assert shop.run() is Outcome.DEAD
    assert "SerializeError" in shop.app.dead.list()[0].errors[-1]


def test_the_ledger_may_be_elsewhere(store: MemoryStore | RedisStore) -> None:
    ledger = MemoryStore()
    shop = Shop(store, ledger=ledger)
    shop.answer = fails(ValueError("bad"))
    receipt = shop.job().refresh(1)
    assert shop.run() is Outcome.DEAD
    assert len(shop.app.dead.list()) == 1
    assert shop.app.runtime.ledger is ledger
    assert receipt.status() == "dead"
    ledger.run([Settle(shop.app.runtime.record(receipt.id), "done", "", 60_000)])
    assert receipt.status() == "done"
