"""Private servers on ports of their own: brokers that can be stopped and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rewarm.cli.server import Server


class Missing(LookupError):
    """The server's program is not installed: raised by a Service's constructor, which then has left nothing behind."""


class Service(ABC):
    """A broker, which runs once it is made: one of `KINDS`, or a class of your own as `Testbed.broker`.

    `url`: where it is, the same all its life; a testbed finds it as `self.url`.
    """

    url: str

    @abstractmethod
    def stop(self) -> None:
        """Go away at once: a crash, if the server keeps by it what it has taken, and else as it stops."""

    @abstractmethod
    def start(self) -> None:
        """Come back, with all that it had taken. Return when it answers."""

    @abstractmethod
    def close(self) -> None:
        """End for good and leave nothing behind, whether it is stopped or not."""

    @abstractmethod
    def version(self) -> str:
        """Name and version, for the report: "valkey 8.1.0"."""


class Redis(Service):
    """A Redis-compatible server that keeps what it is told."""

    def __init__(self) -> None:
        try:
            self.server = Server("--appendonly", "yes", "--appendfsync", "no")  # survives its process, not the host
        except LookupError as error:
            raise Missing(str(error)) from error
        self.url = self.server.url

    def stop(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.restart()

    def close(self) -> None:
        self.server.stop()

    def version(self) -> str:
        found = dict(line.split(":", 1) for line in self.server.call("INFO server").decode().split() if ":" in line)
        return f"{found.get('server_name', 'redis')} {found.get('valkey_version', found['redis_version'])}"


class Directory(Service):
    """A directory for queues in files. While it is stopped it is somewhere else."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="rewarm-files-"))
        self._here, self._away = self._home / "files", self._home / "away"
        self._here.mkdir()
        self.url = str(self._here)

    def stop(self) -> None:
        self._here.rename(self._away)

    def start(self) -> None:
        self._away.rename(self._here)

    def close(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)

    def version(self) -> str:
        return "files"


class Rabbit(Service):
    """A RabbitMQ node, loopback only, without systemd."""

    PROGRAMS = Path("/usr/lib/rabbitmq/bin")  # those on PATH are Debian's wrappers, for root only

    def __init__(self) -> None:
        if not (self.PROGRAMS / "rabbitmq-server").exists():
            raise Missing("no RabbitMQ: install rabbitmq-server")
        self.dir = tempfile.mkdtemp(prefix="rewarm-rabbit-")
        Path(self.dir, "plugins").write_text("[].\n")
        self.port, self.distribution, self.epmd = free_port(), free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self.environment = {
            **os.environ, "HOME": self.dir, "RABBITMQ_NODENAME": f"rewarm{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd), "RABBITMQ_PID_FILE": f"{self.dir}/pid",
            "RABBITMQ_MNESIA_BASE": f"{self.dir}/mnesia", "RABBITMQ_LOG_BASE": f"{self.dir}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self.dir}/plugins",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }  # fmt: skip
        self.start()

    def start(self) -> None:
        with open(f"{self.dir}/out", "ab") as out:
            self.process = subprocess.Popen(
                [self.PROGRAMS / "rabbitmq-server"],
                env=self.environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        wait_for(self._speaks, 60, self.process, f"RabbitMQ did not start, see {self.dir}/out")

    def _speaks(self) -> bool:
        try:  # a wrong protocol version is answered with the broker's own header
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"AMQP\0\0\x09\x01")
                return connection.recv(8) != b""
        except OSError:
            return False

    def control(self, *words: str) -> None:
        """A command of `rabbitmqctl`. Raises CalledProcessError."""
        subprocess.run([self.PROGRAMS / "rabbitmqctl", *words], env=self.environment, check=True, capture_output=True)

    def stop(self) -> None:
        with suppress(OSError, ValueError):
            os.kill(int(Path(self.dir, "pid").read_text()), signal.SIGTERM)
        self.process.wait(30)

    def close(self) -> None:
        self.stop()
        subprocess.run(["epmd", "-port", str(self.epmd), "-kill"], capture_output=True)  # it outlives its node
        shutil.rmtree(self.dir, ignore_errors=True)

    def version(self) -> str:
        done = subprocess.run(["dpkg-query", "-W", "-f=${Version}", "rabbitmq-server"], capture_output=True, text=True)
        return f"rabbitmq {done.stdout.split('-')[0]}".strip()


class Postgres(Service):
    """A PostgreSQL cluster of its own. Its programs refuse to run as root, and run as `postgres` then."""

    def __init__(self) -> None:
        debian = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
        found = debian[-1] if debian else shutil.which("initdb")
        if found is None:
            raise Missing("no PostgreSQL: install postgresql")
        self.bin = Path(found).parent
        self.user = "postgres" if os.geteuid() == 0 else None
        self.dir = tempfile.mkdtemp(prefix="rewarm-postgres-")
        if self.user:
            shutil.chown(self.dir, self.user)
        self.port = free_port()
        self.url = f"postgresql://{self.user or os.environ.get('USER', 'postgres')}@127.0.0.1:{self.port}/postgres"
        self._run("initdb", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    def _run(self, program: str, *args: str) -> None:
        subprocess.run(
            [self.bin / program, "-D", f"{self.dir}/data", *args],
            user=self.user, cwd=self.dir, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.dir} -c fsync=off"
        self._run("pg_ctl", "-w", "-l", f"{self.dir}/log", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def version(self) -> str:
        done = subprocess.run([self.bin / "postgres", "--version"], capture_output=True, text=True)
        return f"postgresql {done.stdout.split()[2]}"


KINDS: dict[str, type[Service]] = {
    "redis": Redis, "rabbitmq": Rabbit, "postgresql": Postgres, "directory": Directory,
}  # fmt: skip


def required(name: str) -> bool:
    """A missing server is a failure, not a skip."""
    return name in os.environ.get("REWARM_REQUIRE_SERVICES", "").replace(",", " ").split()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(ready: Callable[[], bool], seconds: float, process: subprocess.Popen[bytes], message: str) -> None:
    """Poll until `ready`. Raises RuntimeError if the process ended or the time is over."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline or process.poll() is not None:
            raise RuntimeError(message)
        time.sleep(0.05)
