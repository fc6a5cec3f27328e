"""Policies: a value or a callable, checked at decoration, and what each one does."""

from __future__ import annotations

import asyncio
import math
import pickle
import time
from datetime import timedelta
from typing import Any

import pytest

from rewarm import ArgumentError, ConfigurationError, Retry, Rewarm, SerializeError, State, events
from rewarm.freshness import Packed, close_writing, open_writing
from rewarm.policies import DEFAULTS
from rewarm.steps import Look
from rewarm.stores import MemoryStore
from rewarm.testing import capture, drain, inline, travel


@pytest.fixture
def app() -> Rewarm:
    return Rewarm("shop")


class Counted:
    """A source that counts its loads and can be told to fail."""

    def __init__(self) -> None:
        self.loads = 0
        self.error: Exception | None = None

    def __call__(self, n: int = 0) -> int:
        self.loads += 1
        if self.error is not None:
            raise self.error
        return self.loads


@pytest.fixture
def source() -> Counted:
    return Counted()


def make(app: Rewarm, source: Any, **policies: Any) -> Any:
    return app.job(name="job", **{"ttl": 60, **policies})(source)


@pytest.mark.parametrize(
    "ttl", [7 * 86_400, lambda value: 7 * 86_400, lambda n: 7 * 86_400], ids=["fixed", "by value", "by argument"]
)
@pytest.mark.parametrize("verb", ["get", "set", "writing"])
def test_the_stamp_of_a_tag_lives_as_long_as_the_entry(source: Counted, ttl: Any, verb: str) -> None:
    store = MemoryStore()
    job = make(Rewarm("shop", store=store), source, ttl=ttl, tags=["all"], stale_while_revalidate=0)
    if verb == "get":
        job(1)
    elif verb == "set":
        job.entry(1).set(0)
    else:
        with job.entry(1).writing() as entry:
            entry.set(0)
    store.advance(6 * 86_400)
    assert job.read(1).state is State.HIT


# --- checked at decoration


@pytest.mark.parametrize("policy", sorted(DEFAULTS.keys() - {"serializer", "version"}))
def test_a_callable_that_asks_for_no_argument_of_the_job_is_refused_by_name(app: Rewarm, policy: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"job 'job': {policy} asks for 'colour'.*there are n"):
        make(app, lambda n: n, **{policy: lambda colour: 1})


@pytest.mark.parametrize("policy", sorted(DEFAULTS.keys() - {"ttl", "cache_if", "serializer", "version"}))
def test_only_ttl_and_cache_if_know_the_value(app: Rewarm, policy: str) -> None:
    with pytest.raises(ConfigurationError, match="asks for 'value'"):
        make(app, lambda n: n, **{policy: lambda value: 1})


WRONG: list[tuple[str, Any]] = [
    ("ttl", 0), ("ttl", -1), ("ttl", "60"), ("ttl", True), ("ttl", float("inf")), ("ttl", float("nan")),
    ("ttl", timedelta(0)), ("ttl", 2e15), ("stale_while_revalidate", -1), ("stale_if_error", -0.5), ("wait", "long"),
    ("lease", 0), ("timeout", 0), ("jitter", 1), ("jitter", -0.1), ("jitter", "much"), ("early", -1),
    ("on_invalidated", "forget"), ("on_miss", "wait"), ("version", 0), ("version", "2"), ("version", 1.5),
    ("version", True), ("retry", 3), ("retry", {"attempts": 3}), ("tags", "user:{n}"), ("tags", [5]), ("tags", 5),
    ("tags", ["user:{who}"]), ("tags", ["user:{n"]), ("tags", ["user:{}"]), ("tags", ["user:{0}"]),
    ("key", "{who}"), ("key", 5), ("normalize", {"n": 1}), ("serializer", "yaml"), ("serializer", 5),
    ("route", "low"), ("route", {"colour": 1}), ("cache_if", "yes"),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "value"), WRONG, ids=str)
def test_a_wrong_policy_is_refused_at_decoration_and_named(app: Rewarm, policy: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=policy):
        make(app, lambda n: n, **{policy: value})
    assert app.jobs == {}


@pytest.mark.parametrize("policy", sorted(DEFAULTS.keys() - {"serializer", "version"}))
def test_a_policy_that_would_have_to_be_awaited_is_refused(app: Rewarm, policy: str) -> None:
    async def later(n: int) -> bool:
        return False

    async def load(n: int) -> int:
        return n

    for asked in (lambda n: n, *([load] if policy != "cache_if" else [])):
        with pytest.raises(ConfigurationError, match=rf"job 'job': {policy} is an async def"):
            make(app, asked, **{policy: later})


def test_an_unknown_policy_is_refused_with_those_that_there_are(app: Rewarm) -> None:
    with pytest.raises(ConfigurationError, match=r"no policy 'tll'; there are ttl, name, stale_while_revalidate"):
        app.job(ttl=1, tll=2)  # type: ignore[call-arg]


def test_a_policy_without_a_signature_is_told_to_be_wrapped(app: Rewarm) -> None:
    with pytest.raises(ConfigurationError, match=r"ttl shows no signature: wrap it in a def"):
        make(app, lambda n: n, ttl=max)


def test_a_type_makes_the_empty_value(app: Rewarm, source: Counted) -> None:
    job = make(app, source, on_miss="queue", empty=list)
    with capture(app):
        assert job() == []


def test_every_time_may_be_a_timedelta(app: Rewarm, source: Counted) -> None:
    times = ("ttl", "stale_while_revalidate", "stale_if_error", "wait", "lease", "timeout")
    job = make(app, source, **{name: timedelta(seconds=90) for name in times})
    target = job.entry()._target
    assert {target.ms(name) for name in times} == {90_000}


def test_a_policy_gets_the_arguments_that_it_names_in_any_order(app: Rewarm) -> None:
    job = app.job(
        ttl=lambda b, a: a * 10 + b, name="job", tags=lambda b: [f"b:{b}"], key=lambda b, a: f"{a}/{b}"
    )(lambda a, b=2, *rest, c=3, **more: a)  # fmt: skip
    entry = job.entry(1)
    assert (entry._target.ms("ttl"), entry.tags, entry.key) == (12_000, ("b:2",), "shop:job:1/2")


def test_a_method_of_a_class_is_a_policy_without_self(app: Rewarm) -> None:
    from rewarm import Job

    class Priced(Job):
        def ttl(self, n: int, value: int) -> float:  # type: ignore[override]
            return n + value

        def load(self, n: int) -> int:
            return n

    assert app.add(Priced()).entry(4)._target.ttl(3) == 7_000


# --- time


def test_a_value_is_fresh_for_ttl_and_then_stale_while_one_refresh_runs(app: Rewarm, source: Counted) -> None:
    job = make(app, source, ttl=10)
    with capture(app) as tasks:
        assert job.read().state == State.MISS
        travel(app, 9.9)
        assert (job.read().state, len(tasks)) == (State.HIT, 0)
        travel(app, 0.2)
        reads = [job.read() for _ in range(5)]
        assert {(read.state, read.value, read.refreshing) for read in reads} == {(State.STALE, 1, True)}
        assert len(tasks) == 1
        drain(app)
        assert (job.read().state, job.read().value) == (State.HIT, 2)


def test_age_and_expires_in_count_from_the_commit(app: Rewarm, source: Counted) -> None:
    job = make(app, source, ttl=10)
    with capture(app):
        first = job.read()
        assert (first.age, first.expires_in, first.error) == (0.0, 10.0, None)
        travel(app, 4)
        second = job.read()
        assert second.age == pytest.approx(4, abs=0.5)
        assert second.expires_in == pytest.approx(6, abs=0.5)
        travel(app, 8)
        third = job.read()
        assert third.age == pytest.approx(12, abs=0.5)
        assert third.expires_in == pytest.approx(-2, abs=0.5)
        job.invalidate()
        assert job.read().expires_in == 0.0


def test_after_stale_while_revalidate_a_read_loads(app: Rewarm, source: Counted) -> None:
    job = make(app, source, ttl=10, stale_while_revalidate=5)
    with capture(app) as tasks:
        job()
        travel(app, 14.9)
        assert job.read().state == State.STALE
        travel(app, 0.2)
        assert job.peek() is None
        assert (job.read().state, job.read().value) == (State.MISS, 2) or job() == 2
        assert len(tasks) == 1


def test_without_stale_while_revalidate_nothing_stale_is_served(app: Rewarm, source: Counted) -> None:
    job = make(app, source, ttl=10, stale_while_revalidate=0)
    with capture(app) as tasks:
        job()
        travel(app, 10.1)
        assert (job.read().value, len(tasks)) == (2, 0)


@pytest.mark.parametrize("form", ["def", "async def"])
@pytest.mark.parametrize("outdated", ["invalidated", "old", "never loaded"])
def test_what_a_load_reads_of_another_job_is_fresh(app: Rewarm, form: str, outdated: str) -> None:
    names = {1: "Ada"}

    def name(n: int) -> str:
        return names[n]

    def page() -> str:
        return f"<h1>{inner(1)}</h1>"

    async def apage() -> str:
        return f"<h1>{await inner.aget(1)}</h1>"

    on_miss = "queue" if outdated == "never loaded" else "load"
    inner = app.job(name="name", ttl=10, tags=["author"], on_miss=on_miss, empty="nobody")(name)
    outer: Any = app.job(name="page", ttl=20, tags=["author"])(apage if form == "async def" else page)
    with capture(app):
        if outdated != "never loaded":
            assert outer.get() == "<h1>Ada</h1>"
        names[1] = "Ada Lovelace"
        if outdated == "invalidated":
            app.invalidate(tags=["author"])
        else:
            travel(app, 30)
        outer.refresh()
        assert inner(1) == {"invalidated": "Ada", "old": "Ada", "never loaded": "nobody"}[outdated], (
            "readers are served"
        )
        drain(app)
        assert (outer.read().value, outer.read().state) == ("<h1>Ada Lovelace</h1>", State.HIT)


def test_an_invalidated_value_is_also_limited_by_stale_while_revalidate(app: Rewarm, source: Counted) -> None:
    job = make(app, source, ttl=10, stale_while_revalidate=5)
    with capture(app):
        job()
        job.invalidate()
        travel(app, 14)
        assert job.peek().state == State.STALE
        travel(app, 2)
        assert job.peek() is None


def test_stale_if_error_serves_the_old_value_only_if_the_load_fails(app: Rewarm, source: Counted) -> None:
    job = make(app, source, ttl=10, stale_while_revalidate=5, stale_if_error=30, throttle=0)
    with capture(app):
        job()
        source.error = LookupError("down")
        travel(app, 20)
        read = job.read()
        assert (read.value, read.state, read.error) == (1, State.STALE, source.error)
        assert read.expires_in < 0
        assert job() == 1
        assert source.loads == 3
        travel(app, 21)
        with pytest.raises(LookupError):
            job()
        source.error = None
        assert job() == 5


def test_stale_if_error_does_not_serve_what_was_to_expire(app: Rewarm, source: Counted) -> None:
    job = make(app, source, stale_if_error=300, on_invalidated="expire")
    with capture(app):
        job()
        job.invalidate()
        source.error = LookupError("down")
        with pytest.raises(LookupError):
            job()


def test_a_failing_load_without_a_spare_value_raises(app: Rewarm, source: Counted) -> None:
    source.error = LookupError("down")
    with pytest.raises(LookupError):
        make(app, source)()


def test_ttl_may_depend_on_the_value(app: Rewarm) -> None:
    values: list[Any] = [None, "found"]
    job = make(app, lambda: values.pop(0), ttl=lambda value: 1 if value is None else 100)
    with capture(app) as tasks:
        assert job.read().expires_in == 1
        travel(app, 2)
        assert job.read().state == State.STALE
        drain(app)
        travel(app, 50)
        assert (job.read().value, job.read().state, len(tasks)) == ("found", State.HIT, 1)


def test_a_ttl_that_counts_down_never_fails_a_read(app: Rewarm) -> None:
    job = make(app, lambda: app.runtime.now() + 10, ttl=lambda value: value - app.runtime.now())
    with capture(app) as tasks:
        ends = job()
        travel(app, 20)
        found = job.read()
        assert (found.value, found.state, len(tasks)) == (ends, State.STALE, 1)
        travel(app, 86_400)
        assert job.read().state == State.MISS


def test_a_ttl_that_raises_for_an_old_value_fails_no_read(app: Rewarm) -> None:
    known, values = {"old": 10, "new": 10}, ["old", "new"]
    job = make(app, lambda: values.pop(0), ttl=lambda value: known[value], stale_while_revalidate=50)
    with capture(app):
        job()
        del known["old"]
        travel(app, 20)
        assert (job.read().value, job.read().state) == ("old", State.STALE)
        travel(app, 60)
        assert (job(), job.read().state) == ("new", State.HIT)


@pytest.mark.parametrize("ttl", [0, -5, timedelta(seconds=-5)], ids=str)
def test_what_has_run_out_when_it_is_loaded_is_served_and_stale_at_once(app: Rewarm, ttl: Any) -> None:
    job = make(app, lambda: "late", ttl=lambda value: ttl)
    with capture(app):
        assert job.read().value == "late"
        travel(app, 0.01)
        assert (job.read().value, job.read().state) == ("late", State.STALE)


@pytest.mark.parametrize("policy", ["ttl", "lease", "stale_while_revalidate"])
def test_a_policy_that_gives_no_duration_is_named(app: Rewarm, policy: str) -> None:
    job = make(app, lambda n: n, **{policy: lambda n: "soon"})
    with pytest.raises(ConfigurationError, match=f"job 'job': {policy} is 'soon': give seconds"):
        job(1)


def test_a_delay_that_is_none_is_named(app: Rewarm, source: Counted) -> None:
    with pytest.raises(ConfigurationError, match="job 'job': delay is -1: give at least 0"):
        make(app, source).entry(1).refresh(delay=-1)


def test_jitter_takes_a_share_off_the_ttl_and_never_adds(app: Rewarm) -> None:
    job = make(app, lambda n: n, ttl=100, jitter=0.5)
    with capture(app):
        left = []
        for n in range(200):
            job(n)
            left.append(job.peek(n).expires_in)
    assert 45 < min(left) < 60
    assert 90 < max(left) <= 100


def test_jitter_does_not_shorten_the_life_of_a_stale_value(app: Rewarm) -> None:
    job = make(app, lambda n: n, ttl=100, jitter=0.9, stale_while_revalidate=0)
    with capture(app):
        for n in range(50):
            job(n)
        travel(app, 99)
        assert all(job.peek(n) is not None for n in range(50))


def test_early_refreshes_a_fresh_value_and_serves_it_as_a_hit(app: Rewarm) -> None:
    job = make(app, lambda: time.sleep(0.005), early=1e9)  # a load that takes time
    with capture(app) as tasks:
        job()
        reads = [job.read() for _ in range(5)]
        assert {(read.state, read.refreshing) for read in reads} == {(State.HIT, True)}
        assert len(tasks) == 1
        drain(app)
        assert len(tasks) == 1


def test_early_is_likelier_towards_the_end_and_for_a_slow_load(app: Rewarm, source: Counted) -> None:
    job = make(app, source, early=1.0)
    job()
    target = job.entry()._target
    ((seen, _),) = app.runtime.run([Look(target.key)])

    def share(load_ms: int, left: int) -> float:
        looks = (target.early(seen._replace(load_ms=load_ms, now=seen.soft - left)) for _ in range(2000))
        return sum(looks) / 2000

    assert share(1000, 1000) == pytest.approx(math.exp(-1), abs=0.06)
    assert share(1000, 3000) == pytest.approx(math.exp(-3), abs=0.03)
    assert share(10, 1000) == 0
    assert share(1000, 0) == 1


def test_without_early_nothing_is_refreshed_ahead(app: Rewarm, source: Counted) -> None:
    job = make(app, source, ttl=100)
    with capture(app) as tasks:
        job()
        travel(app, 99.5)
        assert not any(job.read().refreshing for _ in range(50))
        assert tasks == []


# --- invalidated, missing, empty


@pytest.mark.parametrize("how", ["key", "tag", "job"])
@pytest.mark.parametrize("policy", ["stale", "expire"])
def test_an_invalidated_value_may_be_stale_or_counts_as_absent(
    app: Rewarm, source: Counted, policy: str, how: str
) -> None:
    job = make(app, source, tags=["t"], on_invalidated=policy)
    with capture(app) as tasks:
        job()
        {"key": job.invalidate, "tag": lambda: app.invalidate(tags=["t"]), "job": job.invalidate_all}[how]()
        if policy == "stale":
            assert (job.peek().state, job.read().state, len(tasks)) == (State.STALE, State.STALE, 1)
        else:
            assert job.peek() is None
            read = job.read()
            assert (read.state, read.value, len(tasks)) == (State.MISS, 2, 0)


def test_an_expired_job_still_serves_stale_values_whose_time_is_over(app: Rewarm, source: Counted) -> None:
    job = make(app, source, ttl=10, on_invalidated="expire")
    with capture(app):
        job()
        travel(app, 11)
        assert job.read().state == State.STALE


def test_a_miss_may_be_queued_and_answered_with_the_empty_value(app: Rewarm, source: Counted) -> None:
    job = make(app, source, on_miss="queue", empty=lambda n: [n])
    with capture(app) as tasks:
        first, second = job.read(5), job.read(5)
        assert (first.value, first.state, first.refreshing) == ([5], State.MISS, True)
        assert (second.value, second.state, second.refreshing) == ([5], State.MISS, True)
        assert (len(tasks), source.loads) == (1, 0)
        assert job.peek(5) is None
        drain(app)
        assert (job.read(5).state, job(5)) == (State.HIT, 1)


def test_an_eager_miss_that_is_queued_is_there_for_the_next_read(app: Rewarm, source: Counted) -> None:
    job = make(app, source, on_miss="queue")
    with inline(app):
        assert [job(), job()] == [None, 1]


def test_cache_if_keeps_a_value_out_of_the_store(app: Rewarm) -> None:
    values: list[Any] = [None, None, "found"]
    job = make(app, lambda n: values.pop(0), cache_if=lambda n, value: value is not None)
    with capture(app):
        assert [job(1), job(1), job(1), job(1)] == [None, None, "found", "found"]


async def _found(value: Any) -> bool:
    await asyncio.sleep(0)
    return value is not None


def test_an_async_job_may_ask_in_an_async_def_what_to_store(app: Rewarm) -> None:
    values: list[Any] = [None, None, "found"]

    async def load() -> Any:
        return values.pop(0)

    async def in_a_loop() -> list[Any]:
        return [await job.aget(), await job.aget()]

    job = make(app, load, cache_if=_found)
    assert [job.get(), *asyncio.run(in_a_loop()), job.get()] == [None, None, "found", "found"]


def test_a_refresh_whose_value_is_not_stored_ends_and_lets_the_next_one_come(app: Rewarm) -> None:
    values: list[Any] = ["old", None, "new"]
    job = make(app, lambda: values.pop(0), cache_if=lambda value: value is not None)
    with capture(app) as tasks:
        job()
        job.invalidate()
        job()
        drain(app)
        assert job.read().value == "old"
        assert len(tasks) == 2
        drain(app)
        assert job.read().value == "new"


def test_none_is_a_value(app: Rewarm) -> None:
    loads: list[int] = []
    job = make(app, lambda: loads.append(1))
    assert (job(), job(), len(loads)) == (None, None, 1)
    assert job.peek().value is None


# --- keys and tags


def test_normalize_changes_arguments_before_key_and_load(app: Rewarm) -> None:
    given: list[tuple[str, int]] = []

    def load(name: str, limit: int = 10) -> int:
        given.append((name, limit))
        return limit

    job = make(app, load, normalize=lambda name, limit: {"name": name.lower(), "limit": max(limit, 5)})
    with capture(app):
        assert [job("Ada", 1), job("ADA", 3), job("ada", 5)] == [5, 5, 5]
        assert given == [("ada", 5)]
        job.refresh("ADA")
        drain(app)
    assert given == [("ada", 5), ("ada", 10)]


@pytest.mark.parametrize("changed", [{"colour": 1}, None, ["n"]], ids=str)
def test_normalize_gives_a_dict_of_arguments(app: Rewarm, changed: Any) -> None:
    job = make(app, lambda n: n, normalize=lambda n: changed)
    with pytest.raises(ArgumentError, match="normalize"):
        job(1)


def test_a_key_of_ones_own_replaces_the_arguments(app: Rewarm) -> None:
    templated = app.job(ttl=60, name="one", key="{n}-{size}")(lambda n, size="s": [n, size])
    called = app.job(ttl=60, name="two", key=lambda n: f"n{n}", version=3)(lambda n, size="s": [n, size])
    assert (templated.key(1), called.key(1, "x")) == ("shop:one:1-s", "shop:two@3:n1")
    assert called(1, "x") == called(1, "y") == [1, "x"]


def test_a_key_policy_gives_a_text(app: Rewarm) -> None:
    with pytest.raises(ArgumentError, match=r"key policy gave 1"):
        make(app, lambda n: n, key=lambda n: n)(1)


def test_tags_are_templates_over_the_arguments(app: Rewarm) -> None:
    class Item:
        pk = 9

    app.add_type("item", Item, lambda item: item.pk, lambda pk: Item())
    job = make(app, lambda item, user=None: 1, tags=["item:{item.pk}", "user:{user[name]}", "all"])
    assert job.entry(Item(), {"name": "ada"}).tags == ("item:9", "user:ada", "all")


@pytest.mark.parametrize("tags", ["text", [1], 5, None], ids=str)
def test_a_tags_policy_gives_a_list_of_texts(app: Rewarm, tags: Any) -> None:
    with pytest.raises(ArgumentError, match="tags policy gave"):
        make(app, lambda n: n, tags=lambda n: tags)(1)


def test_a_tags_policy_may_be_a_generator(app: Rewarm) -> None:
    job = make(app, lambda n: n, tags=lambda n: (f"t:{i}" for i in range(n)))
    assert job.entry(3).tags == ("t:0", "t:1", "t:2")
    with capture(app):
        job(3)
        app.invalidate(tags=["t:1"])
        assert job.peek(3).state == State.STALE


def test_a_tag_is_compared_whole(app: Rewarm) -> None:
    job = make(app, lambda name: name, tags=["user:{name}"])
    with capture(app):
        for name in ("ada", "a*", "adam", "a"):
            job(name)
        app.invalidate(tags=["user:a*"])
        assert [job.peek(name).state for name in ("ada", "a*", "adam", "a")] == ["HIT", "STALE", "HIT", "HIT"]


def test_jobs_share_a_tag_by_its_text(app: Rewarm) -> None:
    jobs = [app.job(ttl=60, name=name, tags=["shared"])(lambda: 1) for name in ("one", "two")]
    with capture(app):
        for job in jobs:
            job()
        app.invalidate(tags=["shared"])
        assert [job.peek().state for job in jobs] == ["STALE", "STALE"]


# --- serializers


def test_pickle_needs_signing_keys(app: Rewarm) -> None:
    job = make(app, lambda: {1, 2}, serializer="pickle")
    with pytest.raises(ConfigurationError, match="signing_keys"):
        job()


def test_a_pickle_is_read_with_any_of_the_keys_and_by_nobody_else() -> None:
    from rewarm.stores import MemoryStore

    store = MemoryStore()
    apps = [Rewarm("shop", store=store, signing_keys=keys) for keys in (["a" * 16], ["b" * 16, "a" * 16], ["c" * 16])]
    jobs = [make(app, lambda: complex(1, 2), serializer="pickle") for app in apps]
    jobs[0]()
    assert [job.peek() is not None for job in jobs] == [True, True, False]
    assert jobs[1]() == complex(1, 2)


class Reversed:
    """A serializer of the user's."""

    def dumps(self, value: str) -> bytes:
        return value[::-1].encode()

    def loads(self, data: bytes) -> str:
        return data.decode()[::-1]


def test_an_object_with_dumps_and_loads_is_a_serializer(app: Rewarm) -> None:
    job = make(app, lambda: "abc", serializer=Reversed())
    assert [job(), job()] == ["abc", "abc"]
    assert app.runtime.store.raw(job.key()).endswith(b"cba")  # type: ignore[attr-defined]


def test_what_would_not_come_back_equal_is_refused_at_its_first_load(app: Rewarm) -> None:
    job = make(app, lambda: {"x": object()})
    with pytest.raises(SerializeError, match="would not come back equal"):
        job()


def test_every_read_is_a_new_object(app: Rewarm) -> None:
    job = make(app, lambda: {"a": [1]})
    job()["a"].append(2)
    job()["a"].append(3)
    assert job() == {"a": [1]}


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe", b"\x01[", pickle.dumps(1)], ids=repr)
def test_an_undecodable_value_is_a_miss_and_an_event_not_an_error(app: Rewarm, payload: bytes) -> None:
    seen: list[events.Event] = []
    app.listen(seen.append)
    job = make(app, lambda: "good", serializer="json")
    target = job.entry()._target
    fence = app.runtime.drive(open_writing(target))
    app.runtime.drive(close_writing(target, *fence, Packed(60_000, 60_000, payload, 0)))
    assert job.peek() is None
    assert (job.read().state, job()) == (State.MISS, "good")
    told = [event for event in seen if isinstance(event, events.Undecodable)]
    assert told
    assert (told[0].job, told[0].key) == ("job", job.key())


# --- retry and route


def test_retry_and_route_may_depend_on_the_arguments(app: Rewarm) -> None:
    def broken(n: int) -> int:
        raise ConnectionError("down")

    job = make(app, broken, retry=lambda n: Retry(attempts=n), route=lambda n: {"queue": f"q{n}"})
    with capture(app) as tasks:
        for n in (1, 3):
            job.refresh(n)
        assert [task.queue for task in tasks] == ["q1", "q3"]
        drain(app)
        assert sorted(letter.attempt for letter in app.dead.list()) == [1, 3]
