"""Signature: a function's parameters, compiled. Binds calls, and takes bound values to keys and payloads and back."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from enum import Enum, EnumType
from hashlib import blake2b
from inspect import Parameter
from json.encoder import encode_basestring
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from .codec import Codec, Misfit, a_or_an
from .errors import ArgumentError, ConfigurationError

SEGMENT_BYTES: Final = 64
"""The longest text of one argument, in UTF-8 bytes, that a key shows as it is."""


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

    def __init__(self, function: Callable[..., Any], codec: Codec, *, skip_self: bool = False, name: str = "") -> None:
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
            got = f"{len(data)} values" if type(data) is list else a_or_an(type(data))
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
                    told = f"{self.name}(): argument {self.names[index]!r} is {a_or_an(type(plain[index]))}"
                    raise ArgumentError(f"{told}, but annotated as {a_or_an(enum)}: pass a member")
                plain[index] = plain[index].value
        return plain

    def _check_packed(self, values: Sequence[Any]) -> None:
        for name, kind, value in zip(self.names, self._kinds, values, strict=False):
            if type(value) is not _PACKED.get(kind, type(value)):
                told = f"{self.name}(): argument {name!r} is {a_or_an(type(value))}"
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
