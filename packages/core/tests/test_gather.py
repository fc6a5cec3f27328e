"""One path for all that is sent: what a batch holds back, and what a refused queue means for each kind of call."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from rewarm import ConfigurationError, EnqueueError, Outcome, Retry, Rewarm, Route, StoreError
from rewarm.events import TaskEnded
from rewarm.gather import LIMIT
from rewarm.steps import Commit
from rewarm.stores import MemoryStore
from rewarm.testing import capture, drain, inline


class Deaf:
    """Makes the captured queue refuse everything."""

    def __init__(self, app: Rewarm) -> None:
        def refuse(*args: Any, **kwargs: Any) -> str:
            raise OSError("no broker")

        app.runtime.adapter.enqueue = refuse  # type: ignore[method-assign]


@pytest.fixture
def app() -> Iterator[Rewarm]:
    app = Rewarm("gather")
    app.job(ttl=60, name="price")(lambda n: n)
    yield app
    app.close()


def fails_in_a_batch(app: Rewarm) -> None:
    price = app.jobs["price"]
    with app.batch():
        price.sweep(1)
        price.refresh(2)
        price.entry(3).refresh(delay=5, route=Route("low"))
        price.entry(1).invalidate(refresh=True)
        raise KeyError


def refreshes_in_a_batch(app: Rewarm, many: int) -> None:
    with app.batch():
        for n in range(many):
            app.jobs["price"].refresh(n)


def test_a_batch_that_raises_sends_nothing_of_any_kind(app: Rewarm) -> None:
    price = app.jobs["price"]
    with capture(app) as tasks:
        price(1)
        with pytest.raises(KeyError):
            fails_in_a_batch(app)
        assert tasks == []
        assert price.read(1).state == "HIT"


def test_a_batch_sends_sweeps_and_delayed_refreshes_at_its_end(app: Rewarm) -> None:
    price = app.jobs["price"]
    with capture(app) as tasks:
        with app.batch():
            swept = price.sweep(1)
            late = price.entry(3).refresh(delay=5, route=Route("low"))
            assert tasks == []
        assert sorted((task.kind, task.queue, round(task.delay)) for task in tasks) == [
            ("refresh", "low", 5), ("sweep", None, 0),
        ]  # fmt: skip
        drain(app)
        assert (swept.outcome(), late.outcome()) == (Outcome.DONE, Outcome.DONE)


@pytest.mark.parametrize("many", [1, 2])
def test_a_refresh_in_a_batch_raises_where_the_queue_refuses(app: Rewarm, many: int) -> None:
    with capture(app):
        Deaf(app)
        with pytest.raises(EnqueueError):
            refreshes_in_a_batch(app, many)


def test_a_fenced_invalidation_in_a_batch_does_not(app: Rewarm) -> None:
    price = app.jobs["price"]
    with capture(app):
        price(1), price(2)
        Deaf(app)
        with app.batch():
            receipts = [price.entry(n).invalidate(refresh=True) for n in (1, 2)]
        assert [price.peek(n).state for n in (1, 2)] == ["STALE", "STALE"]
        assert {receipt.status() for receipt in receipts} == {"unknown"}


def test_a_refresh_for_a_job_that_this_worker_lacks_costs_the_others_nothing(app: Rewarm) -> None:
    price, ended = app.jobs["price"], []
    app.listen(lambda event: ended.append(event) if isinstance(event, TaskEnded) else None)
    with capture(app) as tasks:
        with app.batch():
            price.refresh(1)
            price.refresh(2)
        payload = tasks.payloads.pop().replace('["price",[1]]', '["gone",[1]]')
        assert app.run(payload) == Outcome.DONE
        assert "gone" in ended[-1].reason
        assert [task.key for task in tasks if task.kind == "refresh"] == [price.key(2)]


def test_a_dead_refresh_that_is_tried_again_keeps_its_id(app: Rewarm) -> None:
    sick = [True]

    @app.job(ttl=60, name="sick")
    def load() -> int:
        if sick:
            raise ValueError
        return 1

    with capture(app) as tasks:
        receipt = load.refresh()
        drain(app)
        assert receipt.outcome() == Outcome.DEAD
        sick.clear()
        again = app.dead.retry(receipt.id)
        assert again.id == receipt.id == tasks[-1].id
        drain(app)
        assert again.outcome() == Outcome.DONE
        assert load.read().state == "HIT"


def test_a_store_that_does_not_take_the_value_costs_no_attempt(app: Rewarm, monkeypatch: pytest.MonkeyPatch) -> None:
    job = app.job(ttl=60, name="once", retry=Retry(attempts=1, on=()))(lambda: 1)
    run, away = MemoryStore.run, [True]

    def fails(self: MemoryStore, steps: Any) -> list[Any]:
        if away and any(isinstance(step, Commit) for step in steps):
            away.clear()
            raise StoreError("away")
        return run(self, steps)

    monkeypatch.setattr(MemoryStore, "run", fails)
    with capture(app) as tasks:
        receipt = job.refresh()
        drain(app)
        assert {task.attempt for task in tasks} == {1}
        assert receipt.outcome() == Outcome.DONE


def test_a_store_that_cannot_be_opened_is_named_without_its_password() -> None:
    app = Rewarm("named", store="ftp://me:secret@host/0")
    app.job(ttl=1, name="n")(lambda: 1)
    with pytest.raises(ConfigurationError, match=r"ftp://\*\*\*@host") as caught:
        app.jobs["n"]()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "valkey", "redis+sentinel", "redis+cluster"])
@pytest.mark.parametrize("unescaped", "/?#")
def test_a_password_that_is_not_escaped_is_told_so_and_not_shown(scheme: str, unescaped: str) -> None:
    app = Rewarm("named", store=f"{scheme}://:one{unescaped}two@host:6379/0")
    app.job(ttl=1, name="n")(lambda: 1)
    with pytest.raises(ConfigurationError, match=r"'\w.*://\*\*\*@host:6379/0'.*must be escaped: %2F") as caught:
        app.jobs["n"]()
    told = "".join(traceback.format_exception(caught.value))
    assert f"one{unescaped}" not in told
    assert "two@" not in told


@pytest.mark.parametrize("url", ["redis:/:s3cret@host/0", "redis://host/0?password=s3cret&colour=red"])
def test_a_store_that_is_none_is_shown_without_its_password(url: str) -> None:
    app = Rewarm("named", store=url)
    app.job(ttl=1, name="n")(lambda: 1)
    with pytest.raises(ConfigurationError, match=r"store='.*\*\*\*") as caught:
        app.jobs["n"]()
    assert "s3cret" not in str(caught.value)


def test_eager_batches_run_at_their_end(app: Rewarm) -> None:
    price = app.jobs["price"]
    with inline(app):
        with app.batch():
            price.refresh(1)
            price.refresh(2)
            assert price.peek(1) is None
        assert [price.peek(n).state for n in (1, 2)] == ["HIT", "HIT"]


def test_a_receipt_of_what_was_split_is_done_when_all_parts_are(app: Rewarm) -> None:
    with capture(app) as tasks:
        receipt = app.invalidate(tags=[f"tag {n}" for n in range(LIMIT + 1)], fence="task")
        first, last = tasks.payloads
        assert receipt.id == tasks[0].id
        app.run(last)
        assert receipt.status() == "queued"
        app.run(first)
        assert receipt.status() == "done"


def test_a_receipt_of_what_was_split_cancels_all_parts(app: Rewarm) -> None:
    with capture(app) as tasks:
        receipt = app.invalidate(tags=[f"tag {n}" for n in range(LIMIT + 1)], fence="task")
        assert receipt.cancel()
        assert {app.run(payload) for payload in tasks.payloads} == {Outcome.SKIPPED}
        assert receipt.status() == "cancelled"


@pytest.mark.parametrize("fence", ["now", "task"])
def test_what_is_too_much_for_one_payload_is_split(app: Rewarm, fence: Any) -> None:
    with capture(app) as tasks:
        job = app.job(name="long", ttl=60)(len)
        texts = [f"{number}" * 1000 for number in range(100, 300)]
        with app.batch():
            receipts = [job.entry(text).invalidate(refresh=True, fence=fence) for text in texts]
            receipts += [job.refresh(texts[0]), job.refresh(texts[0])]
        assert len(tasks) > 2
        assert drain(app) >= len(tasks)
        assert {receipt.status() for receipt in receipts} == {"done"}
        assert all(job.peek(text).state == "HIT" for text in texts)
