"""The slow source that is cached, and the numbers by which every answer is judged."""

from __future__ import annotations

import mmap
import os
import random
import time
from pathlib import Path

KEYS = 6
MEET = 90.0
FAST, SLOW = 0.002, 0.03
"""Seconds: a load takes between these, most of them after it has read."""


class Source:
    """Whole numbers in a file that every process maps. Of each key: the version, the newest one whose invalidation has
    completed (`floors`), and the newest one that was deleted (`gone`). Each number has one writer."""

    def __init__(self, folder: Path) -> None:
        size = 3 * KEYS
        with (folder / "source").open("a+b") as file:
            file.truncate(8 * size)
            numbers = memoryview(mmap.mmap(file.fileno(), 8 * size)).cast("q")
        self.versions, self.floors, self.gone = numbers[:KEYS], numbers[KEYS : 2 * KEYS], numbers[2 * KEYS :]
        self._folder, self._loads = folder, folder / "loads"
        self._log = os.open(self._loads, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def meet(self, who: str, crowd: int) -> None:
        """Wait until so many have come: processes take their time to start."""
        (self._folder / f"here-{who}").touch()
        deadline = time.monotonic() + MEET
        while len(list(self._folder.glob("here-*"))) < crowd:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all {crowd} readers and writers have started within {MEET:g} s")
            time.sleep(0.01)

    def save(self, key: int) -> int:
        """Write a key: its next version."""
        self.versions[key] += 1
        version: int = self.versions[key]
        return version

    def load(self, key: int) -> int:
        """The version of a key, slowly."""
        os.write(self._log, b".")  # one byte for each load, in whichever process
        version: int = self.versions[key]
        time.sleep(random.uniform(FAST, SLOW))
        return version

    @property
    def loads(self) -> int:
        return self._loads.stat().st_size
