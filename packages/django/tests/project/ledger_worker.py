"""One of several processes on one ledger: what it was answered, as JSON."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django

django.setup()

from django.db import connections  # noqa: E402

from rewarm.stores import base as b  # noqa: E402
from rewarm_django import DatabaseLedger  # noqa: E402

LONG = 600_000
ledger = DatabaseLedger()


def work(number: int) -> dict[str, Any]:
    found: dict[str, Any] = {"claims": 0, "overdue": []}
    for turn in range(10):
        found["claims"] += ledger.run([b.Start(f"claimed{turn}", 1, LONG, 99, LONG)])[0].verdict == "go"
        ledger.run([b.Start("counted", 1, 0, 2**31, LONG)])
        ledger.run([b.Bury("dead", f"{sys.argv[1]}-{number}-{turn}", f"key{turn}", "letter", 7)])
        found["overdue"] += [id for id, _ in ledger.run([b.Overdue("journal", LONG, 2)])[0]]
    connections.close_all()
    return found


print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(2) as pool:
    print(json.dumps(list(pool.map(work, range(2)))))
