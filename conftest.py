"""For every test of the repository."""

import os

import pytest


@pytest.hookimpl(optionalhook=True)  # this file is read by runs without pytest-xdist too
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means here: tests wait for servers and workers more than they work."""
    return max(2, (os.cpu_count() or 1) * 3 // 2)
