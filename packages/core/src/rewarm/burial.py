"""Give a task up: its dead letter says what, why and which entries wait for it."""

from __future__ import annotations

import hashlib
import json
import traceback
from typing import TYPE_CHECKING, Any

from . import events
from .effects import Flow
from .errors import NotAcknowledged, PayloadError, StoreError
from .redact import redact
from .steps import Step
from .stores.base import Bury
from .task import Task, names_in

if TYPE_CHECKING:
    from .runtime import Runtime

LETTERS = 10_000  # kept; the oldest go
STALE = 100  # names of entries, tags and jobs in one letter
ERROR = 2_000  # characters of one error
RAW = 65_536  # characters of a payload that cannot be read


def bury(
    host: Runtime, task: Task, reason: str, errors: list[str], marks: list[Step], error: BaseException | None = None
) -> Flow[None]:
    """Bury a task, with its `marks` in the same round trip. Raises NotAcknowledged if the ledger is away."""
    letter = {
        "id": task.id, "kind": task.kind, "job": task.job, "key": task.key, "attempt": task.attempt, "reason": reason,
        "errors": errors[-10:], "at": host.now(), "stale": _stale(task)[:STALE], "payload": task.dumps(limit=None),
    }  # fmt: skip
    try:
        dropped, *_ = yield [Bury(host.dead_key, task.id, task.key or "", json.dumps(letter), LETTERS), *marks]
    except StoreError as lost:
        raise NotAcknowledged(f"{task.kind} {task.id} could be neither queued nor buried: {lost}") from lost
    host.emit(events.Buried(app=host.name, id=task.id, task=task, reason=reason, dropped=dropped))


def bury_raw(host: Runtime, payload: object, error: PayloadError) -> Flow[None]:
    """Bury a payload that cannot be read: its raw text is the letter. Raises NotAcknowledged."""
    raw = payload if isinstance(payload, str) else repr(payload)
    name = "raw-" + hashlib.blake2b(raw.encode("utf-8", "replace"), digest_size=8).hexdigest()
    reason = redact(str(error))
    letter = {"id": name, "reason": reason, "errors": [reason], "at": host.now(), "payload": raw[:RAW]}
    try:
        (dropped,) = yield [Bury(host.dead_key, name, "", json.dumps(letter), LETTERS)]
    except StoreError as lost:
        raise NotAcknowledged(f"an unreadable payload could not be buried: {lost}") from lost
    host.emit(events.Buried(app=host.name, id=name, task=None, reason=reason, dropped=dropped))


def tell(error: BaseException) -> str:
    """An error as the ledger keeps it: what it was and where, bounded, without passwords."""
    lines = traceback.format_exception(error, limit=-3)
    return redact("".join(lines).strip()[-ERROR:])


def _stale(task: Task) -> list[str]:
    """What is stale while this task is dead: keys, and tags, jobs and prefixes under these names."""
    if task.kind == "refresh":
        return [task.key or ""]
    args: Any = task.args if isinstance(task.args, dict) else {}
    names = [str(key) for key in names_in(args, "keys")]
    names += [f"{kind[:-1]} {name}" for kind in ("tags", "jobs") for name in names_in(args, kind)]
    return [*names, *([f"{args['prefix']}*"] if "prefix" in args else [])]
