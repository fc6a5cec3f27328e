"""What an application is configured with, checked early."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Protocol

from . import registry
from .adapter import Adapter
from .errors import ConfigurationError
from .retry import seconds
from .task import Route, signing_key

CHOICES = {"on_store_error": ("load", "raise"), "on_enqueue_error": ("log", "raise", "inline")}


class Transactions(Protocol):
    """Whether a transaction is open in this context, and how to act after its commit."""

    def active(self) -> bool: ...
    def on_commit(self, function: Callable[[], Any], /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """See `Rewarm`."""

    store: Any = "memory"
    adapter: Any = None
    ledger: Any = None
    routes: Mapping[str, Any] = field(default_factory=dict)
    signing_keys: Sequence[bytes] = ()
    on_store_error: str = "load"
    on_enqueue_error: str = "log"
    transactions: Transactions | None = None
    rescue: float | timedelta | None = None
    sweep_rate: float | None = None


def settings_from(settings: Settings, given: Mapping[str, Any]) -> Settings:
    """`settings` with what is given changed. Raises ConfigurationError."""
    changes = dict(given)
    if unknown := changes.keys() - Settings.__dataclass_fields__.keys():
        raise ConfigurationError(
            f"there is no setting {sorted(unknown)[0]!r}; there are {', '.join(Settings.__dataclass_fields__)}"
        )
    for name, choices in CHOICES.items():
        if name in changes and changes[name] not in choices:
            raise ConfigurationError(f"{name} is {changes[name]!r}, none of {', '.join(choices)}")
    if "signing_keys" in changes:
        if isinstance(changes["signing_keys"], str | bytes):
            raise ConfigurationError("signing_keys is a list of keys, the one to sign with first")
        changes["signing_keys"] = tuple(map(signing_key, changes["signing_keys"]))
    if "routes" in changes:
        changes["routes"] = {pattern: _checked(pattern, route) for pattern, route in (changes["routes"] or {}).items()}
    for name, most in ("rescue", 2**30), ("sweep_rate", float("inf")):
        given_one = changes.get(name)
        if given_one is not None and not (
            isinstance(given_one, int | float | timedelta)
            and not isinstance(given_one, bool)
            and 0 < seconds(given_one) < most
        ):
            unit = "seconds, or a timedelta" if name == "rescue" else "keys per second"
            raise ConfigurationError(f"{name} is {given_one!r}: give {unit}, or None")
    if "adapter" in changes:
        adapter = changes["adapter"]
        changes["adapter"] = adapter = registry.find_adapter(adapter) if isinstance(adapter, str) else adapter
        if not isinstance(adapter, Adapter):
            raise ConfigurationError(f"adapter is {adapter!r}: give an Adapter, its name, or 'module:Class'")
    return replace(settings, **changes)


def route_of(*layers: Any) -> Route:
    """Merge routes: the first that names a field wins. A Route names all of its fields, a dict only its keys."""
    fields: dict[str, Any] = {}
    for layer in layers:
        if isinstance(layer, Route):
            layer = {"queue": layer.queue, "priority": layer.priority, "options": layer.options}
        for name, value in (layer or {}).items():
            fields.setdefault(name, value)
    return Route(**fields)


def matches(pattern: str, name: str) -> bool:
    """`*` stands for any text; nothing else is special."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None


def _checked(pattern: str, route: Any) -> Any:
    try:
        if isinstance(route, Mapping):
            route_of(route)
        elif not isinstance(route, Route):
            raise ConfigurationError(f"is {route!r}: give a Route, or a dict with queue, priority, options")
    except (ConfigurationError, TypeError) as error:
        raise ConfigurationError(f"routes[{pattern!r}]: {error}") from None
    return route
