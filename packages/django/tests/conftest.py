"""A Django project for the tests, set up once in this process; pytest-django makes its databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rewarm.cli.server import Server

PROJECT = Path(__file__).with_name("project")


def _setup() -> None:
    """Settings that only these tests see: the environment stays as it was."""
    from django.conf import settings

    if settings.configured:
        return
    sys.path.insert(0, str(PROJECT))
    before = os.environ.get("DJANGO_SETTINGS_MODULE")
    os.environ["DJANGO_SETTINGS_MODULE"] = "books.settings"
    import django

    django.setup()
    import books.urls  # noqa: F401  the views' jobs and rules are there from the start

    if before is None:
        del os.environ["DJANGO_SETTINGS_MODULE"]
    else:
        os.environ["DJANGO_SETTINGS_MODULE"] = before


_setup()


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Caches and counters are empty, and registered rules those of `books.caches`, in every test."""
    from books.caches import loads
    from django.core.cache import caches as backends
    from django.db import connections

    from rewarm_django import caches
    from rewarm_django.registry import registry
    from rewarm_django.tracking import connect

    known, jobs = dict(registry.rules), {alias: dict(app.jobs) for alias, app in caches.items()}
    loads.clear()
    for backend in backends.all():
        backend.clear()
    yield
    registry.rules.clear()
    registry.rules.update(known)
    for alias, app in caches.items():
        app.jobs.clear()
        app.jobs.update(jobs[alias])
        app.close()  # an empty memory store
    connect()
    for connection in connections.all(initialized_only=True):
        connection.__dict__.pop("_rewarm", None)
        connection.__dict__.pop("_rewarm_moment", None)


@pytest.fixture
def rule() -> Any:
    """`rule(model=..., ...)`: a rule that is registered for this test."""
    from rewarm_django import InvalidationRule, register

    def make(**fields: Any) -> InvalidationRule:
        made = InvalidationRule(**fields)
        register(made)
        return made

    return make


@pytest.fixture
def herd(tmp_path: Path) -> Iterator[Any]:
    """`herd(kind)`: what 24 processes cost that read one cold key, and then one stale key, of a job of this kind."""
    with Server() as server:
        backend = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": server.url}
        environment = {
            **os.environ, "DJANGO_SETTINGS_MODULE": "books.settings", "CACHE_URL": server.url,
            "REWARM_TEST_FOLDER": str(tmp_path), "REWARM_TEST_DATABASE": "",
            "REWARM_TEST_EXTRA": f"CACHES['default'] = {backend!r}",
        }  # fmt: skip

        def run(kind: str) -> dict[str, int]:
            command = [sys.executable, "herd.py", kind]
            done = subprocess.run(
                command, cwd=PROJECT, capture_output=True, text=True, timeout=100, env=environment
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
            return found

        yield run
