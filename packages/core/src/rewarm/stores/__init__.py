"""Where entries live (Store) and what is known about tasks (Ledger)."""

from __future__ import annotations

import re
from typing import Any

from ..errors import ConfigurationError
from ..redact import redact
from .base import Ledger, Store
from .memory import MemoryStore

__all__ = ["Ledger", "MemoryStore", "Store", "open_ledger", "open_store"]


def open_store(given: Any) -> Store:
    """The store that `Rewarm(store=...)` means: a Store, "memory", a URL or a redis-py client.

    Raises ConfigurationError for anything else, and if the package that it needs is missing.
    """
    if isinstance(given, Store):
        return given
    if given in ("memory", "memory://"):
        return MemoryStore()
    if isinstance(given, str) and "://" not in given:
        raise ConfigurationError(f"store={_shown(given)}: give 'memory', a URL such as redis://host:6379/0, or a Store")
    try:
        from .redis import RedisStore
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"store={_shown(given)} needs redis-py: pip install 'rewarm[redis]'") from error
    try:
        return RedisStore(given)
    except ConfigurationError as error:
        raise ConfigurationError(f"store={_shown(given)}: {error}") from error


def open_ledger(given: Any, store: Store) -> Ledger:
    """The ledger that `Rewarm(ledger=...)` means; None: the store itself. Raises ConfigurationError."""
    if given is None:
        given = store
    backend = given if isinstance(given, Ledger) else open_store(given)
    if not isinstance(backend, Ledger):
        raise ConfigurationError(f"{type(backend).__name__} cannot keep a ledger: give Rewarm(ledger=...) another one")
    return backend


def _shown(given: Any) -> str:
    """A store as an error may show it: without the password, also one that was not escaped."""
    return re.sub(r"(?s)^(.(?:[\w+.-]*://)?).*@", r"\1***@", redact(repr(given)))
