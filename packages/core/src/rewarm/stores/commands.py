"""Each step as Redis commands, and the server's replies as the step's answer. No I/O."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import steps as s
from ..steps import Grant, Page, Seen, Verdict, decode
from . import base as b
from .base import Record, Started
from .scripts import SCRIPTS

Command = tuple[bytes, ...]
Reply = Any
Answer = Callable[[Any, Sequence[Reply], int], Any]


class Wire(NamedTuple):
    """`encode(step)` gives commands; `answer(step, replies, now)` what their replies mean, `now` in ms."""

    encode: Callable[[Any], list[Command]]
    answer: Answer


def _bytes(argument: bytes | int | str) -> bytes:
    if isinstance(argument, str):
        return argument.encode("utf-8", "surrogatepass")
    return b"%d" % argument if isinstance(argument, int) else argument  # True is 1


def _str(reply: bytes) -> str:
    return reply.decode("utf-8", "surrogatepass")


def _evalsha(name: str, keys: Sequence[str], *arguments: bytes | int | str) -> Command:
    numbers = SCRIPTS[name].sha, b"%d" % len(keys)
    return (b"EVALSHA", *numbers, *map(_bytes, keys), *map(_bytes, arguments))


def _scripted(name: str, answer: Callable[[Any, Reply], Any], *, draws: bool = False) -> Wire:
    """A step that is a script on its first field; arguments are 8 random bytes if it draws, and the rest."""

    def encode(step: Any) -> list[Command]:
        drawn = [secrets.token_bytes(8)] if draws else []
        return [_evalsha(name, step[:1], *drawn, *step[1:])]

    return Wire(encode, lambda step, replies, now: answer(step, replies[0]))


def _together(name: str, parts: Sequence[str], answer: Callable[[Any, Reply], Any]) -> Wire:
    """A step on a hash and its `parts`, keys beside it in the same slot of a cluster."""

    def encode(step: Any) -> list[Command]:
        first, *arguments = step
        tag = "" if "{" in first else f"{{{first}}}"  # a name may have a hash tag of its own
        return [_evalsha(name, (first, *(f"{first}:{part}{tag}" for part in parts)), *arguments)]

    return Wire(encode, lambda step, replies, now: answer(step, replies[0]))


def _burial(name: str, answer: Callable[[Any, Reply], Any]) -> Wire:
    return _together(name, ("order", "entries"), answer)


def _journal(name: str, answer: Callable[[Any, Reply], Any]) -> Wire:
    return _together(name, ("overdue",), answer)


def _plain(encode: Callable[[Any], Command]) -> Wire:
    return Wire(lambda step: [encode(step)], lambda step, replies, now: None)


# -- answers -------------------------------------------------------------------------------------------------


def _nothing(step: Any, reply: Reply) -> None:
    return None


def _truth(step: Any, reply: int) -> bool:
    return bool(reply)


def _number(step: Any, reply: int) -> int:
    return reply


def _word(step: Any, reply: bytes) -> str:
    return reply.decode()


def _optional(step: Any, reply: bytes | None) -> str | None:
    return None if reply is None else _str(reply)


def _place(step: s.Reserve, reply: Any) -> tuple[int, bytes] | None:
    return tuple(reply) if reply else None


def _grant(step: s.Begin | s.Steal | s.Open, reply: list[Any]) -> Grant:
    verdict = Verdict(reply[0].decode())
    if verdict is Verdict.BUSY:
        return Grant(verdict, wait=reply[1])
    if verdict is Verdict.GO:
        return Grant(verdict, reply[1], step.born if isinstance(step, s.Begin) else reply[2])
    return Grant(verdict)


def _started(step: b.Start, reply: list[Any]) -> Started:
    return Started(b.Verdict(reply[0].decode()), *reply[1:])


def _pairs(step: b.Letters | b.Overdue, reply: list[bytes]) -> list[tuple[str, str]]:
    texts = list(map(_str, reply))
    return list(zip(texts[::2], texts[1::2], strict=True))


# -- steps of more than one kind of command ------------------------------------------------------------------


def _look(step: s.Look) -> list[Command]:
    if not step.tags:
        return [(b"GET", _bytes(step.key))]
    return [(b"MGET", _bytes(step.key), *map(_bytes, step.tags))]


def _look_split(step: s.Look) -> list[Command]:
    return [(b"GET", _bytes(key)) for key in (step.key, *step.tags)]


def _seen(step: s.Look, replies: Sequence[Reply], now: int) -> tuple[Seen | None, tuple[bytes | None, ...]]:
    if step.tags and len(replies) == 1:
        replies = replies[0]
    return decode(replies[0], now), tuple(replies[1:])


def _capture(step: s.Capture) -> list[Command]:
    return [_evalsha("capture", (tag,), secrets.token_bytes(8), step.ttl) for tag in step.tags]


def _scan(step: s.Scan) -> list[Command]:
    pattern = re.sub(r"([*?\[\]\\])", r"\\\1", step.prefix) + "*"
    options = b"MATCH", _bytes(pattern), b"COUNT", b"%d" % step.count, b"TYPE", b"string"
    return [(b"SCAN", _bytes(step.cursor), *options), (b"INFO", b"server")]


def _page(step: s.Scan, replies: Sequence[Reply], now: int) -> Page:
    (cursor, keys), info = replies
    run = re.search(rb"run_id:(\w+)", info)
    names = [key.decode(errors="replace") for key in keys]  # what is not UTF-8 is no key of ours
    return Page(cursor.decode(), names, run[1].decode() if run else "")


def _recall(step: b.Recall) -> Command:
    return (b"HMGET", _bytes(step.task), b"status", b"attempt", b"deliveries", b"cancelled", b"errors")


def _record(step: b.Recall, replies: Sequence[Reply], now: int) -> Record | None:
    status, attempt, deliveries, cancelled, errors = replies[0]
    if replies[0] == [None] * 5:
        return None
    counts = int(attempt or 0), int(deliveries or 0)
    return Record(_str(status or b""), *counts, bool(cancelled), json.loads(errors or b"[]"))


WIRES: dict[type, Wire] = {
    s.Look: Wire(_look, _seen),
    s.Capture: Wire(_capture, lambda step, replies, now: tuple(replies)),
    s.Bump: _plain(lambda step: (b"UNLINK", _bytes(step.tag))),
    s.Acquire: _scripted("acquire", _number),
    s.Reserve: _scripted("reserve", _place, draws=True),
    s.Begin: _scripted("begin", _grant),
    s.Steal: _scripted("steal", _grant, draws=True),
    s.Open: _scripted("open", _grant, draws=True),
    s.Commit: _scripted("commit", _word),
    s.Touch: _scripted("touch", _word),
    s.Release: _scripted("release", _truth),
    s.Renew: _scripted("renew", _truth),
    s.Drop: _scripted("drop", _truth),
    s.Mark: _scripted("mark", _nothing),
    s.Put: _scripted("put", _number, draws=True),
    s.Unlink: _plain(lambda step: (b"UNLINK", _bytes(step.key))),
    s.Scan: Wire(_scan, _page),
    b.Start: _scripted("start", _started),
    b.Settle: _scripted("settle", _nothing),
    b.Extend: _scripted("extend", _truth),
    b.Recall: Wire(lambda step: [_recall(step)], _record),
    b.Cancel: _scripted("cancel", _truth),
    b.Forget: _plain(lambda step: (b"UNLINK", _bytes(step.task))),
    b.Bury: _burial("bury", _number),
    b.Resolve: _burial("resolve", _truth),
    b.Letters: _burial("letters", _pairs),
    b.Letter: _burial("letter", _optional),
    b.Exhume: _burial("exhume", _optional),
    b.Clear: _burial("clear", _number),
    b.Enter: _journal("enter", _truth),
    b.Strike: _journal("strike", _nothing),
    b.Overdue: _journal("overdue", _pairs),
    b.Backlog: _journal("backlog", _number),
    b.Admit: _scripted("admit", _number),
    b.Report: _scripted("report", _truth),
}
"""For one server."""

SPLIT_WIRES = WIRES | {s.Look: Wire(_look_split, _seen)}
"""For a cluster, where no command may have keys of different slots."""
