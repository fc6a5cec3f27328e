"""Task and its payload: build, check, sign. A payload is one JSON string that any queue can carry."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any

from .errors import ArgumentError, ConfigurationError, PayloadError

VERSION = 1
KINDS = ("refresh", "invalidate", "sweep")
PRIORITIES = ("high", "normal", "low")
LONGEST = 262_144  # characters of a payload
DEEPEST = 64  # lists and objects within each other


@dataclass(frozen=True, slots=True)
class Route:
    """Where a task goes: a queue (None: the one the workers already consume), a priority, and `options` that
    reach the queue's own send call untouched."""

    queue: str | None = None
    priority: str = "normal"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.priority not in PRIORITIES:
            raise ConfigurationError(f"priority {self.priority!r} is none of {', '.join(PRIORITIES)}")
        if self.queue is not None and not isinstance(self.queue, str):
            raise ConfigurationError(f"a route's queue is a name, not {self.queue!r}")


@dataclass(frozen=True, slots=True)
class Task:
    """One refresh, invalidate or sweep, as plain data.

    id: the same for every attempt and every copy.   args: JSON-able, as the codec wrote it.
    key, born, q: a refresh's entry, its incarnation (hex) and its place there.
    attempt: counted from 1.   due, not_after, enqueued_at: seconds since the epoch, None for "none".
    queue, priority: where it was sent, so that a follow-up goes there too.   trace: W3C trace context.
    rest: fields that this version does not know. They survive a retry.
    """

    id: str
    app: str
    kind: str
    job: str | None = None
    args: Any = None
    key: str | None = None
    born: str | None = None
    q: int = 0
    attempt: int = 1
    due: float | None = None
    not_after: float | None = None
    queue: str | None = None
    priority: str = "normal"
    enqueued_at: float | None = None
    trace: Mapping[str, str] | None = None
    sig: str | None = None
    v: int = VERSION
    rest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)  # of the route; not on the wire

    @property
    def route(self) -> Route:
        return Route(self.queue, self.priority, self.options)

    @property
    def delay(self) -> float:
        """Seconds between sending and due."""
        return max(0.0, (self.due or 0.0) - (self.enqueued_at or 0.0)) if self.due else 0.0

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that an invalidate task names."""
        return tuple(names_in(self.args, "tags"))

    def again(self, *, attempt: int, due: float | None) -> Task:
        """The follow-up of this task: same identity, another attempt or time."""
        return replace(self, attempt=attempt, due=due)

    def dumps(self, keys: Sequence[bytes] = (), *, limit: int | None = LONGEST) -> str:
        """The payload. Signed with the first of `keys` unless it carries a signature already.

        limit: characters; None: for nobody's queue. Raises ArgumentError.
        """
        wire = {name: value for name in WIRE if (value := getattr(self, name)) is not None}
        if keys and self.sig is None:
            wire["sig"] = _sign(wire, keys[0])
        payload = json.dumps({**self.rest, **wire}, separators=(",", ":"), allow_nan=False)
        if len(payload) > LONGEST:  # what came unescaped may go on like that
            payload = json.dumps({**self.rest, **wire}, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        if limit is not None and len(payload) > limit:
            raise ArgumentError(
                f"{self.kind} {self.job or self.id}: its payload is {len(payload)} characters long, and {limit} may "
                "travel: pass an id, and read the rest in the load"
            )
        return payload


WIRE = tuple(f.name for f in fields(Task) if f.name not in ("rest", "options"))
SIGNED = ("v", "id", "app", "kind", "job", "args", "key", "born", "q", "not_after", "enqueued_at")
TYPES: Mapping[str, tuple[type, ...]] = {
    "v": (int,), "id": (str,), "app": (str,), "kind": (str,), "job": (str,), "args": (list, dict), "key": (str,),
    "born": (str,), "q": (int,), "attempt": (int,), "due": (int, float), "not_after": (int, float), "queue": (str,),
    "priority": (str,), "enqueued_at": (int, float), "trace": (dict,), "sig": (str,),
}  # fmt: skip


def names_in(args: Any, kind: str) -> list[Any]:
    """The "keys", "tags" or "jobs" of a task's args; none where a newer version means something else by them."""
    names = args.get(kind) if isinstance(args, dict) else None
    return names if isinstance(names, list) else []


def loads(payload: object, keys: Sequence[bytes] = ()) -> Task:
    """Read a payload. A newer version is read as far as possible: the caller decides (see `Task.v`).

    Raises PayloadError if it is not one, is incomplete, has a field of the wrong type, or, where `keys` are
    given, bears no signature made with one of them.
    """
    if not isinstance(payload, str):
        raise PayloadError(f"the payload is a {type(payload).__name__}, not a string")
    if len(payload) > LONGEST:
        raise PayloadError(f"the payload is {len(payload)} characters long, more than {LONGEST}")
    try:
        wire = json.loads(payload, parse_constant=_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"the payload is not JSON: {error}") from None
    if not isinstance(wire, dict):
        raise PayloadError(f"the payload is a JSON {type(wire).__name__}, not an object")
    if _deeper(wire, DEEPEST):
        raise PayloadError(f"the payload is nested more than {DEEPEST} deep")
    wire = {name: value for name, value in wire.items() if value is not None or name not in TYPES}
    if missing := [name for name in ("v", "id", "app", "kind") if wire.get(name) in (None, "")]:
        raise PayloadError(f"the payload lacks {', '.join(missing)}")
    for name, types in TYPES.items():
        value = wire.get(name)
        if name in wire and (not isinstance(value, types) or isinstance(value, bool)):
            raise PayloadError(f"the payload's {name!r} is {value!r}, not {' or '.join(t.__name__ for t in types)}")
    if keys and not _signed(wire, keys):
        raise PayloadError("the payload's signature is missing, or was made with none of the app's signing keys")
    if wire["v"] <= VERSION:
        _check(wire)
    known = {name: wire[name] for name in WIRE if name in wire}
    return Task(**known, rest={name: value for name, value in wire.items() if name not in TYPES})


def received(payload: object, app: str, keys: Sequence[bytes]) -> Task:
    """`loads`, for a worker of `app`. Whether another application's task is signed well is for that one to say.

    Raises PayloadError.
    """
    try:
        return loads(payload, keys)
    except PayloadError:
        with suppress(PayloadError):
            if (task := loads(payload)).app != app:
                return task
        raise


def _deeper(value: Any, levels: int) -> bool:
    """Lists and objects are nested more than so many levels deep."""
    inner = [value]
    for _ in range(levels + 1):
        inner = [
            one
            for outer in inner
            if isinstance(outer, list | dict)
            for one in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(inner)


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    """`1e999` is JSON, but the infinity that it becomes could not be written again."""
    if not isfinite(number := float(text)):
        raise ValueError(f"{text} is too large a number")
    return number


def _check(wire: Mapping[str, Any]) -> None:
    """What a payload of our own version must satisfy beyond its types."""
    if wire["kind"] not in KINDS:
        raise PayloadError(f"the payload's kind is {wire['kind']!r}, none of {', '.join(KINDS)}")
    if wire.get("priority", "normal") not in PRIORITIES:
        raise PayloadError(f"the payload's priority is {wire['priority']!r}, none of {', '.join(PRIORITIES)}")
    for name, least in ("v", 1), ("attempt", 1), ("q", 0):
        if not least <= wire.get(name, least) < 2**32:  # what a store can keep
            raise PayloadError(f"the payload's {name} is {wire[name]}, counted from {least}")
    needs: tuple[tuple[str, type], ...] = (("args", dict),)
    if wire["kind"] == "refresh":
        needs = (("job", str), ("args", list), ("key", str), ("born", str), ("q", int))
    for name, kind in needs:
        if not isinstance(wire.get(name), kind):
            raise PayloadError(f"a {wire['kind']} payload needs {name!r} as {kind.__name__}: {wire.get(name)!r}")
    if wire["kind"] != "refresh":
        for name in ("keys", "tags", "jobs"):
            names = wire["args"].get(name, [])
            if not (isinstance(names, list) and all(isinstance(one, str) for one in names)):
                raise PayloadError(f"an {wire['kind']} payload's {name!r} must be a list of strings: {names!r}")
        reach = [wire["args"].get("prefix")] if wire["kind"] == "sweep" else wire["args"].get("keys", [])
        for name, kind in ("cursor", str), ("run", str), ("slice", int):
            if type(value := wire["args"].get(name, kind())) is not kind:
                raise PayloadError(f"the payload's {name!r} is {value!r}, not {kind.__name__}")
        if not all(isinstance(one, str) and one.startswith(f"{wire['app']}:") for one in reach):
            raise PayloadError(f"the payload reaches beyond its application's keys: {reach!r}")
    try:
        if "born" in wire and len(bytes.fromhex(wire["born"])) != 8:
            raise ValueError
    except ValueError:
        raise PayloadError(f"the payload's born is {wire['born']!r}, not 16 hex digits") from None


def signing_key(key: str | bytes) -> bytes:
    """A signing key as bytes. Raises ConfigurationError below 16 bytes."""
    raw = key.encode() if isinstance(key, str) else bytes(key)
    if len(raw) < 16:
        raise ConfigurationError("a signing key needs at least 16 bytes: make one with secrets.token_hex(32)")
    return raw


def _sign(wire: Mapping[str, Any], key: bytes) -> str:
    """`v1,` and base64 of HMAC-SHA256, as in the Standard Webhooks specification, over the immutable fields."""
    text = json.dumps({name: wire.get(name) for name in SIGNED}, sort_keys=True, separators=(",", ":"))
    return "v1," + base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()


def _signed(wire: Mapping[str, Any], keys: Sequence[bytes]) -> bool:
    given = str(wire.get("sig") or "").encode().split()
    return any(hmac.compare_digest(_sign(wire, key).encode(), one) for key in keys for one in given)
