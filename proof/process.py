"""A process state: a production flow, paused before one indivisible move.

A generator cannot be copied, so a state is rebuilt from the answers it was sent, once; two that stand at the
same place with the same live locals are one state.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import GeneratorType, MethodType
from typing import Any, NamedTuple

from rewarm.freshness import Rider
from rewarm.steps import Capture, Look
from rewarm.task import Task

from .liveness import live_locals

Answers = tuple[tuple[Any, bool], ...]
"""What a flow was sent: an answer, and whether it was thrown."""


class Stamps(NamedTuple):
    """The second half of a `Look`: on a server it is a command of its own."""

    tags: tuple[str, ...]


class Paused:
    """`atoms`: the moves that make up the flow's request; `answers`: of those already made."""

    __slots__ = ("answers", "atoms", "draws", "history", "key", "name", "note", "request", "result", "role")

    def __init__(self, role: Any, history: Answers, answers: tuple[Any, ...], note: Any, name: int | None, draws: int):
        self.role, self.history, self.answers, self.note = role, history, answers, note
        self.name, self.draws = name, draws
        self.result: Any = None
        self.request: Any = None
        flow = role.flow()
        try:
            self.request = flow.send(None)
            for answer, thrown in history:
                self.request = flow.throw(answer) if thrown else flow.send(answer)
        except StopIteration as end:
            self.request, self.result = None, end.value
        except Exception as error:
            self.request, self.result = None, error
        self.atoms = tuple(split(self.request))
        frames = tuple(_frames(flow))
        self.key = (role, note, name, draws, answers, canonical(self.atoms), frames, canonical(self.result))

    @property
    def ended(self) -> bool:
        return self.request is None

    @property
    def atom(self) -> Any:
        return self.atoms[len(self.answers)]

    @property
    def started(self) -> bool:
        return bool(self.history or self.answers or self.note is not None)

    def after(self, answer: Any, note: Any, name: int | None, draws: int, thrown: bool = False) -> Paused:
        """The state after this move."""
        answers = (*self.answers, answer)
        if thrown:
            return Paused(self.role, (*self.history, (answer, True)), (), note, name, draws)
        if len(answers) < len(self.atoms):
            return Paused(self.role, self.history, answers, note, name, draws)
        whole = joined(self.request, list(answers))
        return Paused(self.role, (*self.history, (whole, False)), (), note, name, draws)


def split(request: Any) -> Iterator[Any]:
    """A batch is not atomic: its commands, one by one."""
    if not isinstance(request, list):
        if request is not None:
            yield request
        return
    for step in request:
        if isinstance(step, Look) and step.tags:
            yield Look(step.key)
            yield Stamps(step.tags)
        elif isinstance(step, Capture):
            yield from (step._replace(tags=(tag,)) for tag in step.tags)
        else:
            yield step


def joined(request: Any, answers: list[Any]) -> Any:
    """The answers to a request's moves, as the flow expects them."""
    if not isinstance(request, list):
        return answers[0]
    rest, whole = iter(answers), []
    for step in request:
        if isinstance(step, Look):
            seen, stamps = next(rest)
            whole.append((seen, next(rest) if step.tags else stamps))
        elif isinstance(step, Capture):
            whole.append(tuple(next(rest)[0] for _ in step.tags))
        else:
            whole.append(next(rest))
    return whole


def _frames(flow: Generator[Any, Any, Any]) -> Iterator[Any]:
    """Where each frame of the `yield from` chain stands, and what it can still use."""
    inner: Any = flow
    while inner is not None and inner.gi_frame is not None:
        frame = inner.gi_frame
        values = frame.f_locals
        live = live_locals(frame.f_code, frame.f_lasti)
        yield frame.f_code, frame.f_lasti, tuple((name, canonical(values[name])) for name in live if name in values)
        inner = inner.gi_yieldfrom


def canonical(value: Any) -> Any:
    """Equal for values that a flow cannot tell apart, and hashable."""
    match value:
        case tuple() | list():
            return (type(value), *map(canonical, value))
        case dict():
            return tuple(sorted((key, canonical(each)) for key, each in value.items()))
        case Exception():
            return type(value), value.args
        case Rider():
            return type(value), tuple((name, canonical(each)) for name, each in vars(value).items() if name != "host")
        case Task():
            return value.dumps()
        case MethodType():
            return value.__func__, canonical(value.__self__)
        case GeneratorType():
            return tuple(_frames(value))
        case Iterator():
            raise TypeError(f"a flow keeps {value!r} around a yield: nobody can tell how far it has come")
    return value
