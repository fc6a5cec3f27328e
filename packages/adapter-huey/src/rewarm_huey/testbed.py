"""huey as the conformance suite sees it: stock on Redis, with priorities, on SQLite, and with acknowledgement."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from huey import PriorityRedisHuey, RedisHuey, SqliteHuey

from rewarm import Adapter
from rewarm_conformance.testbed import Testbed

from .ack import AckRedisHuey
from .adapter import HueyAdapter
from .serializer import JSONSerializer

CHOICE = tuple(map(int, version("huey").split(".")[:2])) >= (3, 4)
"""`-g` chooses the signal that stops a consumer gracefully; before, it is SIGINT."""


class HueyRedis(Testbed):
    """Two instances: routes choose one, and so does a consumer's command line."""

    broker = "redis"
    delay_tolerance = 1.5  # the scheduler looks once a second
    stop_signal = signal.SIGTERM if CHOICE else signal.SIGINT
    loss_windows: Mapping[str, str] = {  # between two tasks a kill may lose none
        "LOAD-02": "https://github.com/coleifer/huey/issues/844"
    }

    def make(self, namespace: str) -> Any:
        return RedisHuey(namespace, url=self.url)

    def build(self, namespace: str) -> tuple[Any, Adapter]:
        hueys = {name: self.make(name) for name in (namespace, f"{namespace}-other")}
        return hueys[os.environ.get("REWARM_TESTBED_HUEY", namespace)], HueyAdapter(*hueys.values())

    def worker(self, namespace: str, queue: str | None = None) -> list[str]:
        return [
            "env", f"REWARM_TESTBED_HUEY={queue or namespace}",  # an application has a name for each instance
            sys.executable, "-m", "huey.bin.huey_consumer", "rewarm_conformance.probe.native",
            "-w", "2", "-d", "0.02", "-m", "0.05", *(("-g", "TERM") if CHOICE else ()),
        ]  # fmt: skip

    def make_eager(self, native: Any) -> None:
        native.immediate = True


class HueyPriority(HueyRedis):
    def make(self, namespace: str) -> Any:
        return PriorityRedisHuey(namespace, url=self.url, serializer=JSONSerializer())


class HueySqlite(HueyRedis):
    broker = "directory"

    def make(self, namespace: str) -> Any:
        return SqliteHuey(namespace, filename=f"{self.url}/{namespace}.huey", journal_mode="wal", timeout=20)


class HueyAck(HueyRedis):
    """A lease of 2 s stands for the default of 10 s."""

    redelivery_seconds = 5.0
    loss_windows: Mapping[str, str] = {}

    def make(self, namespace: str) -> Any:
        return AckRedisHuey(namespace, url=self.url, lease=2.0, serializer=JSONSerializer())


class HueyRescue(HueyRedis):
    """Stock huey, whose losses the journal makes good."""

    rescue = 3.0
    redelivery_seconds = 8.0
    loss_windows: Mapping[str, str] = {}
