"""What a step's arguments may be. The scripts do not check them: a lease of 0 would delete the entry."""

from __future__ import annotations

from collections.abc import Sequence

from ..steps import Step
from .base import Extend, Start

_MILLISECONDS = (1, 2**50)
_NUMBER = (0, 2**32)
_POSITIVE = (1, 2**32)

_EIGHT_BYTES = frozenset({"born", "seal"})

_RANGES = {
    **dict.fromkeys(("lease", "ttl", "hard", "keep", "wait"), _MILLISECONDS),
    **dict.fromkeys(("hold", "rest", "every", "pause"), (0, 2**50)),
    **dict.fromkeys(("n", "p", "q", "load_ms", "attempt", "failures"), _NUMBER),
    **dict.fromkeys(("cap", "limit", "count"), _POSITIVE),
    "flags": (0, 2**16),
    **dict.fromkeys(_EIGHT_BYTES, (8, 8)),
}


class _Checks(dict[type, tuple[tuple[int, str, int, int], ...]]):
    """Of each kind of step: position, name and range of the fields that have limits."""

    def __missing__(self, kind: type) -> tuple[tuple[int, str, int, int], ...]:
        ranges = _RANGES | ({"lease": (0, 2**50)} if kind in (Start, Extend) else {})  # 0: claim nothing
        fields: tuple[str, ...] = getattr(kind, "_fields", ())
        self[kind] = tuple((at, name, *ranges[name]) for at, name in enumerate(fields) if name in ranges)
        return self[kind]


_checks = _Checks()


def check(steps: Sequence[Step]) -> None:
    """Refuse a batch before any of it is run.

    Durations are whole milliseconds, 1 <= x < 2**50; `born` and `seal` are exactly 8 bytes (protocol.md,
    section 3). Raises ValueError.
    """
    for step in steps:
        for at, name, low, high in _checks[type(step)]:
            value = step[at]
            if name in _EIGHT_BYTES:
                if not isinstance(value, bytes) or len(value) != 8:
                    raise ValueError(f"{type(step).__name__}.{name} must be exactly 8 bytes, not {value!r}")
            elif type(value) is not int or not low <= value < high:
                raise ValueError(
                    f"{type(step).__name__}.{name} must be a whole number, {low} <= x < {high}, not {value!r}"
                )
