"""RQ as the conformance suite sees it: with a queue of RQ's own, and with django-rq's."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

from redis import Redis
from rq import Queue
from rq.registry import FailedJobRegistry

from rewarm import Adapter
from rewarm_conformance.testbed import Setting, Testbed

from .adapter import RQAdapter, django_queue
from .worker import RecoveringWorker


class PromptWorker(RecoveringWorker):
    """Looks every second, so that nobody waits for the crash checks."""

    look, grace = 1, 4


class RQRedis(Testbed):
    """A worker with a lease of 5 s stands for RQ's own, whose tasks come back after 90 s to 13 minutes."""

    broker = "redis"
    redelivery_seconds = 12.0
    delay_tolerance = 2.5  # whole seconds, and a scheduler that looks once a second
    imports_app = False

    def build(self, namespace: str) -> tuple[Queue, Adapter]:
        queue = Queue(namespace, connection=Redis.from_url(self.url))
        return queue, RQAdapter(queue)

    def worker(self, namespace: str, queue: str | None = None) -> list[str]:
        return [
            sys.executable, "-m", "rq.cli", "worker", "--url", self.url, "--with-scheduler",
            "-w", "rewarm_rq.testbed.PromptWorker", queue or namespace,
        ]  # fmt: skip

    def make_eager(self, native: Queue) -> None:
        native._is_async = False

    def failed(self, namespace: str, log: str) -> bool:
        return FailedJobRegistry(queue=self.build(namespace)[0]).count > 0


class RQDjango(RQRedis):
    """Queue and worker from Django's settings."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        os.environ |= {"DJANGO_SETTINGS_MODULE": "rewarm_rq.testbed_settings", "REWARM_TESTBED_URL": self.url}

    def build(self, namespace: str) -> tuple[Queue, Adapter]:
        queue = django_queue(namespace)
        return queue, RQAdapter(queue)

    def worker(self, namespace: str, queue: str | None = None) -> list[str]:
        return [
            sys.executable, "-m", "django", "rqworker", "--with-scheduler",
            "--worker-class", "rewarm_rq.testbed.PromptWorker", queue or namespace,
        ]  # fmt: skip

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("django", "django-rq")}
