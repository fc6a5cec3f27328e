"""Tables and lines: with rich on a terminal, plain text elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

console = Console(highlight=False)


def as_json(value: Any) -> None:
    """One object, on one line."""
    click.echo(json.dumps(value, default=str, ensure_ascii=False))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = (), title: str = "") -> None:
    """`numbers`: the heads of the columns that are set to the right. An empty row is a line between groups."""
    if console.is_terminal:
        _rich_table(heads, rows, numbers, title)
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    if title:
        click.echo(f"{title}\n")
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


def _rich_table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str], title: str) -> None:
    from rich.box import SIMPLE_HEAD

    shown = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", pad_edge=False)
    for head in heads:
        shown.add_column(head, justify="right" if head in numbers else "left", overflow="fold")
    for row in rows:
        if any(row):
            shown.add_row(*row)
        else:
            shown.add_section()
    console.print(shown)
