"""`rewarm demo`: its options, its progress and its last word."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from .. import show
from .report import Result
from .run import Demo, Show


@click.command()
@click.option("--queue", default="threads", show_default=True, help="threads, inline, asyncio, or an adapter's name.")
@click.option("--store", help="memory, redis (a private server) or a URL.  [default: what the queue can use]")
@click.option("--seconds", type=click.FloatRange(0.5), default=6.0, show_default=True, help="Traffic for each cache.")
@click.option("--readers", type=click.IntRange(1, 100), default=4, show_default=True, help="Threads, or processes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def demo(queue: str, store: str | None, seconds: float, readers: int, as_json: bool) -> None:
    """See it work, beside the usual hand-written cache.

    Readers ask what packages of the standard library import, define and weigh, which takes long to find out, while
    somebody edits those packages. Every value that is served as fresh is checked against the source. Exit status 1:
    a wrong one was, or a task was lost.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave by the same door as Ctrl-C: everything is ended
    if not as_json:
        click.echo("Cached: what packages of the standard library import, define and weigh.")
        click.echo("They are edited while they are read, and every value served as fresh is checked.")
    with _progress(quiet=as_json) as tell:
        result = Demo(queue, store, seconds, readers, tell).run()
    if as_json:
        show.as_json(result.as_json())
    else:
        _report(result)
    sys.exit(0 if result.good else 1)


@contextmanager
def _progress(quiet: bool) -> Iterator[Show]:
    """How the demo tells what it does: bars on a terminal, a line for each step elsewhere, nothing for JSON."""
    if not show.console.is_terminal or quiet:
        told: set[str] = set()

        def line(what: str, share: float, note: str) -> None:
            if what not in told and not quiet:
                click.echo(f"{what} ...")
            told.add(what)

        yield line
        return
    bars: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description:<26}"),
        BarColumn(22, complete_style="cyan", finished_style="green"),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=show.console, transient=True) as progress:

        def bar(what: str, share: float, note: str) -> None:
            if what not in bars:
                for before in bars.values():
                    progress.update(before, completed=1.0, note="")
                bars[what] = progress.add_task(what, total=1.0, note=note)
            progress.update(bars[what], completed=share, note=note)

        yield bar


def _report(result: Result) -> None:
    numbers, last = ("Rewarm", "hand-written"), result.rows()[-1]

    def style(row: Sequence[str]) -> str:
        return "bold" if row == last else "dim" if row[1:] == ("0", "") else ""

    click.echo(
        f"\nqueue {result.queue}, store {result.store}; for each cache {result.readers} readers, "
        f"{result.seconds:g} s, {result.ours.edits} edits\n"
    )
    show.table(("", *numbers), result.rows(), numbers=numbers, style=style)
    click.secho(f"\n{result.verdict}", fg="green" if result.good else "red", bold=True)
