"""Batches on a cluster: redis-py's pipelines, whose parts run side by side on the nodes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from hashlib import sha1
from itertools import groupby
from typing import Any

from redis.exceptions import ResponseError

from .commands import Command, Reply
from .connections import PoolExhausted

Client = Any
"""A `redis.cluster.RedisCluster`, or its asyncio twin."""


class ClusterLink:
    """At most `limit` batches at a time, so at most that many connections to each node."""

    def __init__(self, connect: Callable[[], Client], limit: int, patience: float, *, own: bool) -> None:
        self._connect = connect
        self._own = own
        self._client: Client | None = None
        self._patience = patience
        self._room = threading.Semaphore(limit)
        self._connecting = threading.Lock()

    def exchange(self, commands: Sequence[Command], *, once: bool) -> list[Reply]:
        """As `Pool.exchange`. With `once`, scripts go one by one: a pipeline would repeat them by itself."""
        if not self._room.acquire(timeout=self._patience):
            raise PoolExhausted("all connections are in use")
        try:
            with self._connecting:
                client = self._client = self._client or self._connect()
            replies: list[Reply] = []
            for kind, group in groupby(commands, key=lambda command: _kind(command, once)):
                replies += _RUN[kind](client, list(group))
            return replies
        finally:
            self._room.release()

    def close(self) -> None:
        client, self._client = self._client, None
        if self._own and client is not None:
            client.close()


class AsyncClusterLink:
    """`ClusterLink` for one event loop."""

    def __init__(self, connect: Callable[[], Client], limit: int, patience: float, *, own: bool) -> None:
        self._own = own
        self._client = connect()
        self._patience = patience
        self._room = asyncio.Semaphore(limit)

    async def exchange(self, commands: Sequence[Command], *, once: bool) -> list[Reply]:
        try:
            async with asyncio.timeout(self._patience):
                await self._room.acquire()
        except TimeoutError:
            raise PoolExhausted("all connections are in use") from None
        try:
            await self._client.initialize()
            replies: list[Reply] = []
            for kind, group in groupby(commands, key=lambda command: _kind(command, once)):
                replies += await _ARUN[kind](self._client, list(group))
            return replies
        finally:
            self._room.release()

    async def close(self) -> None:
        if self._own:
            await self._client.aclose()


def _kind(command: Command, once: bool) -> str:
    if command[0] in (b"SCAN", b"INFO"):
        return "nodes"
    return "single" if once and command[0].startswith(b"EVAL") else "pipeline"


def _spoken(command: Command) -> tuple[Any, ...]:
    """As redis-py reads it to find the node: the name as text, the number of a script's keys as a number."""
    name, *arguments = command
    if name.startswith(b"EVAL"):
        script, count, *rest = arguments
        return name.decode(), script, int(count), *rest
    return name.decode(), *arguments


def _pipeline(client: Client, commands: list[Command]) -> list[Reply]:
    pipeline = client.pipeline()
    for command in commands:
        pipeline.execute_command(*_spoken(command))
    return list(pipeline.execute(raise_on_error=False))


async def _apipeline(client: Client, commands: list[Command]) -> list[Reply]:
    pipeline = client.pipeline()
    for command in commands:
        pipeline.execute_command(*_spoken(command))
    return list(await pipeline.execute(raise_on_error=False))


def _single(client: Client, commands: list[Command]) -> list[Reply]:
    replies: list[Reply] = []
    for command in commands:
        node = client.get_node_from_key(command[3])  # redis-py repeats nothing that is sent to a given node
        try:
            replies.append(client.execute_command(*_spoken(command), target_nodes=node))
        except ResponseError as refusal:
            replies.append(refusal)
    return replies


async def _asingle(client: Client, commands: list[Command]) -> list[Reply]:
    replies: list[Reply] = []
    for command in commands:
        node = client.get_node_from_key(command[3])
        try:
            replies.append(await client.execute_command(*_spoken(command), target_nodes=node))
        except ResponseError as refusal:
            replies.append(refusal)
    return replies


# A sweep visits the primaries one after the other, in the order of their names; its cursor is "node:cursor".
# A cursor means something only while all of them live, so the run id names them all.


def _nodes(client: Client, commands: list[Command]) -> list[Reply]:
    nodes = [client.get_redis_connection(node) for node in _primaries(client)]
    replies: list[Reply] = []
    for name, *arguments in commands:
        if name == b"INFO":
            replies.append(_run([node.info("server")["run_id"] for node in nodes]))
            continue
        at, cursor = _position(arguments[0])
        cursor, keys = nodes[at % len(nodes)].execute_command("SCAN", cursor, *arguments[1:])
        replies.append([_next(at, cursor, len(nodes)), keys])
    return replies


async def _anodes(client: Client, commands: list[Command]) -> list[Reply]:
    nodes = _primaries(client)
    replies: list[Reply] = []
    for name, *arguments in commands:
        if name == b"INFO":
            infos = [await node.execute_command("INFO", "server") for node in nodes]
            replies.append(_run([info["run_id"] for info in infos]))
            continue
        at, cursor = _position(arguments[0])
        cursor, keys = await nodes[at % len(nodes)].execute_command("SCAN", cursor, *arguments[1:])
        replies.append([_next(at, cursor, len(nodes)), keys])
    return replies


def _primaries(client: Client) -> list[Any]:
    return sorted(client.get_primaries(), key=lambda node: str(node.name))


def _position(cursor: bytes) -> tuple[int, int]:
    at, _, inner = cursor.rpartition(b":")
    return int(at or 0), int(inner)


def _next(at: int, cursor: int, nodes: int) -> bytes:
    if cursor:
        return b"%d:%d" % (at, cursor)
    return b"%d:0" % (at + 1) if at + 1 < nodes else b"0"


def _run(ids: list[str]) -> bytes:
    return b"run_id:" + sha1(" ".join(ids).encode(), usedforsecurity=False).hexdigest().encode()


_RUN = {"pipeline": _pipeline, "single": _single, "nodes": _nodes}
_ARUN = {"pipeline": _apipeline, "single": _asingle, "nodes": _anodes}
