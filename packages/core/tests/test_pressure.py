"""What a sick source, a slow queue and a hostile payload may cost: bounded, and said."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from rewarm import (
    Adapter,
    ArgumentError,
    Breaker,
    Capability,
    ConfigurationError,
    Outcome,
    Retry,
    Rewarm,
    Route,
    State,
    StoreError,
    Throttled,
    events,
)
from rewarm.redact import redact
from rewarm.stores import MemoryStore
from rewarm.stores.redis import RedisStore
from rewarm.task import DEEPEST, LONGEST
from rewarm.testing import CaptureAdapter, capture, drain, inline, travel


class Source:
    """Counts its loads. `error`: what it raises."""

    def __init__(self) -> None:
        self.loads = 0
        self.error: BaseException | None = None

    def __call__(self, n: int = 0) -> int:
        self.loads += 1
        if self.error is not None:
            raise self.error
        return self.loads


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def app(store: MemoryStore | RedisStore) -> Iterator[Rewarm]:
    with Rewarm("shop", store=store, adapter="inline") as found:
        yield found


def make(app: Rewarm, source: Source, **policies: Any) -> Any:
    return app.job(name="job", **{"ttl": 60, **policies})(source)


# --- throttle: a failing source is not asked by every reader


def test_readers_with_a_spare_value_leave_a_source_alone_that_has_just_failed(source: Source) -> None:
    app = Rewarm("shop")
    with capture(app):
        job = make(app, source, ttl=10, stale_while_revalidate=0, stale_if_error=1000, throttle=30)
        job()
        source.error = LookupError("down")
        travel(app, 20)
        first, second = job.read(), job.read()
        assert (first.value, first.state, first.error) == (1, State.STALE, source.error)
        assert (second.value, second.state, type(second.error)) == (1, State.STALE, Throttled)
        assert 29 < second.error.retry_after <= 30
        assert source.loads == 2
        travel(app, 31)
        job.read()
        assert source.loads == 3


def test_a_reader_without_any_value_asks_all_the_same(app: Rewarm, source: Source) -> None:
    job = make(app, source, throttle=30)
    source.error = LookupError("down")
    for loads in (1, 2):
        with pytest.raises(LookupError):
            job()
        assert source.loads == loads
    source.error = None
    assert job() == 3


def test_a_failed_refresh_is_not_queued_again_by_the_next_reader(source: Source) -> None:
    app = Rewarm("shop")
    with capture(app) as tasks:
        job = make(app, source, throttle=30)
        job()
        job.invalidate()
        source.error = LookupError("down")
        assert job.read().refreshing
        drain(app)
        for _ in range(3):
            read = job.read()
            assert (read.value, read.state, read.refreshing) == (1, State.STALE, False)
        assert tasks == [] or not tasks.payloads
        travel(app, 31)
        assert job.read().refreshing


def test_an_invalidation_ends_the_rest(source: Source) -> None:
    app = Rewarm("shop")
    with capture(app):
        job = make(app, source, throttle=30)
        job()
        job.invalidate()
        source.error = LookupError("down")
        job.read()
        drain(app)
        assert not job.read().refreshing
        job.invalidate()
        assert job.read().refreshing


def test_a_job_that_queues_on_a_miss_does_not_queue_while_its_source_rests(source: Source) -> None:
    app = Rewarm("shop")
    with capture(app) as tasks:
        job = make(app, source, on_miss="queue", empty=-1, throttle=30)
        source.error = LookupError("down")
        assert job() == -1
        drain(app)
        assert (job(), len(tasks.payloads)) == (-1, 0)
        travel(app, 31)
        assert (job(), len(tasks.payloads)) == (-1, 1)


# --- rate and breaker


def test_a_rate_holds_for_all_arguments_and_processes(store: MemoryStore | RedisStore, source: Source) -> None:
    with Rewarm("shop", store=store) as one, Rewarm("shop", store=store) as two:
        jobs = [make(app, source, rate=0.1) for app in (one, two)]
        assert jobs[0](1) == 1
        for job in jobs:
            with pytest.raises(
                Throttled, match=r"the source of job is not asked now: try again in \d+\.\d s"
            ) as caught:
                job(2)
            assert 0 < caught.value.retry_after <= 10
        assert (source.loads, jobs[1](1)) == (1, 1)


def test_a_breaker_opens_after_failures_in_a_row_and_closes_after_a_success(app: Rewarm, source: Source) -> None:
    seen: list[events.Event] = []
    app.listen(seen.append)
    job = make(app, source, breaker=Breaker(failures=3, pause=2))
    source.error = LookupError("down")
    for n in range(3):
        with pytest.raises(LookupError):
            job(n)
    for n in range(3, 6):
        with pytest.raises(Throttled):
            job(n)
    assert source.loads == 3
    assert [event.job for event in seen if isinstance(event, events.Tripped)] == ["job"]
    source.error = None
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            job(7)
            break
        except Throttled as refusal:
            time.sleep(refusal.retry_after)
    assert [job(n) for n in (8, 9)] == [5, 6]


def test_an_open_breaker_costs_a_task_no_attempt_and_spares_the_source(source: Source) -> None:
    app = Rewarm("shop")
    with capture(app) as tasks:
        job = make(app, source, breaker=Breaker(failures=2, pause=60), retry=Retry(attempts=2, on=LookupError))
        source.error = LookupError("down")
        for n in range(2):
            with pytest.raises(LookupError):
                job(n)
        job.refresh(5)
        assert app.run(tasks.payloads.pop(0)) is Outcome.DEFERRED
        assert source.loads == 2
        assert (tasks[-1].attempt, 0 < tasks[-1].delay <= 120) == (1, True)
        source.error = None
        drain(app)
        assert job.read(5).state == "HIT"


class Away(MemoryStore):
    """A ledger that does not answer."""

    def run(self, steps: Any) -> list[Any]:
        raise StoreError("the ledger is away")


@pytest.mark.parametrize("fails", [False, True])
def test_a_ledger_that_is_away_neither_forbids_a_load_nor_costs_its_value(source: Source, fails: bool) -> None:
    app = Rewarm("shop", ledger=Away(), adapter="inline")
    job = make(app, source, rate=0.001, breaker=Breaker(failures=1))
    source.error = LookupError("down") if fails else None
    for n in range(2):
        if fails:
            with pytest.raises(LookupError):
                job(n)
        else:
            assert job(n) == n + 1
            assert asyncio.run(job.aget(n)) == n + 1
    if not fails:
        assert asyncio.run(job.aget(9)) == 3


def test_eager_mode_raises_what_a_breaker_refuses(source: Source) -> None:
    app = Rewarm("shop")
    with inline(app):
        job = make(app, source, rate=0.001)
        job(1)
        with pytest.raises(Exception, match="is dead"):
            job.refresh(2)


@pytest.mark.parametrize("policy", [{"rate": 0}, {"rate": -1}, {"breaker": 5}, {"throttle": -1}])
def test_bad_policies_are_refused_at_decoration(app: Rewarm, source: Source, policy: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"job 'job': {next(iter(policy))} is"):
        make(app, source, **policy)


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"failures": 1.5}, {"pause": 0}])
def test_bad_breakers_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"Breaker\({next(iter(wrong))}="):
        Breaker(**wrong)


# --- queues that cannot delay


class Queue(Adapter):
    """Holds what it is given."""

    name: ClassVar[str] = "held"
    in_process = True

    def __init__(self, *capabilities: Capability) -> None:
        self.capabilities = frozenset(capabilities)
        self.sent: list[tuple[str, float]] = []

    def install(self) -> None: ...

    def enqueue(self, payload: str, *, route: Route, delay: float) -> None:
        self.sent.append((payload, delay))


def test_a_duplicate_on_a_queue_that_cannot_delay_goes_round_and_not_in_haste(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rewarm.worker.SPIN", 0.2)
    queue = Queue()
    app = Rewarm("shop", adapter=queue)
    again: list[Any] = []

    def load() -> str:
        began = time.monotonic()
        again.append((app.run(queue.sent[0][0]), time.monotonic() - began))
        return "loaded"

    job = app.job(name="job", ttl=60)(load)
    job.refresh()
    assert app.run(queue.sent[0][0]) is Outcome.DONE
    ((outcome, seconds),) = again
    assert (outcome, seconds >= 0.2) == (Outcome.DEFERRED, True)
    assert len(queue.sent) == 2
    assert app.run(queue.sent[1][0]) is Outcome.SKIPPED
    assert app.dead.list() == []


# --- sweeps


@pytest.mark.parametrize("delays", [True, False], ids=["queue-delays", "queue-cannot"])
def test_a_sweep_keeps_to_its_rate(monkeypatch: pytest.MonkeyPatch, delays: bool) -> None:
    monkeypatch.setattr("rewarm.worker.SLICE", 10)
    queue = Queue(*([Capability.DELAY] if delays else []))
    app = Rewarm("shop", adapter=queue, sweep_rate=100)
    job = app.job(name="job", ttl=60)(lambda n: n)
    for n in range(15):
        job(n)
    job.sweep()
    began = time.monotonic()
    assert app.run(queue.sent.pop()[0]) is Outcome.DONE
    seconds = time.monotonic() - began
    ((_, delay),) = queue.sent
    assert round(delay if delays else seconds, 1) == 0.1


@pytest.mark.parametrize("wrong", [0, -1, "fast", True])
def test_a_bad_sweep_rate_or_rescue_is_refused(wrong: Any) -> None:
    for name in ("sweep_rate", "rescue"):
        with pytest.raises(ConfigurationError, match=f"{name} is"):
            Rewarm("shop", **{name: wrong})


# --- payloads


def test_a_payload_that_is_too_large_is_refused_where_it_is_made(app: Rewarm) -> None:
    job = app.job(name="long", ttl=60)(lambda text: text)
    with pytest.raises(ArgumentError, match=r"refresh long: its payload is \d+ characters long"):
        job.refresh("x" * LONGEST)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (lambda: '{"v": 1, "id": "' + "x" * LONGEST + '"}', "characters long"),
        (lambda: '{"v": 1, "rest": ' + "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1) + "}", "nested more than"),
        (lambda: "[" * 100_000, "not JSON"),
    ],
    ids=["long", "deep", "deeper than Python"],
)
def test_a_payload_beyond_the_limits_is_buried(app: Rewarm, payload: Callable[[], str], reason: str) -> None:
    assert app.run(payload()) is Outcome.DEAD
    (letter,) = app.dead.list()
    assert reason in letter.reason
    assert len(letter.payload) <= 65_536


def _written(app: str, kind: str, args: str, **fields: Any) -> str:
    """A payload as another language may write it: with `args` as they are."""
    wire = {"v": 1, "id": "x", "app": app, "kind": kind, **fields}
    return f'{json.dumps(wire)[:-1]}, "args": {args}}}'


@pytest.mark.parametrize("name", ["shop", "other"])
def test_letters_that_grow_when_they_are_escaped_travel_on_as_they_came(name: str) -> None:
    adapter = CaptureAdapter()
    app, text = Rewarm("shop", adapter=adapter), "ä" * (LONGEST - 1000)
    payload = _written(name, "refresh", f'["{text}"]', job="gone", key=f"{name}:gone:", born="00" * 8, q=1)
    assert app.run(payload) is Outcome.RETRIED
    assert adapter.tasks[0].args == [text]


def test_a_dead_letter_may_be_longer_than_a_payload() -> None:
    app = Rewarm("shop", adapter=CaptureAdapter())
    numbers = "[" + ",".join(["1e9"] * 50_000) + "]"
    payload = _written("shop", "invalidate", f'{{"refresh": {numbers}}}')
    assert app.run(payload) is Outcome.DEAD
    (letter,) = app.dead.list()
    assert json.loads(letter.payload)["args"]["refresh"] == [1e9] * 50_000


@pytest.mark.parametrize("names", [None, 5, {"a": 1}], ids=str)
@pytest.mark.parametrize("kind", ["keys", "tags", "jobs"])
def test_a_newer_payload_may_mean_something_else_by_its_names(kind: str, names: Any) -> None:
    with Rewarm("shop", adapter="inline") as app:
        told: list[Any] = []
        app.listen(lambda event: told.append(event.task.tags) if isinstance(event, events.TaskEnded) else None)
        payload = {"v": 2, "id": "x", "app": "shop", "kind": "invalidate", "args": {kind: names}, "attempt": 10}
        assert app.run(json.dumps(payload)) is Outcome.DEAD
        assert (app.dead.show("x").stale, told) == ((), [()])


def test_what_is_too_long_for_a_payload_is_served_and_told_and_takes_no_place(app: Rewarm) -> None:
    seen: list[events.Event] = []
    app.listen(seen.append)
    job = app.job(ttl=60, name="long")(len)
    text = "x" * (LONGEST + 1)
    assert job(text) == len(text)
    job.invalidate(text)
    for _ in range(2):
        found = job.read(text)
        assert (found.state, found.value, found.refreshing) == (State.STALE, len(text), False)
    errors = [event.error for event in seen if isinstance(event, events.LoadFailed)]
    assert [type(error) for error in errors] == [ArgumentError] * 2
    with pytest.raises(ArgumentError, match="pass an id"):
        job.refresh(text)
    assert job.reload(text) == len(text)


def test_a_route_that_is_none_gives_the_place_back(app: Rewarm, source: Source) -> None:
    job = make(app, source)
    job(1)
    with pytest.raises(TypeError):
        job.entry(1).refresh(route={"prio": "high"})
    assert job.entry(1).refresh().outcome(5) is Outcome.DONE


# --- secrets


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("redis://user:s3cret@host/0", "redis://***@host/0"),
        ("to amqp://:s3cret@host:5672//", "to amqp://***@host:5672//"),
        ("no db 'postgres://u:s3@cret@h/x'", "no db 'postgres://***@h/x'"),
        ("connect(host='db', password='s3cret', user='u')", "connect(host='db', password=***, user='u')"),
        ("{'api_token': 's3cret'}", "{'api_token': ***}"),
        ("no db number in redis://:s3/cret@host:6379/0", "no db number in redis://***@host:6379/0"),
        ("redis://:s3/cret@a:1/0, redis://:s3@b:2/0", "redis://***@a:1/0, redis://***@b:2/0"),
        ("http://example.com/a@b", "http://example.com/a@b"),
        ("see https://docs/ or a@b.c", "see https://docs/ or a@b.c"),
    ],
)
def test_passwords_are_masked(text: str, told: str) -> None:
    assert redact(text) == told


@pytest.mark.timeout(20)  # a pattern that looks back for each character takes minutes
@pytest.mark.parametrize("text", ["a", "a://", "a://:", ":", "_password"])
def test_a_hostile_text_is_masked_and_keeps_no_worker_busy(text: str) -> None:
    hostile = "a://" + text * (LONGEST // len(text))
    assert redact(hostile) == hostile
    assert redact(f"{hostile} redis://:s3cret@h/0").endswith(" redis://***@h/0")


def test_neither_letters_nor_logs_tell_the_password_of_a_failing_source(
    app: Rewarm, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "rewarm"):
        job = app.job(name="job", ttl=60)(_connects)
        job.refresh()
    (letter,) = app.dead.list()
    assert "postgres://***@db" in letter.errors[0]
    messages = [record.getMessage() for record in caplog.records]
    assert not any("s3cret" in text for text in (*letter.errors, letter.reason, *messages))


def _connects() -> None:
    raise ValueError("cannot reach postgres://app:s3cret@db/shop")
