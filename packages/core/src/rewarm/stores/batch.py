"""A batch of steps on its way to a server and back. No I/O: all clients share it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from redis.exceptions import NoScriptError, OutOfMemoryError

from ..steps import Put, Step
from .base import Exhume
from .commands import SPLIT_WIRES, WIRES, Answer, Command, Reply
from .limits import check
from .scripts import SCRIPTS, SOURCES

ONCE = frozenset({Put, Exhume})
"""Never sent twice: a second `put` could undo a later invalidation, a second `exhume` would find nothing."""

CLOCK_KEPT = 30.0
"""Seconds until the server is asked for its time again."""

_MARK = SCRIPTS["mark"]


class Clock:
    """The server's clock in milliseconds, carried on by the local monotonic clock."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._kept_until = float("-inf")

    def due(self) -> bool:
        return time.monotonic() >= self._kept_until

    def set(self, seconds: int, microseconds: int) -> None:
        # Stamped on arrival: late by the way back, and never ahead, which would expire entries too early.
        local = time.monotonic()
        self._offset = seconds * 1000 + microseconds / 1000 - local * 1000
        self._kept_until = local + CLOCK_KEPT

    def now(self) -> int:
        return int(time.monotonic() * 1000 + self._offset)


class Batch:
    """Send `commands` and `feed` their replies, until there are no more; then the `results`.

    A second round is needed only for parts whose script the server does not know, or that found its memory
    full. `once`: nothing of it may be sent twice. Raises ValueError for arguments out of their limits.
    """

    def __init__(self, steps: Sequence[Step], clock: Clock, *, split: bool = False) -> None:
        check(steps)
        wires = SPLIT_WIRES if split else WIRES
        self._clock = clock
        self._parts: list[tuple[Step, Answer, int]] = []
        self.commands: list[Command] = [(b"TIME",)] if clock.due() else []
        self._timed = len(self.commands)
        for step in steps:
            if (wire := wires.get(type(step))) is None:
                raise TypeError(f"not a step: {step!r}")
            commands = wire.encode(step)
            self._parts.append((step, wire.answer, len(commands)))
            self.commands += commands
        self.once = not ONCE.isdisjoint(map(type, steps))
        self._asked = list(range(len(self.commands)))
        self._replies: list[Reply] = [None] * len(self.commands)

    def feed(self, replies: list[Reply]) -> None:
        """Take the reply to each command; a refusal comes as an exception."""
        asked = zip(self._asked, self.commands, replies, strict=True)
        self._asked, self.commands = [], []
        for at, command, reply in asked:
            self._replies[at] = reply
            if isinstance(reply, Exception) and (other := _instead(command, reply)):
                self._asked.append(at)
                self.commands.append(other)

    def results(self) -> list[Any]:
        """The answer to each step. Raises the first refusal, a `redis.RedisError`."""
        for reply in self._replies:
            if isinstance(reply, Exception):
                raise reply
        if self._timed:
            self._clock.set(*map(int, self._replies[0]))
        now, at, answers = self._clock.now(), self._timed, []
        for step, answer, count in self._parts:
            answers.append(answer(step, self._replies[at : at + count], now))
            at += count
        return answers


def _instead(command: Command, error: Exception) -> Command | None:
    """What to send after a refusal, if anything: the whole script; an `UNLINK`, which needs no memory."""
    if isinstance(error, NoScriptError):
        return (b"EVAL", SOURCES[command[1]], *command[2:])
    # Redis 6.2 wraps the script's error in one of its own.
    if (isinstance(error, OutOfMemoryError) or "OOM" in str(error)) and command[1] in _MARK:
        return (b"UNLINK", command[3])
    return None


def pack(commands: Iterable[Command]) -> bytes:
    """The commands in the Redis serialization protocol, to be sent at once."""
    parts = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for argument in command:
            parts.append(b"$%d\r\n%b\r\n" % (len(argument), argument))
    return b"".join(parts)
