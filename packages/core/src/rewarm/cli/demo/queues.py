"""How the demo sets up each queue whose workers are other processes. One more queue is a few lines here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from ...adapter import Adapter
from ...errors import ConfigurationError
from ...registry import adapters, find_adapter

LOCAL = ("threads", "inline", "asyncio")
QUEUE = "rewarm.cli.demo.jobs:queue"


APP = "rewarm.cli.demo.jobs:app"


class Queue(NamedTuple):
    """`open`: the queue object, for its worker, and the adapter on it.   `worker`: what `python -m` runs."""

    open: Callable[[str], tuple[Any, Adapter]]
    worker: tuple[str, ...]


def _celery(url: str) -> tuple[Any, Adapter]:
    from celery import Celery

    from rewarm_celery import CeleryAdapter

    queue = Celery("demo", broker=url, include=["rewarm.cli.demo.jobs"])
    return queue, CeleryAdapter(queue)


def _dramatiq(url: str) -> tuple[Any, Adapter]:
    from dramatiq.brokers.redis import RedisBroker

    from rewarm_dramatiq import DramatiqAdapter

    queue: Any = RedisBroker(url=url)  # type: ignore[no-untyped-call]
    return queue, DramatiqAdapter(queue)


def _rq(url: str) -> tuple[Any, Adapter]:
    from redis import Redis
    from rq import Queue as RQueue

    from rewarm_rq import RQAdapter

    os.environ |= {"RQ_REDIS_URL": url, "REWARM_APP": APP}  # for its worker
    queue = RQueue("demo", connection=Redis.from_url(url))
    return queue, RQAdapter(queue)


def _huey(url: str) -> tuple[Any, Adapter]:
    from rewarm_huey import AckRedisHuey, HueyAdapter

    queue = AckRedisHuey("demo", url=url)
    return queue, HueyAdapter(queue)


def _djangoq(_: str) -> tuple[Any, Adapter]:
    folder = os.environ["REWARM_DEMO_FOLDER"]
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "rewarm_djangoq.trial_settings", "REWARM_APP": APP,
        "REWARM_TRIAL_URL": folder, "REWARM_TRIAL_DIRECTORY": folder,
    }  # fmt: skip
    import django
    from django.core.management import call_command

    django.setup()
    if not os.path.exists(f"{folder}/db.sqlite3"):  # in the first process
        call_command("migrate", verbosity=0)
    from rewarm_djangoq import DjangoQAdapter

    return None, DjangoQAdapter()


QUEUES = {
    "celery": Queue(_celery, ("celery", "--app", QUEUE, "worker", "--concurrency", "2", "--loglevel", "warning")),
    "dramatiq": Queue(_dramatiq, ("dramatiq", QUEUE, "--processes", "1", "--threads", "2")),
    "rq": Queue(_rq, ("rq.cli", "worker", "--with-scheduler", "demo")),
    "huey": Queue(_huey, ("huey.bin.huey_consumer", QUEUE.replace(":", "."), "-w", "2")),
    "djangoq": Queue(_djangoq, ("django", "qcluster")),
}


def find(name: str) -> Queue | None:
    """How to set a queue up; None for one that needs nothing. Raises ConfigurationError, with what is installed."""
    if name in LOCAL:
        return None
    if name not in adapters():
        find_adapter(name)  # says what is installed, and what to install
    if name not in QUEUES:
        raise ConfigurationError(f"the demo cannot set up {name!r}; it can do {', '.join((*LOCAL, *QUEUES))}")
    return QUEUES[name]


def open_queue(name: str, url: str) -> tuple[Any, Adapter]:
    """The queue object, which its worker looks for, and the adapter on it."""
    return queue.open(url) if (queue := find(name)) else (None, find_adapter(name))
