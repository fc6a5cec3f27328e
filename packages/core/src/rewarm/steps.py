"""The steps of the freshness protocol: the words in which a flow speaks to a store.

A step is plain data. A store runs a batch of them in one round trip, in order, and answers each with the
result named here. All times are whole milliseconds; `born` and stamps are 8 random bytes that the store draws.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import Any, NamedTuple

MARK = b"R1"
"""Format mark: the first two bytes of every entry. Anything else at a key is no entry of ours."""

HEADER = struct.Struct("<2sHIQQQ8sIIII8s")
"""mark, flags, load time, soft, loaded, due, born, n, p, q, r, seal: 64 bytes before the payload."""

NO_SEAL = bytes(8)
"""The seal of an entry without tags."""


class Seen(NamedTuple):
    """What a reader sees of an entry. Instants are server milliseconds, to be compared with `now`."""

    flags: int
    load_ms: int
    soft: int
    loaded: int
    due: int
    born: bytes
    n: int
    p: int
    q: int
    r: int
    seal: bytes
    payload: bytes
    now: int

    @property
    def leased(self) -> bool:
        """A queued refresh or a running load is still respected."""
        return bool(self.q or self.r) and self.due > self.now

    @property
    def resting(self) -> bool:
        """The last load failed, and readers who have a value to serve leave the source alone."""
        return not (self.q or self.r) and self.due > self.now


def decode(raw: bytes | None, now: int) -> Seen | None:
    """The entry in `raw`, or None where there is none of ours."""
    if raw is None or len(raw) < 64 or raw[:2] != MARK:
        return None
    return Seen._make((*HEADER.unpack_from(raw)[1:], raw[64:], now))


def seal_of(tags: Sequence[str], stamps: Sequence[bytes | None]) -> bytes | None:
    """Hash of the (tag, stamp) pairs, tags in sorted order. None if a stamp is missing: it matches nothing."""
    if not tags:
        return NO_SEAL
    digest = blake2b(digest_size=8)
    for tag, stamp in zip(tags, stamps, strict=True):
        if stamp is None:
            return None
        digest.update(b"%b\0%b" % (tag.encode(), stamp))
    return digest.digest()


class Verdict(StrEnum):
    """Answer of `Begin`, `Steal` and `Open`."""

    GO = "go"
    BUSY = "busy"
    CHANGED = "changed"
    SUPERSEDED = "superseded"


class Grant(NamedTuple):
    """`n`: the load's number if GO. `wait`: milliseconds left of the other load's lease if BUSY."""

    verdict: Verdict
    n: int = 0
    born: bytes = b""
    wait: int = 0


class Look(NamedTuple):
    """-> (Seen | None, tuple of stamps): the entry and its tags' stamps."""

    key: str
    tags: tuple[str, ...] = ()


class Capture(NamedTuple):
    """-> tuple of stamps, each made if it was missing and kept for at least `ttl`."""

    tags: tuple[str, ...]
    ttl: int


class Bump(NamedTuple):
    """-> None. Remove a tag's stamp: everything sealed with it is no longer fresh."""

    tag: str


class Acquire(NamedTuple):
    """-> place, or 0. A reader of the stale payload `p` takes a place for a task."""

    key: str
    born: bytes
    p: int
    lease: int


class Reserve(NamedTuple):
    """-> (place, born), or None. A place where no payload need be; `p` is the payload seen, 0 for none."""

    key: str
    p: int
    lease: int


class Begin(NamedTuple):
    """-> Grant (GO, BUSY, SUPERSEDED). The task that holds place `q` starts its load."""

    key: str
    born: bytes
    q: int
    lease: int


class Steal(NamedTuple):
    """-> Grant (GO, BUSY, CHANGED). A reader without a usable payload starts its load."""

    key: str
    p: int
    lease: int


class Open(NamedTuple):
    """-> Grant (GO). Start of `writing()` and of a forced load: voids whatever is running or queued."""

    key: str
    lease: int


class Commit(NamedTuple):
    """-> "ok", "fallback" or "refused". Store what load `n` brought."""

    key: str
    born: bytes
    n: int
    seal: bytes
    ttl: int
    hard: int
    payload: bytes
    flags: int
    load_ms: int


class Touch(NamedTuple):
    """-> "ok" or "refused". The source says that payload `p` is still current."""

    key: str
    born: bytes
    n: int
    seal: bytes
    p: int
    ttl: int
    hard: int


class Release(NamedTuple):
    """-> bool. Load `n` failed; its place is kept for `hold`."""

    key: str
    born: bytes
    n: int
    hold: int


class Renew(NamedTuple):
    """-> bool. A long load `n` keeps its lease."""

    key: str
    born: bytes
    n: int
    lease: int


class Drop(NamedTuple):
    """-> bool. A task gives up its place. Readers who have a value leave the source alone for `rest`."""

    key: str
    born: bytes
    q: int
    rest: int = 0


class Mark(NamedTuple):
    """-> None. Invalidate an entry: stale from now on, and a running load is void."""

    key: str


class Put(NamedTuple):
    """-> number. Store a given value of an entry without tags. The one step that must not be sent twice."""

    key: str
    seal: bytes
    ttl: int
    hard: int
    payload: bytes
    flags: int


class Unlink(NamedTuple):
    """-> None. Remove an entry."""

    key: str


class Page(NamedTuple):
    """`cursor` is "0" at the end. `run` names the server's life: a cursor means nothing in another. "": it changed
    while the page was looked for."""

    cursor: str
    keys: list[str]
    run: str


class Scan(NamedTuple):
    """-> Page. Some entries whose keys begin with the literal `prefix`."""

    prefix: str
    cursor: str
    count: int  # type: ignore[assignment]  # of keys looked at, as SCAN means it


Step = Any
"""One of the steps above, or of the ledger's in `stores.base`."""
