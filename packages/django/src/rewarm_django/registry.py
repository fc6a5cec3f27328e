"""The rules of this process, by model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rewarm import ConfigurationError

from .rules import Change, InvalidationRule


class Registry:
    """The rules of this process, by model."""

    def __init__(self) -> None:
        self.rules: dict[str, InvalidationRule] = {}
        self.changed: Callable[[], None] = lambda: None  # tracking listens to more models then

    def of(self, model: Any) -> list[InvalidationRule]:
        """The rules that a change of this model's rows may concern: its own, its proxies', its parents'."""
        concerned = []
        for rule in self.rules.values():
            try:
                base = rule.model_class._meta.concrete_model
            except (LookupError, ValueError):
                continue  # reported by the checks
            if issubclass(model._meta.concrete_model, base):
                concerned.append(rule)
        return concerned


registry = Registry()


def register(*rules: InvalidationRule) -> None:
    """Rules that are not in the `rules` of a `caches` module. The same rule again changes nothing."""
    for rule in rules:
        if not isinstance(rule, InvalidationRule):
            raise ConfigurationError(f"{rule!r} is no InvalidationRule")
        other = registry.rules.get(rule.name)
        if other is not None and other._default_name() != rule._default_name():
            raise ConfigurationError(f"two rules are called {rule.name!r}: give one of them another name=")
        registry.rules[rule.name] = rule
        if rule.run == "worker" and rule.invalidator is not None:
            from .invalidators import add

            add(rule)
    registry.changed()


def invalidate_for(*instances: Any, using: str | None = None) -> None:
    """Apply the rules by hand, as if these rows had been updated in an unknown way."""
    for instance in instances:
        change = Change("update", [instance], using or instance._state.db or "default")
        for rule in registry.of(type(instance)):
            rule.fire(change)
