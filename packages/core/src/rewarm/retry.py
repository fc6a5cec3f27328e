"""Retry and Breaker: which errors, how often, how long to wait. Pure arithmetic."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import isfinite

from .errors import ConfigurationError

Errors = type[Exception] | tuple[type[Exception], ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """How a failing task is tried again.

    Before attempt k+1 it waits uniform(floor, min(cap, base**k)) seconds: exponential backoff with full jitter
    (Brooker, "Exponential Backoff And Jitter", AWS 2015) above a floor. An exception's own `retry_after` wins.

    attempts: how often a task is tried in all, the first time included.
    on: exceptions worth another attempt. Any other one is dead at once.
    discard: exceptions that mean "nothing left to do": the task ends as `skipped`.
    base: seconds, by exception class; the most specific one counts; 2.0 if none is named.
    cap, floor: longest and shortest wait, in seconds or as timedelta.
    """

    attempts: int = 5
    on: Errors = (ConnectionError, TimeoutError)
    discard: Errors = ()
    base: Mapping[type[Exception], float] = field(default_factory=lambda: {TimeoutError: 4.0})
    cap: float | timedelta = 300.0
    floor: float | timedelta = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or self.attempts < 1:
            raise ConfigurationError(f"Retry(attempts={self.attempts!r}): give a whole number of at least 1")
        if not 0 <= seconds(self.floor) <= seconds(self.cap):
            raise ConfigurationError(f"Retry(floor={self.floor!r}, cap={self.cap!r}): 0 <= floor <= cap must hold")
        for errors in (self.on, self.discard, tuple(self.base)):
            for error in errors if isinstance(errors, tuple) else (errors,):
                if not (isinstance(error, type) and issubclass(error, Exception)):
                    raise ConfigurationError(f"Retry: {error!r} is not an exception class")
        if any(base < 1 for base in self.base.values()):
            raise ConfigurationError(f"Retry(base={dict(self.base)!r}): a base below 1 would shrink the waits")

    def discards(self, error: Exception) -> bool:
        """The error means that there is nothing left to do."""
        return isinstance(error, self.discard)

    def delay(
        self, error: Exception, attempt: int, uniform: Callable[[float, float], float] = random.uniform
    ) -> float | None:
        """Seconds to wait before the attempt after `attempt` (counted from 1); None: give up."""
        if attempt >= self.attempts or not isinstance(error, self.on):
            return None
        asked = getattr(error, "retry_after", None)
        if isinstance(asked, (int, float, timedelta)) and isfinite(seconds(asked)):  # libraries put dates there too
            return max(0.0, seconds(asked))
        base = next((self.base[kind] for kind in type(error).__mro__ if kind in self.base), 2.0)
        floor = seconds(self.floor)
        try:
            ceiling = min(seconds(self.cap), base**attempt)
        except OverflowError:
            ceiling = seconds(self.cap)
        return uniform(floor, max(floor, ceiling))


@dataclass(frozen=True, slots=True)
class Breaker:
    """A circuit breaker (Nygard, "Release It!", 2007): after `failures` loads of a job that failed in a row, its source
    is left alone for `pause` (seconds or timedelta); then one load at a time is tried until one succeeds."""

    failures: int = 5
    pause: float | timedelta = 30.0

    def __post_init__(self) -> None:
        if type(self.failures) is not int or self.failures < 1:
            raise ConfigurationError(f"Breaker(failures={self.failures!r}): give a whole number of at least 1")
        if not 0.001 <= seconds(self.pause) < 2**40:
            raise ConfigurationError(f"Breaker(pause={self.pause!r}): give more than 0 seconds")


def seconds(time: float | timedelta) -> float:
    """A duration as seconds."""
    return time.total_seconds() if isinstance(time, timedelta) else float(time)
