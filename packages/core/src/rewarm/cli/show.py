"""Tables and lines: with rich on a terminal, plain text elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

console = Console(highlight=False)


def as_json(value: Any) -> None:
    """One object, on one line."""
    click.echo(json.dumps(value, default=str, ensure_ascii=False))


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[str] = (),
    style: Callable[[Sequence[str]], str] = lambda row: "",
) -> None:
    """`numbers`: heads of the columns that are set to the right.   `style`: a row's, on a terminal. An empty row
    is a gap between groups."""
    if console.is_terminal:
        _rich_table(heads, rows, numbers, style)
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = [
            cell.rjust(width) if head in numbers else cell.ljust(width)
            for head, cell, width in zip(heads, row, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def facts(named: Mapping[str, Any]) -> None:
    """A name and a value a line; further lines of a value are set under its first."""
    width = max(map(len, named))
    for name, value in named.items():
        click.secho(f"{name:<{width}}  ", dim=True, nl=False)
        click.echo(f"\n{'':<{width}}  ".join(str(value).splitlines() or [""]))


def _rich_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Sequence[str],
    style: Callable[[Sequence[str]], str],
) -> None:
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        shown.add_column(head, justify="right" if head in numbers else "left", overflow="fold")
    for row in rows:
        shown.add_row(*row, style=style(row))
    console.print(shown)
