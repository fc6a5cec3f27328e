"""Read by mypy --strict and pyright, never run: what the public API promises to a type checker.

A line that must be refused carries an ignore; both checkers report an ignore that is not needed.
"""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, assert_type

from rewarm import AsyncJob, BoundJob, Entry, Job, Outcome, Read, Receipt, Retry, Rewarm, Route

app = Rewarm("typed")


@app.job(ttl=900, tags=["user:{username}"], retry=Retry(attempts=3), route=Route("low"))
def tweets(username: str, limit: int = 20) -> list[str]:
    return [username] * limit


def patience(item_id: int) -> float:
    return float(item_id)


@app.job(ttl=timedelta(minutes=1), lease=patience)
async def price(item_id: int) -> float:
    return float(item_id)


def decorator_form() -> None:
    assert_type(tweets("ada"), list[str])
    assert_type(tweets.get("ada", limit=3), list[str])
    assert_type(tweets.read("ada"), Read[list[str]])
    assert_type(tweets.read("ada").value, list[str])
    assert_type(tweets.peek("ada"), Read[list[str]] | None)
    assert_type(tweets.refresh("ada"), Receipt)
    assert_type(tweets.refresh("ada").outcome(), Outcome)
    assert_type(tweets.reload("ada"), list[str])
    assert_type(tweets.invalidate("ada"), Receipt)
    assert_type(tweets.key("ada"), str)
    assert_type(tweets.entry("ada"), Entry[list[str]])
    assert_type(app.get_many([tweets.entry("ada"), tweets.entry("bob")]), list[list[str]])
    tweets.entry("ada").set(["x"])
    with tweets.entry("ada").writing() as entry:
        entry.set(["x"])


def wrong_arguments() -> None:
    tweets(17)  # type: ignore[arg-type]
    tweets.refresh()  # type: ignore[call-arg]
    tweets.invalidate("ada", limit="many")  # type: ignore[arg-type]
    tweets.entry("ada").set([17])  # type: ignore[list-item]
    app.job(ttl=60, tll=3)  # type: ignore[call-arg]
    app.job()  # type: ignore[call-arg]


async def async_form() -> None:
    pending: Coroutine[Any, Any, float] = price(7)
    assert_type(await pending, float)
    assert_type(await price.aget(7), float)
    assert_type(await price.aread(7), Read[float])
    assert_type(await price.apeek(7), Read[float] | None)
    assert_type(await price.arefresh(7), Receipt)
    assert_type(await price.areload(7), float)
    assert_type(await tweets.aget("ada"), list[str])
    assert_type(await app.aget_many([price.entry(7)]), list[float])
    assert_type(price.get(7), float)
    async with price.entry(7).writing() as entry:
        entry.set(1.0)
    await price.aget("7")  # type: ignore[arg-type]


class Tweets(Job):
    """The class form."""

    ttl = 900
    tags = ("user:{username}",)

    def load(self, username: str, limit: int = 20) -> list[str]:
        return [username] * limit

    def stale_while_revalidate(self, username: str) -> float:
        return float(len(username))


class Price(Job):
    ttl = 30

    async def load(self, item_id: int) -> float:
        return float(item_id)


def class_form() -> None:
    timeline = app.add(Tweets())
    assert_type(timeline("ada"), list[str])
    assert_type(timeline.read("ada"), Read[list[str]])
    timeline(17)  # type: ignore[arg-type]
    by_class = app.add(Tweets)
    assert_type(by_class.get("ada"), list[str])


async def async_class_form() -> None:
    cost = app.add(Price())
    assert_type(await cost(7), float)
    assert_type(await cost.aread(7), Read[float])


class Thumbnails:
    """A library: the bound method becomes the job."""

    def __init__(self, cache: Rewarm | None = None) -> None:
        self.cache = cache or Rewarm("thumbs")
        self.path = self.cache.job(name="thumbs.path", ttl=86_400, tags=["image:{image_id}"])(self._render)

    def _render(self, image_id: int, size: str = "200x200") -> str:
        return f"{image_id}-{size}"


def bound_method_form(thumbs: Thumbnails) -> None:
    assert_type(thumbs.path(3), str)
    assert_type(thumbs.path.refresh(3, size="1x1"), Receipt)
    thumbs.path("3")  # type: ignore[arg-type]


def both_are_bound_jobs() -> None:
    jobs: list[BoundJob[..., Any]] = [tweets, price]
    one: AsyncJob[[int], float] = price
    assert jobs
    assert one
