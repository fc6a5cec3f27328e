"""Broken stores: a memory store that changes a step on its way in, or an answer on its way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rewarm.steps import (
    NO_SEAL,
    Begin,
    Bump,
    Commit,
    Grant,
    Look,
    Mark,
    Renew,
    Scan,
    Seen,
    Steal,
    Verdict,
)
from rewarm.stores import MemoryStore
from rewarm.stores.base import Start, Started
from rewarm.stores.base import Verdict as Answer

Change = Callable[[MemoryStore, Any], Any]
NOTHING = object()


class BrokenStore(MemoryStore):
    """`change(store, step)` answers a step in its own way, or gives NOTHING."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change
        self.held: dict[str, Any] = {}

    def run(self, steps: Sequence[Any]) -> list[Any]:
        return [self.one(step) for step in steps]

    def one(self, step: Any) -> Any:
        answer = self.change(self, step)
        return self.real(step) if answer is NOTHING else answer

    def real(self, step: Any) -> Any:
        return super().run([step])[0]


def _look(change: Callable[[Seen], Seen]) -> Change:
    def answer(store: MemoryStore, step: Any) -> Any:
        if not isinstance(step, Look):
            return NOTHING
        seen, stamps = store.real(step)  # type: ignore[attr-defined]
        return (seen and change(seen), stamps)

    return answer


def _instead(kind: type, answer: Callable[[Any, Any], Any]) -> Change:
    return lambda store, step: answer(store, step) if isinstance(step, kind) else NOTHING


def _careless(store: Any, step: Commit) -> Any:
    """Stores whatever comes, as fresh."""
    seen = store.real(Look(step.key))[0]
    grant = store.real(Steal(step.key, seen.p if seen else 0, 60_000))
    if grant.verdict is not Verdict.GO:
        grant = Grant(Verdict.GO, seen.r, seen.born)
    return store.real(step._replace(n=grant.n, born=grant.born or seen.born))


def _from_thin_air(store: Any, step: Commit) -> Any:
    told = store.real(step)
    if told == "refused":
        return _careless(store, step) if store.real(Look(step.key))[0] is None else told
    return told


def _late_mark(store: Any, step: Mark) -> Any:
    """Marks what it saw a moment ago, and not the load that has begun since."""
    seen = store.real(Look(step.key))[0]
    if seen is not None and seen.r:
        return None
    return store.real(step)


ABSENT = Seen(0, 0, 0, 0, 0, bytes(8), 0, 0, 0, 0, NO_SEAL, b"", 0)

STORE_MUTANTS: dict[str, tuple[Change, str]] = {
    "STORE-01": (lambda store, step: (ABSENT, ()) if isinstance(step, Look) else NOTHING, "the entry: Seen"),
    "STORE-02": (_look(lambda seen: seen._replace(payload=seen.payload.decode("ascii", "ignore").encode())), "payload"),
    "STORE-03": (_instead(Mark, lambda store, step: None), "^ok$"),
    "STORE-04": (_instead(Commit, _careless), "the commit: (ok|fallback)"),
    "STORE-05": (_instead(Bump, lambda store, step: None), "the same seal"),
    "STORE-06": (
        lambda store, step: store.real(step._replace(lease=10**9)) if isinstance(step, Steal) else NOTHING,  # type: ignore[attr-defined]
        "it did not| ms",
    ),
    "STORE-07": (_instead(Begin, lambda store, step: Grant(Verdict.GO, 1, step.born)), "another place: go"),
    "STORE-08": (_instead(Commit, _from_thin_air), "the commit: (ok|fallback)"),
    "STORE-09": (_look(lambda seen: seen._replace(soft=seen.now + 1)), "it stays fresh"),
    "STORE-10": (_instead(Renew, lambda store, step: True), "the lease as before"),
    "STORE-11": (
        lambda store, step: store.real(step._replace(prefix=step.prefix.partition("[")[0]))  # type: ignore[attr-defined]
        if isinstance(step, Scan) else NOTHING,
        "keys",
    ),
    "STORE-12": (_instead(Start, lambda store, step: Started(Answer.GO, 1)), "three deliveries"),
    "STORE-13": (
        _instead(Steal, lambda store, step: store.real(step._replace(lease=1))),
        "loads for 8 readers: [2-8]",
    ),
    "STORE-14": (_instead(Mark, _late_mark), "[0-9]+ are"),
    "STORE-15": (_instead(Mark, _late_mark), "[0-9]+ are"),
}  # fmt: skip


def broken(id: str) -> Callable[[], MemoryStore]:
    """What makes the mutant of a rule."""
    return lambda: BrokenStore(STORE_MUTANTS[id][0])


def __getattr__(name: str) -> Any:
    if name.startswith("STORE_"):
        return broken(name.replace("_", "-"))
    raise AttributeError(name)
