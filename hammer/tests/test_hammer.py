"""A second of the hammer: it runs, it finds nothing wrong with Rewarm, and it finds the hand-written cache out."""

from __future__ import annotations

import pytest
from hammer.__main__ import run


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_nothing_wrong_is_served(store: str) -> None:
    found = run("rewarm", store, "threads", 1.0, 7)
    assert found["violations"] == 0
    assert found["wasted"] == 0
    assert found["reads"]
    assert found["loads"]


def test_the_hammer_sees_what_the_hand_written_cache_does_wrong() -> None:
    assert run("hand-written", "memory", "threads", 2.0, 7)["violations"]
