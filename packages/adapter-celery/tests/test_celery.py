"""Celery's adapter on a real server, and the worker as a user starts it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import requires

import pytest
from celery import Celery, Task

from rewarm import Capability, ConfigurationError, Rewarm, Route
from rewarm.cli.server import Server
from rewarm_celery import CeleryAdapter
from rewarm_celery.transport import Channel

ADAPTED = """
    from rewarm import Rewarm
    from rewarm_celery import CeleryAdapter
    from shop.celery_app import celery

    cache = Rewarm("shop", store="{url}", adapter=CeleryAdapter(celery))
"""
NAMED = """
    from rewarm import Rewarm

    cache = Rewarm("shop", store="{url}", adapter="celery")
    import shop.celery_app
"""
CELERY = """
    from celery import Celery

    celery = Celery("shop", broker="{url}", include=["shop.cache"])
"""
HANGS_ONCE = """
    import os
    import time
    from celery.signals import task_prerun

    @task_prerun.connect
    def hang_once(**_):
        if not os.path.exists("hung"):
            open("hung", "w").close()
            time.sleep(60)

    celery.conf.task_time_limit = 1
"""


def celery_on(url: str, name: str, **conf: object) -> Celery:
    app = Celery(name, broker=url, set_as_current=False)
    app.conf.update({"task_default_queue": name, "accept_content": ["json"], **conf})
    return app


def app_on(celery: Celery, server: Server, name: str = "", **settings: object) -> Rewarm:
    app = Rewarm(name or celery.main, store=server.url, adapter=CeleryAdapter(celery), **settings)  # type: ignore[arg-type]
    app.job(name="double", ttl=60)(double)
    return app


def double(n: int) -> int:
    return 2 * n


def test_tasks_go_to_the_default_queue_or_to_the_one_that_a_route_names(server: Server) -> None:
    app = app_on(celery_on(server.url, "routes"), server, routes={"sweep": {"queue": "routes-low"}})

    app.jobs["double"].refresh(1)
    app.jobs["double"].sweep()

    assert app.settings.adapter.depth() == app.settings.adapter.depth("routes-low") == 1
    assert app.settings.adapter.depth("routes-empty") == 0


def test_a_routes_options_replace_the_adapters_own(server: Server) -> None:
    app = app_on(celery_on(server.url, "options"), server)
    app.jobs["double"].entry(1).refresh(route=Route(options={"retry": False, "ignore_result": False}))
    assert app.settings.adapter.depth() == 1


def test_several_applications_share_a_celery(server: Server) -> None:
    celery = celery_on(server.url, "several")
    apps = [app_on(celery, server, f"several-{letter}") for letter in "ab"]
    tables = [app.settings.adapter.apps for app in apps]
    assert tables[0] is tables[1]
    assert set(tables[0]) == {"several-a", "several-b"}
    assert [name for name in celery.tasks if not name.startswith("celery.")] == ["rewarm.run"]


def test_a_crash_spends_no_retries_of_celerys_own_whatever_the_configuration(server: Server) -> None:
    celery = celery_on(server.url, "crash", task_retry_on_worker_lost=True)
    app_on(celery, server)
    task = celery.tasks["rewarm.run"]
    assert (task.max_retries, task.retry_on_worker_lost, task.reject_on_worker_lost) == (0, False, True)


def test_eager_mode_is_celerys_own_switch(server: Server) -> None:
    app = app_on(celery_on("redis://127.0.0.1:1/0", "eager", task_always_eager=True), server)
    receipt = app.jobs["double"].refresh(4)
    assert receipt.outcome(1) == "done"


@pytest.mark.parametrize(
    ("url", "conf", "capabilities", "hop"),
    [
        ("redis://h/0", {}, {"redelivery", "persistence", "priority"}, 60.0),
        ("redis://h/0", {"broker_transport_options": {"visibility_timeout": 30}}, None, 15.0),
        ("amqp://h//", {}, {"redelivery", "persistence"}, 600.0),
        ("amqp://h//", {"task_queue_max_priority": 9}, {"redelivery", "persistence", "priority"}, 600.0),
        ("pyamqp://h//", {"task_default_queue_type": "quorum"}, None, None),
        ("memory://", {}, set(), 600.0),
    ],
)  # fmt: skip
def test_what_it_can_do_depends_on_the_broker(
    url: str, conf: dict[str, object], capabilities: set[str] | None, hop: float | None
) -> None:
    adapter = CeleryAdapter(celery_on(url, "any", **conf))
    assert adapter.max_hop == hop
    if capabilities is not None:
        assert set(map(str, adapter.capabilities)) == {"delay", "depth", *capabilities}


@pytest.mark.parametrize(
    ("url", "conf", "levels"),
    [
        ("redis://h/0", {}, (0, 3, 6)),  # 0 is the highest
        ("amqp://h//", {"task_queue_max_priority": 9}, (9, 5, 1)),  # 9 is
        ("amqp://h//", {"task_queue_max_priority": 3}, (3, 1, 1)),
        ("amqp://h//", {}, ()),
    ],
)
def test_priorities_follow_the_brokers_scale(url: str, conf: dict[str, object], levels: tuple[int, ...]) -> None:
    found = CeleryAdapter(celery_on(url, "any", **conf))._levels()
    assert tuple(found[word] for word in ("high", "normal", "low") if found) == levels


def test_the_doctor_tells_of_pickle_prefetching_and_the_hour_after_a_kill() -> None:
    told = " ".join(finding.message for finding in CeleryAdapter(celery_on("redis://h/0", "any")).doctor())
    assert "comes back after 3600 s" in told
    assert "hoards" in told
    assert "hostname" in told
    assert "pickle" not in told
    careful = celery_on(
        "redis://h/0", "any", accept_content=["json", "pickle"], worker_prefetch_multiplier=1,
        broker_transport="rewarm_celery.transport:RedisTransport",
    )  # fmt: skip
    told = " ".join(finding.message for finding in CeleryAdapter(careful).doctor())
    assert "pickle" in told
    assert "hoards" not in told
    assert "hostname" not in told
    quorum = celery_on("amqp://h//", "any", task_default_queue_type="quorum")
    (told_topic,) = [one for one in CeleryAdapter(quorum).doctor() if "topic" in one.fix]
    assert (told_topic.severity, "waits inside a worker" in told_topic.message) == ("error", True)


@pytest.mark.parametrize(("options", "told"), [({}, ["warning"]), ({"confirm_publish": True}, [])], ids=["not", "set"])
def test_the_doctor_asks_for_confirms_on_rabbitmq(options: dict[str, bool], told: list[str]) -> None:
    celery = celery_on("amqp://h//", "any", broker_transport_options=options)
    assert [one.severity for one in CeleryAdapter(celery).doctor() if "confirm_publish" in one.fix] == told


def test_the_resilient_transport_names_a_lost_connection(server: Server) -> None:
    celery = celery_on(server.url, "lost", broker_transport="rewarm_celery.transport:RedisTransport")
    connection = celery.connection_for_read()
    channel = connection.default_channel
    assert isinstance(channel, Channel)
    connection.close()
    channel._pool = None
    with pytest.raises(connection.connection_errors, match="was lost"):
        channel._create_client()


def test_an_invented_application_is_refused(imported: Callable[..., set[str]]) -> None:
    code = """
from rewarm import Rewarm, ConfigurationError, EnqueueError
app = Rewarm("x", store="redis://127.0.0.1:1/0", adapter="celery")
try: app.settings.adapter.celery
except ConfigurationError as error: assert "no Celery application" in str(error)
else: raise AssertionError
"""
    assert imported(f"exec({code!r})") == {"celery"}


def test_importing_it_imports_no_other_queue(imported: Callable[..., set[str]]) -> None:
    assert imported("import rewarm_celery") == {"celery"}


def test_what_kombu_imports_for_redis_comes_along() -> None:
    assert "packaging" in (requires("rewarm-celery") or [])


@pytest.mark.parametrize("environment", [{}, {"REWARM_APP": "shop.cache:cache"}], ids=["alone", "REWARM_APP"])
@pytest.mark.parametrize("cache", [ADAPTED, NAMED], ids=["adapter", "name"])
def test_the_worker_as_a_user_types_it(
    server: Server, shop: Callable[..., str], cache: str, environment: dict[str, str]
) -> None:
    server.call("FLUSHALL")
    modules = {"cache": cache.format(url=server.url), "celery_app": CELERY.format(url=server.url)}
    worker = ("celery", "-A", "shop.celery_app:celery", "worker", "-P", "solo", "--without-mingle", "--without-gossip")
    assert shop(modules, *worker, **environment) == "done ['ada']"


@pytest.mark.skipif(not hasattr(Task, "acks_on_timeout"), reason="before Celery 5.7 it is lost")
def test_a_task_that_the_hard_time_limit_kills_comes_back(server: Server, shop: Callable[..., str]) -> None:
    server.call("FLUSHALL")
    modules = {"cache": ADAPTED.format(url=server.url), "celery_app": CELERY.format(url=server.url) + HANGS_ONCE}
    worker = ("celery", "-A", "shop.celery_app:celery", "worker", "-c", "1", "--without-mingle", "--without-gossip")
    assert shop(modules, *worker) == "done ['ada']"


def test_redelivery_is_declared_for_brokers_that_keep_messages() -> None:
    assert Capability.REDELIVERY not in CeleryAdapter(celery_on("memory://", "any")).capabilities
    with pytest.raises(ConfigurationError, match="memory store"):
        Rewarm("x", adapter=CeleryAdapter(celery_on("redis://h/0", "any"))).job(name="double", ttl=1)(double).refresh(1)
