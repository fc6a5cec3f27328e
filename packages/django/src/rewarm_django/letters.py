"""Dead letters of all applications, wherever their ledgers are: found, filtered, retried and discarded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from rewarm import RewarmError
from rewarm.dead import DeadLetter

from .applications import caches

FILTERS = {"app": "application", "kind": "kind", "job": "job", "error": "error"}


@dataclass(frozen=True)
class Found:
    """A letter and whose it is. `id`: how the admin names it."""

    alias: str
    letter: DeadLetter

    @property
    def id(self) -> str:
        return f"{self.alias}:{self.letter.id}"

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.letter.at, UTC)

    @property
    def app(self) -> str:
        return self.alias

    @property
    def kind(self) -> str:
        return self.letter.kind or "unreadable"

    @property
    def job(self) -> str:
        return self.letter.job or ""

    @property
    def what(self) -> str:
        """What it would have done, in a line."""
        return self.letter.key or ", ".join(self.letter.stale) or self.letter.id

    @property
    def last(self) -> str:
        """The last line of the last error."""
        return (self.letter.errors[-1] if self.letter.errors else self.letter.reason).strip().rpartition("\n")[2]

    @property
    def error(self) -> str:
        """What kind of error it was: `ValueError`."""
        name = self.last.partition(":")[0].strip()
        return name.rpartition(".")[2] if " " not in name else self.letter.reason.partition(":")[0]

    @property
    def payload(self) -> str:
        """Indented, if it is JSON."""
        try:
            return json.dumps(json.loads(self.letter.payload), indent=2, ensure_ascii=False)
        except ValueError:
            return self.letter.payload

    def holds(self, words: Iterable[str]) -> bool:
        """Every word is somewhere in it."""
        text = "\n".join((self.id, self.kind, self.job, self.what, self.letter.reason, *self.letter.errors)).lower()
        return all(word in text for word in words)


def everything() -> tuple[list[Found], list[str]]:
    """All letters, newest first, and what is wrong with the ledgers that could not be asked."""
    found: list[Found] = []
    problems = []
    for alias, app in caches.items():
        try:
            found += [Found(alias, letter) for letter in app.dead.list()]
        except RewarmError as problem:
            problems.append(f"the ledger of {alias}: {problem}")
    return sorted(found, key=lambda one: one.letter.at, reverse=True), problems


def one(id: str) -> Found:
    """Raises ConfigurationError if there is no such letter, StoreError if its ledger is away."""
    alias, _, name = id.partition(":")
    return Found(alias, caches[alias].dead.show(name))


def matching(letters: list[Found], asked: Mapping[str, str]) -> list[Found]:
    """Those that hold every word of `q` and are what the filters say."""
    words = asked.get("q", "").lower().split()
    wanted = {name: asked[name] for name in FILTERS if asked.get(name)}
    return [
        one for one in letters if one.holds(words) and all(getattr(one, name) == is_ for name, is_ in wanted.items())
    ]


@dataclass(frozen=True)
class Choice:
    """One value of a filter, the address that chooses it, and how many letters it would leave."""

    label: str
    query: str
    chosen: bool
    count: int


def choices(letters: list[Found], asked: Mapping[str, str]) -> dict[str, list[Choice]]:
    """The filters that can tell letters apart, or are chosen, by title."""
    made = {}
    for name, title in FILTERS.items():
        rest = matching(letters, {**asked, name: ""})
        counts = Counter(str(getattr(one, name)) for one in rest if getattr(one, name))
        if len(counts) > 1 or asked.get(name):
            found = [("", "All", len(rest)), *((value, value, count) for value, count in sorted(counts.items()))]
            made[title] = [
                Choice(label, query(asked, **{name: value}), asked.get(name, "") == value, count)
                for value, label, count in found
            ]
    return made


def query(asked: Mapping[str, str], **changes: str) -> str:
    """The address of the list with these changes, on its first page."""
    kept = {name: value for name, value in {**asked, **changes}.items() if value and name in ("q", *FILTERS)}
    return "?" + urlencode(kept)
