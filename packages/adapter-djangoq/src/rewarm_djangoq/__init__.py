"""Rewarm on django-q2.

Nothing is imported until it is asked for: django-q2 reads Django's settings when it is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapter import DjangoQAdapter, run

__all__ = ["DjangoQAdapter", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import adapter

        return getattr(adapter, name)
    raise AttributeError(name)
