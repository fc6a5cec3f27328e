"""Classes and functions by their path, of the project's own packages only: a task must not import just anything."""

from __future__ import annotations

import importlib
from typing import Any

from django.apps import apps
from django.conf import settings

from rewarm import ConfigurationError


def path_of(thing: Any, separator: str = ".") -> str:
    """`module.name`."""
    return f"{thing.__module__}{separator}{thing.__qualname__}"


def locate(path: str, base: Any) -> Any:
    """What `path_of` named, which must be a `base`. Raises ConfigurationError."""
    module, _, name = path.replace(":", ".").rpartition(".")
    if not any(module == one or module.startswith(f"{one}.") for one in packages()):
        raise ConfigurationError(
            f"{path!r} is in no installed app: add the app, or its package to REWARM_COMPAT_PACKAGES"
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"there is no {path!r}: {error}") from error
    if base is not object and not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigurationError(f"{path!r} is no {base.__name__}")
    return found


def packages() -> list[str]:
    """Where jobs may live."""
    project = str(getattr(settings, "ROOT_URLCONF", "") or "").partition(".")[0]
    named = [config.name for config in apps.get_app_configs() if not config.name.startswith("django.")]
    return [*named, *getattr(settings, "REWARM_COMPAT_PACKAGES", ()), *([project] if project else [])]
