"""Dramatiq's adapter on a real server, and the worker as a user starts it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import dramatiq
import pytest
from dramatiq import Message, Middleware, Worker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Retries, ShutdownNotifications, TimeLimitExceeded

from rewarm import Capability, ConfigurationError, Outcome, Retry, Rewarm
from rewarm.cli.server import Server
from rewarm_dramatiq import DramatiqAdapter

QUEUE = """
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    dramatiq.set_broker(RedisBroker(url="{url}"))
"""
CACHE = """
    import dramatiq
    from rewarm import Rewarm
    from rewarm_dramatiq import DramatiqAdapter
    import shop.queue

    broker = dramatiq.get_broker()
    cache = Rewarm("shop", store="{url}", adapter={adapter})
"""


@pytest.fixture
def broker(server: Server, request: pytest.FixtureRequest) -> Iterator[RedisBroker]:
    found = RedisBroker(url=server.url, namespace=request.node.name)
    yield found
    found.close()


@pytest.fixture
def no_broker() -> Iterator[None]:
    before, dramatiq.broker.global_broker = dramatiq.broker.global_broker, None
    yield
    dramatiq.broker.global_broker = before


def app_on(broker: RedisBroker, server: Server, name: str = "", **settings: object) -> Rewarm:
    app = Rewarm(name or broker.namespace, store=server.url, adapter=DramatiqAdapter(broker), **settings)  # type: ignore[arg-type]
    app.job(name="double", ttl=60)(double)
    return app


def double(n: int) -> int:
    return 2 * n


def fails(n: int) -> int:
    raise ValueError(n)


@pytest.fixture
def work(broker: RedisBroker) -> Iterator[Callable[[], None]]:
    worker = Worker(broker, worker_timeout=20, worker_threads=1)
    yield worker.start
    worker.stop()


def test_tasks_go_to_the_default_queue_or_to_the_one_that_a_route_names(broker: RedisBroker, server: Server) -> None:
    app = app_on(broker, server, routes={"sweep": {"queue": "low"}})

    app.jobs["double"].refresh(1)
    app.jobs["double"].sweep()

    assert app.settings.adapter.depth() == app.settings.adapter.depth("default") == 1
    assert app.settings.adapter.depth("low") == 1
    assert {"default", "low"} <= broker.get_declared_queues()  # so that workers consume both


def test_several_applications_share_a_broker_and_foreign_messages_harm_none(
    broker: RedisBroker, server: Server, work: Callable[[], None]
) -> None:
    apps = [app_on(broker, server, f"{broker.namespace}-{letter}") for letter in "ab"]
    broker.enqueue(Message(queue_name="default", actor_name="somebody.elses", args=(), kwargs={}, options={}))
    receipts = [app.jobs["double"].refresh(1) for app in apps]

    work()

    assert [receipt.outcome(10) for receipt in receipts] == ["done", "done"]


def test_workers_consume_the_queues_of_all_adapters_on_a_broker(broker: RedisBroker, server: Server) -> None:
    for queue in ("first", "second"):  # a worker only imports them: it sends nothing
        Rewarm(queue, store=server.url, adapter=DramatiqAdapter(broker, queue=queue))
    assert {"first", "second"} <= broker.get_declared_queues()


def test_a_worker_that_is_stopped_lets_its_task_end(server: Server) -> None:
    started, notified = threading.Event(), threading.Event()

    class Notified(Middleware):
        def before_worker_shutdown(self, broker: object, worker: object) -> None:
            notified.set()

    def slow() -> str:
        started.set()
        deadline = time.monotonic() + 10
        while not notified.is_set() and time.monotonic() < deadline:
            time.sleep(0.01)
        return "loaded"

    broker = StubBroker(middleware=[Retries(), ShutdownNotifications(notify_shutdown=True), Notified()])
    app = Rewarm("stopped", store=server.url, adapter=DramatiqAdapter(broker))
    receipt = app.job(ttl=60, name="slow")(slow).refresh()
    worker = Worker(broker, worker_timeout=20, worker_threads=1)
    worker.start()
    assert started.wait(10)
    worker.stop()
    assert receipt.status() == "done"
    app.close()


def test_a_dead_task_is_a_dead_letter_of_the_queue_and_not_retried(
    broker: RedisBroker, server: Server, work: Callable[[], None]
) -> None:
    app = app_on(broker, server)
    receipt = app.job(name="fails", ttl=60)(fails).refresh(1)
    work()

    assert receipt.outcome(10) == "dead"
    while not broker.client.zcard(f"{broker.namespace}:default.XQ"):
        pass
    assert not broker.client.llen(f"{broker.namespace}:default.DQ")


def test_what_it_can_do_depends_on_the_broker(broker: RedisBroker) -> None:
    assert Capability.REDELIVERY in DramatiqAdapter(broker).capabilities
    assert Capability.PRIORITY not in DramatiqAdapter(broker).capabilities
    assert Capability.REDELIVERY not in DramatiqAdapter(StubBroker()).capabilities
    assert not DramatiqAdapter(StubBroker()).eager


def test_it_speaks_json_only(broker: RedisBroker, server: Server) -> None:
    before = dramatiq.get_encoder()
    dramatiq.set_encoder(dramatiq.PickleEncoder())
    try:
        with pytest.raises(ConfigurationError, match="JSON"):
            app_on(broker, server)
    finally:
        dramatiq.set_encoder(before)


def test_the_doctor_tells_what_is_slow_to_come_back_or_dropped(broker: RedisBroker) -> None:
    told = {finding.message.partition(":")[0]: finding for finding in DramatiqAdapter(broker).doctor()}
    assert any("comes back after 60 s" in message for message in told)
    assert any("up to 2 s late" in message for message in told)
    rabbit = RabbitmqBroker(url="amqp://127.0.0.1:1", middleware=[])  # which pushes what it is given
    assert any("up to 1 s late" in finding.message for finding in DramatiqAdapter(rabbit).doctor())
    bare = StubBroker(middleware=[])
    found = [finding for finding in DramatiqAdapter(bare).doctor() if finding.severity == "error"]
    assert "Retries" in found[0].message
    assert not [one for one in DramatiqAdapter(StubBroker(middleware=[Retries()])).doctor() if one.severity == "error"]


def test_the_name_alone_means_the_broker_that_was_set(broker: RedisBroker, no_broker: None) -> None:
    with pytest.raises(ConfigurationError, match="set_broker"):
        DramatiqAdapter()
    dramatiq.set_broker(broker)
    assert DramatiqAdapter().broker is broker


def test_importing_it_imports_no_other_queue(imported: Callable[..., set[str]]) -> None:
    assert imported("import rewarm_dramatiq") == {"dramatiq"}


@pytest.mark.parametrize("environment", [{}, {"REWARM_APP": "shop.cache:cache"}], ids=["alone", "REWARM_APP"])
@pytest.mark.parametrize("adapter", ["DramatiqAdapter(broker)", '"dramatiq"'], ids=["adapter", "name"])
def test_the_worker_as_a_user_types_it(
    server: Server, shop: Callable[..., str], adapter: str, environment: dict[str, str]
) -> None:
    server.call("FLUSHALL")
    modules = {"queue": QUEUE.format(url=server.url), "cache": CACHE.format(url=server.url, adapter=adapter)}
    assert shop(modules, "dramatiq", "shop.cache:broker", "-p", "1", "-t", "1", **environment) == "done ['ada']"


def test_a_load_that_exceeds_the_time_limit_has_failed_and_is_told(server: Server) -> None:
    def late() -> int:
        raise TimeLimitExceeded

    broker = StubBroker()
    app = Rewarm("late", store=server.url, adapter=DramatiqAdapter(broker))
    job = app.job(ttl=60, name="late", retry=Retry(attempts=1))(late)
    receipt = job.refresh()
    assert app.run(Message.decode(broker.queues["default"].get()).args[0]) is Outcome.DEAD
    (letter,) = app.dead.list()
    assert ("TimeLimitExceeded" in letter.errors[-1], receipt.status()) == (True, "dead")
    app.close()
