"""One typed event per thing that happens. Logging, metrics and tracing listen here (`Rewarm.listen`)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import ClassVar

from .redact import redact
from .task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in one application."""

    level: ClassVar[int] = logging.DEBUG
    app: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Event):
    """A read was answered. `state`: HIT, STALE or MISS; `seconds`: how long it took (0 unless measured)."""

    job: str
    key: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Event):
    """A source was asked. `stored`: ok, fallback, refused, skipped (`cache_if`, transaction) or failed (store)."""

    job: str
    key: str
    seconds: float
    stored: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFailed(Event):
    """A source raised."""

    level = logging.WARNING
    job: str
    key: str
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable(Event):
    """A stored value could not be read and counts as absent."""

    level = logging.WARNING
    job: str
    key: str
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFailed(Event):
    """A read went on without the store, or a result could not be written to it."""

    level = logging.WARNING
    job: str
    key: str
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalidated(Event):
    """Entries (by key), tags and jobs were fenced."""

    keys: tuple[str, ...]
    tags: tuple[str, ...]
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued(Event):
    """A task was handed to the queue, to run after `delay` seconds."""

    task: Task
    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueueFailed(Event):
    """The queue did not take a task."""

    level = logging.ERROR
    task: Task
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Event):
    """A delivery of a task is about to run its job."""

    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnded(Event):
    """A delivery ended. `outcome`: done, skipped, retried, deferred or dead; `reason`: why, if not done."""

    task: Task
    outcome: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Buried(Event):
    """A task is dead. `task` is None if its payload could not be read. `dropped`: dead letters lost to the bound."""

    level = logging.ERROR
    id: str
    task: Task | None
    reason: str
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescued(Event):
    """A task that had not ended in time was sent again."""

    level = logging.WARNING
    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueFailed(Event):
    """The journal could not be looked through; it will be tried again."""

    level = logging.WARNING
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripped(Event):
    """A job's breaker has opened: its source is left alone for `seconds`."""

    level = logging.WARNING
    job: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept(Event):
    """One slice of a sweep is done."""

    prefix: str
    slice: int
    keys: int
    finished: bool


def log(event: Event) -> None:
    """The default listener: each event to the logger `rewarm.<app>`, at its own level."""
    logger = logging.getLogger(f"rewarm.{event.app}")
    if logger.isEnabledFor(event.level):
        error = getattr(event, "error", None)
        logger.log(event.level, "%s", describe(event), exc_info=error if isinstance(error, BaseException) else None)


def describe(event: Event) -> str:
    """One line: what happened, to what. Of a task only what names it: arguments may be private, signatures are."""
    shown = []
    for name in (field.name for field in fields(event)):
        value = getattr(event, name)
        if isinstance(value, Task):
            shown.append(f"{value.kind} {value.job or ''} {value.id} (attempt {value.attempt})".replace("  ", " "))
        elif name != "app":
            shown.append(f"{name}={value!r}")
    return redact(f"{type(event).__name__}: {', '.join(shown)}")
