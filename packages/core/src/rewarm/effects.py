"""What a flow may ask for besides steps, and what it must know of one entry."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, Protocol, TypeVar

from .steps import Seen

T = TypeVar("T")
Flow = Generator[Any, Any, T]
"""Yields lists of steps and effects, is sent their answers, returns T."""


class Load(NamedTuple):
    """Effect -> Loaded. Ask the source. `n` 0: nobody waits for it; else the lease of load `n` is renewed meanwhile.

    A failing source is an answer, not an exception, so that no flow takes it for a failing store.
    """

    target: Target
    born: bytes = b""
    n: int = 0


class Loaded(NamedTuple):
    """`stored`: ok, fallback, refused, skipped, raised (the source: `error`) or failed (the store: `error`).
    `keep`: the job lets the value be stored."""

    value: Any
    ms: int
    stored: str = "skipped"
    error: BaseException | None = None
    keep: bool = True


class Wait(NamedTuple):
    """Effect -> milliseconds slept, at most `limit`. Let another load go on; `turn` counts up from 0."""

    turn: int
    limit: int


class Send(NamedTuple):
    """Effect -> None. Hand the refresh that holds place `q` to the queue. Raises EnqueueError."""

    target: Target
    born: bytes
    q: int
    delay: int = 0
    route: Any = None
    id: str = ""  # a dead task's own, when it is tried anew


class Packed(NamedTuple):
    """A value as it is stored; times in milliseconds."""

    ttl: int
    hard: int
    payload: bytes
    flags: int


class Target(Protocol):
    """One entry, and what its job's policies say of it. All times are milliseconds."""

    @property
    def key(self) -> str: ...
    @property
    def stamps(self) -> tuple[str, ...]: ...  # sorted keys of the tags' stamps, the job's own included
    @property
    def expires(self) -> bool: ...  # an invalidated value counts as absent
    @property
    def queues_on_miss(self) -> bool: ...
    @property
    def transactional(self) -> bool: ...  # inside an open transaction: load, but neither store nor queue
    @property
    def on_store_error(self) -> str: ...
    @property
    def on_enqueue_error(self) -> str: ...
    @property
    def patience(self) -> int: ...
    @property
    def lease(self) -> int: ...
    @property
    def place(self) -> int: ...  # how long a queued refresh holds its place
    @property
    def throttle(self) -> int: ...  # how long readers who have a value leave a source alone that has failed
    @property
    def stamp_ttl(self) -> int: ...
    @property
    def empty(self) -> Any: ...

    def unpack(self, seen: Seen) -> tuple[bool, Any]: ...  # (False, None) if it cannot be read
    def pack(self, value: Any) -> Packed: ...  # Raises SerializeError
    def stale_for(self, value: Any) -> int: ...  # ttl + stale_while_revalidate
    def error_for(self, value: Any) -> int: ...  # ttl + stale_if_error
    def early(self, seen: Seen) -> bool: ...  # refresh ahead of time
    def loaded(self, got: Loaded) -> None: ...
    def failed(self, error: BaseException) -> None: ...
    def store_failed(self, error: Exception) -> None: ...
