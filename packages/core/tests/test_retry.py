"""Retry is arithmetic: which errors, how often, how long."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rewarm import ConfigurationError, Retry, StoreError


def ends(retry: Retry, error: Exception, attempt: int) -> tuple[float, float]:
    """The shortest and the longest wait."""
    low = retry.delay(error, attempt, lambda floor, ceiling: floor)
    high = retry.delay(error, attempt, lambda floor, ceiling: ceiling)
    assert low is not None
    assert high is not None
    return low, high


def test_waits_double_and_have_full_jitter_above_the_floor() -> None:
    assert [ends(Retry(attempts=9), ConnectionError(), k) for k in (1, 2, 3, 4)] == [(1, 2), (1, 4), (1, 8), (1, 16)]


def test_a_timeout_backs_off_by_a_base_of_four() -> None:
    assert [ends(Retry(attempts=9), TimeoutError(), k)[1] for k in (1, 2, 3)] == [4, 16, 64]


def test_the_most_specific_base_counts() -> None:
    class Slow(TimeoutError): ...

    retry = Retry(base={OSError: 3.0, TimeoutError: 5.0}, floor=0)
    assert ends(retry, Slow(), 1)[1] == 5.0
    assert ends(retry, ConnectionResetError(), 1)[1] == 3.0
    assert ends(Retry(base={TimeoutError: 5.0}), ConnectionError(), 1)[1] == 2.0


def test_the_cap_holds_for_any_attempt() -> None:
    retry = Retry(attempts=100_000, cap=timedelta(seconds=30))
    assert ends(retry, ConnectionError(), 10)[1] == 30
    assert ends(retry, TimeoutError(), 99_999) == (1, 30)  # 4.0**99999 overflows


def test_a_wait_lies_between_floor_and_ceiling() -> None:
    draw = random.Random(1).uniform
    waits = [Retry(floor=2.0).delay(ConnectionError(), 3, draw) for _ in range(300)]
    assert 2.0 <= min(waits) < 2.5 < 7.5 < max(waits) <= 8.0  # type: ignore[type-var, operator]


def test_attempts_count_the_first_one_too() -> None:
    retry = Retry(attempts=3)
    assert [retry.delay(ConnectionError(), k) is None for k in (1, 2, 3, 4)] == [False, False, True, True]
    assert Retry(attempts=1).delay(ConnectionError(), 1) is None


def test_only_named_errors_are_worth_another_attempt() -> None:
    assert Retry().delay(ValueError(), 1) is None
    assert Retry().delay(StoreError(), 1) is not None
    assert Retry(on=ValueError).delay(ValueError(), 1) is not None
    assert Retry(on=ValueError).delay(ConnectionError(), 1) is None


class Busy(ConnectionError):
    def __init__(self, retry_after: Any) -> None:
        self.retry_after = retry_after


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(7, 7.0), (0.5, 0.5), (timedelta(minutes=2), 120.0), (0, 0.0), (-3, 0.0), (900, 900.0)],
    ids=str,
)
def test_an_errors_own_retry_after_wins_even_over_floor_and_cap(asked: Any, waits: float) -> None:
    assert Retry().delay(Busy(asked), 1) == waits


def test_retry_after_does_not_buy_more_attempts() -> None:
    assert Retry(attempts=2).delay(Busy(1), 2) is None


@pytest.mark.parametrize(
    "asked",
    [None, "Wed, 21 Oct 2026 07:28:00 GMT", datetime(2026, 1, 1, tzinfo=UTC), float("nan"), float("inf"), print],
    ids=["none", "text", "date", "nan", "inf", "method"],
)
def test_a_retry_after_that_is_no_duration_leaves_it_to_the_backoff(asked: Any) -> None:
    assert ends(Retry(), Busy(asked), 1) == (1.0, 2.0)


def test_discard_knows_subclasses() -> None:
    retry = Retry(discard=(LookupError,))
    assert retry.discards(KeyError())
    assert not retry.discards(ValueError())


@pytest.mark.parametrize(
    "fields",
    [
        {"attempts": 0}, {"attempts": 1.5}, {"floor": 9, "cap": 3}, {"floor": -1}, {"on": (int,)}, {"on": "all"},
        {"discard": (KeyboardInterrupt,)}, {"base": {TimeoutError: 0.5}}, {"base": {"TimeoutError": 2.0}},
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Retry"):
        Retry(**fields)
