"""`rewarm dead`: tasks that were given up."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

import click

from . import show
from .apps import Apps, pass_apps, told

SHORT = 12
"""Characters of an id in a list; any unique beginning names a letter."""


@click.group()
def dead() -> None:
    """Tasks that were given up: look, try again, forget."""


@dead.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
@pass_apps
def list_(apps: Apps, as_json: bool) -> None:
    """All of them, oldest first."""
    letters = [(app, letter) for app in apps.all for letter in app.dead.list()]
    if as_json:
        show.as_json([{"app": app.name, **asdict(letter)} for app, letter in letters])
    elif not letters:
        click.echo("no dead letters")
    else:
        rows = [
            (letter.id[:SHORT], letter.job or letter.kind or "?", str(letter.attempt), _when(letter.at), letter.reason)
            for _, letter in letters
        ]
        show.table(("id", "job", "attempts", "since", "reason"), rows, numbers=("attempts",))


@dead.command("show")
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_apps
def show_(apps: Apps, id: str, as_json: bool) -> None:
    """One of them, with its errors and its payload."""
    app, letter = apps.letter(id)
    facts = {"app": app.name, **asdict(letter)}
    if as_json:
        show.as_json(facts)
    else:
        lines = {"at": _when(letter.at), "errors": "\n".join(letter.errors), "stale": ", ".join(letter.stale)}
        show.facts({name: value for name, value in (facts | lines).items() if value not in (None, "")})


@dead.command()
@click.argument("id")
@pass_apps
def retry(apps: Apps, id: str) -> None:
    """Queue the task again, with a new attempt budget."""
    app, letter = apps.letter(id)
    told(app, app.dead.retry(letter.id), 0.0)


@dead.command()
@click.argument("id")
@pass_apps
def drop(apps: Apps, id: str) -> None:
    """Forget one."""
    app, letter = apps.letter(id)
    app.dead.drop(letter.id)
    click.echo(f"dropped {letter.id}")


@dead.command()
@click.confirmation_option("--yes", prompt="Forget all dead letters?")
@pass_apps
def purge(apps: Apps) -> None:
    """Forget all of them."""
    for app in apps.all:
        click.echo(f"{app.name}: {app.dead.purge()} forgotten")


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")
