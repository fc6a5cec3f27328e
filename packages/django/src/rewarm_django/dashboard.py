"""What the dashboard shows: plots of the history, and each job's figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import Error, router
from django.db.models import Max, Sum
from django.utils import timezone

from rewarm import RewarmError
from rewarm.steps import Scan

from .history import instant
from .models import Minute
from .store import CacheStore

if TYPE_CHECKING:
    from .applications import Application

SPANS = {"1h": (3600, 60), "6h": (6 * 3600, 300), "24h": (86_400, 900), "7d": (7 * 86_400, 7200)}
"""Name: seconds in all, and seconds of a bar."""
SUMS = ("hits", "stales", "misses", "loads", "failures", "refreshes", "waited")
WIDTH, HEIGHT = 1000.0, 100.0  # of a plot, in its own units: it is stretched to the page
COUNT_FOR = 2.0  # s: so long keys are counted


@dataclass
class Row:
    """A job's figures over the span."""

    job: str
    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SUMS, 0))
    entries: str = ""

    @property
    def asked(self) -> int:
        return self.sums["hits"] + self.sums["stales"] + self.sums["misses"]

    @property
    def ratio(self) -> str:
        """Of all reads those that found a fresh value."""
        return f"{100 * self.sums['hits'] / self.asked:.1f} %" if self.asked else "–"

    @property
    def reads(self) -> list[str]:
        return [number(self.sums[name]) for name in ("hits", "stales", "misses", "loads")]

    @property
    def refreshes(self) -> str:
        return number(self.sums["refreshes"])

    @property
    def wait(self) -> str:
        return ms(self.sums["waited"] / self.sums["refreshes"]) if self.sums["refreshes"] else "–"


@dataclass
class Series:
    """One thing that is plotted. `total`: what the legend says of it."""

    name: str
    kind: str
    total: str
    values: Sequence[float | None]


@dataclass
class Bar:
    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass
class Plot:
    """Rectangles and lines in a box of `WIDTH` by `HEIGHT`, with what its axes and its legend say."""

    title: str
    note: str
    series: list[Series]
    top: str
    middle: str
    bars: list[Bar] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)
    slots: list[tuple[float, str]] = field(default_factory=list)
    slot: float = 0.0
    empty: bool = False


@dataclass
class Shown:
    recording: bool
    rows: list[Row]
    plots: list[Plot]
    labels: list[str]
    problem: str
    counted: str
    now: dict[str, str]


def look(app: Application, span: str, count: bool = False) -> Shown:
    """One application over one of `SPANS`. `count`: ask the store how many entries each job has."""
    seconds, step = SPANS[span]
    end = (int(time.time()) // step + 1) * step
    begin, bars = end - seconds, seconds // step
    moments = [datetime.fromtimestamp(begin + n * step, UTC) for n in range(bars + 1)]
    rows = {name: Row(name) for name in sorted(app.jobs)}
    slots: list[dict[str, Any]] = [{**dict.fromkeys(SUMS, 0), "slowest": 0, "depth": None} for _ in range(bars)]
    problem = ""
    try:
        minutes = Minute.objects.using(router.db_for_read(Minute)).filter(app=app.name, at__gte=instant(begin))
        for found in minutes.values("job").annotate(**{name: Sum(name) for name in SUMS}):
            if found["job"]:
                row = rows.setdefault(found["job"], Row(found["job"]))
                row.sums = {name: found[name] for name in SUMS}
        names = (*SUMS, "slowest", "depth")
        per_minute = minutes.values_list("at").annotate(*map(Sum, SUMS), Max("slowest"), Max("depth"))
        for at, *values in per_minute.order_by("at"):
            slot = slots[min(bars - 1, int(at.timestamp() - begin) // step)]
            for name, value in zip(names, values, strict=True):
                if name in SUMS:
                    slot[name] += value
                elif value is not None:
                    slot[name] = max(slot[name] or 0, value)
    except Error as error:
        problem = f"the history cannot be read: {error}"
    counted = _count(app, rows) if count else ""
    text = "%H:%M" if seconds <= 86_400 else "%d %b %H:%M"
    labels = [timezone.localtime(at).strftime(text) if timezone.is_aware(at) else "" for at in moments]
    busiest = sorted(rows.values(), key=lambda row: -row.asked)
    return Shown(
        recording=app.history is not None, rows=busiest, plots=_plots(slots, labels),
        labels=[labels[0], labels[bars // 2], labels[bars]], problem=problem, counted=counted, now=_now(app),
    )  # fmt: skip


def _now(app: Application) -> dict[str, str]:
    """How things stand at this moment. What cannot be asked is left out."""
    asks: dict[str, Callable[[], Any]] = {
        "in the queue": lambda: app.runtime.adapter.depth(),
        "dead letters": lambda: len(app.dead.list()),
        "adapter": lambda: app.runtime.adapter.name,
        "store": lambda: type(app.runtime.store).__name__,
        "ledger": lambda: type(app.runtime.ledger).__name__,
    }
    found = {}
    for name, ask in asks.items():
        try:
            value = ask()
        except Exception as problem:  # a queue's own
            value = f"cannot be asked ({type(problem).__name__})"
        if value is not None:
            found[name] = str(value)
    return found


def _count(app: Application, rows: dict[str, Row]) -> str:
    """Entries of each job, as far as two seconds go -> what to say of it."""
    if isinstance(app.runtime.store, CacheStore):
        return "Django's caches do not list their keys: entries are counted only in a Redis store."
    counts = dict.fromkeys(rows, 0)
    by_prefix = {app.jobs[name].prefix: name for name in rows if name in app.jobs}
    cursor, deadline = "", time.monotonic() + COUNT_FOR
    try:
        while cursor != "0" and time.monotonic() < deadline:
            (page,) = app.runtime.run([Scan(f"{app.name}:", cursor or "0", 1000)])
            for key in page.keys:
                begins = ":".join(key.split(":", 2)[:2]) + ":"
                if begins in by_prefix:
                    counts[by_prefix[begins]] += 1
            cursor = page.cursor
    except RewarmError as problem:
        return f"the store cannot be asked: {problem}"
    whole = cursor == "0"
    for name, number in counts.items():
        rows[name].entries = str(number) if whole else f"≥ {number}"
    return "" if whole else f"The store is large: entries were counted for {COUNT_FOR:.0f} s."


# --- plots


def _plots(slots: list[dict[str, Any]], labels: list[str]) -> list[Plot]:
    def column(name: str) -> list[float]:
        return [float(slot[name] or 0) for slot in slots]

    reads = [
        Series(name, kind, f"{sum(column(kind)):,.0f}", column(kind))
        for name, kind in (("hits", "hits"), ("stale", "stales"), ("misses", "misses"))
    ]
    means = [slot["waited"] / slot["refreshes"] if slot["refreshes"] else None for slot in slots]
    slowest = [float(slot["slowest"]) if slot["refreshes"] else None for slot in slots]
    count = sum(column("refreshes"))
    mean = ms(sum(column("waited")) / count) if count else "–"
    depths = [None if slot["depth"] is None else float(slot["depth"]) for slot in slots]
    known = [depth for depth in depths if depth is not None]
    return [
        _bars("Reads", "fresh, stale (one refresh is queued) and missing", reads, labels),
        _lines(
            "Refresh latency", "from queueing to the new value",
            [
                Series("slowest", "slowest", ms(max(column("slowest"))) if count else "–", slowest),
                Series("mean", "mean", mean, means),
            ],
            labels, ms,
        ),
        _lines(
            "Queue depth", "tasks that wait, of all kinds",
            [Series("depth", "depth", f"{max(known):,.0f} at most" if known else "not told by this queue", depths)],
            labels, number,
        ),
    ]  # fmt: skip


def _bars(title: str, note: str, series: list[Series], labels: list[str]) -> Plot:
    """Stacked: each bar is a moment."""
    count = len(series[0].values)
    totals = [sum(one.values[n] or 0 for one in series) for n in range(count)]
    top, width = nice(max(totals, default=0)), WIDTH / count
    bars = []
    for n in range(count):
        base = HEIGHT
        for one in series:
            tall = HEIGHT * (one.values[n] or 0) / top
            if tall:
                base -= tall
                bars.append(Bar(round(n * width + width * 0.1, 2), round(base, 2), round(width * 0.8, 2),
                                round(tall, 2), one.kind))  # fmt: skip
    told = [", ".join(f"{one.values[n]:,.0f} {one.name}" for one in series) if totals[n] else "" for n in range(count)]
    return Plot(
        title, note, series, number(top), number(top / 2), bars, [], _slots(told, labels), width, not any(totals)
    )


def _lines(title: str, note: str, series: list[Series], labels: list[str], unit: Callable[[float], str]) -> Plot:
    """A line for each; where nothing is known it is broken, and a lonely value is a dash."""
    count = len(series[0].values)
    known = [value for one in series for value in one.values if value is not None]
    top, width = nice(max(known, default=0)), WIDTH / count
    lines = []
    for one in series:
        for first, run in _runs(one.values):
            at = [(width * (first + n + 0.5), HEIGHT - HEIGHT * value / top) for n, value in enumerate(run)]
            if len(at) == 1:
                at = [(at[0][0] - width * 0.4, at[0][1]), (at[0][0] + width * 0.4, at[0][1])]
            lines.append((one.kind, " ".join(f"{x:.1f},{y:.1f}" for x, y in at)))
    told = [
        ", ".join(f"{one.name} {unit(value)}" for one in series if (value := one.values[n]) is not None)
        for n in range(count)
    ]
    return Plot(title, note, series, unit(top), unit(top / 2), [], lines, _slots(told, labels), width, not known)


def _runs(values: Sequence[float | None]) -> list[tuple[int, list[float]]]:
    """The stretches in which something is known, each with where it begins."""
    runs: list[tuple[int, list[float]]] = []
    for n, value in enumerate(values):
        if value is None:
            continue
        if not n or values[n - 1] is None:
            runs.append((n, []))
        runs[-1][1].append(value)
    return runs


def _slots(told: list[str], labels: list[str]) -> list[tuple[float, str]]:
    """Where each moment begins, and what a pointer there is told."""
    width = WIDTH / len(told)
    return [(round(n * width, 2), f"{labels[n]}–{labels[n + 1]}: {text}") for n, text in enumerate(told) if text]


def nice(most: float) -> float:
    """A round number that is not less, for the top of an axis; 1 for nothing."""
    power = 1.0
    while most > power * 10:
        power *= 10
    return next(power * digit for digit in (1, 2, 3, 4, 6, 8, 10) if power * digit >= most)


def number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def ms(value: float) -> str:
    """A duration that is given in milliseconds."""
    for size, unit in ((3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} ms"
