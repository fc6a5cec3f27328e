"""RQ's adapter on a real server, and the worker as a user starts it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from redis import Redis
from redis.exceptions import ConnectionError
from rq import Queue, SimpleWorker
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer

from rewarm import Adapter, Capability, ConfigurationError, NotAcknowledged, Rewarm, Route
from rewarm.adapter import process_apps
from rewarm.cli.server import Server
from rewarm_rq import RecoveringWorker, RQAdapter

CACHE = """
    from redis import Redis
    from rewarm import Rewarm
    from rewarm_rq import RQAdapter
    from rq import Queue

    cache = Rewarm("shop", store="{url}", adapter=RQAdapter(Queue("shop", connection=Redis.from_url("{url}"))))
"""


@pytest.fixture
def queue(server: Server, request: pytest.FixtureRequest) -> Queue:
    return Queue(request.node.name, connection=Redis.from_url(server.url))


@pytest.fixture(autouse=True)
def empty_table() -> Iterator[None]:
    yield
    process_apps.clear()


def app_on(queue: Queue, server: Server, name: str = "", **settings: object) -> Rewarm:
    app = Rewarm(name or queue.name, store=server.url, adapter=RQAdapter(queue), **settings)  # type: ignore[arg-type]
    app.job(name="double", ttl=60)(double)
    return app


def double(n: int) -> int:
    return 2 * n


def work(*queues: Queue) -> None:
    SimpleWorker(list(queues), connection=queues[0].connection).work(burst=True, logging_level="ERROR")


def test_tasks_go_to_the_given_queue_or_to_the_one_that_a_route_names(queue: Queue, server: Server) -> None:
    app = app_on(queue, server, routes={"sweep": {"queue": f"{queue.name}-low"}})
    low = Queue(f"{queue.name}-low", connection=queue.connection)

    app.jobs["double"].refresh(1)
    app.jobs["double"].sweep()

    assert (queue.count, low.count) == (1, 1)
    assert app.settings.adapter.depth() == app.settings.adapter.depth(low.name) == 1


def test_several_applications_share_a_queue_and_a_foreign_job_harms_none(queue: Queue, server: Server) -> None:
    apps = [app_on(queue, server, f"{queue.name}-{letter}") for letter in "ab"]
    receipts = [app.jobs["double"].refresh(4) for app in apps]
    queue.enqueue("somebody.elses_function", 1)

    work(queue)

    assert [receipt.outcome(5) for receipt in receipts] == ["done", "done"]
    assert queue.failed_job_registry.count == 1


def test_a_job_that_could_be_neither_queued_nor_buried_for_long_comes_back_as_often_as_it_takes(
    queue: Queue, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_on(queue, server)
    receipt = app.jobs["double"].refresh(1)
    (id,) = queue.get_job_ids()
    deliver, tries = Adapter.deliver, iter(range(40))

    def away(adapter: Adapter, payload: str) -> None:
        if next(tries, None) is not None:
            raise NotAcknowledged("queue and store are away")
        deliver(adapter, payload)

    monkeypatch.setattr(Adapter, "deliver", away)
    monkeypatch.setattr("rewarm.adapter.PAUSES", (0.0,) * 3)
    work(queue)
    assert receipt.outcome(5) == "done"
    assert queue.fetch_job(id).retries_left == 5


def test_what_cannot_be_unpickled_harms_nothing(queue: Queue, server: Server) -> None:
    app = app_on(queue, server)
    queue.enqueue("builtins.print", description="broken").connection.hset(
        f"rq:job:{queue.get_job_ids()[0]}", "data", b"\x80\x04no pickle"
    )
    receipt = app.jobs["double"].refresh(1)

    work(queue)

    assert receipt.outcome(5) == "done"


def test_many_are_sent_at_once_with_the_same_promises(queue: Queue, server: Server) -> None:
    adapter = RQAdapter(queue, timeout=77)
    adapter.enqueue_many([(f"payload {number}", Route()) for number in range(3)])

    jobs = queue.get_jobs()
    assert [job.args for job in jobs] == [(f"payload {number}",) for number in range(3)]
    assert {(job.timeout, job.retries_left, job.result_ttl) for job in jobs} == {(77, 5, 60)}


def test_a_route_may_change_the_options_of_those_sent_at_once_too(queue: Queue, server: Server) -> None:
    route = Route(options={"job_timeout": 5, "failure_ttl": 60})
    RQAdapter(queue).enqueue_many([("payload", route), ("payload", Route())])

    assert [(job.timeout, job.failure_ttl) for job in queue.get_jobs()] == [(5, 60), (3600, 7 * 86_400)]


def test_a_delay_is_rounded_up_to_whole_seconds(queue: Queue) -> None:
    before = time.time()
    id = RQAdapter(queue).enqueue("payload", route=Route(), delay=1.2)
    due = queue.scheduled_job_registry.get_scheduled_time(str(id)).timestamp()
    assert before + 1 <= due <= before + 3  # RQ cuts 2 s after now to whole seconds
    assert queue.count == 0


def test_what_it_can_do_and_its_switch(server: Server) -> None:
    adapter = RQAdapter(Queue("x", connection=Redis.from_url(server.url)))
    assert Capability.REDELIVERY in adapter.capabilities
    assert not adapter.eager
    assert RQAdapter(Queue("x", is_async=False, connection=Redis.from_url(server.url))).eager


def test_the_doctor_tells_of_pickle_and_of_a_queue_that_is_not_asynchronous(queue: Queue) -> None:
    told = " ".join(finding.message for finding in RQAdapter(queue).doctor())
    assert "not JSON" in told
    assert "is_async" not in told
    plain = Queue("x", is_async=False, connection=queue.connection, serializer=JSONSerializer)
    told = " ".join(finding.message for finding in RQAdapter(plain).doctor())
    assert "not JSON" not in told
    assert "is_async" in told


def test_a_recovering_worker_looks_more_often_and_leases_for_less(queue: Queue) -> None:
    worker = RecoveringWorker([queue], connection=queue.connection)
    assert worker.maintenance_interval == worker.job_monitoring_interval == 10
    assert worker.get_heartbeat_ttl(None) == 15  # type: ignore[arg-type]
    assert worker.dequeue_timeout == 10


def test_a_recovering_worker_tries_again_what_a_lost_connection_refused(queue: Queue) -> None:
    queue.connection.ping()  # connected before the worker is made
    worker = RecoveringWorker([queue], connection=queue.connection)
    worker.connection.ping()
    (connection,) = worker.connection.connection_pool._available_connections
    assert (connection.retry.get_retries(), connection.retry_on_error[0]) == (60, ConnectionError)


def test_a_worker_that_is_killed_while_it_cleans_up_keeps_nobody_from_it_for_long(queue: Queue) -> None:
    worker = RecoveringWorker([queue], connection=queue.connection)
    assert queue.acquire_maintenance_lock()  # of one that is killed now
    worker.clean_registries()
    assert 0 < queue.connection.ttl(queue.registry_cleaning_key) <= worker.grace
    queue.connection.delete(queue.registry_cleaning_key)
    worker.clean_registries()
    assert queue.acquire_maintenance_lock(), "its own is given back"


def test_a_recovering_worker_that_is_about_to_stop_starts_no_scheduler(queue: Queue) -> None:
    worker = RecoveringWorker([queue], connection=queue.connection)
    worker.scheduler = RQScheduler([queue], queue.connection)
    worker.last_cleaned_at = datetime.now(UTC)  # not its first time
    worker._stop_requested = True
    worker.run_maintenance_tasks()
    assert worker.scheduler._process is None


def test_the_name_alone_means_djangos_queue() -> None:
    with pytest.raises(ConfigurationError, match=r"RQ_QUEUES|install django-rq"):
        RQAdapter()


def test_the_name_in_a_django_project_means_its_default_queue(
    server: Server, imported: Callable[..., set[str]]
) -> None:
    code = f"""
from django.conf import settings
settings.configure(RQ_QUEUES={{name: {{"URL": {server.url!r}}} for name in ("default", "low")}})
from rewarm import Route
from rewarm_rq import RQAdapter
adapter = RQAdapter()
assert adapter.enqueue("payload", route=Route("low"), delay=0)
assert [queue.name for queue in (adapter.queue, adapter.named("low"))] == ["default", "low"]
assert [adapter.depth(name) for name in ("default", "low")] == [0, 1]
"""
    assert imported(f"exec({code!r})") == {"rq"}


def test_importing_it_imports_no_other_queue(imported: Callable[..., set[str]]) -> None:
    assert imported("import rewarm_rq") == {"rq"}


def test_the_worker_as_a_user_types_it(server: Server, shop: Callable[..., str]) -> None:
    cache = {"cache": CACHE.format(url=server.url)}
    worker = ("rq", "worker", "--url", server.url, "--with-scheduler", "shop")
    assert shop(cache, *worker, REWARM_APP="shop.cache:cache") == "done ['ada']"


def test_without_rewarm_app_the_queues_own_tools_show_what_is_missing(
    queue: Queue, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REWARM_APP", raising=False)
    with app_on(queue, server) as app:
        app.jobs["double"].refresh(21)
    process_apps.clear()  # a worker that has not imported the application
    work(queue)
    failed = queue.failed_job_registry.get_job_ids()
    assert len(failed) == 1
    assert "name it in REWARM_APP=module:attribute" in str(queue.fetch_job(failed[0]).latest_result().exc_string)
