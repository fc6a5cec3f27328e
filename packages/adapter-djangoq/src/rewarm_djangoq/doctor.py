"""django-q2 settings that lose, duplicate or delay work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django_q.conf import Conf

from rewarm import Finding

if TYPE_CHECKING:
    from .adapter import DjangoQAdapter


def examine(adapter: DjangoQAdapter) -> list[Finding]:
    """What `Q_CLUSTER` should have otherwise. Connects to nothing."""
    found = []
    if not adapter.orm:
        found.append(
            Finding(
                "warning", "this broker cannot delay: a failed task is dead at once; a killed worker's tasks are lost",
                'Q_CLUSTER = {"orm": "default", ...}',
            )
        )  # fmt: skip
    if Conf.TIMEOUT is None or Conf.TIMEOUT >= Conf.RETRY:
        found.append(
            Finding(
                "error", f"timeout ({Conf.TIMEOUT}) is not below retry ({Conf.RETRY}): running tasks come again",
                "timeout above the longest task, retry above timeout",
            )
        )  # fmt: skip
    if adapter.orm:
        found.append(
            Finding(
                "warning" if Conf.RETRY > 600 else "info",
                f"a task whose worker was killed comes back after {Conf.RETRY} s (retry)",
            )
        )
    if Conf.SYNC:
        found.append(
            Finding("warning", "sync is on: tasks run in the process that queues them", "sync=False in production")
        )
    if "ALT_CLUSTERS" not in getattr(settings, "Q_CLUSTER", {}):
        found.append(
            Finding(
                "info", "a cluster of another name (Q_CLUSTER_NAME), which a route's queue is, ends with a KeyError",
                'Q_CLUSTER = {"ALT_CLUSTERS": {}, ...}',
            )
        )  # fmt: skip
    found.append(
        Finding("info", "django-q2 packs tasks as signed pickles: who has SECRET_KEY can run code on the workers")
    )
    return found
