"""Which task queue this project has configured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec

from django.conf import settings

from rewarm import ConfigurationError
from rewarm.registry import KNOWN

HINT = 'say which one: REWARM = {"default": {"ADAPTER": "…"}}'


def _celery() -> str:
    if named := [name for name in dir(settings) if name.startswith("CELERY_") or name in ("BROKER_URL", "broker_url")]:
        return f"settings {named[0]}"
    state = sys.modules.get("celery._state")  # asking for the current application would invent one
    return "a Celery application" if state is not None and state.default_app is not None else ""


def _dramatiq() -> str:
    if "django_dramatiq" in _installed():
        return "INSTALLED_APPS has django_dramatiq"
    if hasattr(settings, "DRAMATIQ_BROKER"):
        return "settings DRAMATIQ_BROKER"
    module = sys.modules.get("dramatiq.broker")
    return "dramatiq.set_broker() was called" if module is not None and module.global_broker is not None else ""


def _rq() -> str:
    return "settings RQ_QUEUES" if "django_rq" in _installed() and getattr(settings, "RQ_QUEUES", None) else ""


def _huey() -> str:
    return "INSTALLED_APPS has huey.contrib.djhuey" if "huey.contrib.djhuey" in _installed() else ""


def _djangoq() -> str:
    return "settings Q_CLUSTER" if "django_q" in _installed() and hasattr(settings, "Q_CLUSTER") else ""


def _tasks() -> str:
    given = getattr(settings, "TASKS", {}).get("default", {}).get("BACKEND", "")
    idle = not given or given.endswith((".ImmediateBackend", ".DummyBackend"))  # Django's own default is such a one
    return "" if idle else "settings TASKS"


SIGNS: dict[str, Callable[[], str]] = {
    "celery": _celery, "dramatiq": _dramatiq, "rq": _rq, "huey": _huey, "djangoq": _djangoq,
    "django-tasks": _tasks,
}  # fmt: skip


def candidates() -> dict[str, str]:
    """Queue -> the sign that it is configured here."""
    return {name: sign for name, look in SIGNS.items() if (sign := look())}


def queue() -> str:
    """The adapter of the queue that is chosen, else of the one that is configured, else "threads".

    Raises ConfigurationError.
    """
    found = candidates()
    if chosen := getattr(settings, "CACHEBACK_TASK_QUEUE", None):  # a choice: never another queue instead
        if chosen not in SIGNS:
            raise ConfigurationError(f"CACHEBACK_TASK_QUEUE is {chosen!r}, none of {', '.join(SIGNS)}")
        found = {chosen: "settings CACHEBACK_TASK_QUEUE"}
    if not found:
        return "threads"
    if len(found) > 1:
        told = ", ".join(f"{name} ({sign})" for name, sign in found.items())
        raise ConfigurationError(f"several task queues are configured, {told}: {HINT}")
    [(name, sign)] = found.items()
    if name != "django-tasks" and find_spec(f"rewarm_{name}") is None:
        raise ConfigurationError(
            f"{name} is configured ({sign}), but its adapter is missing: pip install {KNOWN[name]}"
        )
    return name


def _installed() -> list[str]:
    return list(settings.INSTALLED_APPS)
