"""The servers of a run, when its testbed breaks."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from rewarm_conformance import bed
from rewarm_conformance.reference import ReferenceTestbed
from rewarm_conformance.testbed import Setting


class Refuses(ReferenceTestbed):
    def __init__(self, setting: Setting) -> None:
        raise OSError("no settings here")


def test_a_testbed_that_cannot_be_made_leaves_no_server_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[Any] = []

    def start() -> Any:
        servers.append(mock.Mock(url="somewhere"))
        return servers[-1]

    monkeypatch.setattr(bed, "KINDS", {"redis": start, "directory": start})
    with pytest.raises(OSError, match="no settings here"):
        bed.Lab("tests:Refuses", Refuses)
    assert [server.close.call_count for server in servers] == [1, 1]
