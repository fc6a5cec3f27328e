"""The rules: the one table behind `--list`, docs/contract.md, failures and reports."""

from __future__ import annotations

from dataclasses import dataclass

from rewarm import Capability

DELAY, REDELIVERY = Capability.DELAY, Capability.REDELIVERY
PERSISTENCE, PRIORITY, DEPTH = Capability.PERSISTENCE, Capability.PRIORITY, Capability.DEPTH

PROFILES = ("core", "durable", "full")
"""Each contains those before it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A numbered rule. A retired id is never used again. `causes`: what is usually behind a failure."""

    id: str
    sentence: str
    profile: str
    causes: str
    requires: tuple[Capability, ...] = ()


def _rules(profile: str, *rows: tuple[str, str, str] | tuple[str, str, str, tuple[Capability, ...]]) -> list[Rule]:
    return [Rule(row[0], row[1], profile, row[2], *row[3:]) for row in rows]


CORE = _rules(
    "core",
    ("SMOKE-01", "A ping runs in a worker.",
     "the worker consumes another queue than `enqueue` sends to; its command line is wrong: see its log; "
     "`install` registers nothing in the worker; the entry raises: see its log"),
    ("APP-01", "The adapter loads by its entry-point name; an unknown name fails with the way to install it.",
     "no entry point in the group rewarm.adapters; it names another class"),
    ("APP-02", "A worker finds the app through `$REWARM_APP` alone; a payload never names an import path.",
     "the worker's entry calls one application instead of `Adapter.deliver`; it overrides `find`; the testbed says "
     "`imports_app`, and the worker's command line does not"),
    ("APP-03", "A payload for an unknown app or job fails loudly and is not retried for ever.",
     "the worker's entry swallows errors; it drops what it does not know"),
    ("APP-04", "Importing an adapter opens no connection and imports no other queue.",
     "a client is made at import; a shared helper imports every queue"),
    ("APP-05", "`enqueue` from synchronous code inside a running event loop works, or fails with a clear error.",
     "asyncio.run() inside `enqueue`; a client bound to another loop"),
    ("DELIVER-01", "Without faults, each accepted payload starts exactly once.",
     "an `enqueue` that times out and sends again; a visibility limit shorter than the task"),
    ("DELIVER-02", "Payloads sent before any worker exists run later.",
     "a transport without a queue (publish and subscribe); a queue that a starting worker empties"),
    ("DELIVER-03", "The ids returned by `enqueue` are non-empty and unique.",
     "`enqueue` returns the entry's name, or nothing"),
    ("DELIVER-04", "`enqueue` on a dead broker raises EnqueueError within the deadline.",
     "the client retries for ever; errors are logged instead of raised; sends are buffered"),
    ("DELIVER-05", "Two workers share the load, and nothing runs twice.",
     "each worker gets a copy (fan-out); one worker fetches everything ahead of time"),
    ("DELIVER-06", "A delayed payload is not early.",
     "`delay` is not passed on, or shortened; milliseconds taken for seconds", (DELAY,)),
    ("DELIVER-07", "Without DELAY, a delayed payload is refused; it never runs early.",
     "the adapter ignores `delay`; the core's refusal is bypassed"),
    ("DELIVER-08", "A delay longer than the broker's visibility limit runs once and not early (hops).",
     "`delay` is not passed on; `max_hop` is None or above the limit; hops are counted as attempts", (DELAY,)),
    ("DELIVER-09", "A payload past `not_after`, cancelled or already satisfied is skipped, and says why.",
     "the queue's own expiry drops it without telling; the ledger is not shared with the workers"),
    ("DELIVER-10", "A payload routed to one queue is not run by a worker of another.",
     "`route.queue` is not passed on; the worker consumes all queues; the testbed's `worker` ignores `queue`"),
    ("DELIVER-11", "A job may enqueue further tasks from inside a worker.",
     "the worker's client cannot send; a connection crosses a fork"),
    ("DELIVER-12", "Payloads sent in one call all run, each once and by a worker of its queue.",
     "`enqueue_many` leaves out what `enqueue` sets, or sends all to one queue; BULK without one of the adapter's own"),
    ("PAYLOAD-01", "JSON values arrive equal: nested, Unicode, 2**63, null, 64 KB.",
     "the payload is decoded and encoded again on its way; the broker limits its size"),
    ("PAYLOAD-02", "Unknown payload fields are carried through a retry.",
     "the adapter rebuilds payloads from the fields it knows"),
    ("PAYLOAD-03", "A payload of a newer version is refused loudly and kept, not dropped.",
     "the worker's entry acknowledges what it cannot read"),
    ("PAYLOAD-04", "An argument that is not JSON is refused at `refresh()`, with the same error on every queue.",
     "the queue's own serializer is asked first"),
    ("PAYLOAD-05", "A malformed payload becomes a dead letter with its raw text; it does not crash-loop.",
     "the worker's entry parses payloads before `deliver`; TaskDead is retried by the queue"),
    ("PAYLOAD-06", "A payload with a bad signature is dead; a second valid key is accepted.",
     "the adapter changes signed fields; it makes payloads of its own"),
    ("RETRY-01", "A job that keeps failing runs as attempts 1..n+1, and then no more.",
     "the attempt is taken from the queue's counter instead of the payload"),
    ("RETRY-02", "A retry never starts before its backoff has passed.",
     "`delay` is not passed on; seconds given where the queue wants milliseconds; the delay is sent to a queue that "
     "no worker reads", (DELAY,)),
    ("RETRY-03", "Success ends the retries.",
     "the queue retries on its own as well; a delivery is not acknowledged"),
    ("RETRY-04", "When attempts are exhausted, the failure is reported exactly once.",
     "the queue runs a dead task again; TaskDead is swallowed"),
    ("RETRY-05", "The queue's own retries are off.",
     "the queue's default for retries is not zero; its retry middleware is on, and waits between them"),
    ("RETRY-06", "Id, key and arguments survive a retry.",
     "the adapter keys payloads by its own ids; arguments pass through another encoding"),
    ("RETRY-07", "A non-retryable exception is not retried.",
     "the queue retries what raises TaskDead"),
    ("RETRY-08", "A retry lands within its delay plus the declared tolerance.",
     "no scheduler runs; it polls seldom; `delay_tolerance` is too optimistic", (DELAY,)),
    ("RETRY-09", "A dead task is shown as failed by the queue's own tools, and is not retried by them.",
     "the worker's entry swallows TaskDead; the queue's failure handling sends it again"),
    ("EAGER-01", "An eager task runs before `refresh()` returns.",
     "`eager` is read once, at import; the queue's own eager mode runs on another thread"),
    ("EAGER-02", "An eager task sees the same normalised arguments as one in a worker.",
     "the queue's own eager mode passes objects through"),
    ("EAGER-03", "Eager retries run in order and without sleeping.",
     "the queue's own eager mode parks delayed retries; it sleeps"),
    ("EAGER-04", "An exhausted eager task raises, or is reported, as configured.",
     "`eager_raises` does not follow the queue's own setting"),
    ("EAGER-05", "Eager mode opens no connection.",
     "`eager` asks the broker; `install` connects"),
    ("EAGER-06", "Nested eager refreshes are bounded.",
     "the queue's own eager mode is used, which is not bounded"),
    ("EAGER-07", "The queue's own eager switch is obeyed with the core's eager semantics.",
     "`eager` does not report the switch, or is read before it is set"),
    ("IDEMP-01", "The same payload delivered twice causes one write.",
     "workers do not share the store; each delivery gets an identity of its own"),
    ("IDEMP-02", "Concurrent refreshes of one key compute once.",
     "workers do not share the store; the lease is shorter than the load"),
    ("IDEMP-03", "An older refresh never overwrites a newer value.",
     "the store's commit does not compare the load's number"),
    ("IDEMP-04", "A refresh that began before an invalidate does not bring the value back.",
     "an invalidation does not void the running load"),
    ("IDEMP-05", "Invalidating twice equals invalidating once.",
     "each invalidation queues a refresh of its own"),
    ("IDEMP-06", "A duplicate arriving while the first copy may be alive is deferred, not dropped.",
     "the queue drops duplicates by id; a running task counts as done"),
    ("IDEMP-07", "A duplicate arriving after the first copy's holder died runs.",
     "a lock without an end; a running task counts as done"),
    ("TXN-01", "After a rollback nothing runs.",
     "the task is sent before the commit"),
    ("TXN-02", "After a commit it runs once.",
     "the commit hook is lost, or called by each nested transaction"),
)  # fmt: skip

DURABLE = _rules(
    "durable",
    ("RETRY-10", "The next attempt is enqueued before this delivery is acknowledged: a crash between duplicates and "
     "never loses.", "early acknowledgement; `enqueue` only buffers, and sends when the task has returned"),
    ("CRASH-01", "A payload whose worker is killed in mid-task runs again.",
     "acknowledged at the start; a visibility limit of an hour; a lease that is never swept", (REDELIVERY,)),
    ("CRASH-02", "A payload that kills its worker is bounded: it ends as a dead letter.",
     "deliveries are counted after the run; the count dies with the worker", (REDELIVERY,)),
    ("CRASH-03", "A graceful stop loses nothing.",
     "the stop interrupts the running task; prefetched messages are not given back; what ended is not acknowledged"),
    ("CRASH-04", "The key lock of a dead worker expires.",
     "a lock without an end; a lease that something else keeps renewing"),
    ("CRASH-05", "Killed between compute and write, the key still converges.",
     "done is marked before the value is stored"),
    ("CRASH-06", "After a kill, with no further traffic, the payload runs again within the declared bound.",
     "expired leases are swept only when a message arrives; `redelivery_seconds` is too optimistic", (REDELIVERY,)),
    ("CRASH-07", "An idle worker stops within its grace period.",
     "a blocking read that ignores the signal; `stop_signal` is the wrong one"),
    ("CRASH-08", "A graceful stop burns no attempt.",
     "the stop cancels the task and counts it as failed"),
    ("CRASH-09", "A payload whose delivery raises NotAcknowledged is kept, and runs again.",
     "the worker's entry acknowledges whatever is raised; the queue counts it as a failure"),
    ("BROKER-01", "Queued payloads survive a broker restart.",
     "messages are not persistent; the queue is not durable", (PERSISTENCE,)),
    ("BROKER-02", "The worker reconnects unaided.",
     "the worker ends when its connection does; it waits on a dead socket"),
    ("BROKER-03", "The producer recovers unaided.",
     "a broken connection stays in the pool; the adapter remembers the failure"),
)  # fmt: skip

FULL = _rules(
    "full",
    ("DEPTH-01", "The depth of a queue is the number of payloads that wait in it.",
     "`depth` ignores its argument; it counts what has run, too", (DEPTH,)),
    ("ORDER-01", "A higher priority runs before a lower one that was queued earlier.",
     "`route.priority` is not passed on; the scale is inverted; the worker fetches too far ahead", (PRIORITY,)),
    ("LOAD-01", "Of 1,000 payloads on 4 workers none is lost and none doubled.",
     "a claim that is not atomic; a visibility limit shorter than the wait in a worker's memory"),
    ("LOAD-02", "Of 200 payloads on 3 workers under random kills (the seed is printed) none is lost.",
     "acknowledged at the start; a claim that dies with its worker", (REDELIVERY,)),
)  # fmt: skip

RULES: dict[str, Rule] = {rule.id: rule for rule in (*CORE, *DURABLE, *FULL)}


def in_profile(rule: Rule, profile: str) -> bool:
    """Is the rule part of the profile?"""
    return PROFILES.index(rule.profile) <= PROFILES.index(profile)
