"""What came of the faults, as a table for a terminal and as the page in the documentation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rewarm_conformance.probe import locate
from rewarm_conformance.runner import cells as installed

from .cell import HOLDERS, Found
from .faults import FAULTS, STRIKES

Table = dict[tuple[str, str], "Found | str"]
"""(fault, cell) -> what came of it, or why it could not be made. What does not apply is not in it."""

HEAD = """# Faults

What `make chaos` does to each durable queue, and what its users see; `make chaos CELL=rq-redis SEED=7` for one cell.
This page is written by `python -m chaos --results chaos/results.json --markdown docs/chaos.md`.

Each fault is made in a process of its own, with servers and a worker of its own, while two readers and a writer are at
work and payloads are sent before, during and after it: loads that succeed, that fail once, that are dead at once,
invalidations by task, sweeps. A worker that ends is started again, as a service manager would. Then

- **nothing is lost**: every payload that the queue took has ended, as done, superseded, or dead and listed;
- **I1 holds**: no read was a HIT with a value older than an invalidation that had completed before the read began.

The broker and the store are different servers, so that one can be away while the other is up. Short times stand for
long ones: those of each cell's testbed, store timeouts of 1 s (default 5), 0.5 to 2 s between a worker's tries while
the store is away (1 to 30), and a claim of 2 s on an invalidation or a slice of a sweep (60), which a killed worker
leaves behind.
"""


def keep(results: Path, fault: str, cell: str, seed: int, found: Found | str) -> None:
    """Add what came of one fault to a file, in place of an earlier run's."""
    told = json.loads(results.read_text()) if results.exists() else {}
    told[f"{fault} {cell}"] = {"seed": seed, "found": found if isinstance(found, str) else asdict(found)}
    results.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")


def kept(results: Path) -> Table:
    """What a file holds of all runs."""
    told = {tuple(name.split()): one["found"] for name, one in json.loads(results.read_text()).items()}
    return {name: one if isinstance(one, str) else Found(**one) for name, one in told.items()}


def problems(found: Found | str) -> list[str]:
    return [found] if isinstance(found, str) else found.problems


def verdict(found: Found | str | None) -> str:
    """In a few words; "-" for what does not apply."""
    if found is None:
        return "-"
    if isinstance(found, str):
        return "not made"
    counts = {"lost": found.lost, "unlisted": found.unlisted, "wrong": found.wrong}
    words = [f"{len(one)} {name}" for name, one in counts.items() if one]
    held = f", {len(found.held)} held" if found.held else ""
    return ", ".join(words) or f"{found.accepted} ok{held}"


def plain(table: Table, cells: Sequence[str]) -> str:
    """Fault by cell."""
    faults = [name for name in FAULTS if any((name, cell) in table for cell in cells)]
    rows = [["", *cells], *([name, *(verdict(table.get((name, cell))) for cell in cells)] for name in faults)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    founds = [found for found in table.values() if isinstance(found, Found)]
    lost, wrong = (
        sum(len(found.lost) + len(found.unlisted) for found in founds),
        sum(len(found.wrong) for found in founds),
    )
    reads = sum(found.read["calls"] for found in founds)
    lines.append(
        f"\n{sum(found.accepted for found in founds):,} payloads taken, {lost} lost; {reads:,} reads, {wrong} wrong"
    )
    return "\n".join(lines)


def markdown(table: Table, cells: Sequence[str]) -> str:
    """The page."""
    return "\n".join([HEAD, *_does(), *_grid(table, cells), *_seen(table, cells), ""])


def _does() -> Iterator[str]:
    yield from ("## What is done", "", "| fault | what happens |", "|---|---|")
    for fault in FAULTS.values():
        yield f"| {fault.name} | {fault.does} |"


def _grid(table: Table, cells: Sequence[str]) -> Iterator[str]:
    yield from ("", "## What came of it", "")
    yield "Payloads taken of which none was lost, or what went wrong; a dash where the fault does not apply: a queue in"
    yield "files has no server, and what an emptied broker has lost only a"
    yield "journal can bring back. Where the queue cannot delay, retries wait in the journal alone and are lost if the"
    yield "store is: `djangoq-rescue`. Nothing where a fault has not been made yet. *Held*: the worker kept what it had"
    yield "fetched when it lost its broker, and only its next start brings that back"
    yield f"([dramatiq #527]({HOLDERS['dramatiq-redis']}))."
    yield ""
    yield "| fault | " + " | ".join(cells) + " |"
    yield "|---|" + "---|" * len(cells)
    for name in FAULTS:
        words = [_shown(table, name, cell) for cell in cells]
        yield f"| {name} | " + " | ".join(words) + " |"


def _shown(table: Table, fault: str, cell: str) -> str:
    if (fault, cell) in table:
        return verdict(table[fault, cell]).replace(" ok", "")
    return "" if FAULTS[fault].applies(cell, locate(installed()[cell])) else "–"


def _seen(table: Table, cells: Sequence[str]) -> Iterator[str]:
    yield from ("", "## What the user sees", "")
    yield "Over all cells: errors of so many calls, the longest call in seconds, and after how many seconds from the"
    yield "end of the fault the last payload had ended. While the store is away a read loads by itself"
    yield "(`on_store_error`); a `refresh()` that raises was not taken, and the caller knows."
    yield from (
        "",
        "| fault | sends | longest | writes | longest | reads | longest | ended after | workers started again |",
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in FAULTS:
        founds = [one for cell in cells if isinstance(one := table.get((name, cell)), Found)]
        if founds:
            calls = [
                text for kind in ("send", "write", "read") for text in _calls([getattr(one, kind) for one in founds])
            ]
            after, restarts = max(one.settled for one in founds), sum(one.restarts for one in founds)
            yield f"| {name} | " + " | ".join(calls) + f" | {after:.1f} | {restarts} |"
    yield ""
    yield "A stale read queues its refresh itself: a frozen broker makes it wait as long as the queue's client does."
    yield f"A worker is killed {STRIKES} times; where it has children, a child may die and its parent replace it."


def _calls(told: Sequence[dict[str, Any]]) -> tuple[str, str]:
    errors: Counter[str] = sum((Counter(one["errors"]) for one in told), Counter())
    count, longest = sum(one["calls"] for one in told), max(one["longest"] for one in told)
    names = f" ({', '.join(sorted(errors))})" if errors else ""
    return f"{sum(errors.values())} of {count}{names}", f"{longest:.2f}"
