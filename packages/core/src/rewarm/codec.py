"""Arguments and values as canonical JSON: what a key is made of, what a task carries, what comes back."""

from __future__ import annotations

import datetime as clock
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from json.encoder import encode_basestring
from math import isfinite
from types import NoneType
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

from .errors import ArgumentError, ConfigurationError

T = TypeVar("T")
Convert: TypeAlias = Callable[[Any], Any]
Path: TypeAlias = tuple[str | int, ...]

MAX_DEPTH: Final = 100  # containers within containers; what is deeper most likely contains itself
INT_BITS: Final = 2048  # longer ints travel in hex: Python may refuse to write or read their decimal digits

_PLAIN: Final = (NoneType, bool, int, float, str, list, dict)
_COLLECTIONS: Final = (tuple, set, frozenset)
_SCALARS: Final[dict[type, tuple[Convert, Convert]]] = {
    bytes: (lambda value: b64encode(value).decode(), lambda text: b64decode(text, validate=True)),
    Decimal: (str, Decimal),
    UUID: (str, UUID),
    date: (date.isoformat, date.fromisoformat),
    time: (time.isoformat, time.fromisoformat),
    datetime: (datetime.isoformat, datetime.fromisoformat),
    timedelta: (lambda value: value // timedelta(microseconds=1), lambda number: timedelta(0, 0, number)),
}
_DECODERS: Final[dict[str, Convert]] = {
    "int": lambda text: int(text, 16),
    **{cls.__name__: cls for cls in _COLLECTIONS},
    **{cls.__name__.lower(): decode for cls, (_, decode) in _SCALARS.items()},
}

_canonical = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


class Misfit(ArgumentError):
    """A value, or the part of it at `path`, cannot be encoded; `about` words that for whoever gave it."""

    def __init__(self, path: Path, fault: str, remedy: str = "") -> None:
        self.path, self.fault, self.remedy = path, fault, remedy
        super().__init__(self.about("value", "cannot be encoded", "register the type with add_type()"))

    def about(self, subject: str, verdict: str, remedy: str) -> str:
        steps = [encode_basestring(step) if isinstance(step, str) else step for step in self.path]
        where = "".join(f"[{step}]" for step in steps)
        return f"{subject}{where} {self.fault}, which {verdict}: {self.remedy or remedy}"


class Codec:
    """Turns values into JSON and back, equal and of the same type; one per app, with the types its user adds.

    JSON's own types stand for themselves; any other is a dict whose only key is its tag: `{"$uuid": "…"}`. A
    plain dict that looks like that gets a second `$`. Types must match exactly: a subclass would come back as
    its base, so it is refused unless it was added, or stands in `datetime` for its base. A datetime keeps its
    offset, not its zone or `fold`.
    """

    def __init__(self) -> None:
        self._types: dict[str, tuple[type, Convert, Convert]] = {}
        self._tags: dict[type, str] = {}

    def add_type(self, tag: str, cls: type[T], encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
        """Let instances of `cls`, and of subclasses without a tag of their own, travel as `{"$tag": …}`.

        `encode` may return anything that the codec knows, and `decode` is given the same.
        Raises ConfigurationError if the tag is malformed or taken, or if the class travels already.
        """
        if not re.fullmatch("[a-z][a-z0-9_]*", tag):
            raise ConfigurationError(f"add_type: {tag!r} is no tag: use a-z, 0-9 and '_', as in 'money'")
        if tag in _DECODERS or self._types.get(tag, (cls,))[0] is not cls:
            raise ConfigurationError(f"add_type: tag {tag!r} is taken: choose another for {cls.__name__}")
        if cls in (*_PLAIN, *_COLLECTIONS, *_SCALARS) or self._tags.get(cls, tag) != tag:
            raise ConfigurationError(f"add_type: {cls.__name__} travels already: drop the tag {tag!r}")
        self._types[tag] = cls, encode, decode
        self._tags[cls] = tag

    def encode(self, value: Any) -> Any:
        """`value` as data for `json`; dicts keep their order. Raises ArgumentError if it cannot come back."""
        return self._encode(value, ())

    def decode(self, data: Any) -> Any:
        """The value that `encode` made `data` of. Raises ArgumentError for an unknown or malformed tag."""
        try:
            return self._decode(data)
        except RecursionError:
            raise ArgumentError("nested too deeply: nothing that was encoded here") from None

    def dumps(self, value: Any) -> str:
        """The one text of `value`: keys and sets sorted, no spaces. Raises ArgumentError as `encode` does."""
        return _canonical(self._encode(value, ()))

    def loads(self, text: str) -> Any:
        """The value of a text. Raises ArgumentError if it is not JSON, or as `decode` does."""
        try:
            return json.loads(text, object_hook=self._untag)
        except (ValueError, RecursionError) as error:
            raise ArgumentError(f"not the text of a value: {error}") from error

    def _encode(self, value: Any, path: Path) -> Any:
        kind = type(value)
        if kind is str:
            return _utf8(value, path)
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if value.bit_length() <= INT_BITS else {"$int": hex(value)}
        if (kind is float and not isfinite(value)) or (kind is Decimal and not value.is_finite()):
            raise Misfit(path, f"is {value}", "use a finite number, or None")
        if kind is float:
            return value
        if kind in _SCALARS:
            return {f"${kind.__name__.lower()}": _SCALARS[kind][0](value)}
        if len(path) >= MAX_DEPTH:
            raise Misfit((), f"contains itself, or more than {MAX_DEPTH} levels", "flatten it")
        if kind is list:
            return [self._encode(item, (*path, index)) for index, item in enumerate(value)]
        if kind is dict:
            return self._encode_dict(value, path)
        if kind in _COLLECTIONS:
            items = [self._encode(item, (*path, index)) for index, item in enumerate(value)]
            return {f"${kind.__name__}": items if kind is tuple else sorted(items, key=_canonical)}
        for base in kind.__mro__:
            if base in self._tags:
                tag = self._tags[base]
                return {f"${tag}": self._encode(self._types[tag][1](value), (*path, f"${tag}"))}
        if kind in (clock.date, clock.datetime):  # a frozen clock in a test puts its own classes in their place
            kind = next(base for base in kind.__mro__ if base in _SCALARS)
            return {f"${kind.__name__.lower()}": _SCALARS[kind][0](value)}
        raise Misfit(path, f"is {a_or_an(kind)}", "use its value" if isinstance(value, Enum) else "")

    def _encode_dict(self, value: dict[Any, Any], path: Path) -> dict[str, Any]:
        data = {}
        for key, item in value.items():
            if type(key) is not str:
                raise Misfit(path, f"has a key that is {a_or_an(type(key))}", "use str keys, or a list of pairs")
            data[_utf8(key, path)] = self._encode(item, (*path, key))
        return {f"${key}": data[key]} if _is_tagged(data) else data

    def _decode(self, data: Any) -> Any:
        if type(data) is list:
            return [self._decode(item) for item in data]
        if type(data) is dict:
            return self._untag({key: self._decode(item) for key, item in data.items()})
        return data

    def _untag(self, data: dict[str, Any]) -> Any:
        if not _is_tagged(data):
            return data
        [(key, inner)] = data.items()
        tag = key[1:]
        if tag.startswith("$"):
            return {tag: inner}
        if tag in self._types:
            return self._types[tag][2](inner)
        if tag not in _DECODERS:
            raise ArgumentError(f"no type has the tag {tag!r} here: every process needs the same add_type()")
        try:
            return _DECODERS[tag](inner)
        except Exception as error:
            raise ArgumentError(f"malformed {key}: {error}") from error


def _utf8(text: str, path: Path) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Misfit(path, "has a lone surrogate", "clean the text, or use bytes") from None
    return text


def _is_tagged(data: dict[str, Any]) -> bool:
    return len(data) == 1 and next(iter(data)).startswith("$")


def a_or_an(cls: type) -> str:
    return f"{'an' if cls.__name__[0] in 'AEIOUaeiou' else 'a'} {cls.__name__}"
