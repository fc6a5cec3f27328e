"""django-cacheback's names: its documented behaviours hold, and its defects (`test_c…`) do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from books.caches import loads
from books.jobs import (
    Elsewhere,
    Lazy,
    Name,
    Own,
    Sent,
    SlowAuthor,
    Threshold,
    Value,
    filter_authors,
    get_author,
    shout,
    source,
    whisper,
)
from books.models import Author, Word
from django.core.cache import caches as backends
from django.db import connection
from django.test import override_settings

from rewarm import ConfigurationError, Outcome, Route, SerializeError, TaskDead
from rewarm_django import cache, caches
from rewarm_django.compat.cacheback import (
    MEMCACHE_MAX_EXPIRATION,
    Call,
    FunctionJob,
    Job,
    QuerySetGetJob,
    cacheback,
    enqueue_task,
    get_job_class,
)
from rewarm_django.testing import capture, drain, travel

pytestmark = pytest.mark.django_db(transaction=True)
PROJECT = Path(__file__).with_name("project")
ALL = {"default": {"NAME": "books", "ADAPTER": "inline"}}


@pytest.fixture(autouse=True)
def fresh_source() -> None:
    source.update(value=1, calls=[])


def statuses() -> list[tuple[int, bool | None]]:
    seen = [(status, sync) for status, sync, _ in source["calls"]]
    source["calls"].clear()
    return seen


# --- its documented behaviours


def test_defaults_are_its() -> None:
    found = Job()
    assert (found.lifetime, found.refresh_timeout, found.cache_ttl) == (600, 60, MEMCACHE_MAX_EXPIRATION)
    assert (found.fetch_on_miss, found.fetch_on_stale_threshold, found.cache_alias) == (True, None, "default")
    assert (found.set_data_kwarg, found.task_options) == ("data", {})
    assert (Job.MISS, Job.HIT, Job.STALE) == (0, 1, 2)
    assert Name().class_path == "books.jobs.Name"
    with pytest.raises(NotImplementedError):
        found.fetch()


def test_miss_hit_and_stale() -> None:
    with capture() as tasks:
        job = Value()
        assert (job.get("a", b=2), job.get("a", b=2)) == (1, 1)
        assert source["calls"][0][2] == Call(args=("a",), kwargs={"b": 2})
        assert statuses() == [(Job.MISS, True), (Job.HIT, None)]
        travel(601)
        source["value"] = 2
        assert (job.get("a", b=2), job.get("a", b=2), len(tasks)) == (1, 1, 1)
        assert statuses() == [(Job.STALE, False), (Job.STALE, False)]
        drain()
        assert (job.get("a", b=2), loads["value"]) == (2, 2)


def test_a_refresh_that_never_comes_is_queued_again_after_the_refresh_timeout() -> None:
    with capture() as tasks:
        job = Value(refresh_timeout=5)
        job.get()
        travel(601)
        job.get(), job.get()
        travel(6)
        job.get(), job.get()
        assert len(tasks) == 2


def test_fetch_on_miss_off_queues_and_returns_the_empty_value() -> None:
    with capture() as tasks:
        job = Lazy()
        assert (job.get(1), job.get(1), len(tasks)) == ("nothing yet", "nothing yet", 1)
        assert statuses()[0] == (Job.MISS, False)
        drain()
        assert job.get(1) == 1


def test_what_is_too_stale_is_fetched_at_once() -> None:
    with capture() as tasks:
        job = Threshold()
        job.get()
        travel(900)
        job.get()
        assert len(tasks) == 1
        source["value"] = 2
        travel(200)
        assert job.get() == 2
        assert statuses()[-2:] == [(Job.STALE, False), (Job.STALE, True)]


def test_invalidate_delete_raw_get_set_refresh() -> None:
    with capture() as tasks:
        job = Value()
        job.invalidate(1)
        assert (job.raw_get(1), tasks) == (None, [])
        job.set(1, data=5)
        expiry, data = job.raw_get(1) or (0, 0)
        assert (data, 595 < expiry - time.time() <= 600) == (5, True)
        job.set(1, 6)
        assert job.get(1) == 6
        job.invalidate(1)
        assert (job.get(1), len(tasks), statuses()[-1]) == (6, 1, (Job.STALE, False))
        assert (job.refresh(1), job.get(1)) == (1, 1)
        job.delete(1)
        assert job.raw_get(1) is None
        job.store(job.key(1), time.time() + 50, 9)
        expiry, data = job.raw_get(1) or (0, 0)
        assert (data, 45 < expiry - time.time() <= 50) == (9, True)
        with pytest.raises(TypeError, match="'data'"):
            job.set()


def test_arguments_keys_and_expiry_of_ones_own() -> None:
    job = Own()
    job.set("A", "B", payload=3)
    assert (job.get("a", "b"), job.raw_get("A", "b")[1]) == (3, 3)
    assert cache.jobs["cacheback"].entry("", [], [], "own:a:b").key.endswith("cacheback:own:a:b")
    job.get("SHORT")
    assert 5 < job.raw_get("short")[0] - time.time() <= 10


def test_async_refresh_falls_back_to_here_and_logs_what_fails_here_too(monkeypatch: Any, caplog: Any) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise ConnectionError("no broker")

    with capture():
        monkeypatch.setattr(cache.runtime.adapter, "enqueue", refuses)
        Value().async_refresh(1)
        assert Value().raw_get(1)[1] == 1
        source["value"] = ValueError("no source")
        Value().async_refresh(2)
        assert "no source" in caplog.text


def test_should_refresh_and_the_workers_entry() -> None:
    job = Value()
    assert job.should_refresh(1)
    Job.perform_async_refresh("books.jobs.Value", (), {}, (1,), {})
    Job.perform_async_refresh("books.jobs.Value", (), {}, (1,), {})
    assert (job.should_refresh(1), loads["value"]) == (False, 1)
    source["value"] = None
    job.refresh(1)
    assert job.should_refresh(1)


def test_the_decorator_caches_functions_and_wraps_them() -> None:
    assert (shout("a"), shout("a"), shout("a", times=2), loads["shout"]) == ("A", "A", "AA", 2)
    assert (shout.__name__, shout.__doc__, shout.fn("b")) == ("shout", "Loud.", "B")
    shout.job.set(shout, "a", "set")
    assert (shout("a"), shout.job.raw_get(shout, "a")[1]) == ("set", "set")
    shout.job.invalidate(shout, "a")
    assert shout("a") == "A"
    shout.job.delete(shout, "a")
    assert shout.job.raw_get(shout, "a") is None
    assert shout.job.lifetime == 300
    shout.job.set(shout, "a", "set")
    assert (shout.job.refresh(shout, "a"), shout("a")) == ("A", "A")
    with capture() as tasks:
        shout.job.async_refresh(shout, "b")
        assert cache.run(tasks.payloads[0]) is Outcome.DONE
        assert shout.job.raw_get(shout, "b")[1] == "B"
    at_the_call_site = cacheback()(whisper)
    assert (at_the_call_site("A"), cacheback()(whisper)("A"), loads["whisper"]) == ("a", "a", 1)


def test_a_job_class_and_its_keywords() -> None:
    class Loud(FunctionJob):
        def __init__(self, mark: str = "", **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.mark = mark

        def process_result(self, result: Any, *args: Any, **kwargs: Any) -> Any:
            return result + self.mark

    assert cacheback(job_class=Loud, mark="!")(whisper)("A") == "a!"


def test_querysets() -> None:
    ada = Author.objects.create(name="Ada")
    assert get_author.get(name="Ada") == ada
    with override_settings():
        found = get_author.get(name="Ada")
        assert (found.name, found.pk, found._state.adding, found._state.db) == ("Ada", ada.pk, False, "default")
    assert [one.name for one in filter_authors.get(name__startswith="A")] == ["Ada"]
    assert get_author.key(name="Ada").startswith("books.author:")
    assert QuerySetGetJob(Author, 30).lifetime == 30
    assert SlowAuthor(Author).task_options == {"queue": "slow"}
    assert SlowAuthor(Author, task_options={"queue": "own"}).task_options == {"queue": "own"}


def test_a_cache_of_ones_own_and_task_options() -> None:
    job = Elsewhere()
    job.get(1)
    assert job.cache is backends["second"]
    assert caches["second"].jobs["cacheback"].peek("books.jobs.Elsewhere", [[], {}], [[1], {}], job.key(1)) is not None
    with capture() as tasks:
        Sent().async_refresh(1)
        assert tasks[0].queue == "slow"
        enqueue_task({"klass_str": "books.jobs.Value", "call_args": [7]}, {"queue": "other"})
        assert tasks[1].queue == "other"
    policy = cache.jobs["cacheback"].policies["route"]
    assert policy(["books.jobs.Sent", [[], {}], [], ""]) == Route("slow", options={"expires": 30})


def test_an_alias_that_only_caches_has(settings: Any) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "third": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "third"},
    }
    settings.CACHEBACK_CACHE_ALIAS = "third"
    job = Value()
    assert (job.cache_alias, job.get(3), job._app.name) == ("third", 1, "cacheback-third")
    assert backends["third"]._cache
    payloads: list[str] = []
    app = job._app
    with capture(app) as tasks:
        job.async_refresh(4)
        payloads += tasks.payloads
        assert cache.run(payloads[0]) is Outcome.DONE  # any worker of the project finds it
    caches._adopted.remove("third")
    del caches._made["third"]


def test_finding_classes(caplog: Any) -> None:
    assert get_job_class("books.jobs.Value") is Value
    assert get_job_class("books.jobs.Nothing") is None
    assert get_job_class("os.path.join") is None  # a task imports nothing but the project's own
    assert "in no installed app" in caplog.text


# --- the defects of a seed system


def test_c1_keys_tell_types_and_boundaries_apart() -> None:
    job = Value()
    calls: list[Any] = [("a:b",), ("a", "b"), (1,), ("1",), (None,), ("None",), (b"1",), (True,), (["a"],), ("['a']",)]
    assert len({job.key(*call) for call in calls}) == len(calls)
    assert job.key(a=1, b=2) == job.key(b=2, a=1)
    assert len({job.hash(call) for call in calls}) == len(calls)


def test_c2_a_model_is_its_label_key_and_database_in_every_process() -> None:
    word = Word.objects.create(text="a word")
    code = """
import django; django.setup()
from books.jobs import Value
from books.models import Word
print(Value().key(Word(text="a word")))
"""
    keys = {Value().key(word)}
    for seed in "12":
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT,
            env={**os.environ, "PYTHONHASHSEED": seed, "DJANGO_SETTINGS_MODULE": "books.settings"},
        )  # fmt: skip
        keys.add(done.stdout.strip())
    assert len(keys) == 1


def test_c3_a_queryset_job_queues_plain_data_and_loads_nothing_in_the_reader() -> None:
    Author.objects.create(name="Ada")
    with capture() as tasks:
        filter_authors.get(name="Ada")
        travel(601)
        with connection.execute_wrapper(lambda *_: pytest.fail("the reader asks the database")):
            filter_authors.get(name="Ada")
        assert json.loads(json.dumps(tasks[0].args)) == [
            "rewarm_django.compat.cacheback.QuerySetFilterJob", [["books.author"], {}], [[], {"name": "Ada"}],
            filter_authors.key(name="Ada"),
        ]  # fmt: skip
        assert cache.run(tasks.payloads[0]) is Outcome.DONE


def test_c4_a_reader_never_writes_the_old_value_over_a_new_one() -> None:
    with capture():
        job = Value()
        job.get()
        travel(601)
        entry = job._entry((), {})
        seen = entry.peek()
        source["value"] = 2
        job.refresh()  # between the reader's look and its claim
        assert seen is not None
        assert (job.get(), job.get()) == (2, 2)


def test_c5_a_refresh_that_was_overtaken_is_no_hit() -> None:
    job = Value()
    job.get()
    with _paused_load(job) as load:
        source["value"] = 2
        job.delete()
        load()
    assert job.get() == 2


def test_c6_the_slower_older_refresh_does_not_win() -> None:
    job = Value()
    with _paused_load(job) as load:
        source["value"] = 2
        job.refresh()
        load()
    assert job.get() == 2


def test_c7_a_load_that_raises_reaches_retries_dead_letters_and_the_queue() -> None:
    with capture() as tasks:
        source["value"] = ConnectionError("away")
        Value().async_refresh()
        assert cache.run(tasks.payloads[0]) is Outcome.RETRIED
        source["value"] = ValueError("broken")
        travel((tasks[1].due or 0) - cache.runtime.now())
        with pytest.raises(TaskDead):
            cache.runtime.adapter.deliver(tasks.payloads[1])
        assert "broken" in cache.dead.list()[0].errors[-1]


def test_c8_one_load_and_one_task_for_many_processes(herd: Any) -> None:
    assert herd("cacheback") == {"loads of a cold key": 1, "tasks of a stale key": 1}


def test_c9_a_method_or_nested_function_is_refused() -> None:
    def nested() -> None: ...

    for wrong in (nested, lambda: None, Value().fetch):
        with pytest.raises(ConfigurationError, match="which no worker finds"):
            cacheback()(wrong)


@pytest.mark.parametrize("value", [1, None])
def test_c10_a_redundant_task_is_skipped(value: Any) -> None:
    source["value"] = value
    with capture() as tasks:
        job = Value(refresh_timeout=600, ttl=10)
        job.async_refresh()
        payload = tasks.payloads[0]
        assert (cache.run(payload), cache.run(payload), loads["value"]) == (Outcome.DONE, Outcome.SKIPPED, 1)


def test_c11_the_worker_has_the_callers_configuration() -> None:
    with capture() as tasks:
        Value(factor=3, refresh_timeout=7, ttl=20).async_refresh()
        assert tasks[0].not_after - tasks[0].enqueued_at == pytest.approx(7, abs=0.1)
        cache.run(tasks.payloads[0])
        expiry, data = Value(factor=3, ttl=20).raw_get() or (0, 0)
        assert (data, 15 < expiry - time.time() <= 20) == (3, True)


def test_c12_invalidating_what_is_still_being_loaded_counts() -> None:
    job = Value()
    with _paused_load(job) as load:
        source["value"] = 2
        job.invalidate()
        load()
    with capture():
        pass
    seen = job._entry((), {}).peek()
    assert seen is None or seen.state == "STALE"


def test_c13_marking_a_large_value_stale_does_not_send_it_again(monkeypatch: Any) -> None:
    source["value"] = "x" * 1_000_000
    job, sent = Value(), []
    backend = backends["default"]
    for name in ("set", "add"):
        original = getattr(backend, name)
        monkeypatch.setattr(
            backend, name, lambda key, value, *a, _o=original, **k: (sent.append(value), _o(key, value, *a, **k))[1]
        )
    job.get()
    assert sum(isinstance(value, bytes) and len(value) > 900_000 for value in sent) == 1
    sent.clear()
    job._entry((), {}).invalidate()
    assert sent == []


def test_a_value_that_would_not_come_back_is_refused() -> None:
    source["value"] = Author.objects.all()
    with pytest.raises(SerializeError, match="QuerySet"):
        Value().get()


class _paused_load:
    """A refresh in another thread that has asked the source and waits; call the object to let it commit."""

    def __init__(self, job: Value) -> None:
        self.job, self.asked, self.go = job, threading.Event(), threading.Event()

    def __enter__(self) -> _paused_load:
        before = source["value"]

        class Slow(Value):
            def fetch(slow, *args: Any, **kwargs: Any) -> Any:
                self.asked.set()
                assert self.go.wait(10)
                return before

            class_path = self.job.class_path  # type: ignore[assignment]

        self.thread = threading.Thread(target=Slow().refresh)
        self.thread.start()
        assert self.asked.wait(10)
        return self

    def __call__(self) -> None:
        self.go.set()
        self.thread.join()

    def __exit__(self, *_: Any) -> None:
        self()


def test_a_process_that_has_not_used_a_cache_alias_yet_knows_its_application() -> None:
    assert caches.named("cacheback-nowhere") is None
    found = caches.named("cacheback-second")
    assert found is not None
    assert "cacheback" in found.jobs
    assert found is caches.named("cacheback-second")
