"""What a kill -9 loses between COMMIT and the fence, with the outbox and without.

A child reads a cached row, saves it, and begins again; it is killed at a random moment. Lost: afterwards, and after
the relay has looked, the cache calls a value fresh that is not the row's.

    python benchmarks/outbox_kills.py [--tries 500] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import tempfile
import time
from typing import Any

from rewarm.cli.server import Server


def setup(url: str, folder: str) -> None:
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db.sqlite3",
                "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
            }
        },
        INSTALLED_APPS=["rewarm_django"], USE_TZ=True,
        REWARM={name: {"STORE": url, "ADAPTER": "inline", "COMMIT": name} for name in ("on_commit", "outbox")},
    )  # fmt: skip
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def account() -> Any:
    """A model of its own, with its table."""
    from django.db import connection, models

    class Account(models.Model):
        number = models.IntegerField(default=0)

        class Meta:
            app_label = "rewarm_django"

    with connection.schema_editor() as editor:
        editor.create_model(Account)
    return Account


def run(level: str, tries: int, model: Any) -> dict[str, Any]:
    from django.db import connections

    from rewarm_django import InvalidationRule, caches, register, relay
    from rewarm_django.models import Outbox

    app, row = caches[level], model.objects.create()

    @app.job(ttl=600, name=f"number.{level}")
    def number(pk: int) -> int:
        return int(model.objects.get(pk=pk).number)

    register(InvalidationRule(model=model, job=number, field_mapping={"pk": "pk"}))
    lost = committed = relayed = 0
    for _ in range(tries):
        before = model.objects.get(pk=row.pk).number
        connections.close_all()
        started, tell = os.pipe()
        if (child := os.fork()) == 0:
            loop(number, row.pk, model, tell)
        os.close(tell)
        os.read(started, 1)
        time.sleep(random.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(started)
        committed += model.objects.get(pk=row.pk).number - before
        relayed += Outbox.objects.count() > 0
        relay(grace=0)
        found = number.peek(row.pk)
        lost += found is not None and found.state == "HIT" and found.value != model.objects.get(pk=row.pk).number
    return {"kills": tries, "saves": committed, "rows left behind": relayed, "lost": lost}


def loop(number: Any, pk: int, model: Any, tell: int) -> None:
    from django.db import transaction

    while True:
        number(pk)
        number.reload(pk)
        with transaction.atomic():
            row = model.objects.get(pk=pk)
            row.number += 1
            row.save()
        if tell:
            os.write(tell, b"x")
            tell = 0


def window(model: Any, saves: int = 500) -> dict[str, float]:
    """Milliseconds from the end of COMMIT to the fence, and of a whole save, without the outbox."""
    from django.db import transaction

    from rewarm_django import caches

    app, row = caches["on_commit"], model.objects.create()
    ends: list[float] = []
    gaps, wholes = [], []
    stop = app.listen(lambda event: ends.append(time.perf_counter()) if type(event).__name__ == "Invalidated" else None)
    for _ in range(saves):
        ends.clear()
        began = time.perf_counter()
        with transaction.atomic():
            at: list[float] = []
            transaction.on_commit(lambda at=at: at.append(time.perf_counter()))
            row.number += 1
            row.save()
        gaps.append((ends[-1] - at[0]) * 1000)
        wholes.append((time.perf_counter() - began) * 1000)
    stop()
    return {
        "gap ms": round(statistics.median(gaps), 3),
        "gap ms, 99 %": round(statistics.quantiles(gaps, n=100)[98], 3),
        "save ms": round(statistics.median(wholes), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        setup(server.url, folder)
        model = account()
        found: dict[str, Any] = {level: run(level, options.tries, model) for level in ("on_commit", "outbox")}
        found["window"] = window(model)
    if options.json:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        print(f"{name:<10} " + ", ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
