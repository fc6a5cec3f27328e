"""How the demo sets up each queue whose workers are other processes. One more queue is a few lines here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ...adapter import Adapter
from ...errors import ConfigurationError
from ...registry import adapters, find_adapter

LOCAL = ("threads", "inline", "asyncio")
QUEUE = "rewarm.cli.demo.jobs:queue"


class Queue(NamedTuple):
    """`build`: the queue object, on a broker's URL.   `adapt`: its adapter.   `worker`: what `python -m` runs."""

    build: Callable[[str], Any]
    adapt: Callable[[Any], Adapter]
    worker: tuple[str, ...]


def _celery(url: str) -> Any:
    from celery import Celery

    return Celery("demo", broker=url, include=["rewarm.cli.demo.jobs"])


def _celery_adapter(queue: Any) -> Adapter:
    from rewarm_celery import CeleryAdapter

    return CeleryAdapter(queue)


QUEUES = {
    "celery": Queue(
        _celery, _celery_adapter, ("celery", "--app", QUEUE, "worker", "--concurrency", "2", "--loglevel", "warning")
    ),
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
    if (queue := find(name)) is None:
        return None, find_adapter(name)
    built = queue.build(url)
    return built, queue.adapt(built)
