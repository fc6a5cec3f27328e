"""Rewarm on huey."""

from .ack import AckRedisHuey, AckStorage
from .adapter import HueyAdapter
from .serializer import JSONSerializer

__all__ = ["AckRedisHuey", "AckStorage", "HueyAdapter", "JSONSerializer"]
