"""Dead letters, journals and gates of the memory store. What `ledger.lua` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any

from . import base as b

OFTEN = 9
"""How often the pause of an overdue task is doubled."""


@dataclass(slots=True)
class Dead:
    """Letters by id, oldest first; the entry that waits for each, and the other way round."""

    letters: dict[str, str] = field(default_factory=dict)
    key_of: dict[str, str] = field(default_factory=dict)
    id_of: dict[str, str] = field(default_factory=dict)

    def remove(self, id: str) -> str | None:
        if (key := self.key_of.pop(id, None)) is not None:
            del self.id_of[key]
        return self.letters.pop(id, None)


@dataclass(slots=True)
class Journaled:
    """A task that was sent. `overdue`: when, in milliseconds; `times`: how often it was so far."""

    payload: str
    overdue: int
    times: int = 0


@dataclass(slots=True)
class Gate:
    """What is known of a source: when it may be asked next, failures in a row, until when nobody is admitted."""

    next: int = 0
    failed: int = 0
    open: int = 0


class Lists:
    """Runs the steps of `stores.base` that are not about one task's record. Not locked: `MemoryStore` does that."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._dead: dict[str, Dead] = {}
        self._journals: dict[str, dict[str, Journaled]] = {}
        self._gates: dict[str, Gate] = {}
        self.handlers: dict[type, Callable[[Any], Any]] = {
            b.Bury: self._bury, b.Resolve: self._resolve, b.Letters: self._letters, b.Letter: self._letter,
            b.Exhume: self._exhume, b.Clear: self._clear, b.Enter: self._enter, b.Strike: self._strike,
            b.Overdue: self._overdue, b.Backlog: self._backlog, b.Admit: self._admit, b.Report: self._report,
        }  # fmt: skip

    # -- dead letters ----------------------------------------------------------------------------------------

    def _bury(self, step: b.Bury) -> int:
        dead = self._dead.setdefault(step.dead, Dead())
        dead.remove(step.id)
        if step.key:
            if (other := dead.id_of.get(step.key)) is not None:
                dead.remove(other)
            dead.key_of[step.id], dead.id_of[step.key] = step.key, step.id
        dead.letters[step.id] = step.letter
        dropped = list(dead.letters)[: -step.limit]
        for id in dropped:
            dead.remove(id)
        return len(dropped)

    def _resolve(self, step: b.Resolve) -> bool:
        dead = self._dead.get(step.dead)
        id = dead.id_of.get(step.key) if dead is not None else None
        return dead is not None and id is not None and dead.remove(id) is not None

    def _letters(self, step: b.Letters) -> list[tuple[str, str]]:
        dead = self._dead.get(step.dead)
        return [] if dead is None else list(dead.letters.items())

    def _letter(self, step: b.Letter) -> str | None:
        dead = self._dead.get(step.dead)
        return None if dead is None else dead.letters.get(step.id)

    def _exhume(self, step: b.Exhume) -> str | None:
        dead, letter = self._dead.get(step.dead), self._letter(b.Letter(step.dead, step.id))
        if dead is None or letter is None or step.letter not in ("", letter):
            return None
        return dead.remove(step.id)

    def _clear(self, step: b.Clear) -> int:
        dead = self._dead.pop(step.dead, None)
        return 0 if dead is None else len(dead.letters)

    # -- the journal -----------------------------------------------------------------------------------------

    def _enter(self, step: b.Enter) -> bool:
        journal = self._journals.setdefault(step.journal, {})
        if step.id not in journal and len(journal) >= step.limit:
            return False
        journal[step.id] = Journaled(step.payload, self._now() + step.wait)
        return True

    def _strike(self, step: b.Strike) -> None:
        self._journals.get(step.journal, {}).pop(step.id, None)

    def _overdue(self, step: b.Overdue) -> list[tuple[str, str]]:
        now = self._now()
        overdue = [(one.overdue, id, one) for id, one in self._journals.get(step.journal, {}).items()]
        found = nsmallest(step.limit, (late for late in overdue if late[0] <= now), key=lambda late: late[:2])
        for _, _, one in found:
            one.overdue = now + step.wait * 2**one.times
            one.times = min(one.times + 1, OFTEN)
        return [(id, one.payload) for _, id, one in found]

    def _backlog(self, step: b.Backlog) -> int:
        return len(self._journals.get(step.journal, {}))

    # -- gates -----------------------------------------------------------------------------------------------

    def _admit(self, step: b.Admit) -> int:
        gate, now = self._gates.setdefault(step.gate, Gate()), self._now()
        if gate.open > now:
            return gate.open - now
        if step.every:
            if gate.next > now:
                return gate.next - now
            gate.next = now + step.every
        if step.failures and gate.failed >= step.failures:
            gate.open = now + step.pause  # one at a time
        return 0

    def _report(self, step: b.Report) -> bool:
        gate, now = self._gates.setdefault(step.gate, Gate()), self._now()
        if step.ok:
            gate.failed = gate.open = 0
            return False
        gate.failed += 1
        if gate.failed < step.failures:
            return False
        gate.open = now + step.pause
        return gate.failed == step.failures
