"""Find adapters by entry point and applications by name. Errors carry the fix."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from .adapter import Adapter
from .errors import ConfigurationError

if TYPE_CHECKING:
    from .app import Rewarm

GROUP = "rewarm.adapters"
KNOWN = {
    "celery": "rewarm-celery",
    "dramatiq": "rewarm-dramatiq",
    "rq": "rewarm-rq",
    "huey": "rewarm-huey",
    "djangoq": "rewarm-djangoq",
    "django-tasks": "rewarm-django[tasks]",
}


def adapters() -> list[str]:
    """Names of the adapters that are installed, sorted."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def find_adapter(name: str) -> Adapter:
    """The adapter called `name`, or the class at "module:Class", on the queue object that the host configured.

    Raises ConfigurationError for an unknown name, with what is installed and what to install.
    """
    if ":" in name:
        factory = locate(name)
    else:
        found = [point for point in entry_points(group=GROUP) if point.name == name]
        if not found:
            hint = f"pip install {KNOWN.get(name, f'rewarm-{name}')}"
            raise ConfigurationError(f"no adapter {name!r}: {hint}; installed: {', '.join(adapters())}")
        factory = found[0].load()
    try:
        adapter = factory()
    except TypeError as error:
        raise ConfigurationError(f"adapter {name!r} cannot be made without arguments: {error}") from error
    if not isinstance(adapter, Adapter):
        raise ConfigurationError(f"{name!r} makes a {type(adapter).__name__}, not a rewarm Adapter")
    return adapter


def locate(path: str) -> Any:
    """The object at "module:attribute". The current directory is searched too, as queues' own commands do."""
    module, _, attribute = path.partition(":")
    if not module or not attribute:
        raise ConfigurationError(f"{path!r} is not of the form module:attribute")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        raise ConfigurationError(f"no module {module!r} (from {path!r}); is it on PYTHONPATH?") from error
    for part in attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise ConfigurationError(f"module {module!r} has no {attribute!r} (from {path!r})") from None
    return value


def named_apps(paths: str) -> list[Rewarm]:
    """The applications at "module:attribute[,…]". Raises ConfigurationError for what is none."""
    from .app import Rewarm

    found = []
    for path in filter(None, map(str.strip, paths.split(","))):
        app = locate(path)
        if not isinstance(app, Rewarm):
            raise ConfigurationError(f"{path!r} is a {type(app).__name__}, not a Rewarm application")
        found.append(app)
    return found
