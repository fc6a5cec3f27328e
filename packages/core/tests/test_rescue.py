"""Rescue: what a queue has lost runs all the same, and nothing runs that nobody needs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from unittest import mock

import pytest
from click.testing import CliRunner

from rewarm import Adapter, Capability, EnqueueError, Outcome, Retry, Rewarm, Route, StoreError, events
from rewarm.cli.command import rewarm
from rewarm.cli.server import Server
from rewarm.rescue import SLICE
from rewarm.sending import JOURNALED
from rewarm.stores import MemoryStore
from rewarm.stores.base import Backlog, Enter
from rewarm.stores.redis import RedisStore

PATIENCE = 0.05


class Lossy(Adapter):
    """Holds what it is given; `loses` it all the same, or `refuses` it."""

    name: ClassVar[str] = "lossy"
    in_process = True

    def __init__(self, *capabilities: Capability) -> None:
        self.capabilities = frozenset(capabilities)
        self.sent: list[tuple[str, float]] = []
        self.loses = self.refuses = False

    def install(self) -> None: ...

    def enqueue(self, payload: str, *, route: Route, delay: float) -> None:
        if self.refuses:
            raise OSError("the broker is away")
        if not self.loses:
            self.sent.append((payload, delay))

    def take(self) -> str:
        ((payload, _),) = self.sent
        self.sent.clear()
        return payload


class Shop:
    """An application with one job on a lossy queue, whose tasks are rescued."""

    def __init__(self, store: Any, *capabilities: Capability, rescue: float | None = PATIENCE, **settings: Any) -> None:
        self.queue = Lossy(*capabilities)
        self.app = Rewarm("shop", store=store, adapter=self.queue, rescue=rescue, **settings)
        self.seen: list[events.Event] = []
        self.app.listen(self.seen.append)
        self.loads = 0
        self.error: Exception | None = None

    def job(self, **policies: Any) -> Any:
        @self.app.job(name="price", **{"ttl": 60, **policies})
        def price(item: int) -> int:
            self.loads += 1
            if self.error:
                raise self.error
            return self.loads

        return price

    def rescue(self) -> int:
        """After the patience is over, whatever it is."""
        time.sleep(1.5 * PATIENCE)
        return self.app.rescue()

    @property
    def backlog(self) -> int:
        count: int = self.app.runtime.ledger.run([Backlog(self.app.runtime.journal)])[0]
        return count


@pytest.fixture
def shop(store: MemoryStore | RedisStore) -> Iterator[Shop]:
    made = Shop(store, Capability.DELAY)
    yield made
    made.app.close()


def test_a_lost_refresh_is_sent_again_and_only_once_by_several_rescuers(shop: Shop) -> None:
    price = shop.job()
    shop.queue.loses = True
    receipt = price.refresh(1)
    assert (shop.app.rescue(), shop.backlog) == (0, 1), "it is not overdue yet"
    shop.queue.loses = False
    time.sleep(1.5 * PATIENCE)
    counts: list[int] = []
    rescuers = [threading.Thread(target=lambda: counts.append(shop.app.rescue())) for _ in range(4)]
    for thread in rescuers:
        thread.start()
    for thread in rescuers:
        thread.join()
    assert sorted(counts) == [0, 0, 0, 1]
    assert shop.app.run(shop.queue.take()) is Outcome.DONE
    assert (receipt.outcome(), price.peek(1).value, shop.backlog) == (Outcome.DONE, 1, 0)
    assert [event.task.id for event in shop.seen if isinstance(event, events.Rescued)] == [receipt.id]


@pytest.mark.parametrize("lost", ["the fence", "a sweep"])
def test_a_lost_fence_or_sweep_is_sent_again(shop: Shop, lost: str) -> None:
    price = shop.job()
    price(1)
    shop.queue.loses = True
    if lost == "the fence":
        price.entry(1).invalidate(fence="task")
    else:
        price.sweep()
    shop.queue.loses = False
    assert shop.rescue() == 1
    while shop.queue.sent:  # a sweep of a cluster has a slice for each primary
        assert shop.app.run(shop.queue.take()) is Outcome.DONE
    assert (price.peek(1).state, shop.backlog) == ("STALE", 0)


def test_each_slice_of_a_sweep_is_journaled(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewarm.worker.SLICE", 10)
    price = shop.job()
    for item in range(25):
        price(item)
    receipt = price.sweep()
    while receipt.status() != "done":
        shop.queue.loses = True
        payload = shop.queue.take()
        shop.app.run(payload)  # the next slice is lost
        shop.queue.loses = False
        shop.rescue()
    assert {price.peek(item).state for item in range(25)} == {"STALE"}
    assert shop.backlog == 0


def test_what_has_ended_in_any_way_is_not_sent_again(shop: Shop) -> None:
    price = shop.job()
    done, cancelled, dead = price.refresh(1), price.refresh(2), price.refresh(3)
    payloads = [payload for payload, _ in shop.queue.sent]
    shop.queue.sent.clear()
    assert shop.app.run(payloads[0]) is Outcome.DONE
    cancelled.cancel()
    shop.error = ValueError("bad")
    assert shop.app.run(payloads[2]) is Outcome.DEAD
    assert (shop.rescue(), shop.backlog, shop.queue.sent) == (0, 0, [])
    assert [one.status() for one in (done, cancelled, dead)] == ["done", "cancelled", "dead"]


@pytest.mark.parametrize("event", ["deleted", "reloaded", "loaded by a reader"])
def test_a_refresh_whose_place_is_gone_is_struck(shop: Shop, event: str) -> None:
    price = shop.job()
    price.refresh(1)
    if event == "deleted":
        price.delete(1)
    elif event == "reloaded":
        price.reload(1)
    else:
        price(1)
    assert (shop.rescue(), shop.backlog) == (0, 0)


def test_an_invalidated_value_is_still_refreshed(shop: Shop) -> None:
    price = shop.job()
    price(1)
    price.invalidate(1)
    shop.queue.loses = True
    assert price.read(1).refreshing
    price.invalidate(1)
    shop.queue.loses = False
    assert shop.rescue() == 1
    assert shop.app.run(shop.queue.take()) is Outcome.DONE
    assert price.peek(1).state == "HIT"


def test_a_refresh_that_is_running_is_left_alone(shop: Shop) -> None:
    price = shop.job()
    counts: list[int] = []
    shop.app.job(name="slow", ttl=60)(lambda: counts.append(shop.rescue())).refresh()
    assert shop.app.run(shop.queue.take()) is Outcome.DONE
    assert (counts, shop.queue.sent, price) == ([0], [], price)


def test_a_refresh_that_came_too_late_is_given_up(shop: Shop) -> None:
    price = shop.job(timeout=0.01)
    price.refresh(1)
    shop.queue.sent.clear()
    assert (shop.rescue(), shop.backlog) == (0, 0)
    price.refresh(1)
    assert len(shop.queue.sent) == 1, "nobody holds its place"


def test_the_rescued_and_the_original_run_once(shop: Shop) -> None:
    price = shop.job()
    price.refresh(1)
    first = shop.queue.take()
    assert shop.rescue() == 1
    assert [shop.app.run(shop.queue.take()), shop.app.run(first)] == [Outcome.DONE, Outcome.SKIPPED]
    assert shop.loads == 1


def test_a_retry_keeps_its_attempt_in_the_journal(shop: Shop) -> None:
    price = shop.job(retry=Retry(floor=0, cap=0.01, attempts=2))
    price.refresh(1)
    shop.error = ConnectionError("down")
    first, shop.queue.loses = shop.queue.take(), True
    assert shop.app.run(first) is Outcome.RETRIED
    shop.queue.loses = False
    assert shop.rescue() == 1
    payload = shop.queue.take()
    assert json.loads(payload)["attempt"] == 2
    assert shop.app.run(payload) is Outcome.DEAD
    assert shop.backlog == 0


def test_where_the_queue_cannot_delay_the_journal_does(store: MemoryStore | RedisStore) -> None:
    shop = Shop(store)
    price = shop.job(retry=Retry(floor=0.2, cap=0.2))
    assert shop.app.capabilities == {Capability.DELAY, Capability.REDELIVERY}
    price.refresh(1)
    shop.error = ConnectionError("down")
    assert shop.app.run(shop.queue.take()) is Outcome.RETRIED
    failed = time.monotonic()
    assert (shop.app.rescue(), shop.queue.sent) == (0, []), "it must not run early"
    shop.error = None
    while not shop.app.rescue():
        assert time.monotonic() < failed + 5
        time.sleep(0.01)
    assert time.monotonic() - failed > 0.18
    assert shop.app.run(shop.queue.take()) is Outcome.DONE
    shop.app.close()


def test_a_queue_that_refuses_is_said_and_leaves_nothing_behind(shop: Shop) -> None:
    price = shop.job()
    shop.queue.refuses = True
    with pytest.raises(EnqueueError, match="the broker is away"):
        price.refresh(1)
    assert shop.backlog == 0


def test_a_full_journal_refuses(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewarm.sending.JOURNALED", 2)
    price = shop.job()
    price.refresh(1), price.refresh(2)
    with pytest.raises(EnqueueError, match="the journal is full: 2 tasks have not ended"):
        price.refresh(3)
    assert len(shop.queue.sent) == 2
    assert JOURNALED == 100_000


def test_a_journal_that_cannot_be_written_refuses_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(MemoryStore(), Capability.DELAY)
    price, run = shop.job(), shop.app.runtime.ledger.run

    def away(steps: Any) -> Any:
        if any(isinstance(step, Enter) for step in steps):
            raise StoreError("away")
        return run(steps)

    monkeypatch.setattr(shop.app.runtime.ledger, "run", away)
    with pytest.raises(EnqueueError, match="away"):
        price.refresh(1)
    assert shop.queue.sent == []


def test_an_unreadable_entry_of_the_journal_is_buried(shop: Shop) -> None:
    runtime = shop.app.runtime
    runtime.ledger.run([Enter(runtime.journal, "x", "nonsense", 1, 9)])
    assert (shop.rescue(), shop.backlog) == (0, 0)
    assert [letter.payload for letter in shop.app.dead.list()] == ["nonsense"]


def test_a_payload_that_is_gone_from_the_journal_keeps_no_other_from_rescue(valkey: Server) -> None:
    shop = Shop(RedisStore(valkey.url), Capability.DELAY)
    valkey.call("FLUSHALL")
    price = shop.job()
    shop.queue.loses = True
    lost = [price.refresh(item) for item in (1, 2)]
    shop.queue.loses = False
    valkey.call(f"HDEL {shop.app.runtime.journal} {lost[0].id}")
    assert (shop.rescue(), shop.backlog) == (1, 1)
    assert json.loads(shop.queue.take())["id"] == lost[1].id
    shop.app.close()


def test_many_are_rescued_in_slices(store: MemoryStore | RedisStore) -> None:
    shop = Shop(store, Capability.DELAY)
    price = shop.job()
    shop.queue.loses = True
    for item in range(SLICE + 5):
        price.refresh(item)
    shop.queue.loses = False
    time.sleep(1.5 * PATIENCE)
    shop.app.runtime.patience = 600_000  # none of them is overdue twice
    assert shop.app.rescue() == SLICE + 5
    assert len(shop.queue.sent) == SLICE + 5
    shop.app.close()


def test_without_the_setting_nothing_is_journaled(store: MemoryStore | RedisStore) -> None:
    shop = Shop(store, Capability.DELAY, rescue=None)
    shop.job().refresh(1)
    assert (shop.backlog, shop.app.rescue()) == (0, 0)
    assert shop.app.capabilities == {Capability.DELAY}
    shop.app.close()


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("error", [StoreError("away"), MemoryError("not now")])
def test_a_worker_rescues_from_its_start_and_after_an_outage(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    price = shop.job()
    shop.queue.loses = True
    price.refresh(1)
    shop.queue.loses, run = False, shop.app.runtime.ledger.run
    fails = mock.Mock(side_effect=error)
    monkeypatch.setattr(shop.app.runtime.ledger, "run", fails)
    monkeypatch.setattr(shop.app.runtime.store, "run", fails)
    shop.queue.attend()  # as the queue's own hook does
    _until(lambda: any(isinstance(event, events.RescueFailed) for event in shop.seen))
    monkeypatch.setattr(shop.app.runtime.ledger, "run", run)
    monkeypatch.setattr(shop.app.runtime.store, "run", run)
    _until(lambda: bool(shop.queue.sent))
    assert [thread.name for thread in threading.enumerate()].count("rewarm-rescue") == 1
    shop.app.close()
    _until(lambda: "rewarm-rescue" not in [thread.name for thread in threading.enumerate()])


def test_a_stray_of_another_application_leaves_nothing_in_this_journal(shop: Shop) -> None:
    other = Rewarm("other", store=MemoryStore(), adapter=Lossy())
    other.invalidate(tags=["all"], fence="task")
    stray = other.settings.adapter.take()  # type: ignore[attr-defined]
    assert shop.app.run(stray) is Outcome.RETRIED
    _until(lambda: bool(shop.queue.sent) or not shop.app.rescue())
    (again,) = [json.loads(payload)["app"] for payload, _ in shop.queue.sent]
    assert (again, shop.app.runtime.run([Backlog(shop.app.runtime.journal)])) == ("other", [0])
    assert shop.app.dead.list() == []


def test_a_delivery_starts_the_rescue_of_its_application(shop: Shop) -> None:
    price = shop.job()
    price.refresh(1)
    payload, shop.queue.loses = shop.queue.take(), True
    price.refresh(2)
    shop.queue.loses = False
    shop.queue.deliver(payload)
    _until(lambda: bool(shop.queue.sent))


def test_the_command_rescues_once_or_again_and_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewarm.cli.apps.named_apps", lambda paths: [shop.app])
    shop.queue.loses = True
    shop.job().refresh(1)
    shop.queue.loses = False
    time.sleep(1.5 * PATIENCE)
    ran = CliRunner().invoke(rewarm, ["--app", "shop:app", "rescue"])
    assert (ran.output, ran.exit_code) == ("shop: 1 sent again\n", 0)

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rewarm.cli.rescue.time.sleep", stop)
    assert CliRunner().invoke(rewarm, ["--app", "shop:app", "rescue", "--every", "1"]).exit_code == 1  # "Aborted!"
    monkeypatch.setattr("rewarm.cli.apps.named_apps", lambda paths: [Rewarm("plain")])
    ran = CliRunner().invoke(rewarm, ["--app", "shop:app", "rescue"])
    assert (ran.exit_code, "plain needs Rewarm(rescue=seconds)" in ran.output) == (2, True)
