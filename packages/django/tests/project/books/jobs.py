"""Jobs as a project on cacheback has them."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from books.caches import loads
from books.models import Author
from rewarm_django.compat.cacheback import Call, Job, QuerySetFilterJob, QuerySetGetJob, cacheback

source: dict[str, Any] = {"value": 1, "calls": []}


class Name(Job):
    lifetime = 600

    def fetch(self, author_id: int) -> str:
        loads["name"] += 1
        return Author.objects.get(pk=author_id).name


class Value(Job):
    """Whatever the source says; `process_result` tells how it was come by."""

    def __init__(self, factor: int = 1, refresh_timeout: float = 60, ttl: float = 600) -> None:
        super().__init__()
        self.factor, self.refresh_timeout, self.lifetime = factor, refresh_timeout, ttl

    def fetch(self, *args: Any, **kwargs: Any) -> Any:
        loads["value"] += 1
        if isinstance(source["value"], Exception):
            raise source["value"]
        return source["value"] * self.factor if self.factor != 1 else source["value"]

    def process_result(self, result: Any, call: Call, cache_status: int, sync_fetch: bool | None = None) -> Any:
        source["calls"].append((cache_status, sync_fetch, call))
        return result


class Lazy(Value):
    fetch_on_miss = False

    def empty(self) -> str:
        return "nothing yet"


class Threshold(Value):
    fetch_on_stale_threshold = 1000


class Elsewhere(Value):
    cache_alias = "second"


class Sent(Value):
    task_options: ClassVar = {"queue": "slow", "expires": 30}


class Own(Value):
    set_data_kwarg = "payload"

    def prepare_args(self, *args: Any) -> Any:
        return tuple(str(arg).lower() for arg in args)

    def key(self, *args: Any, **kwargs: Any) -> str:
        return "own:" + ":".join(args)

    def expiry(self, *args: Any, **kwargs: Any) -> float:
        return time.time() + (10 if args == ("short",) else 1000)


@cacheback(lifetime=300, fetch_on_miss=True)
def shout(text: str, times: int = 1) -> str:
    """Loud."""
    loads["shout"] += 1
    return text.upper() * times


def whisper(text: str) -> str:
    loads["whisper"] += 1
    return text.lower()


class SlowAuthor(QuerySetGetJob):
    task_options: ClassVar = {"queue": "slow"}


get_author = QuerySetGetJob(Author, lifetime=60)
filter_authors = QuerySetFilterJob(Author)
