"""A Redis huey that acknowledges: a task whose worker is killed comes back. Opt-in, in place of RedisHuey.

Stock huey removes a message when a worker takes it, and takes due messages off the schedule before it queues them.
Here a message that is taken moves to a set of those in flight, under a lease that a thread renews; it leaves that set
when the task has ended. What is due moves from the schedule to the queue in one step.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from huey import RedisHuey
from huey.consumer import Consumer, Scheduler
from huey.signals import SIGNAL_INTERRUPTED
from huey.storage import RedisStorage

from rewarm import NotAcknowledged

if TYPE_CHECKING:
    from collections.abc import Iterator

TAKE = """local m = redis.call('RPOP', KEYS[1])
if m then redis.call('ZADD', KEYS[2], ARGV[1], m) end
return m"""
MOVE = """local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
for _, m in ipairs(due) do redis.call('ZREM', KEYS[1], m) redis.call('RPUSH', KEYS[2], m) end
return #due"""
POLL = 0.5
UNREADABLE = 1000  # messages kept that no worker can read


class AckStorage(RedisStorage):  # type: ignore[misc]  # huey has no types
    """`lease`: seconds after which a message whose worker has gone silent is handed out again."""

    lease = 10.0

    def __init__(self, *args: Any, lease: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lease = lease or self.lease
        self.blocking = False  # taking is a script, and no script can wait
        self.inflight_key, self.unreadable_key = f"{self.queue_key}.inflight", f"{self.queue_key}.unreadable"
        self._take, self._move = self.conn.register_script(TAKE), self.conn.register_script(MOVE)
        self._next = 0.0

    def dequeue(self) -> Any:
        if (now := time.time()) >= self._next:
            self._next = now + self.lease / 4
            self._move(keys=[self.inflight_key, self.queue_key], args=[now])
        return self._take(keys=[self.queue_key, self.inflight_key], args=[now + self.lease])

    def read_schedule(self, ts: Any) -> list[Any]:
        self._move(keys=[self.schedule_key, self.queue_key], args=[self.convert_ts(ts)])
        return []

    def acknowledge(self, message: bytes) -> None:
        self.conn.zrem(self.inflight_key, message)

    def set_aside(self, message: bytes) -> None:
        with self.conn.pipeline() as pipe:
            pipe.zrem(self.inflight_key, message).lpush(self.unreadable_key, message)
            pipe.ltrim(self.unreadable_key, 0, UNREADABLE - 1).execute()

    @contextmanager
    def renewing(self, message: bytes) -> Iterator[None]:
        """Keep the lease while the task runs."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self.lease / 3):
                with suppress(Exception):  # Redis may be back at the next beat
                    self.conn.zadd(self.inflight_key, {message: time.time() + self.lease}, xx=True)

        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            ended.set()


class PromptScheduler(Scheduler):  # type: ignore[misc]
    """Looks at the schedule ten times a second; huey's own rounds up to one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.interval = 0.1


class AckConsumer(Consumer):  # type: ignore[misc]
    scheduler_class = PromptScheduler


class AckRedisHuey(RedisHuey):  # type: ignore[misc]
    """RedisHuey with acknowledgement. Takes `lease`, in seconds, besides RedisHuey's own arguments.

    Its consumer polls, every half second at least: huey's own limit for that is 10 s.
    """

    storage_class = AckStorage

    def create_consumer(self, **options: Any) -> Consumer:
        options["max_delay"] = min(options.get("max_delay", POLL), POLL)
        return AckConsumer(self, **options)

    def dequeue(self) -> Any:
        if (message := self.storage.dequeue()) is None:
            return None
        try:
            task = self.deserialize_task(message)
        except Exception:
            self.storage.set_aside(message)  # nobody here can run it: keep it where a person can look
            raise
        task._message = message
        return task

    def execute(self, task: Any, timestamp: Any = None) -> Any:
        if (message := getattr(task, "_message", None)) is None:
            return super().execute(task, timestamp)
        with self.storage.renewing(message):
            result = super().execute(task, timestamp)
        if not getattr(task, "_unfinished", False):  # or its lease lapses, and it comes back
            self.storage.acknowledge(message)
        return result

    def _emit(self, signal: str, task: Any, *args: Any, **kwargs: Any) -> None:
        if signal == SIGNAL_INTERRUPTED or (args and isinstance(args[0], NotAcknowledged)):
            task._unfinished = True  # huey itself ends as if all were well
        super()._emit(signal, task, *args, **kwargs)
