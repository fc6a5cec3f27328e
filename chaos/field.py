"""Field: the servers of one fault, which can be killed, frozen, filled, slowed down, reset and replaced."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rewarm.cli.server import Server
from rewarm_conformance.lab import Lab
from rewarm_conformance.services import Rabbit, Redis, Service
from rewarm_conformance.testbed import Testbed

from .proxy import Proxy

ROOM = "?socket_timeout=1&socket_connect_timeout=1"
"""The store's timeouts, 5 s by default: a frozen one must be noticed while it is frozen."""


class Target(Service):
    """A server behind what can be done to it; reached through a proxy if asked."""

    def __init__(self, service: Service, proxied: bool) -> None:
        self.service, self.url = service, service.url
        self.spare: Server | None = None
        self.proxy: Proxy | None = None
        if proxied:
            port = service.server.port if isinstance(service, Redis) else getattr(service, "port", 0)
            self.proxy = Proxy(port)
            self.url = self.url.replace(f":{port}", f":{self.proxy.port}")

    @property
    def proxied(self) -> Proxy:
        """Its proxy, of a fault that says so."""
        assert self.proxy is not None
        return self.proxy

    @property
    def pid(self) -> int:
        if isinstance(self.service, Redis):
            return self.service.server.pid
        assert isinstance(self.service, Rabbit)
        return int(Path(self.service.dir, "pid").read_text())

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self, number: int) -> None:
        """Send it a signal that ends it, and wait for that."""
        process = self.service.server.process if isinstance(self.service, Redis) else self.service.process  # type: ignore[attr-defined]
        self.signal(number)
        process.wait(30)

    def freeze(self) -> None:
        """It does nothing from now on."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.signal(signal.SIGCONT)

    def fill(self) -> None:
        """It has no room from now on: Redis refuses what takes any, RabbitMQ leaves its publishers waiting."""
        if isinstance(self.service, Rabbit):
            self.service.control("set_vm_memory_high_watermark", "0")
        elif isinstance(self.service, Redis):
            self.service.server.call("CONFIG SET maxmemory-policy noeviction")
            self.service.server.call("CONFIG SET maxmemory 1")

    def drain(self) -> None:
        """It has room again."""
        if isinstance(self.service, Rabbit):
            self.service.control("set_vm_memory_high_watermark", "0.4")
        elif isinstance(self.service, Redis):
            self.service.server.call("CONFIG SET maxmemory 0")

    def fail_over(self) -> None:
        """The address leads to an empty server from now on."""
        self.spare = Server()
        self.proxied.redirect(self.spare.port)

    def stop(self) -> None:
        self.end(signal.SIGTERM)

    def start(self) -> None:
        self.service.start()

    def close(self) -> None:
        if self.proxy:
            self.proxy.close()
        if self.spare:
            self.spare.stop()
        self.service.close()

    def version(self) -> str:
        return self.service.version()


class Field(Lab):
    """A lab whose servers are targets. `proxied`: "broker", "store" or ""."""

    def __init__(self, path: str, testbed: type[Testbed], weapons: Mapping[str, str], proxied: str = "") -> None:
        self.targets: dict[str, Target] = {}
        self.proxied = proxied
        super().__init__(path, armed(testbed, weapons), strict=True)
        self.setting = replace(self.setting, store=self.setting.store + ROOM)
        self.testbed = self.testbed_class(self.setting)

    def service(self, kind: str | type[Service]) -> Service:
        name = "store" if self.targets else "broker"
        service = super().service(kind)
        self.targets[name] = target = Target(service, name == self.proxied)
        self.services[-1] = target
        return target

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.directory, ignore_errors=True)


def armed(testbed: type[Testbed], weapons: Mapping[str, str]) -> Any:
    """The testbed, whose workers import `chaos.worker` instead of the suite's probe."""

    class Armed(testbed):  # type: ignore[misc,valid-type]
        def worker(self, namespace: str, queue: str | None = None) -> list[str]:
            words = super().worker(namespace, queue)
            return [word.replace("rewarm_conformance.probe", "chaos.worker") for word in words]

        def environment(self, namespace: str) -> Mapping[str, str]:
            return {**super().environment(namespace), "REWARM_APP": "chaos.worker:app", **weapons}

    return Armed
