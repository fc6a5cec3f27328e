"""Broken adapters on the reference queue."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from rewarm import Capability, Route
from rewarm.adapter import ENTRY
from rewarm.errors import TaskDead
from rewarm.task import WIRE

from ..reference import ReferenceAdapter, ReferenceTestbed
from . import breaks


def changed(payload: str, **fields: Any) -> str:
    """A payload with other fields; None takes one out."""
    try:
        return json.dumps({name: value for name, value in (json.loads(payload) | fields).items() if value is not None})
    except ValueError:
        return payload


def field(payload: str, name: str, otherwise: Any = None) -> Any:
    try:
        return json.loads(payload).get(name, otherwise)
    except ValueError:
        return otherwise


@breaks("APP-01", "there is none")
class Nameless(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        name = "nameless"


@breaks("APP-03", "reported dead 0 times")
class DropsStrangers(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def deliver(self, payload: str) -> None:
            app = self.find(payload)
            if field(payload, "job") in (None, *app.jobs) and field(payload, "app", app.name) == app.name:
                super().deliver(payload)


@breaks("APP-05", "never started")
class LeavesItToTheLoop(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return super().enqueue(payload, route=route, delay=delay)
            loop.call_later(60, self.queue.put, payload)
            return "later"


@breaks("DELIVER-01", "delivered 2 times")
class SendsTheTwentiethTwice(ReferenceTestbed):
    """Of one job, in a row: other rules count deliveries as well, of fewer."""

    class adapter_class(ReferenceAdapter):
        row = 0

        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            plain = (field(payload, "job"), field(payload, "attempt", 1), delay) == ("ok", 1, 0.0)
            self.row = self.row + 1 if plain else 0
            if self.row and self.row % 20 == 0:
                super().enqueue(payload, route=route, delay=delay)
            return super().enqueue(payload, route=route, delay=delay)


@breaks("DELIVER-12", "3 of 6 ran by another")
class OneQueueForAll(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        capabilities = ReferenceAdapter.capabilities | {Capability.BULK}

        def enqueue_many(self, payloads: Sequence[tuple[str, Route]]) -> None:
            for payload, _ in payloads:
                self.enqueue(payload, route=Route(), delay=0.0)


@breaks("DEPTH-01", r"\[3, 3\]")
class CountsOneQueue(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def depth(self, queue: str | None = None) -> int:
            return super().depth()


@breaks("DELIVER-03", "1 different ids")
class OneId(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            super().enqueue(payload, route=route, delay=delay)
            return ENTRY


@breaks("DELIVER-04", "as if nothing were wrong")
class Swallows(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            try:
                return super().enqueue(payload, route=route, delay=delay)
            except sqlite3.OperationalError:
                return "lost"


@breaks("DELIVER-06", "too early")
class TakesASecondForNone(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        max_hop = 1.6  # so that no hop of DELIVER-08 is a second long

        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            if 0.9 < delay <= 1.0 and field(payload, "attempt", 1) == 1:
                payload, delay = changed(payload, due=None), 0.0
            return super().enqueue(payload, route=route, delay=delay)


@breaks("DELIVER-08", "a start was attempt")
class CountsHops(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            if delay and field(payload, "attempt", 1) == 1:
                payload = changed(payload, attempt=2)
            return super().enqueue(payload, route=route, delay=delay)


@breaks("DELIVER-09", "done")
class NeverExpires(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            if not field(payload, "sig"):
                payload = changed(payload, not_after=None)
            return super().enqueue(payload, route=route, delay=delay)


@breaks("DELIVER-10", "[1-4] of 4 payloads started")
class OneQueue(ReferenceTestbed):
    """For one job, and not in bulk: pings find their way."""

    class adapter_class(ReferenceAdapter):
        capabilities = ReferenceAdapter.capabilities | {Capability.BULK}

        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            if field(payload, "job") == "ok":
                route = replace(route, queue=None)
            return super().enqueue(payload, route=route, delay=delay)

        def enqueue_many(self, payloads: Sequence[tuple[str, Route]]) -> None:
            for payload, route in payloads:
                super().enqueue(payload, route=route, delay=0.0)


@breaks("DELIVER-11", "3 of 4 payloads never started")
class WorkersCannotSend(ReferenceTestbed):
    """Nothing but the follow-ups of the task that runs."""

    class adapter_class(ReferenceAdapter):
        inside = threading.local()

        def deliver(self, payload: str) -> None:
            self.inside.id = field(payload, "id")
            super().deliver(payload)

        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            if getattr(self.inside, "id", None) in (None, field(payload, "id")):
                return super().enqueue(payload, route=route, delay=delay)
            return "lost"


@breaks("PAYLOAD-01", "never started")
class OnePlaneOnly(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            return super().enqueue(re.sub(r"(\\ud[89a-f]..)+", "?", payload), route=route, delay=delay)


@breaks("PAYLOAD-02", "fields that the core does not know: {}")
class KnownFieldsOnly(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            return super().enqueue(changed(payload, **dict.fromkeys(rest(payload))), route=route, delay=delay)


def rest(payload: str) -> Iterable[str]:
    """The fields that this version does not know."""
    try:
        return [name for name in json.loads(payload) if name not in WIRE]
    except ValueError:
        return ()


@breaks("PAYLOAD-03", "acknowledged and forgotten")
class DropsNewer(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def deliver(self, payload: str) -> None:
            if field(payload, "v", 0) <= 1:
                super().deliver(payload)


@breaks("PAYLOAD-05", "dead letters with the raw text: 0")
class DropsMalformed(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def deliver(self, payload: str) -> None:
            if field(payload, "id"):
                super().deliver(payload)


@breaks("RETRY-02", "^[0-9]+ of them$")
class ShortensPauses(ReferenceTestbed):
    """The core puts off what comes too early: no retry is early, and each is delivered again and again."""

    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            if field(payload, "attempt", 1) > 1:
                delay /= 16
            return super().enqueue(payload, route=route, delay=delay)


@breaks("RETRY-06", "the id of attempt 2")
class AnotherIdInBetween(ReferenceTestbed):
    """The last attempt has the first one's again: by it the suite finds the dead letter."""

    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            if field(payload, "attempt", 1) in (2, 3):
                payload = changed(payload, id=field(payload, "id")[::-1])
            return super().enqueue(payload, route=route, delay=delay)


@breaks("RETRY-08", "attempt 2 started .* too late")
class Lazy(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            return super().enqueue(payload, route=route, delay=2 * delay + 0.6 if delay else 0.0)


@breaks("RETRY-09", "they show none")
class HidesFailures(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def deliver(self, payload: str) -> None:
            try:
                super().deliver(payload)
            except TaskDead:
                return


@breaks("RETRY-10", "2 attempts 1, but 1 attempts 2")
class SendsAfterwards(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        inside = threading.local()

        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            kept = getattr(self.inside, "kept", None)
            if kept is None:
                return super().enqueue(payload, route=route, delay=delay)
            kept.append((payload, route, delay))
            return "later"

        def deliver(self, payload: str) -> None:
            self.inside.kept = []
            super().deliver(payload)
            kept, self.inside.kept = self.inside.kept, None
            for follow, route, delay in kept:
                self.enqueue(follow, route=route, delay=delay)


@breaks("EAGER-07", "eager after the switch: False")
class NeverEager(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        eager = False


@breaks("BROKER-03", "EnqueueError: .*broken for ever")
class RemembersFailures(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        broken = False

        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            if self.broken:
                raise ConnectionError("broken for ever")
            try:
                return super().enqueue(payload, route=route, delay=delay)
            except sqlite3.OperationalError:
                self.broken = True
                raise


@breaks("ORDER-01", "lower ones before it")
class OneLevel(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            return super().enqueue(payload, route=replace(route, priority="normal"), delay=delay)


@breaks("LOAD-01", "payloads never started")
class LosesOneInAHundred(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        sent = 0

        def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
            self.sent += 1
            return super().enqueue(payload, route=route, delay=delay) if self.sent % 100 else "lost"
