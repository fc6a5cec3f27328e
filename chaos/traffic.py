"""Readers that judge what they are served, a writer, and a sender of payloads; each says what its user saw."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hammer.source import KEYS, Source

from rewarm import Receipt
from rewarm_conformance.bed import new_token
from rewarm_conformance.probe import Probe

READERS = 2


@dataclass
class Seen:
    """What one user saw of so many calls. `errors`: by their type; `longest`: seconds of the slowest call."""

    calls: int = 0
    longest: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def call(self) -> Iterator[None]:
        began = time.monotonic()
        self.calls += 1
        try:
            yield
        except Exception as error:
            self.errors[type(error).__name__] += 1
        finally:
            self.longest = max(self.longest, time.monotonic() - began)

    def __add__(self, other: Seen) -> Seen:
        longest = max(self.longest, other.longest)
        return Seen(self.calls + other.calls, longest, self.errors + other.errors, self.wrong + other.wrong)


class Traffic:
    """Of one application, which is `probe`'s, with the judged job `version` of `source`."""

    def __init__(self, probe: Probe, source: Source, version: Any, seed: str) -> None:
        self.probe, self.source, self.version, self.seed = probe, source, version, seed
        self.read, self.write, self.send = Seen(), Seen(), Seen()
        self.receipts: dict[str, Receipt] = {}
        self._dice, self._ended = random.Random(f"{seed} sender"), threading.Event()

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Readers and a writer at work."""
        readers = [Seen() for _ in range(READERS)]
        works: list[Callable[[], None]] = [self._writing]
        works += [lambda seen=seen, number=number: self._reading(seen, number) for number, seen in enumerate(readers)]  # type: ignore[misc]
        threads = [threading.Thread(target=work) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()
            self.read = sum(readers, self.read)

    def look(self, seen: Seen, key: int) -> None:
        """One read. I1: no HIT, and no own load, is older than an invalidation that had completed before the read
        began; after a deletion nothing older is seen at all."""
        floor, gone = self.source.floors[key], self.source.gone[key]
        with seen.call():
            read = self.version.read(key)
            least = gone if read.state == "STALE" else floor
            if read.value < least:
                seen.wrong.append(f"key {key}: {read.state} {read.value}, though {least} had been invalidated")

    def at_rest(self) -> None:
        """Every key once more."""
        for key in range(KEYS):
            self.look(self.read, key)

    def payloads(self) -> None:
        """Send a handful: what succeeds, what fails at first, what is dead at once, an invalidation, a sweep."""
        jobs, app = self.probe.app.jobs, self.probe.app
        works: list[Callable[[], Receipt]] = [
            *(lambda: jobs["slow"].refresh(new_token(), 0.0) for _ in range(3)),
            *(lambda: jobs["fails_soon"].refresh(new_token(), 1, 0.3) for _ in range(2)),
            lambda: jobs["slow"].refresh(new_token(), 0.2),
            lambda: jobs["refuses_soon"].refresh(new_token()),
            lambda: app.invalidate(tags=[f"key:{self._dice.randrange(KEYS)}"], fence="task"),
            lambda: jobs["slow"].sweep(),
        ]
        self._dice.shuffle(works)
        for work in works:
            with self.send.call():
                receipt = work()
                self.receipts[receipt.id] = receipt

    def _reading(self, seen: Seen, number: int) -> None:
        dice = random.Random(f"{self.seed} reader {number}")
        while not self._ended.wait(dice.uniform(0.01, 0.04)):
            self.look(seen, dice.randrange(KEYS))

    def _writing(self) -> None:
        dice, source = random.Random(f"{self.seed} writer"), self.source
        while not self._ended.wait(dice.uniform(0.2, 0.5)):
            key = dice.randrange(KEYS)
            how = dice.choice(("key", "tag", "delete", "writing"))
            with self.write.call():
                self._written(key, how)
                source.floors[key] = source.versions[key]
                if how == "delete":
                    source.gone[key] = source.versions[key]

    def _written(self, key: int, how: str) -> None:
        if how == "writing":
            with self.version.entry(key).writing() as entry:
                entry.set(self.source.save(key))
            return
        self.source.save(key)
        match how:
            case "key":
                self.version.invalidate(key)
            case "tag":
                self.probe.app.invalidate(tags=[f"key:{key}"])
            case _:
                self.version.delete(key)
