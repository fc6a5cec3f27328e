"""Fixtures for pytest: `pytest_plugins = ["rewarm_django.fixtures"]` in the root's conftest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rewarm.testing import Captured

from . import testing


@pytest.fixture
def rewarm_inline() -> Iterator[None]:
    """Tasks of the default application run in place, on an empty memory store; one that ends dead raises."""
    with testing.inline():
        yield


@pytest.fixture
def rewarm_tasks() -> Iterator[Captured]:
    """The tasks that the default application queues, none of which runs; an empty memory store."""
    with testing.capture() as tasks:
        yield tasks
