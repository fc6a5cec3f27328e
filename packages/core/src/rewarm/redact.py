"""Texts for logs, events and dead letters: without the passwords of connection URLs."""

from __future__ import annotations

import re

_USER = re.compile(r"(\w+://)[^\s/'\"]*@")
_OPTION = re.compile(r"(?i)((?:\b|_)(?:password|passwd|pwd|secret|token)[\"']?\s*[=:]\s*)([\"']?)[^\s,;&'\")}]+\2")


def redact(text: str) -> str:
    """The text with `***` for user and password of each URL in it, and for what is called a password."""
    return _OPTION.sub(r"\1***", _USER.sub(r"\1***@", text))
