"""The store on Redis or Valkey (6.2 or later): one server, one behind Sentinel, or a cluster."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from redis.exceptions import RedisClusterException, RedisError

from ..errors import StoreError
from ..steps import Mark, Put, Step
from .base import Ledger, Store
from .batch import Batch, Clock
from .endpoint import AsyncLink, Link, endpoint

_FAILURES = RedisError, RedisClusterException, OSError


class RedisStore(Store, Ledger):
    """Entries, stamps and the ledger on a server that processes share.

    `url_or_client`: `redis[s]://host:port/db`, `valkey[s]://`, `unix://path`, `redis+cluster://host:port` or
    `redis+sentinel://h1,h2/service/0`, with redis-py's options as query (timeouts in seconds, by default 5);
    or a `redis.Redis` or `redis.RedisCluster`, whose settings are used and which is never closed.
    `async_client`: its twin of `redis.asyncio`; a client without one serves asyncio callers in threads.
    Connects when first used, and anew in each forked child and each event loop; each of these has at most
    `max_connections` (on a cluster: to each node), and a caller waits for one as long as for an answer.
    Raises ConfigurationError for a bad URL and for a client with `decode_responses=True`.
    """

    def __init__(self, url_or_client: Any, *, async_client: Any = None, max_connections: int = 64) -> None:
        self._endpoint = endpoint(url_or_client, async_client, max_connections)
        self.ordered = not self._endpoint.cluster  # whose nodes answer by themselves
        self._clock = Clock()
        self._links: dict[int, Link] = {}
        self._alinks: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncLink] = WeakKeyDictionary()
        self.trips = 0
        """Round trips made so far, for tests and measurements."""

    def __repr__(self) -> str:
        return f"RedisStore({self._endpoint.address!r})"

    def run(self, steps: Sequence[Step]) -> list[Any]:
        """The answer to each step, in one round trip; a second one if the server has lost its scripts.

        Raises StoreError, and ValueError for an argument out of its limits. A `Put` whose answer was lost is
        not sent again: the entry is marked, so that whatever is there is not fresh (protocol.md, section 7).
        """
        batch = Batch(steps, self._clock, split=self._endpoint.cluster)
        try:
            link = self._link()
            while batch.commands:
                self.trips += 1
                batch.feed(link.exchange(batch.commands, once=batch.once))
        except _FAILURES as error:
            if marks := _marks(steps):
                with suppress(StoreError):
                    self.run(marks)
            raise self._failed(error) from error
        return self._results(batch)

    async def arun(self, steps: Sequence[Step]) -> list[Any]:
        """`run` for asyncio."""
        if self._endpoint.alink is None:
            return await asyncio.to_thread(self.run, steps)
        batch = Batch(steps, self._clock, split=self._endpoint.cluster)
        try:
            link = self._alink()
            while batch.commands:
                self.trips += 1
                batch.feed(await link.exchange(batch.commands, once=batch.once))
        except _FAILURES as error:
            if marks := _marks(steps):
                with suppress(StoreError):
                    await self.arun(marks)
            raise self._failed(error) from error
        return self._results(batch)

    def close(self) -> None:
        """Close this process's connections; those of event loops are closed by `aclose`, each in its own."""
        if link := self._links.pop(os.getpid(), None):
            link.close()

    async def aclose(self) -> None:
        """`close`, and the connections of the running event loop."""
        if alink := self._alinks.pop(asyncio.get_running_loop(), None):
            await alink.close()
        self.close()

    def _link(self) -> Link:
        pid = os.getpid()
        try:
            return self._links[pid]
        except KeyError:
            # A parent's connections are the parent's; of two threads that come here one pool wins.
            for other in self._links.keys() - {pid}:
                self._links.pop(other, None)
            return self._links.setdefault(pid, self._endpoint.link())

    def _alink(self) -> AsyncLink:
        loop = asyncio.get_running_loop()
        link = self._alinks.get(loop)
        if link is None:
            assert self._endpoint.alink is not None
            for other in self._alinks.keyrefs():
                if (closed := other()) is not None and closed.is_closed():
                    self._alinks.pop(closed, None)  # its connections hold the loop: it would never go by itself
            link = self._alinks[loop] = self._endpoint.alink()
        return link

    def _results(self, batch: Batch) -> list[Any]:
        try:
            return batch.results()
        except _FAILURES as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StoreError:
        return StoreError(f"{self._endpoint.address}: {error}")


def _marks(steps: Sequence[Step]) -> list[Mark]:
    return [Mark(step.key) for step in steps if isinstance(step, Put)]
