"""The rules of stores: those behind `--rewarm-store`. The protocol itself is proved elsewhere, by exploration."""

from __future__ import annotations

from .rules import Rule

_ROWS = (
    ("STORE-01", "What was never stored is absent.", "a default value instead of none"),
    ("STORE-02", "What a load commits is read with all its fields, byte for byte.", "payloads decoded as text"),
    ("STORE-03", "A load that was voided by an invalidation never commits as fresh.",
     "the commit does not compare the load's number in the same step"),
    ("STORE-04", "An older load never replaces the value of a newer one.", "the last writer wins"),
    ("STORE-05", "A value is fresh only under the stamps that were captured before its load.",
     "stamps are made again on each capture; a bump leaves the stamp"),
    ("STORE-06", "One load at a time holds an entry, and a dead one blocks it for its lease and no longer.",
     "the lease is not compared; seconds taken for milliseconds"),
    ("STORE-07", "A queued place starts once, and only the place that the entry names.", "a place is not compared"),
    ("STORE-08", "A removed entry refuses the commit of a load that began before.", "the commit creates the entry"),
    ("STORE-09", "A value stops being fresh after its ttl, and is gone after its hard limit.",
     "two clocks; the key's own expiry is not set"),
    ("STORE-10", "A failed load gives up its number and keeps its place for the retry; a long one keeps its lease.",
     "release forgets the place; renew writes nothing"),
    ("STORE-11", "A scan returns every key of a literal prefix, whatever characters it holds.",
     "the prefix is taken for a pattern"),
    ("STORE-12", "The ledger counts deliveries, bars a cancelled task and keeps dead letters.",
     "the count is not stored before the run"),
    ("STORE-13", "Concurrent readers of a cold entry cause exactly one load.", "two readers are granted the same load"),
    ("STORE-14", "Under concurrent readers and writers no value is fresh that is older than a completed invalidation.",
     "two steps where one is needed"),
    ("STORE-15", "After an expiring invalidation no older value is returned at all.", "two steps where one is needed"),
)  # fmt: skip

STORE_RULES = {id: Rule(id, sentence, "store", causes) for id, sentence, causes in _ROWS}
