"""huey's adapter on a real server, and the consumer as a user starts it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest
from huey import Huey, MemoryHuey, PriorityRedisHuey, RedisHuey, SqliteHuey

from rewarm import Capability, EnqueueError, NotAcknowledged, Rewarm, Route
from rewarm.cli.server import Server
from rewarm_huey import AckRedisHuey, HueyAdapter, JSONSerializer

CACHE = """
    from huey import RedisHuey
    from rewarm import Rewarm
    from rewarm_huey import HueyAdapter

    huey = RedisHuey("shop", url="{url}")
    cache = Rewarm("shop", store="{url}", adapter=HueyAdapter(huey))
"""


@pytest.fixture
def huey(server: Server, request: pytest.FixtureRequest) -> Huey:
    return AckRedisHuey(request.node.name, url=server.url, lease=5, serializer=JSONSerializer())


def app_on(server: Server, *hueys: Huey, name: str = "", **settings: object) -> Rewarm:
    app = Rewarm(name or hueys[0].name, store=server.url, adapter=HueyAdapter(*hueys), **settings)  # type: ignore[arg-type]
    app.job(name="double", ttl=60)(double)
    return app


def double(n: int) -> int:
    return 2 * n


def work(huey: Huey) -> None:
    """What a consumer's thread does until the queue is empty."""
    consumer = huey.create_consumer()
    worker = consumer._create_worker()
    while huey.pending_count():
        worker.loop()


def test_a_route_names_another_instance(server: Server, huey: Huey) -> None:
    low = PriorityRedisHuey(f"{huey.name}-low", url=server.url)  # which takes a priority that the other refuses
    app = app_on(server, huey, low, routes={"sweep": {"queue": low.name}})

    receipt = app.jobs["double"].refresh(1)
    app.jobs["double"].sweep()

    assert (huey.pending_count(), low.pending_count()) == (1, 1)
    assert app.settings.adapter.depth(low.name) == 1
    work(huey)
    work(low)
    assert receipt.outcome(5) == "done"


def test_a_route_to_an_unknown_queue_is_refused(server: Server, huey: Huey) -> None:
    app = app_on(server, huey, routes={"refresh": {"queue": "elsewhere"}})
    with pytest.raises(EnqueueError, match=r"HueyAdapter\(huey, other\)"):
        app.jobs["double"].refresh(1)


def test_several_applications_share_an_instance(server: Server, huey: Huey) -> None:
    other = RedisHuey(f"{huey.name}-other", url=server.url)
    apps = [
        app_on(server, huey, other, name=f"{huey.name}-a"),
        app_on(server, other, name=f"{huey.name}-b"),
        app_on(server, huey, name=f"{huey.name}-c"),
    ]
    receipts = [app.jobs["double"].refresh(1) for app in apps]
    routed = apps[0].jobs["double"].entry(2).refresh(route=Route(other.name))

    work(huey)
    work(other)

    assert [receipt.outcome(5) for receipt in (*receipts, routed)] == ["done"] * 4


def test_messages_that_nobody_can_read_are_set_aside(
    server: Server, huey: Huey, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_on(server, huey)
    huey.storage.enqueue(b"\x80\x04no JSON")
    receipt = app.jobs["double"].refresh(1)

    with caplog.at_level(logging.CRITICAL, "huey"):
        work(huey)

    assert receipt.outcome(5) == "done"
    assert huey.storage.conn.lrange(huey.storage.unreadable_key, 0, -1) == [b"\x80\x04no JSON"]
    assert not huey.storage.conn.zcard(huey.storage.inflight_key)


def test_a_message_whose_worker_is_gone_is_handed_out_again(server: Server) -> None:
    huey = AckRedisHuey("lease", url=server.url, lease=0.01)
    app = app_on(server, huey)
    receipt = app.jobs["double"].refresh(1)
    assert huey.storage.dequeue() is not None  # and the worker dies

    while not huey.pending_count():
        huey.storage._next = 0.0
        if (message := huey.storage.dequeue()) is not None:
            huey.storage.enqueue(message)

    work(huey)
    assert receipt.outcome(5) == "done"


def test_a_task_that_is_interrupted_is_not_acknowledged(huey: Huey, server: Server) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    app = app_on(server, huey)
    app.job(name="interrupted", ttl=60)(interrupted).refresh()
    huey.execute(huey.dequeue())
    assert huey.storage.conn.zcard(huey.storage.inflight_key) == 1
    app.jobs["double"].refresh(1)
    huey.execute(huey.dequeue())
    assert huey.storage.conn.zcard(huey.storage.inflight_key) == 1


def test_a_task_that_could_be_neither_queued_nor_buried_is_not_acknowledged(
    huey: Huey, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def insist(adapter: HueyAdapter, payload: str) -> None:
        raise NotAcknowledged("queue and store are away")

    app = app_on(server, huey)
    receipt = app.jobs["double"].refresh(1)
    with monkeypatch.context() as patch:
        patch.setattr(HueyAdapter, "insist", insist)
        huey.execute(huey.dequeue())
    (message,) = huey.storage.conn.zrange(huey.storage.inflight_key, 0, -1)
    huey.storage.conn.zadd(huey.storage.inflight_key, {message: 0})  # its lease lapses
    huey.storage._next = 0.0
    huey.execute(huey.dequeue())
    assert receipt.outcome(5) == "done"


def test_a_lease_is_renewed_after_an_outage_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = AckRedisHuey("renew", url=server.url, lease=0.03).storage
    renewed, answers = threading.Event(), iter([ConnectionError("away"), ConnectionError("away")])

    def zadd(*_: object, **__: object) -> None:
        for error in answers:
            raise error
        renewed.set()

    monkeypatch.setattr(storage.conn, "zadd", zadd)
    with storage.renewing(b"message"):
        assert renewed.wait(10)


def test_what_is_due_leaves_the_schedule_for_the_queue(huey: Huey, server: Server) -> None:
    app = app_on(server, huey)
    app.jobs["double"].entry(1).refresh(delay=60)
    assert (huey.scheduled_count(), huey.pending_count()) == (1, 0)


def test_capabilities_are_the_instances(server: Server, tmp_path: object) -> None:
    def of(huey: Huey) -> set[str]:
        return set(map(str, HueyAdapter(huey).capabilities)) - {"delay", "depth"}

    assert of(RedisHuey("x", url=server.url)) == {"persistence"}
    assert of(PriorityRedisHuey("x", url=server.url)) == {"persistence", "priority"}
    assert of(SqliteHuey("x", filename=f"{tmp_path}/x.db")) == {"persistence", "priority"}
    assert of(AckRedisHuey("x", url=server.url)) == {"persistence", "redelivery"}
    assert of(MemoryHuey("x")) == {"priority"}


def test_the_doctor_tells_what_the_storage_loses(server: Server) -> None:
    def told(huey: Huey) -> str:
        return " ".join(finding.message for finding in HueyAdapter(huey).doctor())

    stock = told(RedisHuey("x", url=server.url, immediate=True))
    assert "is killed is lost" in stock
    assert "loses the running task" in stock
    assert "up to 1 s late" in stock
    assert "pickle" in stock
    assert "immediate is on" in stock
    mended = told(AckRedisHuey("x", url=server.url, serializer=JSONSerializer()))
    assert "is killed is lost" not in mended
    assert "loses the running task" not in mended
    assert "comes back when its lease lapses" in mended
    assert "late" not in mended
    assert "pickle" not in mended
    assert Capability.PRIORITY not in HueyAdapter(RedisHuey("x", url=server.url)).capabilities


def test_the_name_alone_means_djangos_instance(imported: Callable[..., set[str]]) -> None:
    code = """
from rewarm import ConfigurationError
from rewarm_huey import HueyAdapter
try:
    HueyAdapter()
except ConfigurationError as error:
    assert "Django" in str(error), error
else:
    raise AssertionError("found one in a process without Django")
"""
    assert imported(f"exec({code!r})") == {"huey"}


def test_the_name_in_a_django_project_means_its_instance(imported: Callable[..., set[str]]) -> None:
    code = """
from django.conf import settings
settings.configure(HUEY={"huey_class": "huey.MemoryHuey", "name": "project", "immediate": False})
from rewarm_huey import HueyAdapter
assert HueyAdapter().huey.name == "project"
"""
    assert imported(f"exec({code!r})") == {"huey"}


def test_importing_it_imports_no_other_queue(imported: Callable[..., set[str]]) -> None:
    assert imported("import rewarm_huey") == {"huey"}


@pytest.mark.parametrize("named", [False, True])
def test_the_consumer_as_a_user_types_it(server: Server, shop: Callable[..., str], named: bool) -> None:
    environment = {"REWARM_APP": "shop.cache:cache"} if named else {}
    server.call("FLUSHALL")
    assert (
        shop({"cache": CACHE.format(url=server.url)}, "huey_consumer", "shop.cache.huey", **environment)
        == "done ['ada']"
    )
