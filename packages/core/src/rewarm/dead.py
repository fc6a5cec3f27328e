"""Dead letters: tasks that were given up, and how to mend them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import freshness
from .effects import Flow
from .errors import ConfigurationError
from .receipt import Receipt
from .sending import journal_id
from .stores.base import Clear, Exhume, Forget, Letter, Letters
from .task import VERSION, received
from .worker import Resend

if TYPE_CHECKING:
    from .app import Rewarm


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A task that was given up: what, why, after how many attempts, since when (seconds since the epoch).

    `stale`: the keys that wait for it (at most 100), and what else: "tag NAME", "job NAME", "PREFIX*".
    """

    id: str
    reason: str
    errors: tuple[str, ...]
    at: float
    payload: str
    kind: str | None = None
    job: str | None = None
    key: str | None = None
    attempt: int = 0
    stale: tuple[str, ...] = ()


class DeadLetters:
    """An application's dead letters; the newest 10 000 are kept, and one of each entry. All methods raise StoreError.

    A letter goes when its entry is refreshed after all.
    """

    def __init__(self, app: Rewarm) -> None:
        self._app = app

    def list(self) -> list[DeadLetter]:
        """All of them, oldest first."""
        ((*letters,),) = self._app.runtime.run([Letters(self._app.runtime.dead_key)])
        return [_letter(text) for _, text in letters]

    def show(self, id: str) -> DeadLetter:
        """One of them. Raises ConfigurationError if there is none with this id."""
        return self._shown(id)[0]

    def retry(self, id: str) -> Receipt:
        """Queue the task again: the same identity, a new attempt budget. The letter stays if the queue refuses, and if
        the task has died once more meanwhile.

        Raises ConfigurationError (no such letter, or no such job in this process), PayloadError (it cannot be read),
        EnqueueError.
        """
        receipt: Receipt = self._app.runtime.drive(self._retrying(*self._shown(id)))
        return receipt

    def drop(self, id: str) -> None:
        """Forget one. Raises ConfigurationError if there is none with this id."""
        (text,) = self._app.runtime.run([Exhume(self._app.runtime.dead_key, id)])
        if text is None:
            raise ConfigurationError(f"{self._app.name} has no dead letter {id!r}")

    def purge(self) -> int:
        """Forget all of them, and say how many there were."""
        (count,) = self._app.runtime.run([Clear(self._app.runtime.dead_key)])
        return int(count)

    def _shown(self, id: str) -> tuple[DeadLetter, str]:
        (text,) = self._app.runtime.run([Letter(self._app.runtime.dead_key, id)])
        if text is None:
            raise ConfigurationError(f"{self._app.name} has no dead letter {id!r}")
        return _letter(text), text

    def _retrying(self, letter: DeadLetter, text: str) -> Flow[Receipt]:
        runtime = self._app.runtime
        task = replace(received(letter.payload, runtime.name, runtime.signing_keys), attempt=1, due=None)
        own = task.app == runtime.name  # another's signature is not ours to make
        if own and task.kind == "refresh" and task.v <= VERSION and (problem := runtime.stray(task)):
            raise ConfigurationError(f"{problem}: import the module that has it; the letter is kept")
        receipt = Receipt(self._app, task.kind, task.id)
        yield [Forget(runtime.record(name)) for name in dict.fromkeys((journal_id(task), task.id))]
        if task.kind == "refresh" and not runtime.stray(task):  # its place was given up with it: it needs a new one
            target = runtime.target(task)
            place: Any = yield from freshness.queue(target, 0, None, "raise", task.id)
            receipt._took(target, place, task.id)
        else:
            yield Resend(replace(task, not_after=None, sig=None) if own else task, 0.0)
        yield [Exhume(runtime.dead_key, letter.id, text)]
        return receipt


def _letter(text: str) -> DeadLetter:
    fields = json.loads(text)
    known = {name: fields[name] for name in DeadLetter.__dataclass_fields__ if name in fields}
    return DeadLetter(**known | {name: tuple(known.get(name, ())) for name in ("errors", "stale")})
