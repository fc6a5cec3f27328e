"""Testbed: the one class that an adapter's author writes."""

from __future__ import annotations

import json
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from rewarm import Adapter, Rewarm

from .services import Service


@dataclass(frozen=True, slots=True)
class Setting:
    """What the suite provides. It crosses process borders as JSON.

    url: the broker's; for "directory" the path of an empty directory.   store: the store's, on another server.
    directory: scratch space of this run, for settings files and the like.
    """

    url: str
    store: str
    directory: str

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Self:
        return cls(**json.loads(text))


class Testbed(ABC):
    """One adapter on one queue and one broker, as the suite has to see it. One for Celery:

        class CeleryRedis(Testbed):
            broker = "redis"
            redelivery_seconds = 6

            def build(self, namespace):
                app = Celery("probe", broker=self.url)
                app.conf.task_default_queue = namespace
                app.conf.broker_transport_options = {"visibility_timeout": 3}
                return app, CeleryAdapter(app)

            def worker(self, namespace, queue=None):
                return [sys.executable, "-m", "celery", "-A", "rewarm_conformance.probe:native", "worker", "-c", "2",
                        "-Q", queue or namespace, "-n", f"{namespace}.{queue}@%h"]

            def make_eager(self, native):
                native.conf.task_always_eager = True

    The suite makes one instance per process: in its own, where it sends, and in each worker, which imports
    `rewarm_conformance.probe`. That module calls `build` and has `native` (what the queue's command line names) and
    `app`. `build` is called for many namespaces in one process, and twice for some. The suite owns all processes,
    signals, brokers, ports, deadlines and logs; a testbed neither starts nor stops anything.

    What may be set:

    name: of the cell in reports; by default the class's own, `celery-redis` for CeleryRedis.
    broker: the server that the suite starts: "redis", "rabbitmq", "postgresql", "directory" (for queues in files), or
        a `Service` of your own that says how it is started and stopped. None: the queue needs none that could be
        stopped (BROKER-* and DELIVER-04 are untested then). `self.url` says where it is.
    boot_seconds: from spawning a worker to its first payload, at worst.
    redelivery_seconds: the promised bound from a crash to the next run, without further traffic.
    delay_tolerance: the promised lateness of a delayed payload, in seconds.
    stop_seconds: an idle worker that is asked to stop has ended within this time.
    stop_signal: what asks a worker for a graceful stop.
    imports_app: the worker's command imports the application itself, so that it runs without REWARM_APP too.
    eager_switch: the queue has an eager switch of its own (`make_eager`). False: the adapter must never say eager.
    known_failures: check id -> address of the issue. The check runs and must fail.
    rescue: seconds after which the probe's application sends a task again that has not ended: the cell is then durable
        with rescue. None: without a journal.
    loss_windows: check id -> address of the text that states the window in which the queue itself loses or doubles
        work. The check runs and counts as a known failure even where luck let it pass.
    """

    __test__ = False  # pytest would collect any class called Test…

    name: ClassVar[str] = ""
    broker: ClassVar[str | type[Service] | None] = "redis"
    boot_seconds: float = 10.0
    redelivery_seconds: float = 10.0
    delay_tolerance: float = 1.0
    stop_seconds: float = 10.0
    stop_signal: int = signal.SIGTERM
    imports_app: bool = True
    eager_switch: bool = True
    rescue: float | None = None
    known_failures: Mapping[str, str] = {}
    loss_windows: Mapping[str, str] = {}

    def __init__(self, setting: Setting) -> None:
        self.url, self.directory = setting.url, Path(setting.directory)
        self.setting = setting

    @abstractmethod
    def build(self, namespace: str) -> tuple[Any, Adapter]:
        """The queue's own object, and the adapter on it.

        `namespace`: `rw` and ten hex digits. Queue, key prefix and node must be named after it.
        """

    @abstractmethod
    def worker(self, namespace: str, queue: str | None = None) -> list[str]:
        """The command line of one worker, as a user would type it.

        It consumes the default queue of `namespace`, or `queue` instead (for DELIVER-10: `namespace` and a suffix).
        """

    def make_eager(self, native: Any) -> None:
        """Turn on the queue's own eager switch, for this object alone: the suite goes on to send through others.

        Not given, though `eager_switch`: EAGER-07 is untested.
        """
        raise NotImplementedError

    def failed(self, namespace: str, log: str) -> bool:
        """Do the queue's own tools show a dead task of this namespace as failed? By default: the worker's log does."""
        return "TaskDead" in log

    def transaction(self, native: Any) -> AbstractContextManager[Any] | None:
        """A transaction of the queue's own database, rolled back if its block raises. For TRANSACTIONAL adapters."""
        return None

    def environment(self, namespace: str) -> Mapping[str, str]:
        """More environment variables for workers."""
        return {}

    def prepare(self, namespace: str) -> None:  # noqa: B027 (most queues need nothing)
        """Make what the queue needs before its first use: tables, exchanges. Called in the suite's process only."""

    def store(self, namespace: str) -> Any:
        """Where the probe's application keeps entries and ledger: the suite's own server."""
        return self.setting.store

    def app(self, name: str, adapter: Adapter, **settings: Any) -> Rewarm:
        """The probe's application."""
        return Rewarm(name, adapter=adapter, **{"rescue": self.rescue, **settings})

    def versions(self) -> Mapping[str, str]:
        """Distributions and servers whose versions belong in the report, beside what the suite finds itself."""
        return {}
