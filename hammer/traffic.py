"""Readers that judge what they are served, and writers that say from when on it must be served."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from functools import partial

from .caches import opened
from .source import KEYS

opening = threading.Lock()


@dataclass
class Tally:
    """What one reader or writer has seen. `violations`: fresh answers older than their floor; `bound`: loads that
    its invalidations account for."""

    reads: int = 0
    hits: int = 0
    writes: int = 0
    bound: int = 0
    violations: int = 0

    def __add__(self, other: Tally) -> Tally:
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return Tally(*(one + two for one, two in both))


READERS, WRITERS = 4, 2


def read(name: str, number: int, seed: int, seconds: float) -> Tally:
    """Read keys in a skewed order for so long. I1: no HIT, and no own load, is older than an invalidation that had
    completed before the read began; after a deletion nothing older is seen at all."""
    with opening:
        source, cache = opened(name)
    cache.read(number % KEYS)  # connects
    source.meet(f"reader {number}", READERS + WRITERS)
    dice, tally, until = random.Random(f"{seed} reader {number}"), Tally(), time.monotonic() + seconds
    weights = [1 / (1 + key) for key in range(KEYS)]
    while time.monotonic() < until:
        key = dice.choices(range(KEYS), weights)[0]
        floor, gone = source.floors[key], source.gone[key]
        version, state = cache.read(key)
        tally.reads += 1
        tally.hits += state == "HIT"
        tally.violations += version < (gone if state == "STALE" else floor)
        time.sleep(dice.uniform(0, 0.002))
    return tally


def write(name: str, number: int, seed: int, seconds: float) -> Tally:
    """Write keys of one's own for so long, each time with what the cache wants to know of it."""
    with opening:
        source, cache = opened(name)
    cache.read(number)  # connects
    source.meet(f"writer {number}", READERS + WRITERS)
    dice, tally, until = random.Random(f"{seed} writer {number}"), Tally(), time.monotonic() + seconds
    mine = range(number, KEYS, WRITERS)
    while time.monotonic() < until:
        key = dice.choice(mine)
        reached, gone = cache.write(key, partial(source.save, key), dice)
        if gone:
            source.gone[key] = source.versions[key]
        source.floors[key] = source.versions[key]
        tally.writes += 1
        tally.bound += reached
        time.sleep(dice.uniform(0.005, 0.05))
    return tally
