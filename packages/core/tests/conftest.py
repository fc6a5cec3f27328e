"""What tests share: a private server, and every kind of store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from rewarm.cli.server import Server
from rewarm.stores import MemoryStore
from rewarm.stores.redis import RedisStore


@pytest.fixture(scope="module")
def private_server() -> Iterator[Callable[..., Server]]:
    """Starts servers with the given flags, and stops them after the module's tests.

    Without a binary the test is skipped, or fails where REWARM_REQUIRE_SERVICES names `redis`.
    """
    with ExitStack() as servers:

        def start(*flags: str) -> Server:
            try:
                return servers.enter_context(Server(*flags))
            except LookupError as missing:
                if "redis" in os.environ.get("REWARM_REQUIRE_SERVICES", "").replace(",", " ").split():
                    raise
                pytest.skip(str(missing))

        yield start


@pytest.fixture(scope="module")
def valkey(private_server: Callable[..., Server]) -> Server:
    """One server for a test module. Tests choose names of their own, or flush."""
    return private_server()


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[MemoryStore | RedisStore]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryStore()
        return
    server: Server = request.getfixturevalue("valkey")
    server.call("FLUSHALL")
    found = RedisStore(server.url)
    yield found
    found.close()
