"""The servers of a run, when its testbed breaks."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from rewarm_conformance import Missing, lab
from rewarm_conformance.reference import ReferenceTestbed
from rewarm_conformance.testbed import Setting


class Refuses(ReferenceTestbed):
    def __init__(self, setting: Setting) -> None:
        raise OSError("no settings here")


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Those that a lab has started."""
    started: list[Any] = []

    def start() -> Any:
        started.append(mock.Mock(url="somewhere"))
        return started[-1]

    monkeypatch.setattr(lab, "KINDS", {"redis": start, "directory": start})
    return started


def test_a_testbed_that_cannot_be_made_leaves_no_server_behind(servers: list[Any]) -> None:
    with pytest.raises(OSError, match="no settings here"):
        lab.Lab("tests:Refuses", Refuses)
    assert [server.close.call_count for server in servers] == [1, 1]


def test_a_missing_store_leaves_no_broker_behind(servers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REWARM_REQUIRE_SERVICES", raising=False)
    monkeypatch.setitem(lab.KINDS, "redis", mock.Mock(side_effect=Missing("no server")))
    with pytest.raises(pytest.skip.Exception, match="no server"):
        lab.Lab("tests:Reference", ReferenceTestbed)
    assert [server.close.call_count for server in servers] == [1]
