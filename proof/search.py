"""Breadth-first over every interleaving of a scenario: the first trace found is a shortest one.

A state is whole numbers: of a world, of what is left of each budget, of the processes in order. What one process
can do in one world is computed once; after that an edge is a look-up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from rewarm import freshness
from rewarm.effects import Load, Loaded, Send, Wait
from rewarm.steps import Begin, Commit, Drop, Grant, Look, Put, Seen, Touch, Verdict
from rewarm.worker import Resend

from . import flows
from .flows import Join, Near, Post, Write
from .model import BEHIND, KEY, LIFE, NOW, Model, Turn, World, put_at
from .process import Paused, Stamps
from .roles import AWAY, FAILED, REFUSED, VOUCHED, Case, Reader, Role, Task, Violation, busy

FAULTS = {
    "dup": "a task is delivered twice",
    "lose": "a task is lost",
    "refuse": "the queue does not take a task",
    "crash": "a process dies",
    "fail": "a load fails",
    "late": "a waiter's patience is over",
    "again": "an answer is lost and the step sent again",
    "away": "a step fails, taken or not, as the store is away",
    "lapse": "a lease ends while its holder lives, or a source has rested",
    "soft": "a value turns stale",
    "hard": "a value is past its hard limit",
    "evict": "an entry is evicted",
    "stamp": "a stamp is evicted",
    "restart": "the server restarts empty",
    "failover": "another node takes over, with the same entries",
}
"""What the environment may do. Each costs one of its budget."""


@dataclass(frozen=True)
class Move:
    """`world` and `processes` afterwards; `cost`: a fault, or "" for what must happen sooner or later."""

    world: int
    processes: tuple[int, ...]
    cost: int
    label: str
    violation: str = ""


@dataclass
class Scenario:
    """Who takes part, from which world, with which faults."""

    name: str
    roles: Sequence[Role]
    world: World
    cases: Sequence[Case]
    faults: Mapping[str, int] = field(default_factory=dict)
    loads: int | None = None  # economy: at most, and somewhere exactly, so many
    keys: Sequence[str] = (KEY,)
    tags: Sequence[str] = ()
    nightly: bool = False
    tries: int = 0  # attempts left of a queued task after its first
    runs: Any = None  # instead of the worker's refresh
    shares: bool = False  # the last loaded value is kept, for a mutant that hands it to waiters
    patches: Mapping[str, Any] = field(default_factory=dict)  # of `rewarm.freshness`
    fast: bool = False  # also in the quick tests

    @property
    def weight(self) -> int:
        """A guess at its size: the largest begin first."""
        return len(self.roles) * 3 + sum(self.faults.values()) * 2 + 20 * self.nightly

    @contextmanager
    def patched(self, mutant: Mapping[str, Any] = MappingProxyType({})) -> Iterator[None]:
        """With production's names replaced as the scenario and a mutant say."""
        with ExitStack() as stack:
            for name, value in {**self.patches, **mutant}.items():
                where = freshness if hasattr(freshness, name) else flows
                stack.enter_context(patch.object(where, name, value))
            yield

    def bounds(self) -> str:
        """What takes part, in few words."""
        count: dict[str, int] = {}
        for role in self.roles:
            count[role.group] = count.get(role.group, 0) + 1
        who = [f"{n} {group.split(' ')[0]}" for group, n in count.items()]
        return ", ".join([*who, *(f"{n} {fault}" for fault, n in self.faults.items() if n)])


@dataclass
class Result:
    """`rests`: states in which nothing moves any more; `loads`: the most in one of them; `seconds` of processor."""

    name: str
    states: int
    rests: int
    seconds: float
    loads: int
    violation: str = ""
    trace: list[str] = field(default_factory=list)


def explore(scenario: Scenario, limit: int = 10_000_000) -> Result:
    """Every state of a scenario, and the first violation."""
    with scenario.patched():
        return Search(scenario).run(limit)


class Search:
    """One exploration. `model` may be a mutant's."""

    def __init__(self, scenario: Scenario, model: Model | None = None) -> None:
        self.scenario = scenario
        self.model = model or Model(scenario.keys, scenario.tags)
        self.costs = ["", *FAULTS]
        self.fault = {
            name: self.costs.index(name) for name, n in scenario.faults.items() if n
        }  # what may happen at all
        self._worlds: dict[World, int] = {}
        self.worlds: list[World] = []
        self._paused: dict[Any, int] = {}
        self.paused: list[Paused] = []
        self._next: dict[Any, int] = {}
        self._moves: dict[int, list[Move]] = {}
        self._weather: dict[int, list[Move]] = {}
        self._rested: dict[Any, str] = {}
        self.budgets: list[tuple[int, ...]] = []
        self._budgets: dict[tuple[int, ...], int] = {}
        self._spent: dict[int, int] = {}

    # --- numbers

    def world(self, w: World) -> int:
        if (found := self._worlds.get(w)) is None:
            found = self._worlds[w] = len(self.worlds)
            self.worlds.append(w)
        return found

    def number(self, paused: Paused) -> int:
        if (found := self._paused.get(paused.key)) is None:
            found = self._paused[paused.key] = len(self.paused)
            self.paused.append(paused)
        return found

    def begin(self, role: Role) -> int:
        return self.number(Paused(role, (), (), None, None, 0))

    def budget(self, left: tuple[int, ...]) -> int:
        if (found := self._budgets.get(left)) is None:
            found = self._budgets[left] = len(self.budgets)
            self.budgets.append(left)
        return found

    def spend(self, budget: int, cost: int) -> int:
        """The budget afterwards; -1 if there is none left."""
        at = budget * 32 + cost
        if (found := self._spent.get(at)) is None:
            left = self.budgets[budget]
            found = self.budget(put_at(left, cost, left[cost] - 1)) if left[cost] else -1
            self._spent[at] = found
        return found

    # --- the search

    def run(self, limit: int = 10_000_000) -> Result:
        began, scenario = time.process_time(), self.scenario
        left = self.budget(tuple(scenario.faults.get(name, 0) for name in self.costs))
        first = (self.world(scenario.world), left, *sorted(self.begin(role) for role in scenario.roles))
        states, parents = {first: 0}, [-1]
        queue, most, rests = [first], 0, 0
        moves, weather, spend = self._moves, self._weather, self.spend
        for at, state in enumerate(queue):
            world, budget, *processes = state
            free = False
            last = -1
            for i, process in enumerate(processes):
                if process == last:
                    continue
                last = process
                found = moves.get(world << 24 | process)
                if found is None:
                    found = moves[world << 24 | process] = list(self.moves_of(world, process))
                others = None
                for move in found:
                    after = budget
                    if move.cost:
                        after = spend(budget, move.cost)
                        if after < 0:
                            continue
                    else:
                        free = True
                    if move.violation:
                        trace = self.trace(queue, parents, at, i, move)
                        return self._result(began, queue, rests, most, move.violation, trace)
                    if others is None:
                        others = processes[:i] + processes[i + 1 :]
                    if not move.processes:
                        child = (move.world, after, *others)
                    else:
                        child = (move.world, after, *sorted([*others, *move.processes]))
                    if child not in states:
                        states[child] = len(queue)
                        queue.append(child)
                        parents.append(at)
            found = weather.get(world)
            if found is None:
                found = weather[world] = list(self.weather_in(world))
            for move in found:
                after = spend(budget, move.cost)
                if after < 0:
                    continue
                child = (move.world, after, *processes)
                if child not in states:
                    states[child] = len(queue)
                    queue.append(child)
                    parents.append(at)
            if not free:
                if processes and (passed := self.time_passes(world)) is not None:
                    child = (passed, budget, *processes)
                    if child not in states:
                        states[child] = len(queue)
                        queue.append(child)
                        parents.append(at)
                    continue
                rests += 1
                most = max(most, self.worlds[world].loads)
                if violation := self.at_rest(world, budget, processes):
                    return self._result(began, queue, rests, most, violation, self.trace(queue, parents, at))
            if len(queue) > limit:
                return self._result(began, queue, rests, most, f"more than {limit:,} states: bounds are too large", [])
        wanted = scenario.loads
        short = f"economy: at most {most} loads where the bound {wanted} should be reached" if wanted else ""
        return self._result(began, queue, rests, most, short if wanted and most != wanted else "", [])

    def _result(
        self, began: float, queue: list[Any], rests: int, most: int, violation: str, trace: list[str]
    ) -> Result:
        return Result(self.scenario.name, len(queue), rests, time.process_time() - began, most, violation, trace)

    # --- what one process can do

    def moves_of(self, world: int, process: int) -> Iterator[Move]:
        """Its next move, and what may happen instead. A fault that the scenario does not know is not even computed."""
        w, paused = self.worlds[world], self.paused[process]
        if not paused.started and paused.role.waits(w):
            return
        if "crash" in self.fault and paused.started:
            back = tuple(self.begin(role) for role in paused.role.crashed())
            yield Move(world, back, self.fault["crash"], "dies")
        note = paused.note
        if not paused.started:
            w, note = paused.role.start(w)
        atom = paused.atom
        match atom:
            case Load():
                loads = w.loads + (self.scenario.loads is not None)
                loaded = w._replace(loads=loads, held=w.version if self.scenario.shares else w.held)
                yield self.move(loaded, paused, note, Loaded(w.version, 0), f"L{w.version}")
                if "fail" in self.fault:
                    yield self.move(loaded, paused, note, Loaded(None, 0, "raised", FAILED), "load fails", cost="fail")
            case Write():
                yield self.move(w._replace(version=w.version + 1), paused, note, w.version + 1, f"W{w.version + 1}")
            case Wait(_, limit):
                if not busy(w, paused.role.case):
                    yield self.move(w, paused, note, 1, "waited")
                if "late" in self.fault:
                    yield self.move(w, paused, note, limit, "its patience is over", cost="late")
            case Send(_, born, q):
                task = Task(paused.role.case, born, q, self.scenario.tries, runs=self.scenario.runs or Task.runs)
                yield self.move(w, paused, note, None, f"send {q}", (task,))
                if "dup" in self.fault:
                    yield self.move(w, paused, note, None, f"send {q}, delivered twice", (task, task), cost="dup")
                if "lose" in self.fault:
                    yield self.move(w, paused, note, None, f"send {q}, lost", cost="lose")
                if "refuse" in self.fault:
                    yield self.move(w, paused, note, REFUSED, f"send {q}, refused", cost="refuse", thrown=True)
            case Post(payload):
                task = paused.role.posted(payload, note)
                yield self.move(w, paused, note, None, f"W{note} · sends the task", (task,))
                if "dup" in self.fault:
                    twice = f"W{note} · sends the task, delivered twice"
                    yield self.move(w, paused, note, None, twice, (task, task), cost="dup")
            case Resend(task):
                yield self.move(w, paused, note, None, "sends a follow-up", (paused.role.resent(task),))
            case Join():
                if w.held is not None:
                    yield self.move(w, paused, note, w.held, f"is handed {w.held}")
            case Near():
                held, answer = atom.on(w.held)
                yield self.move(w._replace(held=held), paused, note, answer, f"{atom.what} → {answer}")
            case _:
                yield from self.step(w, paused, note, atom, w.version != self.worlds[world].version)

    def step(self, w: World, paused: Paused, note: Any, atom: Any, written: bool) -> Iterator[Move]:
        """A step on the store. `written`: the source was written just before."""
        turn = Turn(w, paused.role.group, paused.name, paused.draws, paused.role.release)
        if getattr(atom, "payload", None) == VOUCHED:
            atom = atom._replace(payload=note)
        violation = ""
        if isinstance(atom, Stamps):
            answer = self.model.run(turn, Look(self.model.keys[0], atom.tags))[1]
        else:
            answer = self.model.run(turn, atom)
            violation = self.judge_step(w, turn.w, atom, answer)
            if (
                isinstance(paused.role, Task) and isinstance(atom, Commit | Touch | Drop) and answer in ("ok", True)
            ):  # its value was taken, or its place given up
                place = (paused.role.case.key, paused.role.born, paused.role.q)
                turn.w = turn.w._replace(finished=turn.w.finished | {place})
        label = tell(atom, answer)
        if written:
            label = f"W{w.version} · {label}"
        yield self.move(turn.w, paused, note, answer, label, turn=turn, violation=violation)
        if "away" in self.fault:
            yield self.move(w, paused, note, AWAY, f"{name_of(atom)} fails", thrown=True, cost="away")
            if turn.w != w:
                lost = f"{label}, the answer is lost"
                yield self.move(turn.w, paused, note, AWAY, lost, thrown=True, cost="away", turn=turn)
        if "again" in self.fault and not isinstance(atom, Stamps | Look | Put):
            again = self.number(Paused(paused.role, paused.history, paused.answers, note, turn.name, turn.draws))
            yield Move(self.world(turn.w), (again,), self.fault["again"], f"{label}, the answer is lost")

    def move(
        self, w: World, paused: Paused, note: Any, answer: Any, label: str, more: Sequence[Role] = (), cost: str = "",
        thrown: bool = False, turn: Turn | None = None, violation: str = "",
    ) -> Move:  # fmt: skip
        """The move that brings a process this answer."""
        name, draws = (turn.name, turn.draws) if turn else (paused.name, paused.draws)
        trips = len(paused.history) + (len(paused.answers) + 1 == len(paused.atoms))
        note = paused.role.passed(w, note, trips)
        at = (self.number(paused), answer if not isinstance(answer, Exception) else id(answer), note, name, draws)
        if (number := self._next.get(at)) is None:
            number = self._next[at] = self.number(paused.after(answer, note, name, draws, thrown))
        after = self.paused[number]
        if after.ended:
            try:
                w, who = after.role.finish(w, note, after.result)
            except Violation as found:
                who, violation = (), str(found)
            processes = tuple(self.begin(role) for role in (*who, *more))
        else:
            processes = (number, *(self.begin(role) for role in more))
        return Move(self.world(w), processes, self.fault[cost] if cost else 0, label, violation)

    def judge_step(self, before: World, after: World, atom: Any, answer: Any) -> str:
        """I3, I5 and I6, which are about single steps."""
        goes = isinstance(atom, Begin) and answer.verdict is Verdict.GO
        if goes and (atom.key, atom.born, atom.q) in before.finished:
            return f"I5: place {atom.q} begins a load after it has finished one"
        if isinstance(atom, Commit | Touch | Put) and answer not in ("refused",):
            index = self.model.keys.index(atom.key)
            old, new = before.entries[index], after.entries[index]
            if old is not None and new is not None and old.born == new.born and new.p <= old.p:
                return f"I3, I6: payload {old.p} is followed by {new.p}"
        return ""

    # --- what the environment can do

    def weather_in(self, world: int) -> Iterator[Move]:
        w, fault = self.worlds[world], self.fault

        def entry(i: int, e: Seen | None) -> int:
            return self.world(w._replace(entries=put_at(w.entries, i, e)))

        for i, e in enumerate(w.entries):
            if e is None:
                continue
            if "lapse" in fault and e.due > NOW:
                yield Move(entry(i, e._replace(due=BEHIND)), (), fault["lapse"], "the lease lapses")
            if "soft" in fault and e.soft > NOW:
                yield Move(entry(i, e._replace(soft=BEHIND)), (), fault["soft"], "the value turns stale")
            if "hard" in fault and e.p and e.loaded == NOW:
                old = e._replace(soft=min(e.soft, BEHIND), loaded=NOW - LIFE)
                yield Move(entry(i, old), (), fault["hard"], "the value passes its hard limit")
            if "evict" in fault:
                yield Move(entry(i, None), (), fault["evict"], "the entry is evicted")
        for i, stamp in enumerate(w.stamps):
            if "stamp" in fault and stamp is not None:
                gone = w._replace(stamps=put_at(w.stamps, i, None))
                yield Move(self.world(gone), (), fault["stamp"], "a stamp is evicted")
        for name, (status, count, claimed) in w.ledger:
            if "lapse" in fault and claimed:
                free = tuple(sorted({**dict(w.ledger), name: (status, count, False)}.items()))
                yield Move(self.world(w._replace(ledger=free)), (), fault["lapse"], "the claim of a task lapses")
        if "restart" in fault:
            none = (None,) * len(w.entries), (None,) * len(w.stamps)
            empty = w._replace(entries=none[0], stamps=none[1], ledger=(), run=w.run + 1)
            yield Move(self.world(empty), (), fault["restart"], "the server restarts empty")
        if "failover" in fault:
            yield Move(self.world(w._replace(run=w.run + 1)), (), fault["failover"], "another node takes over")

    def spent(self, budget: int, *faults: str) -> bool:
        """Has one of these happened?"""
        left = self.budgets[budget]
        return any(left[self.costs.index(name)] < self.scenario.faults.get(name, 0) for name in faults)

    def time_passes(self, world: int) -> int | None:
        """Where nobody can move, leases lapse and rests end; None if there is none."""
        w = self.worlds[world]
        entries = tuple(e._replace(due=BEHIND) if e is not None and e.due > NOW else e for e in w.entries)
        ledger = tuple((name, (status, count, False)) for name, (status, count, _) in w.ledger)
        later = w._replace(entries=entries, ledger=ledger)
        return None if later == w else self.world(later)

    # --- at rest

    def at_rest(self, world: int, budget: int, processes: Sequence[int]) -> str:
        """I2, I4 and the economy."""
        w = self.worlds[world]
        if processes:
            return "I4: somebody waits for ever"
        whole = not self.spent(budget, "crash", "lose", "refuse", "again", "away")
        failed = self.spent(budget, "fail")
        if (world, whole, failed) not in self._rested:
            self._rested[world, whole, failed] = self._at_rest(w, whole, failed)
        return self._rested[world, whole, failed]

    def _at_rest(self, w: World, whole: bool, failed: bool) -> str:
        if self.scenario.loads is not None and w.loads > self.scenario.loads:
            return f"economy: {w.loads} loads, not {self.scenario.loads}"
        for case in self.scenario.cases:
            found, floor = self.peek(w, case), w.floor[case.index]
            hit = found is not None and found.state == freshness.HIT
            if hit and not case.right(found.value, floor, w.version):
                return f"I2: at rest {found.value} is a HIT, though {floor} was written and invalidated"
            e = w.entries[case.index]
            if whole and e is not None and e.leased:
                return "I4: nothing crashed and nothing was lost, and yet a lease is left at rest"
            if whole and not failed and e is not None and e.resting:
                return "I4: a source rests that has not failed"
            if not self.recovers(w, case, w.version if whole else w.floor[case.index]):
                return "I4: after the lease has ended, one read and its task do not make a right HIT"
        return ""

    def peek(self, w: World, case: Case) -> Any:
        turn = Turn(w, "rest", release=case.release)
        seen, stamps = self.model.run(turn, Look(case.key, case.stamps))
        return freshness.judge(case, seen, stamps)

    def recovers(self, w: World, case: Case, least: int) -> bool:
        """Once the lease has ended, one reader and the task it queues make a HIT of that version."""
        later = self.time_passes(self.world(w))
        world = self.world(w) if later is None else later
        processes = [self.begin(Reader(case))]
        for _ in range(60):
            if not processes:
                found = self.peek(self.worlds[world], case)
                return (
                    found is not None
                    and found.state == freshness.HIT
                    and case.right(found.value, least, self.worlds[world].version)
                )
            for i, process in enumerate(processes):
                free = [move for move in self.moves_of(world, process) if not move.cost]
                if free:
                    if free[0].violation:
                        return False
                    world = free[0].world
                    processes = [*processes[:i], *processes[i + 1 :], *free[0].processes]
                    break
            else:
                return False
        return False

    # --- how it came to this

    def trace(self, queue: list[Any], parents: list[int], at: int, i: int = -1, last: Move | None = None) -> list[str]:
        """The moves from the beginning, with a letter for each process."""
        path = [at]
        while parents[path[-1]] >= 0:
            path.append(parents[path[-1]])
        path.reverse()
        letters = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        crowd = [(process, next(letters)) for process in queue[path[0]][2:]]
        lines = []
        for here, there in pairwise(path):
            line, crowd = self._between(queue[here], queue[there], crowd, letters)
            lines.append(line)
        if last is not None:
            process = queue[at][2 + i]
            who = next(letter for number, letter in crowd if number == process)
            lines.append(f"{who} {last.label}")
        return lines

    def _between(self, here: Any, there: Any, crowd: list[Any], letters: Iterator[str]) -> tuple[str, list[Any]]:
        world, budget, *processes = here
        for i, process in enumerate(processes):
            for move in self._moves[world << 24 | process]:
                after = self.spend(budget, move.cost) if move.cost else budget
                others = [*processes[:i], *processes[i + 1 :]]
                if there == (move.world, after, *sorted([*others, *move.processes])):
                    at = next(k for k, (number, _) in enumerate(crowd) if number == process)
                    who = crowd[at][1]
                    fresh = [who, *(next(letters) for _ in move.processes[1:])]
                    role = self.paused[process].role
                    told = f"{who} ({role.group.split(' ')[0]})" if not self.paused[process].started else who
                    rest = [*crowd[:at], *crowd[at + 1 :]]
                    return f"{told} {move.label}", [*rest, *zip(move.processes, fresh, strict=False)]
        for move in self._weather[world]:
            if there[0] == move.world and there[2:] == here[2:]:
                return move.label, crowd
        return "time passes", crowd


def name_of(atom: Any) -> str:
    return type(atom).__name__.lower()


def tell(atom: Any, answer: Any) -> str:
    """A move in few words."""
    name = name_of(atom)
    match answer:
        case Grant(verdict, n):
            return f"{name} → {n if verdict is Verdict.GO else str(verdict)}"
        case str() | int():
            return f"{name} → {answer}"
        case Seen():
            return f"{name} → payload {answer.payload!r}" if answer.p else f"{name} → a placeholder"
        case None if isinstance(atom, Look):
            return f"{name} → nothing"
        case (int(place), bytes()):
            return f"{name} → {place}"
    return name
