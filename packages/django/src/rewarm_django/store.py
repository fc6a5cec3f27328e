"""Entries in any of Django's caches. Without compare-and-set nothing can be refused, so readers compare.

An entry's value bears the entry's own random stamp, as it bears those of its tags: invalidating removes a stamp. A
value that slips in late bears an old one, and is stale by construction (protocol, "A store without scripts").
"""

from __future__ import annotations

import math
import os
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from rewarm import ConfigurationError, StoreError
from rewarm import steps as s
from rewarm.steps import Grant, Page, Seen, Step, Verdict, seal_of
from rewarm.stores import Ledger, Store
from rewarm.stores.base import STEPS as LEDGER_STEPS

from .ledger import CacheLedger, safe

HEADER = struct.Struct("<8sQQQIHQ8s")  # stamp, soft, loaded, until, load time, flags, number, seal
PAIR = struct.Struct("<QQ")  # a number, and until when it is respected
BORN = b"django\0\0"  # entries have no incarnations here; a task made for another store has another one
NOBODY = bytes(8)  # no stamp is this one, so nothing that bears it is fresh
STAMP_MS = 4 * 86_400_000  # a stamp outlives what bears it; if it does not, a load is repeated


class Value(NamedTuple):
    own: bytes
    soft: int
    loaded: int
    until: int
    load_ms: int
    flags: int
    p: int
    seal: bytes
    payload: bytes


class CacheStore(Store, Ledger):
    """`alias`: a key of Django's `CACHES`.

    No value is a HIT that is older than a completed invalidation, on any backend. One load at a time holds where the
    backend's `add` is atomic: everywhere but on the file backend. Leases end up to a second late, soft expiries are
    told by the readers' clocks, and a sweep of a job's leading arguments invalidates the whole job.
    """

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias
        self._last, self._lock = 0, threading.Lock()
        self._ledger = CacheLedger(self)
        self._handlers: dict[type, Callable[[Any], Any]] = {
            s.Look: self._look, s.Capture: self._capture, s.Acquire: self._acquire, s.Reserve: self._reserve,
            s.Begin: self._begin, s.Steal: self._steal, s.Open: self._open, s.Commit: self._commit,
            s.Touch: self._touch, s.Release: self._release, s.Renew: self._renew, s.Drop: self._drop,
            s.Mark: self._remove, s.Bump: self._remove, s.Put: self._put, s.Unlink: self._unlink, s.Scan: self._scan,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"CacheStore({self.alias!r})"

    @property
    def cache(self) -> Any:
        """This thread's connection. Raises ConfigurationError if `CACHES` has no such alias."""
        try:
            return caches[self.alias]
        except Exception as error:  # Django's own class, or the backend's import
            raise ConfigurationError(f"store cache://{self.alias}: {error}") from error

    @property
    def shared(self) -> bool:  # type: ignore[override]
        return not isinstance(self.cache, LocMemCache | DummyCache)

    def run(self, steps: Sequence[Step]) -> list[Any]:
        """The answer to each step. Looks, and invalidations, share a round trip; other steps take a few each."""
        try:
            if all(isinstance(step, s.Look) for step in steps):
                return self._looks(steps)
            if all(isinstance(step, s.Mark | s.Bump) for step in steps):
                self.cache.delete_many([_stamp_of(step) for step in steps])
                return [None] * len(steps)
            return [self._one(step) for step in steps]
        except (ConfigurationError, StoreError, TypeError, NameError, AttributeError):
            raise
        except Exception as error:  # each backend has its own
            raise StoreError(f"cache {self.alias!r}: {type(error).__name__}: {error}") from error

    async def arun(self, steps: Sequence[Step]) -> list[Any]:
        """`run`, in the thread that has this context's connections."""
        answers: list[Any] = await sync_to_async(self.run, thread_sensitive=True)(steps)
        return answers

    def now(self) -> int:
        """Milliseconds of this host's clock."""
        return int(time.time() * 1000)

    def _one(self, step: Step) -> Any:
        if isinstance(step, LEDGER_STEPS):
            return self._ledger.run(step)
        return self._handlers[type(step)](step)

    def _number(self) -> int:
        """Milliseconds in 32 bits, which is what a task carries; no number comes twice from one process."""
        with self._lock:
            now = self.now() % 2**32
            self._last = self._last + 1 if 0 <= self._last - now < 60_000 else now or 1
            return self._last

    # --- reading

    def _looks(self, steps: Sequence[s.Look]) -> list[Any]:
        names = [n for step in steps for n in (*_names(step.key), *map(_tag, step.tags))]
        found = self.cache.get_many(list(dict.fromkeys(names)))
        return [self._seen(step, found) for step in steps]

    def _look(self, step: s.Look) -> Any:
        return self._looks([step])[0]

    def _seen(self, step: s.Look, found: dict[str, Any]) -> tuple[Seen | None, tuple[bytes | None, ...]]:
        value_name, own_name, place_name = _names(step.key)
        now, own = self.now(), found.get(own_name)
        value = _value(found.get(value_name), now)
        stamps = tuple(found.get(_tag(tag)) for tag in step.tags)
        q, due = _pair(found.get(place_name))
        soft = value.soft if value is not None and value.own == own else 0
        r = 0
        if value is None or soft <= now or value.seal != seal_of(step.tags, stamps):  # who would load wants to know
            r, lent = self._lent(step.key, own)
            due = lent if r or not q else due
        if value is None:
            if not (q or r or due > now):
                return None, stamps
            return Seen(0, 0, 0, 0, due, BORN, max(q, r), 0, q, r, s.NO_SEAL, b"", now), stamps
        return Seen(
            value.flags, value.load_ms, soft, value.loaded, due, BORN, max(value.p, q, r), value.p, q, r,
            value.seal, value.payload, now,
        ), stamps  # fmt: skip

    def _current(self, key: str) -> tuple[Value | None, bytes | None, int, int]:
        """Value, own stamp, queued place and its end."""
        names = _names(key)
        found = self.cache.get_many(list(names))
        return (_value(found.get(names[0]), self.now()), found.get(names[1]), *_pair(found.get(names[2])))

    def _lent(self, key: str, own: bytes | None) -> tuple[int, int]:
        """The load that runs under a stamp, and the end of its lease; 0 if none does."""
        return _pair(self.cache.get(_lease(key, own))) if own else (0, 0)

    # --- stamps

    def _capture(self, step: s.Capture) -> tuple[bytes, ...]:
        names = [_tag(tag) for tag in step.tags]
        found = self.cache.get_many(names)
        ttl = _seconds(max(step.ttl, STAMP_MS))  # jobs that share a tag would shorten each other's
        for name in names:
            if name in found:
                self.cache.touch(name, ttl)
            else:
                self.cache.add(name, os.urandom(8), ttl)
        if len(found) < len(names):
            found = self.cache.get_many(names)
        return tuple(found.get(name) or os.urandom(8) for name in names)  # a cache that keeps nothing: never matches

    def _own(self, key: str) -> bytes | None:
        """The entry's stamp, made if there is none."""
        name = _names(key)[1]
        found: bytes | None = self.cache.get(name)
        if found is None:
            self.cache.add(name, os.urandom(8), _seconds(STAMP_MS))
            found = self.cache.get(name)
        return found

    def _remove(self, step: s.Mark | s.Bump) -> None:
        self.cache.delete(_stamp_of(step))

    def _renamed(self, key: str) -> bytes:
        """Another stamp: what was loaded under the old one is stale, and what still loads is void."""
        stamp = os.urandom(8)
        self.cache.set(_names(key)[1], stamp, _seconds(STAMP_MS))
        return stamp

    # --- leases

    def _lend(self, key: str, own: bytes, lease: int) -> int:
        """A number for a load; 0 if another one has the lease. A rest holds up nobody who gets so far."""
        n, name = self._number(), _lease(key, own)
        pair = PAIR.pack(n, self.now() + lease)
        if self.cache.add(name, pair, _seconds(lease)):
            return n
        if self._lent(key, own)[0]:
            return 0
        self.cache.delete(name)
        return n if self.cache.add(name, pair, _seconds(lease)) else 0

    def _busy(self, key: str, own: bytes) -> Grant:
        _, due = self._lent(key, own)
        return Grant(Verdict.BUSY, wait=max(20, due - self.now()))  # a lapsed one is about to vanish

    def _place(self, key: str, p: int, lease: int, rests: bool = False) -> int:
        value, own, q, due = self._current(key)
        now, name = self.now(), _names(key)[2]
        r, until = self._lent(key, own)
        if (value.p if value else 0) != p or (q and due > now) or r or (rests and until > now):
            return 0
        if q:
            self.cache.delete(name)
        place = self._number()
        if not self.cache.add(name, PAIR.pack(place, now + lease), _seconds(2 * lease)):
            return 0
        value = self._current(key)[0]
        if (value.p if value else 0) != p:  # somebody committed meanwhile: nothing is left to refresh
            self.cache.delete(name)
            return 0
        return place

    def _acquire(self, step: s.Acquire) -> int:
        return self._place(step.key, step.p, step.lease, rests=True)

    def _reserve(self, step: s.Reserve) -> tuple[int, bytes] | None:
        place = self._place(step.key, step.p, step.lease)
        return (place, BORN) if place else None

    def _begin(self, step: s.Begin) -> Grant:
        if step.born != BORN or _pair(self.cache.get(_names(step.key)[2]))[0] != step.q:
            return Grant(Verdict.SUPERSEDED)
        if (own := self._own(step.key)) is None:
            return Grant(Verdict.SUPERSEDED)
        n = self._lend(step.key, own, step.lease)
        return Grant(Verdict.GO, n, BORN) if n else self._busy(step.key, own)

    def _steal(self, step: s.Steal) -> Grant:
        if (own := self._own(step.key)) is None:  # a cache that keeps nothing: load, and commit in vain
            return Grant(Verdict.GO, self._number(), BORN)
        value = self._current(step.key)[0]
        if (value.p if value else 0) != step.p:
            return Grant(Verdict.CHANGED)
        n = self._lend(step.key, own, step.lease)
        if not n:
            return self._busy(step.key, own)
        value, now_own, q, _ = self._current(step.key)
        if now_own != own or (value.p if value else 0) != step.p:  # the second look: economy needs it
            self.cache.delete(_lease(step.key, own))
            return Grant(Verdict.CHANGED)
        if q:
            self.cache.delete(_names(step.key)[2])
        return Grant(Verdict.GO, n, BORN)

    def _open(self, step: s.Open) -> Grant:
        own = self._renamed(step.key)
        self.cache.delete(_names(step.key)[2])
        return Grant(Verdict.GO, self._lend(step.key, own, step.lease), BORN)

    def _holds(self, key: str, n: int) -> bytes | None:
        """The stamp under which load `n` runs; None if it is void."""
        own: bytes | None = self.cache.get(_names(key)[1])
        return own if own and self._lent(key, own)[0] == n else None

    def _release(self, step: s.Release) -> bool:
        if (own := self._holds(step.key, step.n)) is None:
            return False
        place = _names(step.key)[2]
        q, _ = _pair(self.cache.get(place))
        if q:
            self.cache.set(place, PAIR.pack(q, self.now() + step.hold), _seconds(2 * step.hold))
        self.cache.delete(_lease(step.key, own))
        return True

    def _renew(self, step: s.Renew) -> bool:
        if (own := self._holds(step.key, step.n)) is None:
            return False
        self.cache.set(_lease(step.key, own), PAIR.pack(step.n, self.now() + step.lease), _seconds(step.lease))
        return True

    def _drop(self, step: s.Drop) -> bool:
        _, own, q, _ = self._current(step.key)
        if q != step.q or self._lent(step.key, own)[0]:
            return False
        self.cache.delete(_names(step.key)[2])
        if step.rest and (own := self._own(step.key)):  # a lease without a load: an invalidation ends it as well
            self.cache.set(_lease(step.key, own), PAIR.pack(0, self.now() + step.rest), _seconds(step.rest))
        return True

    # --- values

    def _store(self, key: str, value: Value, hard: int) -> None:
        data = HEADER.pack(*value[:-1]) + value.payload
        self.cache.set(_names(key)[0], data, _seconds(hard))
        if 2 * hard > STAMP_MS:
            self.cache.touch(_names(key)[1], _seconds(2 * hard))

    def _commit(self, step: s.Commit) -> str:
        own, now = self._holds(step.key, step.n), self.now()
        fields = (now, now + step.hard, step.load_ms, step.flags, step.n, step.seal, bytes(step.payload))
        if own is not None:
            self._store(step.key, Value._make((own, now + step.ttl, *fields)), step.hard)
            self.cache.delete_many([_lease(step.key, own), _names(step.key)[2]])
            return "ok"
        value, own, _, _ = self._current(step.key)
        if value is None or value.p >= step.n or (value.own == own and value.soft > now):
            return "refused"
        self._store(step.key, Value._make((NOBODY, 0, *fields)), step.hard)  # readers see a STALE that keeps up
        return "fallback"

    def _touch(self, step: s.Touch) -> str:
        own, now = self._holds(step.key, step.n), self.now()
        value = self._current(step.key)[0]
        if own is None or value is None or value.p != step.p:
            return "refused"
        fresh = value._replace(
            own=own, soft=now + step.ttl, loaded=now, until=now + step.hard, p=step.n, seal=step.seal
        )  # fmt: skip
        self._store(step.key, fresh, step.hard)
        self.cache.delete_many([_lease(step.key, own), _names(step.key)[2]])
        return "ok"

    def _put(self, step: s.Put) -> int:
        own, n, now = self._renamed(step.key), self._number(), self.now()
        value = Value(own, now + step.ttl, now, now + step.hard, 0, step.flags, n, step.seal, bytes(step.payload))
        self._store(step.key, value, step.hard)
        self.cache.delete(_names(step.key)[2])
        return n

    def _unlink(self, step: s.Unlink) -> None:
        value, own, place = _names(step.key)
        self.cache.delete(own)  # first: a load that commits in between is stale
        self.cache.delete_many([value, place])

    def _scan(self, step: s.Scan) -> Page:
        """Caches do not list their keys: the whole job is invalidated instead, more and never less."""
        app, job = step.prefix.split(":")[:2]
        for name in {job, job.rpartition("@")[0] or job}:  # with and without a version
            self.cache.delete(_tag(f"{app}::job:{name}"))
        return Page("0", [], "all")


def _value(raw: Any, now: int) -> Value | None:
    if not isinstance(raw, bytes) or len(raw) < HEADER.size:
        return None
    value = Value._make((*HEADER.unpack_from(raw), raw[HEADER.size :]))
    return value if value.until > now else None


def _pair(raw: Any) -> tuple[int, int]:
    return PAIR.unpack(raw) if isinstance(raw, bytes) and len(raw) == PAIR.size else (0, 0)


def _seconds(ms: int) -> int:
    """Some backends count whole seconds, and take 0 for "gone at once"."""
    return max(1, math.ceil(ms / 1000))


def _names(key: str) -> tuple[str, str, str]:
    """Of an entry's value, own stamp and queued place."""
    name = safe(key)
    return f"rewarm:v:{name}", f"rewarm:s:{name}", f"rewarm:q:{name}"


def _lease(key: str, own: bytes | None) -> str:
    """Named by the stamp: an invalidation frees it by itself."""
    return f"rewarm:l:{safe(key)}:{(own or NOBODY).hex()}"


def _tag(tag: str) -> str:
    return f"rewarm:t:{safe(tag)}"


def _stamp_of(step: s.Mark | s.Bump) -> str:
    return _tag(step.tag) if isinstance(step, s.Bump) else _names(step.key)[1]
