"""Set up when Django is ready."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.signals import setting_changed


class RewarmConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    name = "rewarm_django"
    verbose_name = "Rewarm"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks, outbox, tracking
        from .applications import autodiscover, caches

        checks.register()
        caches.setup()
        autodiscover()
        tracking.connect()
        outbox.connect()
        setting_changed.connect(_changed, dispatch_uid="rewarm_django.settings")


def _changed(*, setting: str, **_: Any) -> None:
    """Tests change settings while they run."""
    if setting in ("REWARM", "CACHES"):
        from .applications import caches

        caches.setup()
