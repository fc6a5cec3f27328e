"""The two caches that are compared: Rewarm, and what is usually written by hand."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from .source import describe

Answer = tuple[dict[str, Any], str]


class Cache(Protocol):
    """`read` gives a value and HIT, STALE or MISS; `invalidate` is called after each edit."""

    def read(self, name: str) -> Answer: ...
    def invalidate(self, name: str) -> None: ...


class Rewarmed:
    """The demo's job. An edit is announced by tag or by key, as each has a fence of its own."""

    def __init__(self) -> None:
        from .jobs import app, package

        self.app, self.package, self.random = app, package, random.Random(0)

    def read(self, name: str) -> Answer:
        read = self.package.read(name)
        return read.value, read.state

    async def aread(self, name: str) -> Answer:
        read = await self.package.aread(name)
        return read.value, read.state

    def invalidate(self, name: str) -> None:
        if self.random.random() < 0.5:
            self.app.invalidate(tags=[f"package:{name}"])
        else:
            self.package.invalidate(name)


class HandWritten:
    """Get, else compute and set; delete after a write."""

    def __init__(self) -> None:
        self.folder, self.prefix = Path(os.environ["REWARM_DEMO_FOLDER"]), os.environ["REWARM_DEMO_NAME"]
        self.client = _client(os.environ["REWARM_DEMO_STORE"])

    def read(self, name: str) -> Answer:
        key = f"{self.prefix}:hand-written:{name}"
        if (text := self.client.get(key)) is not None:
            return json.loads(text), "HIT"
        value = describe(self.folder / "hand-written" / name)
        self.client.set(key, json.dumps(value), ex=60)
        return value, "MISS"

    def invalidate(self, name: str) -> None:
        self.client.delete(f"{self.prefix}:hand-written:{name}")


class LocalClient:
    """The three commands of a Redis client on a dict."""

    def __init__(self) -> None:
        self.lock, self.values = threading.Lock(), dict[str, tuple[float, str]]()

    def get(self, key: str) -> str | None:
        with self.lock:
            expires, text = self.values.get(key, (0.0, ""))
        return text if time.monotonic() < expires else None

    def set(self, key: str, text: str, ex: float) -> None:
        with self.lock:
            self.values[key] = time.monotonic() + ex, text

    def delete(self, key: str) -> None:
        with self.lock:
            self.values.pop(key, None)


def _client(store: str) -> Any:
    if store == "memory":
        return LocalClient()
    from redis import Redis

    return Redis.from_url(store)


CACHES: dict[str, type[Rewarmed] | type[HandWritten]] = {"hand-written": HandWritten, "rewarm": Rewarmed}


@cache
def open_cache(side: str) -> Rewarmed | HandWritten:
    """One per process, which its reader threads share."""
    return CACHES[side]()
