"""Readers that check what they are served, and the numbers they share with the writer."""

from __future__ import annotations

import asyncio
import mmap
import random
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .caches import Answer, Rewarmed, open_cache

PAUSE = 0.001
"""Seconds between two reads of one reader."""
BURSTS, SAVES, GAP = 2.0, 2, 0.15
"""Somebody who works on a file saves it more than once: bursts per second, saves in each, seconds between them."""


class Board:
    """Whole numbers in a file that every process maps: `floors` of the packages, and each reader's `reads`, `wrong`.

    A package's floor is its last edit whose invalidation has completed. Each number has one writer.
    """

    def __init__(self, path: Path, packages: int, readers: int) -> None:
        size = packages + 2 * readers
        with path.open("a+b") as file:
            file.truncate(8 * size)
            numbers = memoryview(mmap.mmap(file.fileno(), 8 * size)).cast("q")
        self.floors, self.reads = numbers[:packages], numbers[packages : packages + readers]
        self.wrong = numbers[packages + readers :]


@dataclass(frozen=True)
class Plan:
    """What all readers of one side need to know."""

    side: str
    packages: list[str]
    readers: int
    asynchronous: bool
    folder: Path

    def board(self) -> Board:
        return Board(self.folder / f"{self.side}.board", len(self.packages), self.readers)

    def mix(self, seed: object) -> Mix:
        return Mix(self.packages, seed)


class Mix:
    """Packages in a skewed order that a seed repeats: the k-th is picked 1/k as often as the first (Zipf)."""

    def __init__(self, packages: list[str], seed: object) -> None:
        self.random, self.indices = random.Random(str(seed)), range(len(packages))
        self.weights = [1 / (index + 1) for index in self.indices]

    def pick(self) -> int:
        return self.random.choices(self.indices, self.weights)[0]

    def saves(self) -> Iterator[tuple[float, int, float]]:
        """Without end: seconds to wait, a package, and where in its list of modules (0 to 1) the next edit is."""
        while True:
            pause, package, where = self.random.expovariate(BURSTS), self.pick(), self.random.random()
            for _ in range(SAVES):
                yield pause, package, where
                pause = self.random.expovariate(1 / GAP)


@dataclass
class Tally:
    """What one reader saw. `seconds`: how long each read took, by its state."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"HIT": [], "STALE": [], "MISS": []})
    wrong: int = 0


class Reader:
    """Reads until a deadline and judges every answer by the floor from before the read."""

    def __init__(self, plan: Plan, number: int) -> None:
        self.plan, self.number, self.board, self.mix = plan, number, plan.board(), plan.mix(number)
        self.tally = Tally()

    def run(self, cache: Any, until: float) -> None:
        while time.monotonic() < until:
            package = self.mix.pick()
            floor, began = self.board.floors[package], time.perf_counter()
            self._judge(cache.read(self.plan.packages[package]), floor, began)
            time.sleep(PAUSE)

    async def arun(self, cache: Any, until: float) -> None:
        while time.monotonic() < until:
            package = self.mix.pick()
            floor, began = self.board.floors[package], time.perf_counter()
            self._judge(await cache.aread(self.plan.packages[package]), floor, began)
            await asyncio.sleep(PAUSE)

    def _judge(self, answer: Answer, floor: int, began: float) -> None:
        value, state = answer
        self.tally.seconds[state].append(time.perf_counter() - began)
        self.tally.wrong += state != "STALE" and value["revision"] < floor
        self.board.reads[self.number] += 1
        self.board.wrong[self.number] = self.tally.wrong


def serve(plan: Plan, number: int, parent: Connection) -> None:
    """A reader, as a thread or a process: says that it is ready, hears until when to read, reports, waits to leave."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a process: who started it ends it
    try:
        reader, cache = Reader(plan, number), open_cache(plan.side)
        parent.send(None)  # ready
        until = parent.recv()
        if plan.asynchronous and isinstance(cache, Rewarmed):
            asyncio.run(_serve(reader, cache, until, parent))
        else:
            reader.run(cache, until)
            parent.send(reader.tally)
            parent.recv()  # tasks on this process's threads may still run
    except EOFError:  # told to leave
        pass
    except Exception:
        with suppress(OSError):  # nobody listens any more
            parent.send(traceback.format_exc())


async def _serve(reader: Reader, cache: Rewarmed, until: float, parent: Connection) -> None:
    await reader.arun(cache, until)
    parent.send(reader.tally)
    await asyncio.to_thread(parent.recv)  # tasks on this loop may still run
