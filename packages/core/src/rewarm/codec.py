"""Arguments and values as canonical JSON: what a key is made of, what a task carries, what comes back."""

from __future__ import annotations

import inspect
import json
import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, EnumType
from hashlib import blake2b
from inspect import Parameter
from json.encoder import encode_basestring
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Final, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from .errors import ArgumentError, ConfigurationError

T = TypeVar("T")
Convert: TypeAlias = Callable[[Any], Any]
Path: TypeAlias = tuple[str | int, ...]

MAX_DEPTH: Final = 100  # containers within containers; what is deeper most likely contains itself
SEGMENT_BYTES: Final = 64  # the longest text of one argument, in UTF-8, that a key shows as it is
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
    its base, so it is refused unless it was added. A datetime keeps its offset, not its zone or `fold`.
    """

    def __init__(self) -> None:
        self._types: dict[str, tuple[type, Convert, Convert]] = {}
        self._tags: dict[type, str] = {}

    def add_type(
        self, tag: str, cls: type[T], encode: Callable[[T], Any], decode: Callable[[Any], T]
    ) -> None:
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
        raise Misfit(path, f"is {_a(kind)}", "use its value" if isinstance(value, Enum) else "")

    def _encode_dict(self, value: dict[Any, Any], path: Path) -> dict[str, Any]:
        data = {}
        for key, item in value.items():
            if type(key) is not str:
                raise Misfit(path, f"has a key that is {_a(type(key))}", "use str keys, or a list of pairs")
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


def segment(text: str) -> str:
    """One argument in a key: its canonical `text`, or `#` and its 128-bit hash if too long; a comma."""
    data = text.encode()
    if len(data) > SEGMENT_BYTES:
        text = "#" + blake2b(data, digest_size=16).hexdigest()
    return text + ","


class Signature:
    """A function's parameters, compiled: binds calls, and takes bound values to keys and payloads and back.

    Bound values stand in the order of `names`; `*args` is one list, `**kwargs` one dict. `skip_self` leaves
    out the first parameter; `name` is what messages call the function. An Enum member travels where its
    parameter is annotated with its class, or with that and None. Raises ConfigurationError for a function
    that shows no signature.
    """

    def __init__(
        self, function: Callable[..., Any], codec: Codec, *, skip_self: bool = False, name: str = ""
    ) -> None:
        self.name: str = name or getattr(function, "__name__", type(function).__name__)
        try:
            parameters = [*inspect.signature(function, **_LENIENT).parameters.values()][int(skip_self) :]
        except ValueError as error:
            raise ConfigurationError(f"{self.name}() shows no signature: wrap it in a def") from error
        self.names = tuple(parameter.name for parameter in parameters)
        self._kinds = tuple(parameter.kind for parameter in parameters)
        namespace = getattr(inspect.unwrap(function), "__globals__", {})
        enums = {index: _enum_of(parameter, namespace) for index, parameter in enumerate(parameters)}
        self._enums = {index: enum for index, enum in enums.items() if enum}
        self._binder = _compile(self.name, parameters)
        self._codec = codec

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The values of a call, defaults filled in. Raises ArgumentError, worded as Python's TypeError."""
        try:
            return self._binder(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(str(error)) from None

    def call(self, values: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The positional and the keyword arguments with which to call the function."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, kind, value in zip(self.names, self._kinds, values, strict=True):
            if kind is Parameter.VAR_POSITIONAL:
                args += value
            elif kind is Parameter.VAR_KEYWORD:
                kwargs |= value
            elif kind is Parameter.KEYWORD_ONLY:
                kwargs[name] = value
            else:
                args.append(value)
        return args, kwargs

    def mapping(self, values: Sequence[Any]) -> dict[str, Any]:
        """The values by parameter name."""
        return dict(zip(self.names, values, strict=True))

    def encode(self, values: Sequence[Any]) -> list[Any]:
        """Bound values as data for `json`. Raises ArgumentError, naming the parameter that cannot travel."""
        data: list[Any] = []
        try:
            for value in self._plain(values):
                data.append(self._codec.encode(value))
        except Misfit as misfit:
            raise self._refusal(misfit, len(data), values[len(data)]) from None
        return data

    def decode(self, data: Any) -> tuple[Any, ...]:
        """The values that `encode` made `data` of. Raises ArgumentError if they do not fit this function."""
        if type(data) is not list or len(data) != len(self.names):
            got = f"{len(data)} values" if type(data) is list else _a(type(data))
            raise ArgumentError(f"{self.name}() takes a list of ({', '.join(self.names)}), not {got}")
        values: list[Any] = []
        try:
            for index, item in enumerate(data):
                value, enum = self._codec.decode(item), self._enums.get(index)
                values.append(_member(enum, value) if enum and value is not None else value)
        except ArgumentError as error:
            raise ArgumentError(f"{self.name}(): argument {self.names[len(values)]!r}: {error}") from error
        self._check_packed(values)
        return tuple(values)

    def key_part(self, values: Sequence[Any]) -> str:
        """The segments of bound values, the last part of a key. Raises ArgumentError as `encode` does."""
        segments: list[str] = []
        try:
            for value in self._plain(values) if self._enums else values:
                text = _QUICK.get(type(value), _no_text)(value)
                quick = 0 < len(text) <= SEGMENT_BYTES and text.isascii()
                segments.append(f"{text}," if quick else segment(self._codec.dumps(value)))
        except Misfit as misfit:
            raise self._refusal(misfit, len(segments), values[len(segments)]) from None
        return "".join(segments)

    def prefix(self, leading: Sequence[Any]) -> str:
        """How all keys begin whose first arguments are `leading`; `*args` is one list, `**kwargs` one dict.

        Exact: a JSON text ends where it says so itself, or at the comma, so no segment begins another one.
        Raises ArgumentError if there are too many, or as `encode` does.
        """
        if len(leading) > len(self.names):
            raise ArgumentError(f"{self.name}() has {len(self.names)} arguments, not {len(leading)}")
        self._check_packed(leading)
        return self.key_part(leading)

    def _plain(self, values: Sequence[Any]) -> Sequence[Any]:
        """`values`, but for each Enum member that `decode` will bring back its value."""
        plain = list(values)
        for index, enum in self._enums.items():
            if index < len(plain) and plain[index] is not None:
                if type(plain[index]) is not enum:
                    told = f"{self.name}(): argument {self.names[index]!r} is {_a(type(plain[index]))}"
                    raise ArgumentError(f"{told}, but annotated as {_a(enum)}: pass a member")
                plain[index] = plain[index].value
        return plain

    def _check_packed(self, values: Sequence[Any]) -> None:
        for name, kind, value in zip(self.names, self._kinds, values, strict=False):
            if type(value) is not _PACKED.get(kind, type(value)):
                told = f"{self.name}(): argument {name!r} is {_a(type(value))}"
                raise ArgumentError(f"{told}: give all of {name!r} as one {_PACKED[kind].__name__}")

    def _refusal(self, misfit: Misfit, index: int, value: Any) -> ArgumentError:
        subject = f"{self.name}(): argument {self.names[index]!r}"
        remedy = "pass an id, or register the type with app.add_type()"
        told = misfit.about(subject, "cannot travel to a worker", remedy)
        if isinstance(value, Enum) and index not in self._enums:
            told += f", or annotate the parameter with {type(value).__name__} (not under TYPE_CHECKING)"
        return ArgumentError(told)


_LENIENT: dict[str, Any] = {}
if sys.version_info >= (3, 14):  # annotations are evaluated on demand there, and some cannot be
    from annotationlib import Format

    _LENIENT["annotation_format"] = Format.FORWARDREF

_PACKED: Final[dict[Any, type]] = {Parameter.VAR_POSITIONAL: list, Parameter.VAR_KEYWORD: dict}
_QUICK: Final[dict[type, Callable[[Any], str]]] = {  # as `Codec.dumps`, or "" where only that can tell
    NoneType: {None: "null"}.__getitem__,
    bool: {True: "true", False: "false"}.__getitem__,
    str: encode_basestring,
    int: lambda value: repr(value) if value.bit_length() <= 64 else "",
    float: lambda value: repr(value) if isfinite(value) else "",
}


def _no_text(_: Any) -> str:
    return ""


def _utf8(text: str, path: Path) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Misfit(path, "has a lone surrogate", "clean the text, or use bytes") from None
    return text


def _is_tagged(data: dict[str, Any]) -> bool:
    return len(data) == 1 and next(iter(data)).startswith("$")


def _a(cls: type) -> str:
    return f"{'an' if cls.__name__[0] in 'AEIOUaeiou' else 'a'} {cls.__name__}"


def _member(enum: type[Enum], value: Any) -> Enum:
    try:
        return enum(value)
    except ValueError as error:
        raise ArgumentError(str(error)) from None


def _enum_of(parameter: Parameter, namespace: dict[str, Any]) -> type[Enum] | None:
    """The Enum class that the annotation names, alone or beside None, if it can be resolved."""

    def holder() -> None: ...

    holder.__annotations__ = {"it": parameter.annotation}
    try:
        hint = get_type_hints(holder, namespace)["it"]
    except Exception:  # resolving evaluates text, which may name what only a type checker sees
        return None
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    given = [kind for kind in kinds if kind is not NoneType]
    if parameter.kind in _PACKED or len(given) != 1 or not isinstance(given[0], EnumType):
        return None
    enum: Any = given[0]
    # a member whose value is None could not be told from no member
    return None if any(member.value is None for member in enum) else enum


def _compile(name: str, parameters: Sequence[Parameter]) -> Callable[..., tuple[Any, ...]]:
    """A function of these parameters that returns its arguments: what dataclasses do for `__init__`."""
    empty = Parameter.empty
    bare = [p.replace(annotation=empty, default=empty if p.default is empty else None) for p in parameters]
    values = "".join(f"[*{p.name}], " if p.kind is p.VAR_POSITIONAL else f"{p.name}, " for p in parameters)
    binder: Any = eval(f"lambda {str(inspect.Signature(bare))[1:-1]}: ({values})")
    given = [p for p in parameters if p.default is not empty]
    binder.__defaults__ = tuple(p.default for p in given if p.kind is not p.KEYWORD_ONLY)
    binder.__kwdefaults__ = {p.name: p.default for p in given if p.kind is p.KEYWORD_ONLY}
    binder.__qualname__ = name
    return binder  # type: ignore[no-any-return]
