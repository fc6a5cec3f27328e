"""One fault in one cell, in a process of its own: prints what came of it as one JSON object."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from collections.abc import Collection
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from rewarm.errors import StoreError
from rewarm.stores.base import Recall
from rewarm.worker import ENDS
from rewarm_conformance.bed import Bed
from rewarm_conformance.journal import History
from rewarm_conformance.probe import locate
from rewarm_conformance.runner import cells

from .faults import FAULTS, OUTAGE, Fault
from .field import Field
from .jobs import judged
from .traffic import Seen, Traffic

SLACK = 10.0
"""Seconds beyond a queue's promised redelivery, in which something has to end, else no more will."""
MOMENT = 0.5
"""Seconds by which a worker may tell of a burial later than it was."""
HOLDERS = {"dramatiq-redis": "https://github.com/Bogdanp/dramatiq/issues/527"}
"""Cells whose worker keeps what it had fetched when it lost its broker, until its next start: where to read of it."""
AT_MOST = 4
"""So many times as long anything may take."""
OVER = {*map(str, ENDS), "cancelled"}


@dataclass
class Found:
    """What came of a fault. `held`: ended only when the worker was started again; `lost`: accepted, and never ended;
    `unlisted`: dead, and not among the dead letters."""

    accepted: int = 0
    done: int = 0
    dead: int = 0
    restarts: int = 0
    settled: float = 0.0  # seconds from the end of the fault to the end of the last payload
    held: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    send: dict[str, Any] = field(default_factory=dict)
    read: dict[str, Any] = field(default_factory=dict)
    write: dict[str, Any] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        return [f"lost: {one}" for one in self.lost] + [f"unlisted: {one}" for one in self.unlisted] + self.wrong


def make(cell: str, fault: Fault, seed: int) -> Found:
    """Let it happen. Raises RuntimeError for a worker that does not start."""
    path, dice = cells()[cell], random.Random(f"{seed} {cell} {fault.name}")
    proxied = fault.target if fault.proxied else ""
    with closing(Field(path, locate(path), fault.weapons(dice), proxied)) as ground:
        bed = ground.bed()
        source, version = judged(bed.probe)
        bed.start()
        traffic = Traffic(bed.probe, source, version, f"{seed} {cell} {fault.name}")
        with bed.supervised():
            with traffic.flowing():
                traffic.payloads()
                struck = time.monotonic()
                with fault.strike(ground, bed):
                    forgotten = time.monotonic() + MOMENT if fault.name == "store-emptied" else 0.0
                    traffic.payloads()
                    time.sleep(max(0.0, struck + OUTAGE - time.monotonic()))
                healed = time.monotonic()
                traffic.payloads()
            held = left = settle(bed)
            settled = time.monotonic() - healed
            if held and cell in HOLDERS:
                bed.kill()  # a supervisor starts another
                left = settle(bed)
            traffic.at_rest()
        return judge(bed, traffic, held - left, left, settled, forgotten)


def accepted(history: History) -> set[str]:
    """Whatever a queue has taken: from senders, from readers, and from workers."""
    return {event.id for event in history if event.event == "queued"}


def ended(history: History) -> dict[str, str]:
    """Of each task that has ended, how."""
    return {
        event.id: event.data["outcome"] for event in history if event.event == "end" and event.data["outcome"] in OVER
    }


def settle(bed: Bed) -> set[str]:
    """Wait until all that was accepted has ended -> what has not. Whatever still happens gives it more time."""
    patience = bed.patience(bed.recovery + SLACK)
    began = moved = time.monotonic()
    seen = 0
    while time.monotonic() < min(moved + patience, began + AT_MOST * patience):
        history = bed.history
        left = accepted(history) - ended(history).keys()
        if not left or not (left := unknown(bed, left)):
            return set()
        if len(history) > seen:
            seen, moved = len(history), time.monotonic()
        time.sleep(0.2)
    return left


def unknown(bed: Bed, ids: Collection[str]) -> set[str]:
    """Those of which the ledger does not know either that they have ended: a worker may be killed before it says so."""
    runtime = bed.app.runtime
    try:
        records = runtime.run([Recall(runtime.record(id)) for id in ids])
    except StoreError:
        return set(ids)
    return {
        id
        for id, record in zip(ids, records, strict=True)
        if record is None or not (record.cancelled or record.status in OVER)
    }


def judge(bed: Bed, traffic: Traffic, held: set[str], left: set[str], settled: float, forgotten: float) -> Found:
    """`forgotten`: the instant at which the ledger was lost, dead letters and all."""
    history = bed.history
    how, letters = ended(history), {letter.id for letter in bed.letters()}
    buried = {event.id for event in history if event.event == "dead" and event.t > forgotten} & traffic.receipts.keys()
    return Found(
        accepted=len(accepted(history)),
        done=sum(outcome == "done" for outcome in how.values()),
        dead=sum(outcome == "dead" for outcome in how.values()),
        restarts=len(bed.workers) - 1,
        settled=settled,
        held=[story(history, id) for id in sorted(held)],
        lost=[story(history, id) for id in sorted(left)],
        unlisted=sorted(buried - letters),
        wrong=traffic.read.wrong,
        send=shown(traffic.send),
        read=shown(traffic.read),
        write=shown(traffic.write),
    )


def story(history: History, id: str) -> str:
    """All that was seen of a task."""
    steps = [
        f"{event.event}{':' + event.data['outcome'] if event.event == 'end' else ''}@{event.t - history[0].t:.1f}"
        for event in history
        if event.id == id
    ]
    return f"{id}: {' '.join(steps)}"


def shown(seen: Seen) -> dict[str, Any]:
    return {"calls": seen.calls, "errors": dict(seen.errors), "longest": round(seen.longest, 3)}


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m chaos.cell", description=__doc__)
    options.add_argument("cell", choices=cells())
    options.add_argument("fault", choices=FAULTS)
    options.add_argument("seed", type=int)
    asked = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to stop"))  # what was started is ended
    found = make(asked.cell, FAULTS[asked.fault], asked.seed)
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
