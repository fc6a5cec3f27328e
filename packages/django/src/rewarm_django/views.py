"""Cached views."""

from __future__ import annotations

from typing import Any


def cached_view(**_: Any) -> Any:
    raise NotImplementedError
