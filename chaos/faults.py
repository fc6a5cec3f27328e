"""The faults: to the worker at each of its points, to the broker, to the store, and to a clock."""

from __future__ import annotations

import json
import random
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from rewarm_conformance.bed import Bed
from rewarm_conformance.testbed import Testbed

from .blows import POINTS
from .field import Field, Target

OUTAGE = 2.0
"""Seconds that a fault lasts."""
LATE = 0.05
"""Seconds by which a slow server's answers, and the questions, are late."""
STRIKES = 2
SKEW = 120.0

Strike = Callable[[Field, Bed], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """`target`: what is hit. `does`: in one line. `strike`: from entering to leaving it the fault lasts.

    `weapons`: environment variables of the worker, by seed.
    """

    name: str
    target: str
    does: str
    strike: Strike
    proxied: bool = False
    weapons: Callable[[random.Random], Mapping[str, str]] = field(default=lambda dice: {})

    def applies(self, cell: str, testbed: type[Testbed]) -> bool:
        """A queue in files has no server of its own; of an empty broker nobody can get back what it had, but from the
        journal; and of an empty store not the journal."""
        if self.target != "broker":
            return (self.name, cell) != ("store-emptied", "djangoq-rescue")
        if self.name == "broker-emptied":
            return testbed.broker == "redis" and testbed.rescue is not None
        return testbed.broker in ("redis", "rabbitmq")


@contextmanager
def lasting(field: Field, bed: Bed) -> Iterator[None]:
    """What the worker does to itself."""
    (field.directory / "armed").touch()
    yield


@contextmanager
def killed_tree(field: Field, bed: Bed) -> Iterator[None]:
    bed.kill()  # a supervisor starts another
    yield
    bed.kill()


def killing(target: str, number: int) -> Strike:
    @contextmanager
    def strike(field: Field, bed: Bed) -> Iterator[None]:
        field.targets[target].end(number)
        try:
            yield
        finally:
            field.targets[target].start()

    return strike


def for_a_while(target: str, begin: Callable[[Target], None], end: Callable[[Target], None]) -> Strike:
    """Ends by the clock, whatever happens meanwhile: some senders wait for it without end."""

    @contextmanager
    def strike(field: Field, bed: Bed) -> Iterator[None]:
        server = field.targets[target]
        begin(server)
        timer = threading.Timer(OUTAGE, end, [server])
        timer.start()
        try:
            yield
        finally:
            timer.join()

    return strike


def slowing(target: str) -> Strike:
    @contextmanager
    def strike(field: Field, bed: Bed) -> Iterator[None]:
        proxy = field.targets[target].proxied
        proxy.delay = LATE
        try:
            yield
        finally:
            proxy.delay = 0.0

    return strike


def resetting(target: str) -> Strike:
    @contextmanager
    def strike(field: Field, bed: Bed) -> Iterator[None]:
        proxy = field.targets[target].proxied
        proxy.reset()
        yield
        proxy.reset()

    return strike


def emptying(target: str) -> Strike:
    @contextmanager
    def strike(field: Field, bed: Bed) -> Iterator[None]:
        field.targets[target].fail_over()
        yield

    return strike


def blow(point: str) -> Callable[[random.Random], Mapping[str, str]]:
    def weapons(dice: random.Random) -> Mapping[str, str]:
        return {"CHAOS_POINT": point, "CHAOS_STRIKES": json.dumps(sorted(dice.sample(range(1, 6), STRIKES)))}

    return weapons


def _faults() -> Iterator[Fault]:
    for point, when in POINTS.items():
        yield Fault(f"kill-{point}", "worker", f"SIGKILL to the worker {when}, twice", lasting, weapons=blow(point))
    yield Fault("worker-killed", "worker", "SIGKILL to the worker and all its children, twice", killed_tree)
    for name, sign in ("ahead", 1), ("behind", -1):
        skewed = {"CHAOS_SKEW": str(sign * SKEW)}
        does = f"the worker's clock is {SKEW:g} s {name}"
        yield Fault(f"clock-{name}", "worker", does, lasting, weapons=lambda dice, skewed=skewed: skewed)  # type: ignore[misc]
    for target in ("broker", "store"):
        other = "store" if target == "broker" else "broker"
        does = f"SIGKILL to the {target}, started again after {OUTAGE:g} s; the {other} is up"
        yield Fault(f"{target}-killed", target, does, killing(target, signal.SIGKILL))
        if target == "broker":
            does = f"the broker is stopped in an orderly way, and started again after {OUTAGE:g} s"
            yield Fault("broker-restarted", target, does, killing(target, signal.SIGTERM))
        yield Fault(
            f"{target}-frozen",
            target,
            f"SIGSTOP to the {target} for {OUTAGE:g} s",
            for_a_while(target, Target.freeze, Target.thaw),
        )
        full = "maxmemory, noeviction" + ("; RabbitMQ: its memory alarm" if target == "broker" else "")
        does = f"the {target} has no room for {OUTAGE:g} s ({full})"
        yield Fault(f"{target}-full", target, does, for_a_while(target, Target.fill, Target.drain))
        does = f"each packet to and from the {target} is {1000 * LATE:g} ms late for {OUTAGE:g} s"
        yield Fault(f"{target}-slow", target, does, slowing(target), proxied=True)
        does = f"all connections to the {target} are reset, twice"
        yield Fault(f"{target}-resets", target, does, resetting(target), proxied=True)
        does = f"the {target}'s address leads to an empty server"
        yield Fault(f"{target}-emptied", target, does, emptying(target), proxied=True)


FAULTS = {fault.name: fault for fault in _faults()}
