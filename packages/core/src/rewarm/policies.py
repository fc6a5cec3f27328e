"""What a job's policies are called, what they default to, and how a value or a callable becomes a value."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from datetime import timedelta
from string import Formatter
from types import NoneType
from typing import Any, Final

from .errors import ConfigurationError
from .retry import Breaker, Retry, seconds
from .settings import route_of
from .task import Route

DEFAULTS: Final[Mapping[str, Any]] = {
    "ttl": None,
    "stale_while_revalidate": 86_400.0,
    "stale_if_error": 0.0,
    "tags": (),
    "on_invalidated": "stale",
    "on_miss": "load",
    "empty": None,
    "wait": 10.0,
    "lease": 60.0,
    "timeout": 600.0,
    "retry": Retry(),
    "route": None,
    "cache_if": True,
    "jitter": 0.0,
    "early": 0.0,
    "throttle": 10.0,
    "rate": None,
    "breaker": None,
    "normalize": None,
    "key": None,
    "version": 1,
    "serializer": "json",
}
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "on_invalidated": ("stale", "expire"),
    "on_miss": ("load", "queue"),
}
WITH_VALUE: Final = ("ttl", "cache_if")  # their callables may ask for `value`, what the load returned
EXPECTED: Final[Mapping[str, tuple[Any, str]]] = {  # what a fixed value is, and what to give instead of anything else
    "tags": (Sequence, "a list of templates"),
    "retry": (Retry, "a Retry"),
    "route": ((Route, Mapping, NoneType), "a Route, or a dict with queue, priority, options"),
    "cache_if": (bool, "a callable"),
    "breaker": ((Breaker, NoneType), "a Breaker"),
    "normalize": (NoneType, "a callable"),
    "key": ((str, NoneType), "a template, or a callable"),
}
LONGEST: Final = 2**50  # ms: what the store's header and scripts can carry


class Policy:
    """One policy of one job: a fixed value, or a callable that gets the arguments it names."""

    __slots__ = ("fixed", "function", "name", "picks")

    def __init__(self, job: str, name: str, given: Any, parameters: Sequence[str], *, awaited: bool = False) -> None:
        self.name, self.fixed, self.function = name, given, None
        self.picks: list[tuple[str, int]] = []
        if callable(given) and name not in ("serializer", "version") and not isinstance(given, (Retry, Route)):
            self.fixed, self.function = None, given
            if inspect.iscoroutinefunction(given) and not (awaited and name == "cache_if"):
                raise ConfigurationError(
                    f"job {job!r}: {name} is an async def, which only an async job's cache_if may be"
                )
            for wanted in self.parameters(job, given):
                if wanted == "value" and name in WITH_VALUE:
                    self.picks.append((wanted, -1))
                elif wanted in parameters:
                    self.picks.append((wanted, parameters.index(wanted)))
                else:
                    offered = [*parameters, *(["value"] if name in WITH_VALUE else [])]
                    raise ConfigurationError(
                        f"job {job!r}: {name} asks for {wanted!r}, which is no argument of the job; "
                        f"there are {', '.join(offered) or 'none'}"
                    )
        else:
            self.check(job, given)

    def parameters(self, job: str, given: Any) -> Sequence[str]:
        if isinstance(given, type):  # `empty=list`
            return ()
        try:
            return tuple(inspect.signature(given).parameters)
        except ValueError:
            raise ConfigurationError(f"job {job!r}: {self.name} shows no signature: wrap it in a def") from None

    def check(self, job: str, given: Any) -> None:
        """What a fixed value must satisfy, said at decoration rather than at the first read."""
        try:
            if self.name in ("ttl", "lease", "timeout"):
                milliseconds(given)
            elif self.name in ("stale_while_revalidate", "stale_if_error", "wait", "throttle"):
                milliseconds(given, least=0)
            elif self.name in CHOICES and given not in CHOICES[self.name]:
                raise ConfigurationError(f"is {given!r}, none of {', '.join(map(repr, CHOICES[self.name]))}")
            elif self.name == "jitter" and not 0 <= given < 1:
                raise ConfigurationError(f"is {given!r}: a share of ttl, 0 <= jitter < 1")
            elif self.name == "early" and given < 0:
                raise ConfigurationError(f"is {given!r}: a beta of at least 0")
            elif self.name == "rate" and given is not None and not 0 < given < float("inf"):
                raise ConfigurationError(f"is {given!r}: give loads per second, or None")
            elif self.name == "version" and (type(given) is not int or given < 1):
                raise ConfigurationError(f"is {given!r}: a whole number, counted from 1")
            elif self.name == "serializer" and given not in ("json", "pickle") and not _serializes(given):
                raise ConfigurationError(f"is {given!r}: give 'json', 'pickle' or an object with dumps and loads")
            elif self.name in EXPECTED:
                kind, remedy = EXPECTED[self.name]
                if not isinstance(given, kind) or (self.name == "tags" and isinstance(given, str)):
                    raise ConfigurationError(f"is {given!r}: give {remedy}")
                if self.name == "route":
                    route_of(given)
        except (ConfigurationError, TypeError) as error:
            raise ConfigurationError(f"job {job!r}: {self.name} {error}") from None

    def __call__(self, values: Sequence[Any], value: Any = None) -> Any:
        if self.function is None:
            return self.fixed
        return self.function(**{name: value if at < 0 else values[at] for name, at in self.picks})


def _serializes(given: Any) -> bool:
    return not isinstance(given, type) and all(callable(getattr(given, verb, None)) for verb in ("dumps", "loads"))


class Templates:
    """Texts with `str.format` fields over a job's arguments: `"user:{username}"`."""

    __slots__ = ("texts",)

    def __init__(self, job: str, name: str, texts: Sequence[str], parameters: Sequence[str]) -> None:
        self.texts = tuple(texts)
        for text in self.texts:
            if not isinstance(text, str):
                raise ConfigurationError(f"job {job!r}: {name} holds {text!r}, which is no text")
            try:
                fields = [field for _, field, _, _ in Formatter().parse(text) if field is not None]
            except ValueError as error:
                raise ConfigurationError(f"job {job!r}: {name} template {text!r}: {error}") from None
            for field in fields:
                head = field.split(".")[0].split("[")[0]
                if head not in parameters:
                    raise ConfigurationError(
                        f"job {job!r}: {name} template {text!r} names {head!r}, which is no argument of the job; "
                        f"there are {', '.join(parameters) or 'none'}"
                    )

    def render(self, mapping: Mapping[str, Any]) -> list[str]:
        return [text.format(**mapping) for text in self.texts]


def milliseconds(time: float | timedelta, least: int = 1) -> int:
    """A duration as whole milliseconds. Raises ConfigurationError below `least` or beyond what a header carries."""
    if isinstance(time, bool) or not isinstance(time, (int, float, timedelta)):
        raise ConfigurationError(f"is {time!r}: give seconds, or a timedelta")
    number = seconds(time) * 1000
    if not least <= number < LONGEST:  # NaN fails too
        raise ConfigurationError(
            f"is {time!r}: give {'more than' if least else 'at least'} 0 and less than 35 000 years"
        )
    return max(least, round(number))
