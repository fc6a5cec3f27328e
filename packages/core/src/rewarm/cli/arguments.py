"""A call of a job on the command line, as in HTTPie: `name=text`, `name:=JSON`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from ..codec import Codec
from ..errors import ArgumentError


def parse(words: Iterable[str], codec: Codec) -> dict[str, Any]:
    """The keyword arguments. JSON may hold the codec's own types: `{"$uuid": "…"}`. Raises ArgumentError."""
    arguments: dict[str, Any] = {}
    for word in words:
        if not (parts := re.fullmatch(r"([^\W\d]\w*)(:?=)(.*)", word, re.DOTALL)):
            raise ArgumentError(f"{word!r} is neither name=text nor name:=JSON")
        name, sign, text = parts.groups()
        if name in arguments:
            raise ArgumentError(f"{name} is given twice")
        arguments[name] = text if sign == "=" else _value(name, text, codec)
    return arguments


def _value(name: str, text: str, codec: Codec) -> Any:
    try:
        return codec.decode(json.loads(text))
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"{name}:={text} is not JSON: {error}; for a text write {name}={text}") from error
