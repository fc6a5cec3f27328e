"""The cases that are explored. Every mutant dies in one of them, and each has as few processes as it needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rewarm.steps import Seen, seal_of

from . import flows
from .model import AHEAD, BEHIND, KEY, LIFE, NOW, TAG, World
from .roles import Case, Invalidator, Queuer, Reader, Reloader, Role, Sender, Setter, Task, Writing
from .search import Scenario

SECOND, OTHER = "app:2", "app:tag:u"
plain = Case()
tagged = Case(stamps=(TAG,))
two_tags = Case(stamps=(TAG, OTHER))
expiring = Case(expires=True)
expiring_tag = Case(stamps=(TAG,), expires=True)
queuing = Case(queues_on_miss=True)
queuing_tag = Case(queues_on_miss=True, stamps=(TAG,), expires=True)
spare = Case(keeps_if_error=True)
resting = Case(throttle=1)
resting_spare = Case(throttle=1, keeps_if_error=True)
eager = Case(ahead=True)
sooner = Case(place=1)
patient = Case(on_store_error="load")
inside = Case(transactional=True)
inline = Case(on_enqueue_error="inline")
alike = Case(contents=(0, 1, 0))
newer = Case(release=1)
second = Case(key=SECOND, index=1)

r, rt, rx, rxt = Reader(plain), Reader(tagged), Reader(expiring), Reader(expiring_tag)
w = Invalidator((KEY,), (), (0,))
wx = Invalidator((KEY,), (), (0,), expires=True)
x = Invalidator((KEY,), (), (0,), deletes=True)
t = Invalidator((), (TAG,), (0,))
tx = Invalidator((), (TAG,), (0,), expires=True)
both = Invalidator((KEY,), (TAG,), (0,))

SEED = b"0"
STAMP = b"s"


def entry(case: Case = plain, stamps: Sequence[bytes] = (), **fields: Any) -> Seen:
    """A payload of version 0, load 1 of an incarnation that is there from the beginning; marked stale."""
    seal = seal_of(case.stamps, stamps)
    assert seal is not None
    payload: Any = 0  # its version
    return Seen(case.release, 0, 0, NOW, 0, SEED, 1, 1, 0, 0, seal, payload, NOW)._replace(**fields)


def begin(*entries: Seen | None, stamps: Sequence[bytes | None] = (), held: Any = None) -> World:
    none = (0,) * len(entries)
    return World(tuple(entries), tuple(stamps), 0, none, none, held=held)


COLD = begin(None)
STALE = begin(entry())
FRESH = begin(entry(soft=AHEAD))
OLD = begin(entry(soft=BEHIND))
QUEUED = begin(entry(n=2, q=2, due=AHEAD))
COLD_TAG = begin(None, stamps=[STAMP])
NO_STAMP = begin(None, stamps=[None])
STALE_TAG = begin(entry(tagged, [STAMP]), stamps=[STAMP])
FRESH_TAG = begin(entry(tagged, [STAMP], soft=AHEAD), stamps=[STAMP])


def scenario(name: str, roles: Sequence[Role], world: World, *, fast: bool = False, **more: Any) -> Scenario:
    options = {key: more.pop(key) for key in tuple(more) if key in OPTIONS}
    cases = list(dict.fromkeys(role.case for role in roles if hasattr(role, "case")))
    options.setdefault("cases", cases)
    options.setdefault("tags", sorted({tag for case in cases for tag in case.stamps}))
    return Scenario(name, roles, world, faults=more, fast=fast, **options)


OPTIONS = ("cases", "tags", "keys", "loads", "nightly", "tries", "runs", "shares", "patches")
first = Invalidator((), (TAG,), (0,), label="first")
task = Task(plain, SEED, 2)
sweep = Sender("sweep", json.dumps({"prefix": "app:"}), (0, 1))
fence = Sender("invalidate", json.dumps({"keys": [KEY]}), (0,))

SCENARIOS = [
    # --- one key
    scenario("cold", [r, r, r, w], COLD, fast=True),
    scenario("cold, a waiter gives up", [r, r, r, w], COLD, late=1, lapse=1, crash=1),
    scenario("cold, deleted", [r, r, r, w, x], COLD, evict=1, fast=True),
    scenario("cold, a dead loader", [r, r, w, x], COLD, crash=1, lapse=1, evict=1),
    scenario("stale, tasks", [r, r, w], STALE, dup=2, lose=1, fast=True),
    scenario("stale, tasks that crash", [r, r, w], STALE, dup=1, lapse=1, crash=1),
    scenario("stale, two writers", [r, r, w, w], STALE, dup=1, lapse=1, crash=1),
    scenario("stale, deleted", [r, r, w, x], STALE, dup=1, evict=1, lapse=1),
    scenario("fresh, turning stale", [r, r, w], FRESH, dup=1, lapse=1, soft=1, fast=True),
    scenario("fresh, past its hard limit", [r, r, w], FRESH, dup=1, lapse=1, hard=1),
    scenario("answers lost, steps sent again", [r, r, w], STALE, dup=1, again=2),
    scenario("cold, answers lost", [r, r, w, x], COLD, again=2),
    scenario("loads that fail", [r, r, w], STALE, dup=1, lapse=1, fail=2, tries=1, fast=True),
    scenario("cold, loads that fail", [r, r, r, w], COLD, fail=2, lapse=1),
    scenario("stale if error", [Reader(spare), Reader(spare), w], begin(entry(loaded=NOW - LIFE)), fail=1, lapse=1),
    scenario("a source at rest", [Reader(resting), Reader(resting), Reader(resting), w], STALE, fail=1, lapse=1,
             fast=True),
    scenario("a source at rest, asked for", [Reader(resting), Queuer(resting), w], STALE, fail=1, dup=1, lapse=1),
    scenario("stale if error, at rest", [Reader(resting_spare)] * 3 + [w], begin(entry(loaded=NOW - LIFE)), fail=1,
             lapse=1, fast=True),
    scenario("a server that restarts empty", [r, r, w], STALE, dup=1, lapse=1, restart=1),
    scenario("the same, with a tag", [rt, rt, t], STALE_TAG, dup=1, restart=1),
    scenario("a store that is away", [Reader(patient), Reader(patient), w, w], STALE, dup=1, away=2),
    scenario("a store that is away, cold", [Reader(patient), Reader(patient), w, x], COLD, away=2, lapse=1, fast=True),
    scenario("a store that is away while written", [r, Writing(plain), Setter(plain), w], STALE, away=1, dup=1),
    scenario("in a transaction", [Reader(inside), Queuer(plain, again=True), r, w], STALE, dup=1, lapse=1,
             cases=[plain]),
    scenario("the queue refuses", [r, r, w], STALE, refuse=1, dup=1, lapse=1),
    scenario("the queue refuses, loads in place", [Reader(inline), Reader(inline), w], STALE, refuse=1, fail=1),
    scenario("early refresh", [Reader(eager), Reader(eager), w], FRESH, dup=1, lapse=1),
    scenario("long loads, renewed", [r, r, w, w], STALE, dup=1, lapse=2, runs=flows.long_load),
    scenario("a task voided and voided", [r, w, w], STALE, dup=1, patches={"LOADS": 1}, fast=True),
    # --- what an invalidated value may still do
    scenario("expire, by key", [rx, rx, wx, wx], begin(entry(expiring)), dup=1, evict=1, lapse=1),
    scenario("expire, by tag", [rxt, rxt, tx], begin(entry(expiring_tag, [STAMP]), stamps=[STAMP]), lapse=1, stamp=1),
    scenario("expire, cold", [rx, rx, wx], COLD, lapse=1, evict=1, fast=True),
    # --- queued on a miss
    scenario("queued on a miss", [Reader(queuing), Reader(queuing), w], COLD, dup=1, lapse=1, evict=1, lose=1,
             fast=True),
    scenario("queued on a miss, deleted", [Reader(queuing), Reader(queuing), w, x], COLD, dup=1, lapse=1),
    scenario("queued on a miss, expired by tag", [Reader(queuing_tag), Reader(queuing_tag), tx],
             begin(entry(queuing_tag, [STAMP], soft=AHEAD), stamps=[STAMP]), dup=1, lapse=1, stamp=1),
    scenario("warmed", [Queuer(plain), Queuer(plain), r, w], COLD, dup=1, lapse=1),
    scenario("warmed, where a delayed task waits", [Queuer(sooner), Reader(sooner), task, w], QUEUED, dup=1, lapse=1),
    scenario("warmed while stale", [Queuer(plain), r, w, x], STALE, dup=1, lapse=1),
    scenario("reloaded", [Reloader(plain), Reloader(plain), r, w], STALE, dup=1, lapse=1),
    # --- tags
    scenario("tag", [rt, rt, t], STALE_TAG, dup=1, lapse=1, stamp=1, fast=True),
    scenario("tag, fresh", [rt, rt, t, t], FRESH_TAG, dup=1, stamp=1, soft=1),
    scenario("tag, cold", [rt, rt, t], NO_STAMP, stamp=2, evict=1, fast=True),
    scenario("tag and key", [rt, rt, t, w], COLD_TAG, evict=1, stamp=1),
    scenario("tag and key in one invalidation", [rt, rt, both, t], STALE_TAG, dup=1, stamp=1),
    scenario("two tags", [Reader(two_tags), Reader(two_tags), t, Invalidator((), (OTHER,), (0,))],
             begin(entry(two_tags, [STAMP, b"u"]), stamps=[STAMP, b"u"]), stamp=1),
    scenario("a tag's invalidation, delivered twice",
             [rt, rt, first, replace(first, writes=False), replace(first, label="second")], NO_STAMP),
    # --- set and writing
    scenario("set", [r, r, w, Setter(plain)], STALE, dup=1, lapse=1, fast=True),
    scenario("set, cold", [r, r, Setter(plain), w], COLD, evict=1),
    scenario("set with a tag", [rt, rt, Setter(tagged), t], STALE_TAG, dup=1),
    scenario("two sets with a tag", [rt, Setter(tagged), Setter(tagged), t], COLD_TAG, evict=1),
    scenario("writing", [r, r, Writing(plain), Writing(plain)], COLD, lapse=1, fast=True),
    scenario("writing without a value", [r, r, Writing(plain, gives=False), w], STALE, dup=1, evict=1),
    scenario("writing with a tag", [rt, Writing(tagged), Writing(tagged), t], COLD_TAG, evict=1, stamp=1),
    scenario("writing, and a crash", [r, r, Writing(plain), w], COLD, crash=1, evict=1),
    # --- two formats during an upgrade
    scenario("two releases", [Reader(newer), Reader(newer), w], begin(entry(newer, soft=AHEAD)), soft=1, fast=True),
    # --- modelled here alone
    scenario("not modified", [task, Task(alike, SEED, 2, runs=flows.revalidate), w, w, Reader(alike)],
             begin(entry(alike, n=2, q=2, due=AHEAD)), lapse=1, cases=[alike]),
    scenario("a load that is handed over", [r, r, w], COLD, shares=True),
    scenario("a layer in the process", [Reader(plain, near=True)] * 3 + [Invalidator((KEY,), (), (0,), near=True)],
             begin(entry(soft=AHEAD), held=(None, 0)), fast=True),
    # --- invalidations that are tasks; sweeps
    scenario("a fence left to a task", [r, r, fence], FRESH, dup=1, crash=1, lapse=1, fast=True),
    scenario("sweep", [Reader(plain), Reader(second), sweep], begin(None, None), keys=[KEY, SECOND], dup=1, evict=1),
    scenario("sweep, and a crash", [Reader(plain), Reader(second), sweep], begin(None, entry()), keys=[KEY, SECOND],
             crash=1, lapse=1),
    scenario("sweep, and a fail-over", [Reader(plain), Reader(second), sweep],
             begin(entry(soft=AHEAD), entry(soft=AHEAD)), keys=[KEY, SECOND], failover=1, fast=True),
    # --- economy: exact numbers
    scenario("economy: cold", [r, r, r], COLD, loads=1, fast=True),
    scenario("economy: stale", [r, r, r], STALE, dup=1, loads=1, fast=True),
    scenario("economy: stale and written", [r, r, w], STALE, dup=1, loads=2, fast=True),
    scenario("economy: turning stale twice", [r, r, r], OLD, dup=1, soft=1, loads=2),
    scenario("economy: a tag", [rt, rt, t], FRESH_TAG, dup=1, loads=1),
    scenario("economy: evicted", [r, r], FRESH, evict=1, dup=1, loads=1),
    scenario("economy: a lapsed lease", [r, r], COLD, lapse=1, loads=2),
    scenario("economy: queued on a miss", [Reader(queuing), Reader(queuing)], COLD, dup=1, loads=1, fast=True),
    scenario("economy: a load that fails", [r, r], STALE, dup=1, fail=1, tries=1, loads=2),
    scenario("economy: a source at rest", [Reader(resting)] * 3, STALE, fail=1, loads=1),
    scenario("economy: a fence left to a task", [r, r, fence], FRESH, dup=1, loads=1, fast=True),
    # --- large
    scenario("stale, three readers", [r, r, r, w, w], STALE, dup=1, lapse=1),
    scenario("stale, one of every fault", [r, r, w, x], STALE, dup=1, lose=1, crash=1, lapse=1, evict=1, soft=1,
             nightly=True),
    scenario("tag, three readers", [rt, rt, rt, t, w], STALE_TAG, dup=1, stamp=1, nightly=True),
    scenario("cold, four readers", [r, r, r, r, w, x], COLD, lapse=1, evict=1, crash=1, nightly=True),
]  # fmt: skip
