"""A process that dies at a named point between a save and the broker, and what is found afterwards, as JSON lines."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import django

django.setup()

from books.caches import author_name  # noqa: E402
from books.models import Author  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django_rq import get_queue  # noqa: E402
from rq import SimpleWorker  # noqa: E402

from rewarm import State  # noqa: E402
from rewarm_django import InvalidationRule, cache, commit, outbox, register, relay  # noqa: E402
from rewarm_django.models import Outbox  # noqa: E402

register(InvalidationRule(model=Author, job=author_name, field_mapping={"author_id": "pk"}, rewarm=True))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def around(owner: Any, name: str, *, after: bool) -> Callable[[], None]:
    def patch() -> None:
        original = getattr(owner(), name)

        def dies(*args: Any, **kwargs: Any) -> Any:
            if not after:
                die()
            result = original(*args, **kwargs)
            die()
            return result

        setattr(owner(), name, dies)

    return patch


POINTS: dict[str, Callable[[], None]] = {
    "before the row of the outbox": around(lambda: outbox, "keep", after=False),
    "after the row of the outbox": around(lambda: outbox, "keep", after=True),
    "before the commit": lambda: None,
    "after the commit": around(lambda: commit.Commit, "__call__", after=False),
    "before the fence": around(lambda: cache.runtime.store, "run", after=False),
    "after the fence": around(lambda: cache.runtime.store, "run", after=True),
    "before the broker": around(lambda: cache.runtime.adapter, "enqueue", after=False),
    "after the broker": around(lambda: cache.runtime.adapter, "enqueue", after=True),
    "before the row is forgotten": around(lambda: outbox, "forget", after=False),
    "after the row is forgotten": around(lambda: outbox, "forget", after=True),
}


def killed(point: str, pk: int) -> bool:
    connections.close_all()
    if (child := os.fork()) == 0:
        POINTS[point]()
        with transaction.atomic():
            ada = Author.objects.get(pk=pk)
            ada.name = f"saved and killed {point}"
            ada.save()
            if point == "before the commit":
                die()
        os._exit(1)
    return os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def main() -> None:
    call_command("migrate", run_syncdb=True, verbosity=0)
    for point in POINTS:
        ada = Author.objects.create(name="before")
        author_name.reload(ada.pk)
        died = killed(point, ada.pk)
        rows = Outbox.objects.count()
        done = relay(grace=0)
        found = author_name.peek(ada.pk)
        fresh = found is not None and found.state is State.HIT
        SimpleWorker([get_queue("default")], connection=get_queue("default").connection).work(burst=True)
        name = Author.objects.get(pk=ada.pk).name
        print(
            json.dumps(
                {
                    "point": point, "died": died, "rows": rows, "done": done, "left": Outbox.objects.count(),
                    "committed": name != "before",
                    "lost": bool(fresh and found and found.value != name), "served": author_name(ada.pk) == name,
                }
            ),
            flush=True,
        )  # fmt: skip


main()
