"""Rewarm on RQ."""

from .adapter import RQAdapter, run
from .worker import RecoveringWorker

__all__ = ["RQAdapter", "RecoveringWorker", "run"]
