"""The store on each of Django's cache backends, for the suite's `--rewarm-store`."""

from __future__ import annotations

import os
import tempfile
from typing import Any

BACKENDS: dict[str, dict[str, Any]] = {
    "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 100_000}},
    "database": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cached",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
    "file": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": tempfile.mkdtemp(),
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
    "memcached": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": os.environ.get("CACHE_URL"),
    },
    "redis": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ.get("CACHE_URL")},
}  # fmt: skip


def _store(backend: str) -> Any:
    from django.conf import settings

    os.environ["DJANGO_SETTINGS_MODULE"] = "books.settings"
    if not settings.configured:
        settings.CACHES = {"default": BACKENDS[backend]}
        import django

        django.setup()
        if backend == "database":
            from django.core.management import call_command

            call_command("createcachetable", verbosity=0)
    from rewarm_django import CacheStore

    return CacheStore("default")


def locmem() -> Any:
    return _store("locmem")


def database() -> Any:
    return _store("database")


def file() -> Any:
    return _store("file")


def memcached() -> Any:
    return _store("memcached")


def redis() -> Any:
    return _store("redis")
