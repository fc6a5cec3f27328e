"""Texts for logs, events and dead letters: without the passwords of connection URLs."""

from __future__ import annotations

import re

# A password may hold a / that should have been escaped. Every part ends at the next URL: linear in hostile texts too.
_USER = re.compile(r"(?<=\w://)(?:[^\s/:'\"]*:(?:(?!://)[^\s'\"?])*|[^\s/'\"]*)@")
_OPTION = re.compile(r"(?i)((?:\b|_)(?:password|passwd|pwd|secret|token)[\"']?\s*[=:]\s*)([\"']?)[^\s,;&'\")}]+\2")


def redact(text: str) -> str:
    """The text with `***` for user and password of each URL in it, and for what is called a password."""
    return _OPTION.sub(r"\1***", _USER.sub("***@", text))
