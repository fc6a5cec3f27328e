"""Proves a queue adapter for Rewarm, with real workers. See `Testbed`."""

from .services import Missing, Service
from .testbed import Setting, Testbed

__all__ = ["Missing", "Service", "Setting", "Testbed"]
