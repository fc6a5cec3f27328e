"""Entries and stamps of the memory store. What `entries.lua` does, under names instead of bytes."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from typing import Any

from .. import steps as s
from ..steps import HEADER, MARK, NO_SEAL, Grant, Page, Seen, Verdict


@dataclass(slots=True)
class Entry:
    """The header's fields, the payload, and when the key expires."""

    born: bytes
    flags: int = 0
    load_ms: int = 0
    soft: int = 0
    loaded: int = 0
    due: int = 0
    n: int = 0
    p: int = 0
    q: int = 0
    r: int = 0
    seal: bytes = NO_SEAL
    payload: bytes = b""
    expires: int = 0

    def seen(self, now: int) -> Seen:
        return Seen(
            self.flags, self.load_ms, self.soft, self.loaded, self.due, self.born,
            self.n, self.p, self.q, self.r, self.seal, self.payload, now,
        )  # fmt: skip

    def leased(self, now: int) -> bool:
        return bool(self.q or self.r) and self.due > now

    def lend(self, now: int, lease: int) -> None:
        # The key lives for two leases, so that a lease never dies with an old value.
        self.due = now + lease
        self.expires = max(self.expires, now + 2 * lease)


class Entries:
    """Runs the steps of `rewarm.steps`. Not locked: `MemoryStore` does that. `now` gives milliseconds."""

    def __init__(self, now: Callable[[], int], limit: int | None = None) -> None:
        self._now = now
        self._limit = limit
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._stamps: dict[str, tuple[bytes, int]] = {}
        self._crowded = 1024
        self._run = secrets.token_hex(8)
        self.handlers: dict[type, Callable[[Any], Any]] = {
            s.Look: self._look, s.Capture: self._capture, s.Bump: self._bump, s.Acquire: self._acquire,
            s.Reserve: self._reserve, s.Begin: self._begin, s.Steal: self._steal, s.Open: self._open,
            s.Commit: self._commit, s.Touch: self._touch, s.Release: self._release, s.Renew: self._renew,
            s.Drop: self._drop, s.Mark: self._mark, s.Put: self._put, s.Unlink: self._unlink,
            s.Scan: self._scan,
        }  # fmt: skip

    def raw(self, key: str) -> bytes | None:
        if (e := self._get(key)) is None:
            return None
        return HEADER.pack(MARK, *e.seen(0)[:11]) + e.payload

    # -- keys ------------------------------------------------------------------------------------------------

    def _get(self, key: str) -> Entry | None:
        entry = self._entries.get(key)
        if entry is not None and entry.expires <= self._now():
            del self._entries[key]
            return None
        return entry

    def _mine(self, key: str, born: bytes) -> Entry | None:
        entry = self._get(key)
        return entry if entry is not None and entry.born == born else None

    def _new(self, key: str) -> Entry:
        self._sweep()
        self._evict()
        entry = self._entries[key] = Entry(born=secrets.token_bytes(8))
        return entry

    def _sweep(self) -> None:
        # What nobody asks for again goes whenever the number of keys has doubled: constant work per key.
        if len(self._entries) + len(self._stamps) >= self._crowded:
            now = self._now()
            for key in [key for key, entry in self._entries.items() if entry.expires <= now]:
                del self._entries[key]
            self._stamps = {tag: stamp for tag, stamp in self._stamps.items() if stamp[1] > now}
            self._crowded = max(1024, 2 * (len(self._entries) + len(self._stamps)))

    def _evict(self) -> None:
        if self._limit is not None and len(self._entries) >= self._limit:
            now = self._now()
            oldest = list(islice(self._entries.items(), 32))
            victim = next((key for key, entry in oldest if not entry.leased(now)), oldest[0][0])
            del self._entries[victim]

    def _stamp(self, tag: str) -> bytes | None:
        stamp, expires = self._stamps.get(tag, (None, 0))
        return stamp if expires > self._now() else None

    # -- reads and tags --------------------------------------------------------------------------------------

    def _look(self, step: s.Look) -> tuple[Seen | None, tuple[bytes | None, ...]]:
        entry = self._get(step.key)
        if entry is not None:
            self._entries.move_to_end(step.key)
        stamps = tuple(map(self._stamp, step.tags))
        return (None if entry is None else entry.seen(self._now())), stamps

    def _capture(self, step: s.Capture) -> tuple[bytes, ...]:
        return tuple(self._captured(tag, step.ttl) for tag in step.tags)

    def _captured(self, tag: str, ttl: int) -> bytes:
        stamp, expires = self._stamp(tag), self._now() + ttl
        if stamp is None:
            self._sweep()
            stamp = secrets.token_bytes(8)
        else:
            expires = max(expires, self._stamps[tag][1])
        self._stamps[tag] = stamp, expires
        return stamp

    def _bump(self, step: s.Bump) -> None:
        self._stamps.pop(step.tag, None)

    # -- leases ----------------------------------------------------------------------------------------------

    def _queue(self, e: Entry, lease: int) -> int:
        e.n = e.q = e.n + 1
        e.r = 0
        e.lend(self._now(), lease)
        return e.n

    def _start(self, e: Entry, lease: int) -> Grant:
        e.n = e.r = e.n + 1
        e.lend(self._now(), lease)
        return Grant(Verdict.GO, e.n, e.born)

    def _acquire(self, step: s.Acquire) -> int:
        e = self._mine(step.key, step.born)
        if e is None or e.p != step.p or e.due > self._now():  # leased, or at rest
            return 0
        return self._queue(e, step.lease)

    def _reserve(self, step: s.Reserve) -> tuple[int, bytes] | None:
        e = self._get(step.key)
        if e is None:
            e = self._new(step.key)
        elif e.p != step.p or e.leased(self._now()):
            return None
        return self._queue(e, step.lease), e.born

    def _begin(self, step: s.Begin) -> Grant:
        e, now = self._mine(step.key, step.born), self._now()
        if e is None or e.q != step.q:
            return Grant(Verdict.SUPERSEDED)
        if e.r and e.due > now:
            return Grant(Verdict.BUSY, wait=e.due - now)
        return self._start(e, step.lease)

    def _steal(self, step: s.Steal) -> Grant:
        e, now = self._get(step.key), self._now()
        if e is None:
            e = self._new(step.key)
        elif e.p != step.p:
            return Grant(Verdict.CHANGED)
        elif e.r and e.due > now:
            return Grant(Verdict.BUSY, wait=e.due - now)
        e.q = 0
        return self._start(e, step.lease)

    def _open(self, step: s.Open) -> Grant:
        e = self._get(step.key) or self._new(step.key)
        e.q = 0
        return self._start(e, step.lease)

    def _release(self, step: s.Release) -> bool:
        e = self._mine(step.key, step.born)
        if e is None or e.r != step.n:
            return False
        e.r = 0
        e.lend(self._now(), step.hold)
        return True

    def _renew(self, step: s.Renew) -> bool:
        e = self._mine(step.key, step.born)
        if e is None or e.r != step.n:
            return False
        e.lend(self._now(), step.lease)
        return True

    def _drop(self, step: s.Drop) -> bool:
        e = self._mine(step.key, step.born)
        if e is None or e.q != step.q or e.r:
            return False
        e.q = e.due = 0
        if step.rest:
            e.lend(self._now(), step.rest)
        return True

    # -- values ----------------------------------------------------------------------------------------------

    def _fresh(self, e: Entry, p: int, seal: bytes, ttl: int, hard: int) -> None:
        now = self._now()
        e.p, e.seal, e.loaded, e.soft = p, seal, now, now + ttl
        e.q = e.r = e.due = 0
        e.expires = now + hard

    def _commit(self, step: s.Commit) -> str:
        e, now = self._mine(step.key, step.born), self._now()
        if e is None:
            return "refused"
        current = e.r == step.n
        if not current and (e.soft > now or step.n <= e.p):
            return "refused"
        e.payload, e.flags, e.load_ms = bytes(step.payload), step.flags, step.load_ms
        if current:
            self._fresh(e, step.n, step.seal, step.ttl, step.hard)
            return "ok"
        e.p, e.seal, e.loaded, e.soft = step.n, step.seal, now, 0
        e.expires = max(e.expires, now + step.hard)
        return "fallback"

    def _touch(self, step: s.Touch) -> str:
        e = self._mine(step.key, step.born)
        if e is None or e.r != step.n:
            return "refused"
        if e.p == 0 or e.p != step.p:
            self._void(e)
            return "refused"
        self._fresh(e, step.n, step.seal, step.ttl, step.hard)
        return "ok"

    def _mark(self, step: s.Mark) -> None:
        if (e := self._get(step.key)) is not None:
            e.soft = 0
            self._void(e)

    def _void(self, e: Entry) -> None:
        e.r = 0
        if not e.q:  # what is left of a lease would be a source at rest
            e.due = 0

    def _put(self, step: s.Put) -> int:
        e = self._get(step.key) or self._new(step.key)
        e.n += 1
        e.payload, e.flags = bytes(step.payload), step.flags
        self._fresh(e, e.n, step.seal, step.ttl, step.hard)
        return e.n

    def _unlink(self, step: s.Unlink) -> None:
        self._entries.pop(step.key, None)

    def _scan(self, step: s.Scan) -> Page:
        # In the order of names, from the last one given: no key that stays can be passed over.
        after = step.cursor[1:]
        keys = nsmallest(step.count, (k for k in self._entries if k > after and k.startswith(step.prefix)))
        cursor = ">" + keys[-1] if len(keys) == step.count else "0"
        return Page(cursor, [key for key in keys if self._get(key) is not None], self._run)
