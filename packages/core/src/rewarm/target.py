"""One entry as the flows see it: a job's policies, evaluated for these arguments when they are asked for."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from . import events
from .effects import Loaded, Packed
from .errors import ConfigurationError, SerializeError
from .policies import LONGEST, milliseconds
from .steps import Seen

if TYPE_CHECKING:
    from .job import BoundJob


LOADING: ContextVar[bool] = ContextVar("rewarm_loading", default=False)
"""Inside a load. What it makes of other entries will count as fresh: it reads nothing less, and no empty value."""


class Target:
    """`values`: the bound arguments. See `freshness.Target` for what the flows ask of it."""

    __slots__ = ("_decoded", "job", "key", "stamps", "values")

    def __init__(self, job: BoundJob[..., Any], values: Sequence[Any]) -> None:
        self.job, self.values = job, values
        self.key = job.key_of(values)
        self.stamps = job.stamps_of(values)

    def policy(self, name: str, value: Any = None) -> Any:
        return self.job.policies[name](self.values, value)

    def ms(self, name: str) -> int:
        return self.checked(name, self.policy(name), 1 if name in ("lease", "timeout") else 0)

    def checked(self, name: str, given: Any, least: int) -> int:
        """A duration as milliseconds. Raises ConfigurationError that names it and the job."""
        try:
            return milliseconds(given, least)
        except ConfigurationError as error:
            raise ConfigurationError(f"job {self.job.name!r}: {name} {error}") from None

    def ttl(self, value: Any) -> int:
        """Of a value that was just loaded. Where it has run out already, as a countdown may, the shortest there is."""
        return max(1, self.checked("ttl", self.policy("ttl", value), 1 - LONGEST))

    def ttl_of(self, value: Any) -> int:
        """Asked of a value again, perhaps an old one: no read fails because it has no ttl any more."""
        try:
            return self.ttl(value)
        except Exception:
            return 0

    @property
    def tags(self) -> Sequence[str]:
        return self.job.tags_of(self.values)

    @property
    def expires(self) -> bool:
        return LOADING.get() or bool(self.policy("on_invalidated") == "expire")

    @property
    def queues_on_miss(self) -> bool:
        return not LOADING.get() and bool(self.policy("on_miss") == "queue")

    @property
    def transactional(self) -> bool:
        return self.job.app.in_transaction()

    @property
    def on_store_error(self) -> str:
        return self.job.app.settings.on_store_error

    @property
    def on_enqueue_error(self) -> str:
        return self.job.app.settings.on_enqueue_error

    @property
    def patience(self) -> int:
        return self.ms("wait")

    @property
    def lease(self) -> int:
        return self.ms("lease")

    @property
    def place(self) -> int:
        return self.ms("timeout")

    @property
    def throttle(self) -> int:
        return self.ms("throttle")

    @property
    def stamp_ttl(self) -> int:
        """A stamp outlives the entries it seals; a ttl that depends on the value is not known yet: a day more."""
        ttl = self.job.policies["ttl"]
        longest = 86_400_000 if ttl.function else milliseconds(ttl.fixed)
        return longest + max(self.ms("stale_while_revalidate"), self.ms("stale_if_error"), 2 * self.lease)

    @property
    def empty(self) -> Any:
        return self.policy("empty")

    def unpack(self, seen: Seen) -> tuple[bool, Any]:
        try:
            return True, self.job.serializer.loads(seen.payload)
        except SerializeError as error:
            job = self.job
            job.app.emit(events.Undecodable(app=job.app.name, job=job.name, key=self.key, error=error))
            return False, None

    def pack(self, value: Any) -> Packed:
        full = ttl = self.ttl(value)
        if jitter := self.policy("jitter"):
            ttl = max(1, int(ttl * (1 - jitter * random.random())))
        hard = full + max(self.ms("stale_while_revalidate"), self.ms("stale_if_error"))
        return Packed(ttl, hard, self.job.serializer.dumps(value), 0)

    def stale_for(self, value: Any) -> int:
        return 0 if LOADING.get() else self.ttl_of(value) + self.ms("stale_while_revalidate")

    def error_for(self, value: Any) -> int:
        return self.ttl_of(value) + self.ms("stale_if_error")

    def early(self, seen: Seen) -> bool:
        """XFetch (Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015)."""
        beta = self.policy("early")
        return bool(beta) and seen.now - seen.load_ms * beta * math.log(1.0 - random.random()) >= seen.soft

    def loaded(self, got: Loaded) -> None:
        job = self.job
        job.app.emit(
            events.Loaded(app=job.app.name, job=job.name, key=self.key, seconds=got.ms / 1000, stored=got.stored)
        )

    def failed(self, error: BaseException) -> None:
        job = self.job
        job.app.emit(events.LoadFailed(app=job.app.name, job=job.name, key=self.key, error=error))

    def store_failed(self, error: Exception) -> None:
        job = self.job
        job.app.emit(events.StoreFailed(app=job.app.name, job=job.name, key=self.key, error=error))
