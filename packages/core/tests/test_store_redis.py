"""What only a server can do wrong: lost scripts, lost answers, full memory, forks, loops and clusters."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from rewarm.cli.server import Cluster, Server, find_binary
from rewarm.errors import ConfigurationError, StoreError
from rewarm.steps import (
    NO_SEAL,
    Acquire,
    Begin,
    Bump,
    Capture,
    Commit,
    Look,
    Mark,
    Put,
    Reserve,
    Scan,
    Steal,
    Unlink,
    Verdict,
)
from rewarm.stores.base import Bury, Exhume, Letters, Recall, Settle, Start
from rewarm.stores.redis import RedisStore

LONG = 600_000
PUT = Put("k", NO_SEAL, LONG, LONG, b"v", 0)


Private = Callable[..., Server]


def one(store: RedisStore, step: Any) -> Any:
    return store.run([step])[0]


@pytest.fixture
def store(valkey: Server) -> Iterator[RedisStore]:
    valkey.call("FLUSHALL")
    found = RedisStore(valkey.url)
    yield found
    found.close()


@pytest.fixture
def client(valkey: Server) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey.port) as found:
        yield found


class Proxy:
    """Passes bytes on, counts what the client sends, and can lose answers."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.requests = 0
        self.lose_answers = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.upstream))
            threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, asking: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.requests += asking
                if not asking and self.lose_answers:
                    self.lose_answers = False
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()


@pytest.fixture
def proxy(valkey: Server) -> Iterator[Proxy]:
    found = Proxy(valkey.port)
    yield found
    found.listener.close()


@pytest.fixture
def far(proxy: Proxy, valkey: Server) -> Iterator[RedisStore]:
    """A store behind the proxy, with connection, clock and scripts in place."""
    valkey.call("FLUSHALL")
    found = RedisStore(f"redis://127.0.0.1:{proxy.port}/0")
    found.run([Steal("k", 0, LONG), Capture(("t",), LONG), PUT, Mark("k"), Exhume("dead", "id")])
    found.run([Unlink("k")])
    yield found
    found.close()


# -- round trips ---------------------------------------------------------------------------------------------


def test_a_batch_is_one_round_trip(far: RedisStore, proxy: Proxy) -> None:
    before = proxy.requests, far.trips
    far.run([Look("k", ("t",))])
    far.run([Steal("k", 0, LONG), Capture(("t", "u"), LONG), PUT, Look("k"), Mark("k"), Bump("t"), Recall("x")])
    assert (proxy.requests - before[0], far.trips - before[1]) == (2, 2)


def test_a_fresh_read_is_one_command(store: RedisStore, client: redis.Redis) -> None:
    one(store, PUT)
    before = client.info("commandstats")
    store.run([Look("k"), Look("k", ("t", "u"))])
    after = client.info("commandstats")
    calls = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
    assert {name for name, count in calls.items() if count} == {"cmdstat_get", "cmdstat_mget", "cmdstat_info"}


def test_lost_scripts_cost_a_trip_and_nothing_else(store: RedisStore, client: redis.Redis) -> None:
    one(store, PUT)
    client.script_flush()
    trips = store.trips
    answers = store.run([Look("k"), Mark("k"), Steal("other", 0, LONG), Capture(("t", "u"), LONG)])
    assert store.trips - trips == 2
    assert answers[0][0].soft > 0
    assert (answers[1], answers[2].verdict, len(answers[3])) == (None, Verdict.GO, 2)
    assert one(store, Look("k"))[0].soft == 0
    trips = store.trips
    store.run([Mark("k"), Steal("other", 0, LONG), Capture(("t", "u"), LONG)])
    assert store.trips - trips == 1


# -- refusals ------------------------------------------------------------------------------------------------


def test_with_memory_full_invalidations_still_work(private_server: Private) -> None:
    server = private_server("--maxmemory-policy", "noeviction")
    store = RedisStore(server.url)
    store.run([PUT, PUT._replace(key="l"), Capture(("t",), LONG), Mark("other")])
    server.call("CONFIG SET maxmemory 1")
    with pytest.raises(StoreError, match="memory"):
        store.run([Steal("more", 0, LONG), Bump("t")])
    assert one(store, Mark("k")) is None
    assert one(store, Look("k", ("t",))) == (None, (None,))
    server.call("SCRIPT FLUSH")
    assert one(store, Mark("l")) is None
    assert one(store, Look("l")) == (None, ())
    store.close()


@pytest.mark.parametrize("foreign", [b"short", b"R2" + bytes(98)], ids=["short", "other format"])
def test_foreign_bytes_are_no_entry(store: RedisStore, client: redis.Redis, foreign: bytes) -> None:
    client.set("k", foreign)
    assert one(store, Look("k")) == (None, ())
    assert one(store, Acquire("k", b"notborn!", 0, LONG)) == 0
    assert one(store, Begin("k", b"notborn!", 1, LONG)).verdict is Verdict.SUPERSEDED
    assert one(store, Commit("k", b"notborn!", 1, NO_SEAL, LONG, LONG, b"", 0, 0)) == "refused"
    assert client.get("k") == foreign
    one(store, Mark("k"))
    assert client.exists("k") == 0
    client.set("k", foreign)
    assert one(store, Steal("k", 7, LONG)).verdict is Verdict.GO
    assert client.strlen("k") == 64
    assert client.pttl("k") > LONG
    client.set("k", foreign)
    assert one(store, Reserve("k", 7, LONG))[0] == 1
    client.set("k", foreign)
    assert one(store, PUT) == 1
    assert one(store, Look("k"))[0].payload == b"v"


def test_another_type_is_a_store_error_that_tries_the_rest(store: RedisStore, client: redis.Redis) -> None:
    client.rpush("list", 1)
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:\d+/0: .*wrong kind"):
        store.run([Mark("list"), PUT])
    assert one(store, Look("k"))[0].payload == b"v"
    with pytest.raises(StoreError):
        one(store, Look("list"))
    assert one(store, Look("list", ("t",))) == (None, (None,))
    one(store, Unlink("list"))
    assert client.exists("list") == 0


def test_a_scan_skips_other_types(store: RedisStore, client: redis.Redis) -> None:
    client.rpush("a:list", 1)
    client.set(b"a:\xff", 1)
    one(store, PUT._replace(key="a:k"))
    page = one(store, Scan("a:", "0", 100))
    assert set(page.keys) == {"a:k", "a:\ufffd"}
    assert page.run == client.info("server")["run_id"]


# -- connections ---------------------------------------------------------------------------------------------


def kill_all(client: redis.Redis) -> None:
    client.client_kill_filter(_type="normal", skipme=True)


def test_a_connection_that_died_while_idle_is_replaced(store: RedisStore, client: redis.Redis) -> None:
    for step in (PUT, Look("k"), PUT, Mark("k")):
        kill_all(client)
        store.run([step])
    assert one(store, Look("k"))[0].n == 2


def test_a_server_that_restarts_is_found_again(private_server: Private) -> None:
    server = private_server()
    store = RedisStore(server.url)
    one(store, PUT)
    server.kill()
    with pytest.raises(StoreError, match=str(server.port)):
        one(store, Look("k"))
    server.restart()
    assert one(store, Look("k")) == (None, ())
    store.close()


def fail_over(private_server: Private) -> tuple[Proxy, Callable[[], None]]:
    """A name in front of a server, and how to demote that: the name means its primary then, open connections stay."""
    primary, other = private_server(), private_server()
    name = Proxy(primary.port)

    def demote() -> None:
        primary.call(f"REPLICAOF 127.0.0.1 {other.port}")
        name.upstream = other.port

    return name, demote


def test_connections_to_a_demoted_server_are_not_kept(private_server: Private) -> None:
    name, demote = fail_over(private_server)
    store = RedisStore(f"redis://127.0.0.1:{name.port}/0?socket_timeout=2")
    together = threading.Barrier(2)

    def read(_: int) -> None:
        together.wait()
        for _ in range(100):
            one(store, Look("k"))

    with ThreadPoolExecutor(2) as threads:  # several connections
        list(threads.map(read, range(2)))
    demote()
    with pytest.raises(StoreError, match="read only"):
        one(store, Steal("k", 0, LONG))
    for step in (Steal("k", 0, LONG), PUT, Bump("t")):
        one(store, step)
    store.close()


def test_connections_to_a_demoted_server_are_not_kept_with_asyncio(private_server: Private) -> None:
    async def use() -> None:
        name, demote = fail_over(private_server)
        store = RedisStore(f"redis://127.0.0.1:{name.port}/0?socket_timeout=2")
        await asyncio.gather(*(store.arun([Look("k")]) for _ in range(3)))
        demote()
        with pytest.raises(StoreError, match="read only"):
            await store.arun([Steal("k", 0, LONG)])
        for step in (Steal("k", 0, LONG), PUT, Bump("t")):
            await store.arun([step])
        await store.aclose()

    asyncio.run(use())


def test_a_put_whose_answer_is_lost_is_marked_and_not_sent_again(far: RedisStore, proxy: Proxy) -> None:
    proxy.lose_answers = True
    with pytest.raises(StoreError):
        far.run([PUT])
    seen = one(far, Look("k"))[0]
    assert (seen.n, seen.payload, seen.soft) == (1, b"v", 0)


def test_another_step_whose_answer_is_lost_is_sent_again(far: RedisStore, proxy: Proxy) -> None:
    proxy.lose_answers = True
    assert one(far, Steal("k", 0, LONG)).verdict is Verdict.BUSY  # by its own first copy


def test_a_lost_dead_letter_is_not_reported_as_absent(far: RedisStore, proxy: Proxy) -> None:
    one(far, Bury("dead", "id", "", "letter", 9))
    proxy.lose_answers = True
    with pytest.raises(StoreError):
        one(far, Exhume("dead", "id"))


def test_an_interrupted_read_leaves_no_answer_behind(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    one(store, PUT)
    with monkeypatch.context() as patch:
        patch.setattr(redis.Connection, "read_response", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.run([Look("k"), Look("k")])
    assert one(store, Recall("task")) is None


def test_callers_wait_for_one_of_a_bounded_number_of_connections(valkey: Server, client: redis.Redis) -> None:
    store = RedisStore(valkey.url, max_connections=8)
    one(store, PUT)
    before = client.info("stats")["total_connections_received"]

    def read(_: int) -> bytes:
        return bytes(one(store, Look("k"))[0].payload)

    with ThreadPoolExecutor(200) as threads:
        assert set(threads.map(read, range(4000))) == {b"v"}
    assert client.info("stats")["total_connections_received"] - before <= 7
    store.close()


def test_waiting_for_a_connection_ends(valkey: Server, client: redis.Redis) -> None:
    store = RedisStore(valkey.url + "?max_connections=1&timeout=0.05&socket_timeout=30")
    one(store, PUT)
    client.client_pause(600, all=False)
    writer = threading.Thread(target=store.run, args=([PUT],))
    writer.start()
    while client.info("clients")["blocked_clients"] == 0:
        pass
    with pytest.raises(StoreError, match="connections are in use"):
        one(store, Look("k"))
    client.client_unpause()
    writer.join()
    assert one(store, Look("k"))[0].n >= 2
    store.close()


def test_a_slow_server_is_a_store_error(valkey: Server, client: redis.Redis) -> None:
    store = RedisStore(valkey.url + "?socket_timeout=0.05")
    one(store, PUT)
    client.client_pause(300, all=False)
    with pytest.raises(StoreError, match="Timeout"):
        one(store, Mark("k"))
    client.client_unpause()
    one(store, Mark("k"))
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_opens_connections_of_its_own(store: RedisStore) -> None:
    def work(name: str) -> bool:
        for n in range(300):
            payload = f"{name}{n}".encode()
            answers = store.run([Put(name, NO_SEAL, LONG, LONG, payload, 0), Look(name)])
            if answers[1][0].payload != payload:
                return False
        return True

    assert work("warm")
    if (child := os.fork()) == 0:
        status = 1
        try:
            status = 0 if work("child") else 2
        finally:
            os._exit(status)
    signal.alarm(30)
    assert work("parent")
    assert os.waitpid(child, 0)[1] == 0
    signal.alarm(0)
    assert work("parent")


def test_close_gives_connections_back_and_the_store_may_be_used_again(store: RedisStore, client: redis.Redis) -> None:
    before = len(client.client_list())
    one(store, PUT)
    assert len(client.client_list()) == before + 1
    store.close()
    while len(client.client_list()) > before:
        pass
    assert one(store, Look("k"))[0].payload == b"v"


# -- asyncio -------------------------------------------------------------------------------------------------


def test_each_event_loop_has_its_own_bounded_connections(valkey: Server, client: redis.Redis) -> None:
    client.flushall()
    store = RedisStore(valkey.url, max_connections=4)

    async def use(key: str) -> None:
        before = client.info("stats")["total_connections_received"]
        await store.arun([Put(key, NO_SEAL, LONG, LONG, key.encode(), 0)])
        looks = await asyncio.gather(*(store.arun([Look(key), Look("none")]) for _ in range(200)))
        assert {look[0][0].payload for look in looks} == {key.encode()}
        assert client.info("stats")["total_connections_received"] - before == 4
        kill_all(client)
        await asyncio.sleep(0.01)
        await store.arun([Put(key, NO_SEAL, LONG, LONG, b"", 0)])
        assert (await store.arun([Look(key)]))[0][0].n == 2
        await store.aclose()

    asyncio.run(use("first"))
    asyncio.run(use("second"))


def test_a_cancelled_caller_leaves_no_answer_behind(valkey: Server, client: redis.Redis) -> None:
    client.flushall()
    store = RedisStore(valkey.url, max_connections=1)

    async def use() -> None:
        await store.arun([PUT])
        client.client_pause(30_000, all=False)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await store.arun([Settle("task", "done", "", LONG), Look("k")])
        client.client_unpause()
        assert (await store.arun([Letters("dead")])) == [[]]
        await store.aclose()

    asyncio.run(use())


def test_lost_scripts_and_lost_answers_with_asyncio(far: RedisStore, proxy: Proxy, client: redis.Redis) -> None:
    async def use() -> None:
        await far.arun([Look("k")])
        client.script_flush()
        trips = far.trips
        assert (await far.arun([PUT])) == [1]
        assert far.trips - trips == 2
        proxy.lose_answers = True
        with pytest.raises(StoreError):
            await far.arun([PUT])
        seen = (await far.arun([Look("k")]))[0][0]
        assert (seen.n, seen.soft) == (2, 0)
        await far.aclose()

    asyncio.run(use())


# -- URLs and clients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "http://localhost",
        "redis+ring://localhost",
        "redis://localhost:port/0",
        "redis://localhost/first",
        "redis://localhost?decode_responses=true",
        "redis://localhost?no_such_option=1",
        "redis+sentinel://localhost",
        "",
        7,
        redis.Redis(decode_responses=True),
        redis.asyncio.Redis(),
    ],
)
def test_what_cannot_be_a_store(target: Any) -> None:
    with pytest.raises(ConfigurationError):
        RedisStore(target)


def test_errors_do_not_tell_the_password() -> None:
    store = RedisStore("redis://user:secret@127.0.0.1:1/3")
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/3") as caught:
        one(store, Look("k"))
    assert "secret" not in f"{caught.value} {store!r}"
    assert isinstance(caught.value.__cause__, redis.ConnectionError)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_loops_that_are_closed_leave_no_connections(private_server: Private) -> None:
    server = private_server()
    store = RedisStore(server.url)
    for _ in range(20):
        asyncio.run(store.arun([Look("k")]))
    asyncio.run(async_look(store))  # the last loop closes what is its own
    gc.collect()  # as it does now and then
    assert server.call("CLIENT LIST").count(b"id=") == 1  # the one that asks


@pytest.mark.parametrize("url", ["redis+cluster://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/shop", "unix:///none"])
def test_nobody_answers(url: str) -> None:
    store = RedisStore(url)
    with pytest.raises(StoreError):
        one(store, Look("k"))
    with pytest.raises(StoreError):
        asyncio.run(async_look(store))


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_urls_of_both_kinds(valkey: Server, scheme: str) -> None:
    store = RedisStore(f"{scheme}://127.0.0.1:{valkey.port}/3?socket_timeout=2")
    assert one(store, PUT._replace(key=scheme)) == 1
    store.close()


def test_a_unix_socket(tmp_path: Path, private_server: Private) -> None:
    server = private_server("--unixsocket", f"{tmp_path}/s")
    store = RedisStore(f"unix://{tmp_path}/s?db=2")
    one(store, PUT)
    assert b"db2:keys=1" in server.call("INFO keyspace")
    asyncio.run(async_look(store))
    store.close()


async def async_look(store: RedisStore) -> Any:
    try:
        return (await store.arun([Look("k")]))[0]
    finally:
        await store.aclose()


def test_a_client_lends_its_settings_and_stays_open(valkey: Server, client: redis.Redis) -> None:
    client.flushall()
    given = redis.Redis(port=valkey.port, db=5, client_name="shop")
    store = RedisStore(given)
    one(store, PUT)
    assert given.exists("k")
    assert [found["db"] for found in client.client_list() if found["name"] == "shop"] == ["5", "5"]
    asyncio.run(async_look(store))
    store.close()
    assert given.ping()
    given.close()


def test_an_asyncio_client_beside_the_blocking_one(valkey: Server, client: redis.Redis) -> None:
    client.flushall()

    async def use() -> None:
        twin = redis.asyncio.Redis(port=valkey.port)
        store = RedisStore(client, async_client=twin)
        await store.arun([PUT])
        assert one(store, Look("k"))[0].payload == b"v"
        await store.aclose()
        assert await twin.ping()
        await twin.aclose()

    asyncio.run(use())
    with pytest.raises(ConfigurationError):
        RedisStore(client, async_client=client)


# -- Sentinel and cluster ------------------------------------------------------------------------------------


def test_the_master_is_asked_of_sentinel(
    tmp_path: Path, valkey: Server, private_server: Private, monkeypatch: pytest.MonkeyPatch
) -> None:
    valkey.call("FLUSHALL")
    (tmp_path / "sentinel.conf").write_text(f"sentinel monitor shop 127.0.0.1 {valkey.port} 1\n")
    program = tmp_path / "sentinel"
    program.write_text(f'#!/bin/sh\nexec "{find_binary()}" "{tmp_path}/sentinel.conf" --sentinel "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("REWARM_SERVER_BIN", str(program))
    sentinel = private_server()
    store = RedisStore(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/shop/4")
    one(store, PUT)
    assert asyncio.run(async_look(store))[0].payload == b"v"
    assert b"db4:keys=1" in valkey.call("INFO keyspace")
    store.close()


def test_a_private_server_that_starts_again_has_loaded_what_it_kept(private_server: Callable[..., Server]) -> None:
    server = private_server("--appendonly", "yes", "--key-load-delay", "2000")  # microseconds, of Redis's own tests
    for number in range(100):
        server.call(f"SET key:{number} {'x' * 20_000}")
    server.restart()
    assert server.call("STRLEN key:99") == b":20000\r\n"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster that the test may break."""
    with Cluster() as found:
        yield found


def test_a_cluster(cluster: Cluster) -> None:
    store = RedisStore(cluster.url)
    keys = [f"app:job:{n}" for n in range(60)]
    tags = "app:tag:t", "app:tag:u", "app:tag:v"
    grants = store.run([Steal(key, 0, LONG) for key in keys])
    stamps = one(store, Capture(tags, LONG))
    commits = [
        Commit(key, grant.born, grant.n, NO_SEAL, LONG, LONG, key.encode(), 0, 0)
        for key, grant in zip(keys, grants, strict=True)
    ]
    assert set(store.run(commits)) == {"ok"}
    looks = store.run([Look(key, tags) for key in keys])
    assert [(look[0].payload.decode(), look[1]) for look in looks] == [(key, stamps) for key in keys]
    assert one(store, PUT) == 1
    found, cursor, runs = [], "0", set()
    while True:
        page = one(store, Scan("app:job:", cursor, 10))
        found += page.keys
        runs.add(page.run)
        if (cursor := page.cursor) == "0":
            break
    assert (sorted(found), len(runs)) == (sorted(keys), 1)
    assert one(store, Start("task", 1, LONG, 3, LONG)).deliveries == 1
    assert [one(store, Bury("shop:dead", id, "", id, 2)) for id in "abc"] == [0, 0, 1]
    assert one(store, Exhume("shop:dead", "b")) == "b"
    assert one(store, Letters("shop:dead")) == [("c", "c")]
    for server in cluster.servers:
        server.call("SCRIPT FLUSH")
    store.run([Mark(key) for key in keys])
    assert {look[0].soft for look in store.run([Look(key) for key in keys])} == {0}
    assert asyncio.run(in_a_loop(store)) == (2, sorted(keys))
    store.close()


async def in_a_loop(store: RedisStore) -> tuple[int, list[str]]:
    number = (await store.arun([PUT]))[0]
    found, cursor = [], "0"
    while True:
        page = (await store.arun([Scan("app:job:", cursor, 10)]))[0]
        found += page.keys
        if (cursor := page.cursor) == "0":
            break
    await store.aclose()
    return number, sorted(found)


def _sweep(store: RedisStore, prefix: str, between: Callable[[str], None]) -> list[str]:
    """A sweep in slices of ten, with something done after each -> the cursors it came by."""
    cursor, run, cursors = "0", "", []
    while True:
        page = one(store, Scan(prefix, cursor, 10))
        if page.keys:
            store.run([Mark(key) for key in page.keys])
        again = not page.run or (cursor != "0" and page.run != run)
        cursor, run = "0" if again else page.cursor, page.run
        cursors.append(cursor)
        if cursor == "0" and not again:
            return cursors
        between(cursor)


def test_keys_that_move_to_a_node_already_swept_are_swept_again(cluster: Cluster) -> None:
    store = RedisStore(cluster.url)
    keys = [f"app:job:{n}" for n in range(90)]
    store.run([Put(key, NO_SEAL, LONG, LONG, b"v", 0) for key in keys])
    by_name = sorted(cluster.servers, key=lambda server: f"127.0.0.1:{server.port}")
    moved: list[str] = []

    def between(cursor: str) -> None:
        if not cursor.startswith("2:") or moved:  # the last node is being looked at: its keys move to the first
            return
        source, target = by_name[2], by_name[0]
        ids = [server.call("CLUSTER MYID").split()[1].decode() for server in (source, target)]
        here = [key for key in keys if _slot(source, key) in _slots(source)]
        moved.extend(here)
        for slot in {_slot(source, key) for key in here}:
            target.call(f"CLUSTER SETSLOT {slot} IMPORTING {ids[0]}")
            source.call(f"CLUSTER SETSLOT {slot} MIGRATING {ids[1]}")
            for key in (key for key in here if _slot(source, key) == slot):
                source.call(f"MIGRATE 127.0.0.1 {target.port} {key} 0 5000")
            for server in cluster.servers:
                server.call(f"CLUSTER SETSLOT {slot} NODE {ids[1]}")

    cursors = _sweep(store, "app:job:", between)
    assert moved
    assert "0" in cursors[:-1], "it started again"
    assert {look[0].soft for look in RedisStore(cluster.url).run([Look(key) for key in keys])} == {0}


def _slot(server: Server, key: str) -> int:
    return int(server.call(f"CLUSTER KEYSLOT {key}").strip(b":\r\n"))


def _slots(server: Server) -> set[int]:
    own = next(line for line in server.call("CLUSTER NODES").decode().splitlines() if "myself" in line)
    found: set[int] = set()
    for part in own.split()[8:]:
        if not part.startswith("["):
            first, _, last = part.partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    return found


def test_a_primary_is_killed_and_the_others_go_on(cluster: Cluster) -> None:
    store = RedisStore(cluster.url + "?socket_timeout=1")
    keys = [f"app:job:{n}" for n in range(60)]
    store.run([Put(key, NO_SEAL, LONG, LONG, b"v", 0) for key in keys])
    victim = cluster.servers[1]
    there = {key for key in keys if _slot(victim, key) in _slots(victim)}
    victim.kill()
    for key in keys:
        if key in there:
            with pytest.raises(StoreError):
                one(store, Look(key))
        else:
            assert one(store, Look(key))[0].payload == b"v"
    with pytest.raises(StoreError):  # a sweep that cannot see all of them says so
        one(store, Scan("app:job:", "0", 1000))
    victim.restart()
    deadline = time.monotonic() + 20
    while True:
        try:
            found = {key: one(store, Look(key))[0] for key in keys}
            break
        except StoreError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert {key for key, seen in found.items() if seen is None} == there
    store.close()
