"""EAGER: tasks in place, by the core's own rules, whatever the queue's eager mode does."""

import datetime
import decimal
import socket
import time
import uuid

import pytest

from rewarm import TaskDead

from .. import checkers
from ..bed import Bed, judge, new_token, override, untested
from ..plugin import check
from ..probe import Probe

BOUND = 200
ARGUMENTS = (
    (1, 2), {3}, b"raw", decimal.Decimal("1.10"), uuid.UUID(int=7), datetime.date(2026, 1, 2),
    datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC), [{"a": (1,)}],
)  # fmt: skip


@check("EAGER-01")
def test_eager_01(bed: Bed) -> None:
    token = new_token()
    bed.eager().app.jobs["ok"].refresh(token)
    judge(checkers.ran_once(bed.history, [token]))


@check("EAGER-02")
def test_eager_02(warm: Bed) -> None:
    there, here = new_token(), new_token()
    eager = warm.eager().app.jobs["echo"]
    for number, value in enumerate(ARGUMENTS):
        warm.send("echo", value, token=f"{there}.{number}")
        eager.refresh(f"{here}.{number}", value)
    history = warm.started(*(f"{there}.{number}" for number in range(len(ARGUMENTS))))
    for number in range(len(ARGUMENTS)):
        seen = [
            [one.data["value"] for one in checkers.of(history, "start", f"{where}.{number}")] for where in (there, here)
        ]
        judge(checkers.same("the argument", *seen))


@check("EAGER-03")
def test_eager_03(bed: Bed) -> None:
    token, began = new_token(), time.monotonic()
    bed.eager().app.jobs["fails"].refresh(token, 2, 30.0)
    seconds = time.monotonic() - began
    judge(
        checkers.attempts(bed.history, token, [1, 2, 3]),
        checkers.no_overlap(bed.history, token),
        checkers.holds(seconds < 10, "no sleep", f"it slept {seconds:.0f} s"),
    )


@check("EAGER-04")
def test_eager_04(bed: Bed) -> None:
    probe = bed.eager()
    for raises in (True, False):
        token = new_token()
        override(probe.adapter, eager_raises=raises)
        raised = _raises(probe, token)
        letters = [letter for letter in probe.app.dead.list() if token in letter.payload]
        judge(
            checkers.same(f"TaskDead with eager_raises={raises}", raises, raised),
            checkers.same("dead letters", 1, len(letters)),
        )


@check("EAGER-05")
def test_eager_05(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    token, opened = new_token(), list[str]()
    connect = socket.socket.connect

    def noted(self: socket.socket, address: object) -> None:
        opened.append(repr(address))
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", noted)
    probe = bed.eager()
    probe.app.jobs["fails"].refresh(token, 1, 0.0)
    probe.app.jobs["ok"].get(new_token())
    judge(
        checkers.attempts(bed.history, token, [1, 2]),
        checkers.holds(not opened, "eager mode opens no connection", f"it connected to {', '.join(opened)}"),
    )


@check("EAGER-06")
def test_eager_06(bed: Bed) -> None:
    probe, token = bed.eager(), new_token()
    try:
        probe.app.jobs["nests"].refresh(token, 0)
    except TaskDead:
        pass
    except RecursionError:
        judge(checkers.holds(False, "nested tasks are bounded", "RecursionError"))
    overflown = [letter.id for letter in probe.app.dead.list() if "RecursionError" in "".join(letter.errors)]
    levels = {one.token for one in checkers.of(bed.history, "start") if one.token.startswith(f"{token}.")}
    judge(
        checkers.holds(len(levels) > 1, "a task may queue another", "it could not"),
        checkers.holds(not overflown, "nested tasks are bounded", "RecursionError"),
        checkers.holds(len(levels) < BOUND, f"fewer than {BOUND} levels", f"{len(levels)} levels"),
    )


@check("EAGER-07")
def test_eager_07(bed: Bed) -> None:
    if not bed.testbed.eager_switch:  # then nothing may make the adapter say eager
        judge(checkers.same("eager, on a queue without such a switch", False, bed.adapter.eager))
        return
    judge(checkers.same("eager before the switch", False, bed.adapter.eager))
    token = new_token()
    try:
        probe = bed.eager(switch=True)
    except NotImplementedError:
        untested("the testbed has no make_eager")
    judge(checkers.same("eager after the switch", True, probe.adapter.eager))
    probe.app.jobs["fails"].refresh(token, 2, 30.0)
    judge(checkers.attempts(bed.history, token, [1, 2, 3]))
    raises = bool(probe.adapter.eager_raises)
    judge(
        checkers.same("TaskDead, as `eager_raises` says", raises, _raises(probe, new_token())),
        checkers.same("eager of another adapter than the one switched", False, bed.producer().adapter.eager),
    )


def _raises(probe: Probe, token: str) -> bool:
    """Does a task that dies in eager mode raise TaskDead?"""
    try:
        probe.app.jobs["refuses"].refresh(token)
    except TaskDead:
        return True
    return False
