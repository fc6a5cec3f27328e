"""Rewarm in Django: `INSTALLED_APPS += ["rewarm_django"]`, settings `REWARM`, and each app's `caches.py`.

Nothing is imported until it is asked for: most of it needs Django's settings.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .applications import Application, caches
    from .bulk import InvalidatingManager, InvalidatingQuerySet, changes
    from .commit import on
    from .jobs import QuerySetFilterJob, QuerySetGetJob
    from .ledger_db import DatabaseLedger
    from .outbox import relay
    from .registry import invalidate_for, register
    from .rules import InvalidationRule
    from .shapes import shape
    from .store import CacheStore
    from .views import cached_view

    cache: Application

_HOMES = {
    "Application": "applications", "caches": "applications", "InvalidatingManager": "bulk",
    "InvalidatingQuerySet": "bulk", "changes": "bulk", "on": "commit", "QuerySetFilterJob": "jobs",
    "QuerySetGetJob": "jobs", "relay": "outbox", "InvalidationRule": "rules", "invalidate_for": "registry",
    "register": "registry", "CacheStore": "store", "cached_view": "views",
    "shape": "shapes", "DatabaseLedger": "ledger_db",
}  # fmt: skip

__all__ = [
    "Application",
    "CacheStore",
    "DatabaseLedger",
    "InvalidatingManager",
    "InvalidatingQuerySet",
    "InvalidationRule",
    "QuerySetFilterJob",
    "QuerySetGetJob",
    "cache",
    "cached_view",
    "caches",
    "changes",
    "invalidate_for",
    "on",
    "register",
    "relay",
    "shape",
]


def __getattr__(name: str) -> Any:
    if name == "cache":  # the one that REWARM["default"] describes
        from .applications import caches

        return caches["default"]
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
