"""What tests share: a private server, and every kind of store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeVar

import pytest

from rewarm.cli.server import Cluster, Server
from rewarm.stores import MemoryStore
from rewarm.stores.redis import RedisStore

T = TypeVar("T")


@pytest.fixture(scope="module")
def private_server() -> Iterator[Callable[..., Server]]:
    """Starts servers with the given flags, and stops them after the module's tests.

    Without a binary the test is skipped, or fails where REWARM_REQUIRE_SERVICES names `redis`.
    """
    with ExitStack() as servers:
        yield lambda *flags: servers.enter_context(_or_skip(lambda: Server(*flags)))


@pytest.fixture(scope="module")
def valkey(private_server: Callable[..., Server]) -> Server:
    """One server for a test module. Tests choose names of their own, or flush."""
    return private_server()


@pytest.fixture(scope="module")
def primaries() -> Iterator[Cluster]:
    """One cluster of three primaries for a test module, whose tests leave it whole."""
    with _or_skip(Cluster) as cluster:
        yield cluster


CLUSTERED = {"test_stores", "test_worker", "test_rescue"}
"""The modules whose tests of store, ledger and sweeps run on a cluster too."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    own = hasattr(metafunc.module, "store") or any("store" in names for names in given)
    if "store" in metafunc.fixturenames and not own:
        kinds = ["memory", "redis", *(["cluster"] if metafunc.module.__name__.rpartition(".")[2] in CLUSTERED else [])]
        metafunc.parametrize("store", kinds, indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[MemoryStore | RedisStore]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryStore()
        return
    if request.param == "redis":
        servers, url = [request.getfixturevalue("valkey")], request.getfixturevalue("valkey").url
    else:
        servers, url = request.getfixturevalue("primaries").servers, request.getfixturevalue("primaries").url
    for server in servers:
        server.call("FLUSHALL")
    found = RedisStore(url)
    yield found
    found.close()


def _or_skip(start: Callable[[], T]) -> T:
    try:
        return start()
    except LookupError as missing:
        if "redis" in os.environ.get("REWARM_REQUIRE_SERVICES", "").replace(",", " ").split():
            raise
        pytest.skip(str(missing))
