"""The model store: the steps of `rewarm.steps` on a world that is plain, immutable data.

Time is what has happened, not a number: a soft expiry lies ahead or behind, a lease is live or lapsed. So `NOW` stands
still, an entry is a `Seen`, and the environment moves its instants. What the real stores draw at random is
named here after who drew it. `packages/core/tests/test_store_pair.py` compares these steps with the real stores'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rewarm import steps as s
from rewarm.steps import NO_SEAL, Grant, Page, Seen, Verdict
from rewarm.stores import base as b

KEY, TAG = "app:1", "app:tag:t"
NOW, LIFE = 10_000_000, 1_000_000
AHEAD, BEHIND = NOW + LIFE, 1
"""Instants: a soft expiry or a lease is ahead or behind; `loaded` is NOW, or NOW - LIFE past the hard limit."""


class World(NamedTuple):
    """Everything that processes share. Entries, floors and stamps are in the order of the scenario's keys and tags."""

    entries: tuple[Seen | None, ...]
    stamps: tuple[bytes | None, ...]
    version: int = 0  # of the source; each write makes the next one
    floor: tuple[int, ...] = ()  # per key: the newest version whose invalidation has completed (I1)
    gone: tuple[int, ...] = ()  # the same for deletions and jobs that expire what was invalidated (I1x)
    loads: int = 0
    finished: frozenset[Any] = frozenset()  # places whose task has ended (I5)
    ledger: tuple[tuple[str, Any], ...] = ()
    drawn: tuple[tuple[str, int], ...] = ()  # per group of processes: how many of them have drawn something
    run: int = 0  # the server's life
    held: Any = None  # what scenarios of their own keep: an in-process layer, a source's content


class Turn:
    """One process at its move: the world, which it replaces, and its own random names."""

    __slots__ = ("draws", "group", "name", "release", "w")

    def __init__(self, w: World, group: str, name: int | None = None, draws: int = 0, release: int = 0) -> None:
        self.w, self.group, self.name, self.draws = w, group, name, draws
        self.release = release  # of the entries' format: what another one wrote is no entry of ours

    def draw(self) -> bytes:
        """A name that nobody else draws. Processes of a group are told apart only from their first draw on."""
        if self.name is None:
            drawn = dict(self.w.drawn)
            self.name = drawn.get(self.group, 0)
            drawn[self.group] = self.name + 1
            self.w = self.w._replace(drawn=tuple(sorted(drawn.items())))
        self.draws += 1
        return b"%b%d.%d" % (self.group.encode(), self.name, self.draws)


def put_at(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])


class Model:
    """The steps. A mutant is a subclass with one of them changed."""

    def __init__(self, keys: Sequence[str], tags: Sequence[str]) -> None:
        self.keys, self.tags = list(keys), list(tags)
        self.handlers: dict[type, Callable[[Turn, Any], Any]] = {
            s.Look: self.look, s.Capture: self.capture, s.Bump: self.bump, s.Acquire: self.acquire,
            s.Reserve: self.reserve, s.Begin: self.begin, s.Steal: self.steal, s.Open: self.open,
            s.Commit: self.commit, s.Touch: self.touch, s.Release: self.give_back, s.Renew: self.renew,
            s.Drop: self.drop, s.Mark: self.mark, s.Put: self.put, s.Unlink: self.unlink, s.Scan: self.scan,
            b.Start: self.start, b.Settle: self.settle, b.Recall: self.recall, b.Bury: self.bury, b.Resolve: self.bury,
        }  # fmt: skip

    def run(self, turn: Turn, step: Any) -> Any:
        return self.handlers[type(step)](turn, step)

    # --- keys

    def there(self, turn: Turn, key: str) -> Seen | None:
        """Whatever is at the key, of whichever release."""
        return turn.w.entries[self.keys.index(key)]

    def get(self, turn: Turn, key: str) -> Seen | None:
        e = self.there(turn, key)
        return e if e is not None and e.flags == turn.release else None

    def mine(self, turn: Turn, key: str, born: bytes) -> Seen | None:
        e = self.get(turn, key)
        return e if e is not None and e.born == born else None

    def new(self, turn: Turn) -> Seen:
        return Seen(turn.release, 0, 0, 0, 0, turn.draw(), 0, 0, 0, 0, NO_SEAL, b"", NOW)

    def write(self, turn: Turn, key: str, e: Seen | None) -> None:
        turn.w = turn.w._replace(entries=put_at(turn.w.entries, self.keys.index(key), e))

    def stamp(self, turn: Turn, tag: str, stamp: bytes | None) -> None:
        turn.w = turn.w._replace(stamps=put_at(turn.w.stamps, self.tags.index(tag), stamp))

    # --- reads and tags

    def look(self, turn: Turn, step: s.Look) -> Any:
        return self.get(turn, step.key), tuple(turn.w.stamps[self.tags.index(tag)] for tag in step.tags)

    def capture(self, turn: Turn, step: s.Capture) -> tuple[bytes | None, ...]:
        for tag in step.tags:
            if turn.w.stamps[self.tags.index(tag)] is None:
                self.stamp(turn, tag, turn.draw())
        return tuple(turn.w.stamps[self.tags.index(tag)] for tag in step.tags)

    def bump(self, turn: Turn, step: s.Bump) -> None:
        self.stamp(turn, step.tag, None)

    # --- leases

    def place(self, turn: Turn, key: str, e: Seen) -> Seen:
        e = e._replace(n=e.n + 1, q=e.n + 1, r=0, due=AHEAD)
        self.write(turn, key, e)
        return e

    def go(self, turn: Turn, key: str, e: Seen) -> Grant:
        self.write(turn, key, e._replace(n=e.n + 1, r=e.n + 1, due=AHEAD))
        return Grant(Verdict.GO, e.n + 1, e.born)

    def acquire(self, turn: Turn, step: s.Acquire) -> int:
        e = self.mine(turn, step.key, step.born)
        if e is None or e.p != step.p or e.due > NOW:
            return 0
        return self.place(turn, step.key, e).q

    def reserve(self, turn: Turn, step: s.Reserve) -> tuple[int, bytes] | None:
        e = self.get(turn, step.key)
        if e is not None and (e.p != step.p or e.leased):
            return None
        e = self.place(turn, step.key, e or self.new(turn))
        return e.q, e.born

    def begin(self, turn: Turn, step: s.Begin) -> Grant:
        e = self.mine(turn, step.key, step.born)
        if e is None or e.q != step.q:
            return Grant(Verdict.SUPERSEDED)
        if e.r and e.due > NOW:
            return Grant(Verdict.BUSY, wait=e.due - NOW)
        return self.go(turn, step.key, e)

    def steal(self, turn: Turn, step: s.Steal) -> Grant:
        e = self.get(turn, step.key)
        if e is not None:
            if e.p != step.p:
                return Grant(Verdict.CHANGED)
            if e.r and e.due > NOW:
                return Grant(Verdict.BUSY, wait=e.due - NOW)
        return self.go(turn, step.key, (e or self.new(turn))._replace(q=0))

    def open(self, turn: Turn, step: s.Open) -> Grant:
        return self.go(turn, step.key, (self.get(turn, step.key) or self.new(turn))._replace(q=0))

    def give_back(self, turn: Turn, step: s.Release) -> bool:
        e = self.mine(turn, step.key, step.born)
        if e is None or e.r != step.n:
            return False
        self.write(turn, step.key, e._replace(r=0, due=AHEAD if step.hold else BEHIND))
        return True

    def renew(self, turn: Turn, step: s.Renew) -> bool:
        e = self.mine(turn, step.key, step.born)
        if e is None or e.r != step.n:
            return False
        self.write(turn, step.key, e._replace(due=AHEAD))
        return True

    def drop(self, turn: Turn, step: s.Drop) -> bool:
        e = self.mine(turn, step.key, step.born)
        if e is None or e.q != step.q or e.r:
            return False
        self.write(turn, step.key, e._replace(q=0, due=AHEAD if step.rest else 0))
        return True

    # --- values

    def commit(self, turn: Turn, step: s.Commit) -> str:
        e = self.mine(turn, step.key, step.born)
        if e is None:
            return "refused"
        current = e.r == step.n
        if not current and (e.soft > NOW or step.n <= e.p):
            return "refused"
        e = e._replace(payload=step.payload, load_ms=step.load_ms, p=step.n, seal=step.seal, loaded=NOW)
        e = e._replace(soft=AHEAD, q=0, r=0, due=0) if current else e._replace(soft=0)
        self.write(turn, step.key, e)
        return "ok" if current else "fallback"

    def touch(self, turn: Turn, step: s.Touch) -> str:
        e = self.mine(turn, step.key, step.born)
        if e is None or e.r != step.n:
            return "refused"
        if e.p == 0 or e.p != step.p:
            self.write(turn, step.key, self.void(e))
            return "refused"
        self.write(turn, step.key, e._replace(p=step.n, seal=step.seal, loaded=NOW, soft=AHEAD, q=0, r=0, due=0))
        return "ok"

    def mark(self, turn: Turn, step: s.Mark) -> None:
        e = self.there(turn, step.key)
        if e is not None:
            self.write(turn, step.key, self.void(e._replace(soft=0)) if e.flags == turn.release else None)

    def void(self, e: Seen) -> Seen:
        """Without its running load. What would be left of the lease of one without a place is no rest."""
        return e._replace(r=0, due=e.due if e.q else 0)

    def put(self, turn: Turn, step: s.Put) -> int:
        e = self.get(turn, step.key) or self.new(turn)
        e = e._replace(n=e.n + 1, p=e.n + 1, q=0, r=0, due=0, soft=AHEAD, loaded=NOW, seal=step.seal)
        self.write(turn, step.key, e._replace(payload=step.payload))
        return e.n

    def unlink(self, turn: Turn, step: s.Unlink) -> None:
        self.write(turn, step.key, None)

    def scan(self, turn: Turn, step: s.Scan) -> Page:
        """One key a page, in a fixed order: SCAN promises only what is there during the whole iteration."""
        at, order = int(step.cursor), self.keys[:: -1 if turn.w.run % 2 else 1]  # each node has an order of its own
        key = order[at]
        found = (key,) if key.startswith(step.prefix) and self.there(turn, key) is not None else ()
        keys: Any = found  # hashable, unlike a real store's
        return Page(str(at + 1) if at + 1 < len(self.keys) else "0", keys, str(turn.w.run))

    # --- the ledger: status, deliveries that have not ended, whether a claim is live

    def _record(self, turn: Turn, name: str) -> tuple[str, int, bool]:
        found: tuple[str, int, bool] = dict(turn.w.ledger).get(name, ("", 0, False))
        return found

    def _note(self, turn: Turn, name: str, record: tuple[str, int, bool]) -> None:
        turn.w = turn.w._replace(ledger=tuple(sorted({**dict(turn.w.ledger), name: record}.items())))

    def start(self, turn: Turn, step: b.Start) -> b.Started:
        status, count, claimed = self._record(turn, step.task)
        if status == "done" and step.lease:
            return b.Started(b.Verdict.DONE, count)
        if claimed:
            return b.Started(b.Verdict.BUSY, count, 1)
        if count >= step.cap:
            return b.Started(b.Verdict.POISON, count)
        self._note(turn, step.task, (status if status == "done" else "running", count + 1, step.lease > 0))
        return b.Started(b.Verdict.GO, count + 1)

    def settle(self, turn: Turn, step: b.Settle) -> None:
        if step.status == "deferred":
            status, count, claimed = self._record(turn, step.task)
            self._note(turn, step.task, (status, max(0, count - 1), claimed))
        else:
            self._note(turn, step.task, (str(step.status), 0, False))

    def recall(self, turn: Turn, step: b.Recall) -> None:
        return None

    def bury(self, turn: Turn, step: Any) -> int:
        return 0
