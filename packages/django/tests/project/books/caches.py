"""The cached reads that the tests look at. `loads` counts them."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from books.models import Author, Book, Team
from rewarm_django import InvalidationRule, cache

loads: Counter[str] = Counter()


@cache.job(ttl=600, tags=["author:{author_id}"])
def titles(author_id: int) -> list[str]:
    loads["titles"] += 1
    return [book.title for book in Book.objects.filter(author=author_id).order_by("pk")]


@cache.job(ttl=600)
def author_name(author_id: int) -> str:
    loads["author_name"] += 1
    return Author.objects.get(pk=author_id).name


@cache.job(ttl=600, tags=["team:{team_id}"])
def members(team_id: int, limit: int = 10) -> list[str]:
    loads["members"] += 1
    return [author.name for author in Author.objects.filter(team=team_id).order_by("pk")[:limit]]


@cache.job(ttl=600)
def everything() -> int:
    loads["everything"] += 1
    return Book.objects.count()


@cache.job(ttl=600)
def label(book: Book) -> str:
    loads["label"] += 1
    return f"{book.title} on {book._state.db}"


def word_changed(job: Any, instance: Any, instance_created: bool) -> None:
    """An invalidator: it leaves a trace."""
    Team.objects.create(name=f"{os.getpid()} saw {instance.text}")


rules = [
    InvalidationRule(model="books.Word", invalidator=word_changed, run="worker", trigger_on_create=True, name="word"),
    InvalidationRule(model="books.Author", job=author_name, field_mapping={"author_id": "pk"}, watch_fields=["name"]),
    InvalidationRule(
        model="books.Book",
        tags=["author:{instance.author_id}"],
        watch_fields=["title", "author"],
        trigger_on_create=True,
    ),
]
