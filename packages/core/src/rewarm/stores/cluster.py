"""Batches on a cluster: redis-py's pipelines, whose parts run side by side on the nodes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from hashlib import sha1
from itertools import groupby
from typing import Any, NamedTuple

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


# A sweep visits the primaries one after the other, in the order of their names; its cursor is "node:cursor". Those that
# import slots come last: a key that moves there during the sweep has been seen, or will be. The run id names the lives
# of all primaries, their slots and what moves. It is taken before and after each page: a page during which it changed
# has none, and the sweep starts again.


class Node(NamedTuple):
    """A primary: our connection to it, and its life, slots and moves as it tells them."""

    connection: Any
    name: str
    life: str
    slots: tuple[str, ...]

    @property
    def order(self) -> tuple[bool, str]:
        return any("-<-" in slot for slot in self.slots), self.name


def _told(connection: Any, name: str, info: dict[str, Any], nodes: bytes | str) -> Node:
    text = nodes.decode() if isinstance(nodes, bytes) else nodes
    own = next(line.split() for line in text.splitlines() if "myself" in line)
    return Node(connection, name, info["run_id"], tuple(own[8:]))


def _survey(client: Client) -> list[Node]:
    nodes = []
    for primary in client.get_primaries():
        one = client.get_redis_connection(primary)
        nodes.append(_told(one, str(primary.name), one.info("server"), one.execute_command("CLUSTER", "NODES")))
    return sorted(nodes, key=lambda node: node.order)


async def _asurvey(client: Client) -> list[Node]:
    nodes = []
    for one in client.get_primaries():
        info = await one.execute_command("INFO", "server")
        nodes.append(_told(one, str(one.name), info, await one.execute_command("CLUSTER", "NODES")))
    return sorted(nodes, key=lambda node: node.order)


def _nodes(client: Client, commands: list[Command]) -> list[Reply]:
    replies: list[Reply] = []
    nodes: list[Node] = []
    for name, *arguments in commands:
        if name == b"INFO":
            replies.append(_run(nodes, _survey(client)))
            continue
        nodes, (at, cursor) = _survey(client), _position(arguments[0])
        cursor, keys = nodes[at % len(nodes)].connection.execute_command("SCAN", cursor, *arguments[1:])
        replies.append([_next(at, cursor, len(nodes)), keys])
    return replies


async def _anodes(client: Client, commands: list[Command]) -> list[Reply]:
    replies: list[Reply] = []
    nodes: list[Node] = []
    for name, *arguments in commands:
        if name == b"INFO":
            replies.append(_run(nodes, await _asurvey(client)))
            continue
        nodes, (at, cursor) = await _asurvey(client), _position(arguments[0])
        cursor, keys = await nodes[at % len(nodes)].connection.execute_command("SCAN", cursor, *arguments[1:])
        replies.append([_next(at, cursor, len(nodes)), keys])
    return replies


def _position(cursor: bytes) -> tuple[int, int]:
    at, _, inner = cursor.rpartition(b":")
    return int(at or 0), int(inner)


def _next(at: int, cursor: int, nodes: int) -> bytes:
    if cursor:
        return b"%d:%d" % (at, cursor)
    return b"%d:0" % (at + 1) if at + 1 < nodes else b"0"


def _run(before: list[Node], after: list[Node]) -> bytes:
    told = [[(node.name, node.life, node.slots) for node in nodes] for nodes in (before, after)]
    if told[0] != told[1]:
        return b""
    return b"run_id:" + sha1(repr(told[0]).encode(), usedforsecurity=False).hexdigest().encode()


_RUN = {"pipeline": _pipeline, "single": _single, "nodes": _nodes}
_ARUN = {"pipeline": _apipeline, "single": _asingle, "nodes": _anodes}
