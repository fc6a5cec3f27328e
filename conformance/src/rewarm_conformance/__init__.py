"""Proves a queue adapter for Rewarm, with real workers. See `Testbed`."""

from .testbed import Setting, Testbed

__all__ = ["Setting", "Testbed"]
