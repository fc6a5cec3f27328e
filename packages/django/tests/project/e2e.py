"""Saves rows whose rules enqueue, and waits until a worker has done what they ask for. Prints JSON."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

import books.worker  # noqa: F401
from books.caches import author_name
from books.jobs import Name, shout
from books.models import Author, Team, Word
from django.db import transaction

from rewarm import State
from rewarm_django import InvalidationRule, cache, register

register(InvalidationRule(model=Author, job=author_name, field_mapping={"author_id": "pk"}, rewarm=True))


def until(holds: Callable[[], bool], seconds: float = 40) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


ada = Author.objects.create(name="Ada")
author_name.reload(ada.pk)
Name().refresh(ada.pk)
with transaction.atomic():
    for number in range(20):
        ada.name = f"Ada {number}"
        ada.save()
    Word.objects.create(text="notes")
    before = author_name.read(ada.pk)


def rewarmed() -> bool:
    found = author_name.peek(ada.pk)
    return found is not None and found.state is State.HIT and found.value == "Ada 19"


def seen() -> str:
    team = Team.objects.filter(name__endswith=" saw notes").first()
    return "" if team is None else team.name.split()[0]


told = {"adapter": cache.settings.adapter.name, "before": f"{before.state} {before.value}"}
told["rewarmed"] = until(rewarmed)
told["invalidator on a worker"] = until(lambda: bool(seen())) and seen() != str(os.getpid())
Name().async_refresh(ada.pk)
shout.job.async_refresh(shout, "ada")
told["cacheback's jobs"] = until(lambda: Name().get(ada.pk) == "Ada 19" and bool(shout.job.raw_get(shout, "ada")))
print(json.dumps(told))
