"""Broken cores under the reference queue, for rules that live in the core alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from rewarm import Adapter, ArgumentError, Rewarm, events, freshness, worker
from rewarm.app import Rewarm as App
from rewarm.codec import Codec
from rewarm.effects import Wait
from rewarm.entry import Entry
from rewarm.job import BoundJob
from rewarm.receipt import Receipt
from rewarm.retry import Retry
from rewarm.sending import Sender
from rewarm.steps import Look, Put, Seen, Unlink, seal_of
from rewarm.stores.base import Recall, Started, Verdict
from rewarm.target import Target
from rewarm.worker import Delivery, Ended, Outcome

from ..probe import ATTEMPTS, running
from ..reference import ReferenceTestbed
from ..testbed import Setting
from . import breaks


class BrokenCore(ReferenceTestbed):
    """Replaces one thing in the core, in the suite's process and in workers, once in each."""

    done: ClassVar[set[str]] = set()
    owner: Any = None
    attribute = ""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        if self.attribute and type(self).__name__ not in self.done:
            self.done.add(type(self).__name__)
            setattr(self.owner, self.attribute, self.instead(getattr(self.owner, self.attribute)))

    def instead(self, original: Callable[..., Any]) -> Any:
        """What takes the original's place."""
        raise NotImplementedError


@breaks("DELIVER-07", "the payload was taken")
class DelaysAnyhow(BrokenCore):
    owner, attribute = Sender, "_ready"

    def instead(self, original: Callable[..., Any]) -> Any:
        return lambda self, task, delay: (task.dumps(self._host.signing_keys), min(delay, 0.8), None)


@breaks("PAYLOAD-04", "it was sent")
class TakesAnything(BrokenCore):
    owner, attribute = Codec, "_encode"

    def instead(self, original: Callable[..., Any]) -> Any:
        def encode(codec: Codec, value: Any, path: Any) -> Any:
            try:
                return original(codec, value, path)
            except ArgumentError:
                return repr(value)

        return encode


@breaks("PAYLOAD-06", "1 of 2 payloads never started")
class OneKeyOnly(BrokenCore):
    owner, attribute = worker, "received"

    def instead(self, original: Callable[..., Any]) -> Any:
        return lambda payload, app, keys: original(payload, app, keys[:1])


@breaks("RETRY-01", r"attempts \[1, 2, 3, 3\]$")
class TriesTheLastTwice(BrokenCore):
    owner, attribute = BoundJob, "call"

    def instead(self, original: Callable[..., Any]) -> Any:
        def call(job: BoundJob[..., Any], values: Any) -> Any:
            try:
                return original(job, values)
            except Exception:
                task = running.get()
                if task is None or task.attempt < ATTEMPTS:
                    raise
                return original(job, values)

        return call


@breaks("RETRY-04", "reported dead 2 times")
class TellsTwice(BrokenCore):
    owner, attribute = App, "emit"

    def instead(self, original: Callable[..., Any]) -> Any:
        def emit(app: App, event: events.Event) -> None:
            twice = isinstance(event, events.Buried) and event.reason == "attempts exhausted"
            for _ in range(2 if twice else 1):
                original(app, event)

        return emit


@breaks("RETRY-07", r"attempts \[1, 2")
class RetriesEverything(BrokenCore):
    owner, attribute = Retry, "delay"

    def instead(self, original: Callable[..., Any]) -> Any:
        def delay(retry: Retry, error: Exception, attempt: int, *rest: Any) -> float | None:
            pause: float | None = original(retry, error, attempt, *rest)
            return 0.0 if pause is None and attempt < retry.attempts else pause

        return delay


@breaks("IDEMP-01", "started more often, up to 3 times")
class LoadsForEachDelivery(BrokenCore):
    owner, attribute = Delivery, "_refresh"

    def instead(self, original: Callable[..., Any]) -> Any:
        def refresh(delivery: Delivery) -> Any:
            ended: Ended = yield from original(delivery)
            (record,) = yield [Recall(delivery.record)]
            if ended.outcome == Outcome.SKIPPED and record is not None and record.status == "done":
                delivery.admits([Started(Verdict.GO)])
                yield from freshness.reload(delivery.host.target(delivery.task))
            return ended

        return refresh


@breaks("IDEMP-02", "started more often|two runs")
class NeverJoins(BrokenCore):
    owner, attribute = freshness, "queue"

    def instead(self, original: Callable[..., Any]) -> Any:
        def queue(target: Target, *rest: Any) -> Any:
            yield [Unlink(target.key)]
            return (yield from original(target, *rest))

        return queue


@breaks("IDEMP-03", "the value: 1")
class OverwritesWhatIsFresh(BrokenCore):
    owner, attribute = freshness, "load"

    def instead(self, original: Callable[..., Any]) -> Any:
        def load(target: Target, grant: Any, stamps: Any, *rest: Any) -> Any:
            got = yield from original(target, grant, stamps, *rest)
            ((seen, now),) = yield [Look(target.key, target.stamps)]
            found = freshness.judge(target, seen, now)
            if got.stored in ("ok", "raised") or found is None or found.state != freshness.HIT:
                return got
            yield [Put(target.key, seal_of(target.stamps, stamps) or b"", *target.pack(got.value))]
            return got._replace(stored="ok")

        return load


@breaks("IDEMP-04", "the older value is a HIT")
class InvalidatesWhatItFinds(BrokenCore):
    owner, attribute = Entry, "invalidate"

    def instead(self, original: Callable[..., Any]) -> Any:
        return lambda entry, *rest: original(entry, *rest) if entry.peek() else Receipt(entry.job.app, "invalidate")


@breaks("IDEMP-05", "the first read after it: MISS")
class InvalidatesByRemoving(BrokenCore):
    owner, attribute = freshness, "invalidate"

    def instead(self, original: Callable[..., Any]) -> Any:
        def invalidate(keys: Any, stamps: Any) -> Any:
            yield [Unlink(key) for key in keys]

        return invalidate


@breaks("IDEMP-06", "it was skipped")
class DropsDuplicates(BrokenCore):
    owner, attribute = Delivery, "_later"

    def instead(self, original: Callable[..., Any]) -> Any:
        def later(delivery: Delivery, delay: float, reason: str, *, hop: bool = False) -> Any:
            if hop:
                return (yield from original(delivery, delay, reason, hop=True))
            return Ended(Outcome.SKIPPED, reason)

        return later


@breaks("IDEMP-07", "skipped")
class RunningIsDone(BrokenCore):
    owner, attribute = Delivery, "admits"

    def instead(self, original: Callable[..., Any]) -> Any:
        def admits(delivery: Delivery, answers: list[Any]) -> bool:
            again = answers[0].deliveries > 1
            return bool(original(delivery, [Started(Verdict.DONE)] if again else answers))

        return admits


class Forgetful:
    """A transaction that never tells of its commit."""

    def __init__(self, transaction: Any) -> None:
        self.active = transaction.active

    def on_commit(self, function: Callable[[], Any], /) -> None:
        """Lost."""


@breaks("TXN-01", "[12] of 2 payloads started")
class SendsAfterARollback(ReferenceTestbed):
    def app(self, name: str, adapter: Adapter, **settings: Any) -> Rewarm:
        if transaction := settings.get("transactions"):
            end = transaction.end
            transaction.end = lambda *, commit: end(commit=True)
        return super().app(name, adapter, **settings)


@breaks("TXN-02", "never started")
class LosesTheHook(ReferenceTestbed):
    def app(self, name: str, adapter: Adapter, **settings: Any) -> Rewarm:
        if transaction := settings.get("transactions"):
            settings["transactions"] = Forgetful(transaction)
        return super().app(name, adapter, **settings)


@breaks("CRASH-02", "started more often")
class NeverPoison(BrokenCore):
    owner, attribute = worker, "DELIVERIES"

    def instead(self, original: Any) -> Any:
        return 10**6


@breaks("CRASH-04", "it waited")
class LocksReadersOut(BrokenCore):
    """Five seconds behind a load, however dead it is."""

    owner, attribute = freshness, "elect"

    def instead(self, original: Callable[..., Any]) -> Any:
        def elect(target: Target, seen: Seen | None) -> Any:
            waited = 0
            while seen is not None and seen.r and waited < 5_000:
                waited += yield Wait(0, 5_000 - waited)
            return (yield from original(target, seen))

        return elect


@breaks("CRASH-05", "the state: MISS")
class DoneBeforeStored(BrokenCore):
    owner, attribute = BoundJob, "call"

    def instead(self, original: Callable[..., Any]) -> Any:
        def call(job: BoundJob[..., Any], values: Any) -> Any:
            value, keep = original(job, values)
            return value, keep and job.name != "unwritten"

        return call
