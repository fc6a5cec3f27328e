"""Rewarm on Celery."""

from .adapter import CeleryAdapter

__all__ = ["CeleryAdapter"]
