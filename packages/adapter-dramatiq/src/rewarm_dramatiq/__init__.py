"""Rewarm on Dramatiq."""

from .adapter import DramatiqAdapter

__all__ = ["DramatiqAdapter"]
