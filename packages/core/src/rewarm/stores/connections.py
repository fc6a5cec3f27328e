"""Bounded pools of redis-py connections, each batch in one write: without the client's cost per command."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import ConnectionError, ReadOnlyError, ResponseError

from .batch import pack
from .commands import Command, Reply

Connection = Any
"""A `redis.connection.Connection`, or its asyncio twin, that retries nothing by itself."""


class PoolExhausted(ConnectionError):
    """All connections were in use for too long."""


class Pool:
    """At most `limit` connections, made when needed. A caller waits up to `patience` seconds for one.

    `helpers`: clients that `make` uses, closed with the pool.
    """

    def __init__(
        self, make: Callable[[], Connection], limit: int, patience: float, helpers: Sequence[Any] = ()
    ) -> None:
        self._make = make
        self._limit = limit
        self._patience = patience
        self._helpers = helpers
        self._idle: deque[Connection] = deque()
        self._room = threading.Condition()
        self._waiting = 0
        self._count = 0
        self._closed = False

    def exchange(self, commands: Sequence[Command], *, once: bool) -> list[Reply]:
        """One round trip. Raises redis-py's ConnectionError or TimeoutError; refusals are among the replies.

        A connection that broke while it was idle is replaced and the batch sent again, unless `once`.
        """
        packed = pack(commands)
        connection, used = self._take()
        try:
            if not used:
                connection.connect()
            elif once and _broken(connection):
                _reconnect(connection)
                used = False
            try:
                replies = _converse(connection, packed, len(commands))
            except ConnectionError:
                if once or not used:
                    raise
                _reconnect(connection)
                replies = _converse(connection, packed, len(commands))
        except BaseException:
            self._drop(connection)  # unread replies would answer the next caller
            raise
        if _demoted(replies):
            self._drop(connection)
            self._drop_idle()
        else:
            self._give(connection)
        return replies

    def close(self) -> None:
        self._closed = True
        self._drop_idle()
        for helper in self._helpers:
            helper.close()

    def _take(self) -> tuple[Connection, bool]:
        """A connection, and whether it has been used before."""
        try:
            return self._idle.pop(), True
        except IndexError:
            pass
        deadline = time.monotonic() + self._patience
        with self._room:
            self._waiting += 1  # before the look at `_idle`: whoever gives one back from here on notifies
            try:
                while True:
                    if self._idle:
                        try:
                            return self._idle.pop(), True
                        except IndexError:
                            continue
                    if self._count < self._limit:
                        connection = self._make()
                        self._count += 1
                        return connection, False
                    if not self._room.wait(deadline - time.monotonic()):
                        raise PoolExhausted(f"all {self._limit} connections are in use")
            finally:
                self._waiting -= 1

    def _give(self, connection: Connection) -> None:
        if self._closed:
            self._drop(connection)
            return
        self._idle.append(connection)
        if self._waiting:
            with self._room:
                self._room.notify()

    def _drop_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._drop(self._idle.pop())

    def _drop(self, connection: Connection) -> None:
        connection.disconnect()
        with self._room:
            self._count -= 1
            self._room.notify()


def _demoted(replies: Sequence[Reply]) -> bool:
    """The server is a replica by now: whoever connects anew under the same name may find the primary."""
    # Redis 6.2 wraps the script's error in one of its own.
    return any(
        isinstance(reply, ReadOnlyError) or (isinstance(reply, ResponseError) and "READONLY" in str(reply))
        for reply in replies
    )


def _converse(connection: Connection, packed: bytes, count: int) -> list[Reply]:
    connection.send_packed_command((packed,), check_health=False)
    replies: list[Reply] = []
    for _ in range(count):
        try:
            replies.append(connection.read_response(disable_decoding=True))
        except ResponseError as refusal:
            replies.append(refusal)
    return replies


def _broken(connection: Connection) -> bool:
    # Nothing was asked, so whatever can be read is the end of the connection.
    try:
        return bool(connection.can_read(timeout=0))
    except ConnectionError:
        return True


def _reconnect(connection: Connection) -> None:
    connection.disconnect()
    connection.connect()


class AsyncPool:
    """`Pool` for one event loop."""

    def __init__(
        self, make: Callable[[], Connection], limit: int, patience: float, helpers: Sequence[Any] = ()
    ) -> None:
        self._make = make
        self._limit = limit
        self._patience = patience
        self._helpers = helpers
        self._idle: deque[Connection] = deque()
        self._room = asyncio.Semaphore(limit)
        self._closed = False

    async def exchange(self, commands: Sequence[Command], *, once: bool) -> list[Reply]:
        """As `Pool.exchange`; if cancelled, its connection is closed."""
        packed = pack(commands)
        await self._enter()
        try:
            connection, used = (self._idle.pop(), True) if self._idle else (self._make(), False)
            try:
                if not used:
                    await connection.connect()
                elif once and await _abroken(connection):
                    await _areconnect(connection)
                    used = False
                try:
                    replies = await _aconverse(connection, packed, len(commands))
                except ConnectionError:
                    if once or not used:
                        raise
                    await _areconnect(connection)
                    replies = await _aconverse(connection, packed, len(commands))
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            if stale := _demoted(replies):
                await self._drop_idle()
            if stale or self._closed:
                await connection.disconnect()
            else:
                self._idle.append(connection)
            return replies
        finally:
            self._room.release()

    async def close(self) -> None:
        self._closed = True
        await self._drop_idle()
        for helper in self._helpers:
            await helper.aclose()

    async def _drop_idle(self) -> None:
        while self._idle:
            await self._idle.pop().disconnect()

    async def _enter(self) -> None:
        if not self._room.locked():
            await self._room.acquire()
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._room.acquire()
        except TimeoutError:
            raise PoolExhausted(f"all {self._limit} connections are in use") from None


async def _aconverse(connection: Connection, packed: bytes, count: int) -> list[Reply]:
    await connection.send_packed_command(packed, check_health=False)
    replies: list[Reply] = []
    for _ in range(count):
        try:
            replies.append(await connection.read_response(disable_decoding=True))
        except ResponseError as refusal:
            replies.append(refusal)
    return replies


async def _abroken(connection: Connection) -> bool:
    # Under another name before redis-py 8.
    look = getattr(connection, "can_read", None) or connection.can_read_destructive
    try:
        return bool(await look())
    except ConnectionError:
        return True


async def _areconnect(connection: Connection) -> None:
    await connection.disconnect(nowait=True)
    await connection.connect()
