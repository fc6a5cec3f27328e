"""huey's messages as JSON, in place of its default pickle. Give it to producers and consumers alike."""

from __future__ import annotations

import datetime
import json
from typing import Any

from huey.registry import Message
from huey.serializer import Serializer


class JSONSerializer(Serializer):  # type: ignore[misc]  # huey has no types
    """What a message may hold: JSON, and the dates with which huey schedules and expires it."""

    def _serialize(self, data: Any) -> bytes:
        return json.dumps(_plain(data), separators=(",", ":"), allow_nan=False).encode()

    def _deserialize(self, data: bytes) -> Any:
        return _rich(json.loads(data))


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return {"$message": [_plain(part) for part in value]}
    if isinstance(value, datetime.datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return {name: _plain(part) for name, part in value.items()} if isinstance(value, dict) else value


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return [_rich(part) for part in value]
    if not isinstance(value, dict):
        return value
    if "$message" in value:
        return Message(*map(_rich, value["$message"]))
    if "$datetime" in value:
        return datetime.datetime.fromisoformat(value["$datetime"])
    return {name: _rich(part) for name, part in value.items()}
