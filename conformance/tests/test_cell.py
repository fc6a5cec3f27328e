"""Whose the queue is, whatever the testbed calls its object."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from rewarm_conformance.cell import modules
from rewarm_conformance.reference import Queue, ReferenceAdapter


@pytest.mark.parametrize("native", [redis.Redis.from_url("redis://localhost"), redis.Redis])
def test_the_queue_is_found_by_its_object_or_by_its_class(native: Any) -> None:
    assert "redis.client" in modules(ReferenceAdapter(Queue("", "")), native)


def test_a_queue_that_is_a_mere_dict_is_found_by_the_adapters_name() -> None:
    assert "reference" in modules(ReferenceAdapter(Queue("", "")), {"functions": []})
