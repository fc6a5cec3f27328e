"""The caches that are compared, each used as its documentation says: read through it, invalidate after a write."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol

from .source import KEYS, Source

TTL = 900


Save = Callable[[], int]


class Fence(NamedTuple):
    """What an invalidation reached: so many keys; whether nothing older may be seen at all, not even as stale."""

    keys: int
    gone: bool


class Cache(Protocol):
    """`read` gives a version and HIT, STALE or MISS; `write` calls `save`, which gives the version it has written."""

    def read(self, key: int) -> tuple[int, str]: ...
    def write(self, key: int, save: Save, dice: Random) -> Fence: ...


class Rewarmed:
    """Invalidated by key, by tag, as a whole job, deleted, or written through."""

    def __init__(self, source: Source) -> None:
        from .jobs import app, version

        self.app, self.version = app, version

    def read(self, key: int) -> tuple[int, str]:
        read = self.version.read(key)
        return read.value, read.state

    def write(self, key: int, save: Save, dice: Random) -> Fence:
        how = dice.choices(("key", "tag", "job", "delete", "writing"), (10, 10, 1, 3, 5))[0]
        if how == "writing":
            with self.version.entry(key).writing() as entry:
                entry.set(save())
            return Fence(1, False)
        save()
        match how:
            case "key":
                self.version.invalidate(key)
            case "tag":
                self.app.invalidate(tags=[f"key:{key}"])
            case "job":
                self.version.invalidate_all()
                return Fence(KEYS, False)
            case _:
                self.version.delete(key)
                return Fence(1, True)
        return Fence(1, False)


class HandWritten:
    """Get, else load and set; delete after a write."""

    def __init__(self, source: Source) -> None:
        from rewarm.cli.demo.caches import LocalClient

        self.source, url = source, os.environ["HAMMER_STORE"]
        self.client: Any = LocalClient()
        if "://" in url:
            from redis import Redis

            self.client = Redis.from_url(url)

    def read(self, key: int) -> tuple[int, str]:
        if (text := self.client.get(f"naive:{key}")) is not None:
            return int(text), "HIT"
        value = self.source.load(key)
        self.client.set(f"naive:{key}", str(value), ex=TTL)
        return value, "MISS"

    def write(self, key: int, save: Save, dice: Random) -> Fence:
        save()
        self.client.delete(f"naive:{key}")
        return Fence(1, True)


class Dogpile:
    """dogpile.cache: one load at a time, by its lock; `delete` after a write."""

    def __init__(self, source: Source) -> None:
        from dogpile.cache import make_region

        self.source, url = source, os.environ["HAMMER_STORE"]
        if "://" in url:
            arguments = {"url": url, "distributed_lock": True, "lock_timeout": 10, "thread_local_lock": False}
            self.region = make_region().configure("dogpile.cache.redis", expiration_time=TTL, arguments=arguments)
        else:
            self.region = make_region().configure("dogpile.cache.memory", expiration_time=TTL)

    def read(self, key: int) -> tuple[int, str]:
        value: int = self.region.get_or_create(f"dogpile:{key}", lambda: self.source.load(key))
        return value, "HIT"

    def write(self, key: int, save: Save, dice: Random) -> Fence:
        save()
        self.region.delete(f"dogpile:{key}")
        return Fence(1, True)


class Cacheback:
    """django-cacheback: a job that loads on a miss; `delete` after a write."""

    def __init__(self, source: Source) -> None:
        import django
        from django.conf import settings

        url = os.environ["HAMMER_STORE"]
        redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}
        memory = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
        queues = {"default": {"URL": url if "://" in url else "redis://localhost"}}  # imported, never used
        settings.configure(
            CACHES={"default": redis if "://" in url else memory}, INSTALLED_APPS=["cacheback"], RQ_QUEUES=queues,
            CACHEBACK_VERIFY_CACHE_WRITE=False,  # else a read fails whose value is deleted while it is stored
        )  # fmt: skip
        django.setup()
        from cacheback.base import Job

        class Version(Job):  # type: ignore[misc]
            lifetime = TTL
            fetch_on_miss = True

            def fetch(self, key: int) -> int:
                return source.load(key)

        self.job = Version()

    def read(self, key: int) -> tuple[int, str]:
        return self.job.get(key), "HIT"

    def write(self, key: int, save: Save, dice: Random) -> Fence:
        save()
        self.job.delete(key)
        return Fence(1, True)


CACHES: dict[str, Any] = {
    "rewarm": Rewarmed, "hand-written": HandWritten, "dogpile.cache": Dogpile, "django-cacheback": Cacheback
}  # fmt: skip
MODULES = {"dogpile.cache": "dogpile", "django-cacheback": "cacheback"}


@cache
def opened(name: str) -> tuple[Source, Cache]:
    """The source and one cache per process, which its threads share."""
    source = Source(Path(os.environ["HAMMER_FOLDER"]))
    return source, CACHES[name](source)
