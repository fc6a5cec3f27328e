"""Every step, on every store: the rules of section 3 of the protocol."""

from __future__ import annotations

import time
from typing import Any

import pytest

from rewarm.steps import (
    NO_SEAL,
    Acquire,
    Begin,
    Bump,
    Capture,
    Commit,
    Drop,
    Grant,
    Look,
    Mark,
    Open,
    Put,
    Release,
    Renew,
    Reserve,
    Scan,
    Seen,
    Steal,
    Touch,
    Unlink,
    Verdict,
    seal_of,
)
from rewarm.stores import Ledger, MemoryStore, Store
from rewarm.stores.base import (
    BURIAL,
    Admit,
    Backlog,
    Bury,
    Cancel,
    Clear,
    Enter,
    Exhume,
    Extend,
    Forget,
    Letter,
    Letters,
    Overdue,
    Recall,
    Record,
    Report,
    Resolve,
    Settle,
    Start,
    Started,
    Strike,
)
from rewarm.stores.base import Verdict as Answer

LONG = 600_000
SHORT = 20


def one(store: Store | Ledger, step: Any) -> Any:
    return store.run([step])[0]


def look(store: Store, key: str = "k") -> Seen:
    seen = one(store, Look(key))[0]
    assert seen is not None
    return seen


def commit(key: str, grant: Grant, payload: bytes = b"v", *, ttl: int = LONG, hard: int = LONG) -> Commit:
    return Commit(key, grant.born, grant.n, NO_SEAL, ttl, hard, payload, 3, 70_000)


def loaded(store: Store, key: str = "k", payload: bytes = b"v", *, ttl: int = LONG) -> Seen:
    """A committed entry."""
    seen = one(store, Look(key))[0]
    grant = one(store, Steal(key, seen.p if seen else 0, LONG))
    assert one(store, commit(key, grant, payload, ttl=ttl)) == "ok"
    return look(store, key)


# -- reads and tags ------------------------------------------------------------------------------------------


def test_nothing_is_there(store: Store) -> None:
    assert one(store, Look("k")) == (None, ())
    assert one(store, Look("k", ("t", "u"))) == (None, (None, None))


def test_a_commit_is_read_with_all_its_fields(store: Store) -> None:
    grant = one(store, Steal("k", 0, LONG))
    seal = b"12345678"
    assert one(store, Commit("k", grant.born, grant.n, seal, 1000, 9000, b"\0\r\nv", 513, 70_000)) == "ok"
    seen = look(store)
    assert (seen.payload, seen.flags, seen.load_ms, seen.seal) == (b"\0\r\nv", 513, 70_000, seal)
    assert (seen.n, seen.p, seen.q, seen.r, seen.due, seen.born) == (1, 1, 0, 0, 0, grant.born)
    assert seen.soft == seen.loaded + 1000
    assert abs(seen.now - seen.loaded) < 1000


def test_stamps_are_made_once_and_seal_what_was_captured(store: Store) -> None:
    stamps = one(store, Capture(("t", "u"), LONG))
    assert len(set(stamps)) == 2
    assert all(len(stamp) == 8 for stamp in stamps)
    assert one(store, Capture(("u", "t"), LONG)) == stamps[::-1]
    assert one(store, Look("k", ("t", "u"))) == (None, stamps)
    assert one(store, Bump("t")) is None
    assert one(store, Look("k", ("t", "u")))[1] == (None, stamps[1])
    again = one(store, Capture(("t", "u"), LONG))
    assert again[0] != stamps[0]
    assert seal_of(("t", "u"), again) != seal_of(("t", "u"), stamps)


def test_a_stamp_lives_as_long_as_its_last_capture_wants(store: Store) -> None:
    for ttls, lives in (((SHORT,), False), ((LONG, SHORT), True), ((SHORT, LONG), True)):
        one(store, Bump("t"))
        for ttl in ttls:
            one(store, Capture(("t",), ttl))
        time.sleep(2 * SHORT / 1000)
        assert (one(store, Look("k", ("t",)))[1] != (None,)) is lives


# -- leases --------------------------------------------------------------------------------------------------


def test_a_load_is_stolen_once(store: Store) -> None:
    grant = one(store, Steal("k", 0, LONG))
    assert grant == Grant(Verdict.GO, 1, grant.born)
    assert len(grant.born) == 8
    busy = one(store, Steal("k", 0, LONG))
    assert busy.verdict is Verdict.BUSY
    assert LONG - 5000 < busy.wait <= LONG
    seen = look(store)
    assert (seen.p, seen.payload, seen.leased) == (0, b"", True)


def test_a_lapsed_load_is_stolen_again_and_its_commit_refused(store: Store) -> None:
    loaded(store)
    first = one(store, Steal("k", 1, SHORT))
    time.sleep(1.2 * SHORT / 1000)
    second = one(store, Steal("k", 1, LONG))
    assert (second.verdict, second.n, second.born) == (Verdict.GO, 3, first.born)
    assert one(store, commit("k", second, b"new")) == "ok"
    assert one(store, commit("k", first, b"old")) == "refused"
    assert one(store, Steal("k", 1, LONG)) == Grant(Verdict.CHANGED)
    assert look(store).payload == b"new"


def test_a_lease_ends_with_its_key_after_twice_its_time(store: Store) -> None:
    one(store, Steal("k", 0, SHORT))
    time.sleep(2.5 * SHORT / 1000)
    assert one(store, Look("k"))[0] is None


def test_a_place_is_taken_by_one_reader_of_the_payload_seen(store: Store) -> None:
    seen = loaded(store)
    assert one(store, Acquire("k", b"notborn!", seen.p, LONG)) == 0
    assert one(store, Acquire("k", seen.born, seen.p + 1, LONG)) == 0
    place = one(store, Acquire("k", seen.born, seen.p, LONG))
    assert place == seen.n + 1
    assert one(store, Acquire("k", seen.born, seen.p, LONG)) == 0
    assert look(store).q == place
    assert look(store).payload == b"v"


def test_acquire_needs_an_entry_and_reserve_makes_one(store: Store) -> None:
    assert one(store, Acquire("k", b"notborn!", 0, LONG)) == 0
    place, born = one(store, Reserve("k", 0, LONG))
    assert (place, look(store).born, look(store).q) == (1, born, 1)
    assert one(store, Reserve("k", 0, LONG)) is None
    assert one(store, Reserve("other", 7, LONG))[0] == 1


def test_the_task_of_a_place_begins_once(store: Store) -> None:
    place, born = one(store, Reserve("k", 0, LONG))
    assert one(store, Begin("k", born, place + 1, LONG)) == Grant(Verdict.SUPERSEDED)
    assert one(store, Begin("k", b"notborn!", place, LONG)) == Grant(Verdict.SUPERSEDED)
    grant = one(store, Begin("k", born, place, LONG))
    assert grant == Grant(Verdict.GO, place + 1, born)
    duplicate = one(store, Begin("k", born, place, LONG))
    assert (duplicate.verdict, duplicate.n) == (Verdict.BUSY, 0)
    assert one(store, commit("k", grant)) == "ok"
    assert one(store, Begin("k", born, place, LONG)) == Grant(Verdict.SUPERSEDED)


def test_a_failed_load_keeps_its_place_for_the_retry(store: Store) -> None:
    place, born = one(store, Reserve("k", 0, LONG))
    grant = one(store, Begin("k", born, place, LONG))
    assert one(store, Release("k", born, grant.n + 1, LONG)) is False
    assert one(store, Release("k", born, grant.n, LONG)) is True
    assert one(store, Release("k", born, grant.n, LONG)) is False
    assert one(store, Acquire("k", born, 0, LONG)) == 0
    assert one(store, Begin("k", born, place, LONG)).verdict is Verdict.GO


def test_a_long_load_keeps_its_lease(store: Store) -> None:
    loaded(store)
    grant = one(store, Steal("k", 1, SHORT))
    assert one(store, Renew("k", grant.born, grant.n, LONG)) is True
    assert one(store, Renew("k", grant.born, grant.n + 1, LONG)) is False
    time.sleep(1.2 * SHORT / 1000)
    assert one(store, Steal("k", 1, LONG)).verdict is Verdict.BUSY


def test_a_place_is_given_up_by_its_task_only_while_nothing_runs(store: Store) -> None:
    place, born = one(store, Reserve("k", 0, LONG))
    assert one(store, Drop("k", born, place + 1)) is False
    grant = one(store, Begin("k", born, place, LONG))
    assert one(store, Drop("k", born, place)) is False
    one(store, Release("k", born, grant.n, LONG))
    assert one(store, Drop("k", born, place)) is True
    assert (look(store).q, look(store).due) == (0, 0)


def test_open_voids_what_runs_and_what_is_queued(store: Store) -> None:
    place, born = one(store, Reserve("k", 0, LONG))
    running = one(store, Begin("k", born, place, LONG))
    opened = one(store, Open("k", LONG))
    assert (opened.verdict, opened.born, opened.n) == (Verdict.GO, born, running.n + 1)
    assert one(store, Begin("k", born, place, LONG)) == Grant(Verdict.SUPERSEDED)
    assert one(store, commit("k", opened, b"written")) == "ok"
    assert one(store, commit("k", running, b"read before")) == "refused"
    assert one(store, Open("cold", LONG)).n == 1


# -- values --------------------------------------------------------------------------------------------------


def test_mark_voids_the_load_and_keeps_the_place(store: Store) -> None:
    assert one(store, Mark("nothing")) is None
    assert one(store, Look("nothing")) == (None, ())
    seen = loaded(store)
    place = one(store, Acquire("k", seen.born, seen.p, LONG))
    grant = one(store, Begin("k", seen.born, place, LONG))
    one(store, Mark("k"))
    marked = look(store)
    assert (marked.soft, marked.r, marked.q, marked.payload) == (0, 0, place, b"v")
    assert one(store, Begin("k", seen.born, place, LONG)) == Grant(Verdict.GO, grant.n + 1, seen.born)


def test_a_refused_commit_may_replace_an_older_stale_payload_but_never_as_fresh(store: Store) -> None:
    seen = loaded(store)
    older = one(store, Open("k", LONG))
    newer = one(store, Open("k", LONG))
    one(store, Mark("k"))
    assert one(store, commit("k", newer, b"newer")) == "fallback"
    assert one(store, commit("k", older, b"older")) == "refused"
    entry = look(store)
    assert (entry.payload, entry.soft, entry.p, entry.born) == (b"newer", 0, newer.n, seen.born)


def test_a_fallback_does_not_shorten_the_keys_life(store: Store) -> None:
    grant = one(store, Steal("k", 0, LONG))
    one(store, Mark("k"))
    assert one(store, commit("k", grant, hard=SHORT)) == "fallback"
    time.sleep(1.5 * SHORT / 1000)
    assert look(store).payload == b"v"


def test_an_absent_entry_refuses_and_so_does_another_incarnation(store: Store) -> None:
    grant = one(store, Steal("k", 0, LONG))
    assert one(store, Unlink("k")) is None
    assert one(store, commit("k", grant)) == "refused"
    other = one(store, Steal("k", 0, LONG))
    assert (other.n, other.born == grant.born) == (grant.n, False)
    assert one(store, commit("k", grant)) == "refused"
    assert look(store).p == 0


def test_an_entry_ends_after_its_hard_limit(store: Store) -> None:
    grant = one(store, Steal("k", 0, LONG))
    assert one(store, commit("k", grant, ttl=1, hard=SHORT)) == "ok"
    time.sleep(1.5 * SHORT / 1000)
    assert one(store, Look("k"))[0] is None


def test_touch_renews_the_payload_it_was_compared_with(store: Store) -> None:
    seen = loaded(store)
    one(store, Mark("k"))
    grant = one(store, Steal("k", seen.p, LONG))
    touch = Touch("k", seen.born, grant.n, b"87654321", seen.p, LONG, LONG)
    assert one(store, touch._replace(n=grant.n + 1)) == "refused"
    assert one(store, touch) == "ok"
    entry = look(store)
    assert (entry.payload, entry.p, entry.r, entry.seal) == (b"v", grant.n, 0, b"87654321")
    assert entry.soft == entry.loaded + LONG
    assert one(store, touch) == "refused"


def test_a_touch_of_another_payload_is_refused_and_ends_the_load(store: Store) -> None:
    grant = one(store, Steal("k", 0, LONG))
    assert one(store, Touch("k", grant.born, grant.n, NO_SEAL, 0, LONG, LONG)) == "refused"
    assert look(store).r == 0


def test_put_stores_a_value_and_voids_the_load(store: Store) -> None:
    assert one(store, Put("k", NO_SEAL, LONG, LONG, b"first", 1)) == 1
    seen = look(store)
    assert (seen.payload, seen.p, seen.n, seen.flags) == (b"first", 1, 1, 1)
    grant = one(store, Steal("k", 1, LONG))
    assert one(store, Put("k", NO_SEAL, LONG, LONG, b"", 2)) == 3
    assert one(store, commit("k", grant)) == "refused"
    assert (look(store).payload, look(store).born) == (b"", seen.born)


def test_a_scan_returns_every_key_of_the_literal_prefix(store: Store) -> None:
    names = {f"app:*[x]?\\^:{n}" for n in range(250)}
    for name in names:
        one(store, Put(name, NO_SEAL, LONG, LONG, b"v", 0))
    one(store, Put("app:other", NO_SEAL, LONG, LONG, b"v", 0))
    found: set[str] = set()
    cursor, runs, pages = "0", set(), 0
    while True:
        page = one(store, Scan("app:*[x]?\\^:", cursor, 20))
        if not pages:
            one(store, Put("app:*[x]?\\^:late", NO_SEAL, LONG, LONG, b"v", 0))
        found.update(page.keys)
        runs.add(page.run)
        pages += 1
        cursor = page.cursor
        if cursor == "0":
            break
    assert found - {"app:*[x]?\\^:late"} == names
    assert len(runs) == 1
    assert all(runs)
    assert pages > 2


@pytest.mark.parametrize(
    "step",
    [
        Steal("k", 0, 0),
        Steal("k", 0, 2**50),
        Steal("k", -1, 5),
        Steal("k", 0, 1.5),  # type: ignore[arg-type]
        Steal("k", 0, True),
        Acquire("k", b"short", 0, 5),
        Commit("k", b"12345678", 1, b"", 1, 1, b"", 0, 0),
        Commit("k", b"12345678", 1, NO_SEAL, 1, 1, b"", 2**16, 0),
        Commit("k", b"12345678", 1, None, 1, 1, b"", 0, 0),  # type: ignore[arg-type]
        Put("k", NO_SEAL, -1, 5, b"", 0),
        Capture(("t",), 0),
        Start("t", 1, -1, 3, LONG),
    ],
)
def test_a_batch_with_a_bad_argument_is_refused_whole(store: Store, step: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        store.run([Put("k", NO_SEAL, LONG, LONG, b"v", 0), step])
    assert one(store, Look("k")) == (None, ())


def test_what_is_no_step_is_a_type_error(store: Store) -> None:
    with pytest.raises(TypeError, match="not a step"):
        store.run([("get", "k")])


def test_a_batch_answers_in_order(store: Store) -> None:
    assert store.run([]) == []
    one(store, Put("k", NO_SEAL, LONG, LONG, b"v", 0))
    answers = store.run([Look("k"), Bump("t"), Recall("task"), Unlink("k"), Look("k")])
    assert [answers[0][0].payload, *answers[1:]] == [b"v", None, None, None, (None, ())]


# -- ledger --------------------------------------------------------------------------------------------------

START = Start("task", 1, LONG, 3, LONG)


def test_a_task_is_claimed_by_one_delivery(store: Ledger) -> None:
    assert one(store, START) == Started(Answer.GO, 1, 0)
    busy = one(store, START)
    assert (busy.verdict, busy.deliveries) == (Answer.BUSY, 2)
    assert LONG - 5000 < busy.wait <= LONG
    one(store, Settle("task", "deferred", "", LONG))
    assert one(store, Recall("task")) == Record("running", 1, 1, False, [])
    one(store, Settle("task", "done", "", LONG))
    assert one(store, START).verdict is Answer.DONE
    assert one(store, Recall("task")) == Record("done", 1, 0, False, [])


def test_a_task_that_kills_its_workers_is_poison(store: Ledger) -> None:
    start = START._replace(lease=0)
    assert [one(store, start) for _ in range(4)] == [
        Started(Answer.GO, 1),
        Started(Answer.GO, 2),
        Started(Answer.GO, 3),
        Started(Answer.POISON, 4),
    ]
    copy = one(store, start)  # it arrived together with the one that buries the task
    assert copy.verdict is Answer.BUSY
    assert 0 < copy.wait <= BURIAL
    one(store, Settle("task", "dead", "killed its worker", LONG))
    assert one(store, Recall("task")) == Record("dead", 1, 0, False, ["killed its worker"])


def test_each_attempt_is_counted_anew_and_an_old_one_does_not_turn_back(store: Ledger) -> None:
    start = START._replace(lease=0)
    store.run([start, start, start._replace(attempt=2)])
    assert one(store, Recall("task")) == Record("running", 2, 1, False, [])
    assert one(store, start) == Started(Answer.GO, 2)
    assert one(store, Recall("task")).attempt == 2


def test_a_claim_lapses_unless_it_is_extended(store: Ledger) -> None:
    assert one(store, Extend("task", LONG)) is False
    one(store, START._replace(lease=SHORT))
    assert one(store, Extend("task", 10 * SHORT)) is True
    time.sleep(1.5 * SHORT / 1000)
    assert one(store, START).verdict is Answer.BUSY
    time.sleep(10 * SHORT / 1000)
    assert one(store, START).verdict is Answer.GO
    one(store, Settle("task", "retrying", "", LONG))
    assert one(store, Extend("task", LONG)) is False


def test_a_cancelled_task_does_not_start(store: Ledger) -> None:
    assert one(store, Cancel("task", LONG)) is True
    assert one(store, Recall("task")) == Record("", 0, 0, True, [])
    assert one(store, START) == Started(Answer.CANCELLED)
    one(store, Forget("task"))
    assert one(store, Recall("task")) is None
    assert one(store, START).verdict is Answer.GO
    assert one(store, Cancel("task", LONG)) is True


@pytest.mark.parametrize("status", ["done", "skipped", "dead"])
def test_an_ended_task_cannot_be_cancelled(store: Ledger, status: str) -> None:
    one(store, Settle("task", status, "", LONG))
    assert one(store, Cancel("task", LONG)) is False
    assert one(store, Recall("task")).cancelled is False


def test_the_last_ten_errors_are_kept(store: Ledger) -> None:
    for n in range(13):
        one(store, Settle("task", "retrying", f'no. {n}: "é"/\n\ud800', LONG))
    errors = one(store, Recall("task")).errors
    assert errors == [f'no. {n}: "é"/\n\ud800' for n in range(3, 13)]


def test_a_record_lives_as_long_as_its_last_delivery_wants(store: Ledger) -> None:
    store.run([Settle("task", "done", "", LONG), Settle("kept", "done", "", SHORT), Cancel("gone", SHORT)])
    store.run([Settle("task", "done", "", SHORT), Settle("kept", "done", "", LONG)])
    one(store, Settle("kept", "deferred", "", SHORT))
    one(store, Settle("nobody", "deferred", "", LONG))
    time.sleep(1.5 * SHORT / 1000)
    tasks = "task", "kept", "gone", "nobody"
    assert [one(store, Recall(task)) is not None for task in tasks] == [False, True, False, False]


def test_dead_letters_are_kept_oldest_first_up_to_a_limit(store: Ledger) -> None:
    assert one(store, Letters("dead")) == []
    assert [one(store, Bury("dead", f"id{n}", "", f"letter {n}", 3)) for n in range(4)] == [0, 0, 0, 1]
    assert one(store, Bury("dead", "id1", "", "again é\ud800", 3)) == 0
    expected = [("id2", "letter 2"), ("id3", "letter 3"), ("id1", "again é\ud800")]
    assert one(store, Letters("dead")) == expected
    assert one(store, Exhume("dead", "id3")) == "letter 3"
    assert one(store, Exhume("dead", "id3")) is None
    assert one(store, Bury("dead", "id9", "", "", 1)) == 2
    assert one(store, Letters("dead")) == [("id9", "")]
    assert (one(store, Clear("dead")), one(store, Clear("dead"))) == (1, 0)
    assert one(store, Letters("dead")) == []


def test_an_entry_has_one_dead_letter_which_goes_when_it_is_refreshed_after_all(store: Ledger) -> None:
    assert one(store, Bury("dead", "a1", "a", "first", 9)) == one(store, Bury("dead", "b1", "b", "other", 9)) == 0
    assert one(store, Bury("dead", "a2", "a", "second", 9)) == 0
    assert one(store, Letters("dead")) == [("b1", "other"), ("a2", "second")]
    assert (one(store, Letter("dead", "a2")), one(store, Letter("dead", "a1"))) == ("second", None)
    assert [one(store, Resolve("dead", key)) for key in ("a", "a", "none")] == [True, False, False]
    assert one(store, Bury("dead", "b1", "c", "moved", 9)) == 0
    assert [one(store, Resolve("dead", key)) for key in ("b", "c")] == [False, True]
    assert one(store, Letters("dead")) == []


def test_a_letter_that_was_replaced_is_not_taken_out(store: Ledger) -> None:
    store.run([Bury("dead", "id", "k", "first", 9), Bury("dead", "id", "k", "second", 9)])
    assert one(store, Exhume("dead", "id", "first")) is None
    assert one(store, Exhume("dead", "id", "second")) == "second"
    assert one(store, Resolve("dead", "k")) is False


def test_what_goes_beyond_the_limit_is_not_resolved_later(store: Ledger) -> None:
    store.run([Bury("dead", f"id{n}", f"k{n}", "letter", 2) for n in range(3)])
    assert [one(store, Resolve("dead", f"k{n}")) for n in range(3)] == [False, True, True]


def test_a_journal_gives_out_what_is_overdue_once_and_ever_more_rarely(store: Ledger) -> None:
    assert one(store, Enter("journal", "late", "payload {é}", 1, 9)) is True
    assert one(store, Enter("journal", "early", "other", LONG, 9)) is True
    assert one(store, Backlog("journal")) == 2
    time.sleep(0.01)
    assert one(store, Overdue("journal", 50, 9)) == [("late", "payload {é}")]
    assert one(store, Overdue("journal", 50, 9)) == []
    time.sleep(0.06)
    assert one(store, Overdue("journal", 50, 9)) == [("late", "payload {é}")]
    time.sleep(0.06)
    assert one(store, Overdue("journal", 50, 9)) == [], "the second pause is twice as long"
    assert one(store, Enter("journal", "late", "again", 1, 9)) is True
    time.sleep(0.01)
    assert one(store, Overdue("journal", 50, 9)) == [("late", "again")]
    store.run([Strike("journal", "late"), Strike("journal", "late"), Strike("none", "none")])
    assert one(store, Backlog("journal")) == 1


def test_a_journal_is_bounded_and_gives_out_the_longest_overdue_first(store: Ledger) -> None:
    for n in range(3):
        assert one(store, Enter("journal", f"id{n}", str(n), 1 + n, 3)) is True
    assert one(store, Enter("journal", "one more", "", 1, 3)) is False
    assert one(store, Enter("journal", "id2", "2", 3, 3)) is True, "who is in it may stay"
    time.sleep(0.02)
    assert one(store, Overdue("journal", LONG, 2)) == [("id0", "0"), ("id1", "1")]


def test_a_gate_lets_one_through_at_a_time(store: Ledger) -> None:
    every = Admit("gate", 10_000, 0, 0)
    assert one(store, every) == 0
    assert 9_000 < one(store, every) <= 10_000
    assert one(store, every._replace(gate="another")) == 0


def test_a_breaker_opens_tries_one_and_closes(store: Ledger) -> None:
    admit, failed = Admit("gate", 0, 3, 60), Report("gate", False, 3, 60)
    assert store.run([failed, Report("gate", True, 3, 60), failed, failed]) == [False, False, False, False]
    assert one(store, admit) == 0
    assert one(store, failed) is True
    assert 0 < one(store, admit) <= 60
    time.sleep(0.08)
    assert one(store, admit) == 0
    assert one(store, admit) > 0, "one at a time is tried"
    assert store.run([failed, Report("gate", True, 3, 60), admit, admit]) == [False, False, 0, 0]


# -- memory only ---------------------------------------------------------------------------------------------


def test_the_memory_stores_clock_can_be_moved() -> None:
    store = MemoryStore()
    one(store, Put("k", NO_SEAL, 1000, 5000, b"v", 0))
    store.advance(2)
    assert look(store).soft < look(store).now
    store.advance(4)
    assert one(store, Look("k"))[0] is None


def test_memory_drops_what_has_expired() -> None:
    store = MemoryStore()
    for n in range(20_000):
        if n % 1000 == 0:
            store.advance(10)
        store.run([Put(f"k{n}", NO_SEAL, 1, 5000, b"v", 0), Settle(f"t{n}", "done", "", 5000)])
        store.run([Capture((f"s{n}",), 5000)])
    entries, tasks = store._entries, store._tasks
    assert max(len(entries._entries), len(entries._stamps), len(tasks._tasks)) < 6000


def test_memory_evicts_the_least_recently_read_and_a_leased_one_last() -> None:
    store = MemoryStore(max_entries=3)
    one(store, Steal("leased", 0, LONG))
    for name in ("a", "b"):
        one(store, Put(name, NO_SEAL, LONG, LONG, b"v", 0))
    one(store, Look("a"))
    one(store, Put("c", NO_SEAL, LONG, LONG, b"v", 0))
    assert [one(store, Look(name))[0] is not None for name in ("leased", "a", "b", "c")] == [True, True, False, True]
