"""`rewarm doctor`, `adapters`: what is there, and what is wrong with it."""

from __future__ import annotations

import sys

import click

from ..adapter import Capability, Finding
from ..app import Rewarm
from ..errors import StoreError
from ..registry import adapters as installed
from ..stores.base import Letters
from . import show
from .apps import Apps, pass_apps

COLOURS = {"error": "red", "warning": "yellow", "info": "blue"}


@click.command()
@pass_apps
def doctor(apps: Apps) -> None:
    """Settings that lose, duplicate or delay work. Exit status 1 if there are errors."""
    errors = 0
    for app in apps.all:
        runtime = app.runtime
        store, ledger = _named(runtime.store), _named(runtime.ledger)
        show.facts(
            {
                "app": app.name,
                "jobs": ", ".join(app.jobs) or "none",
                "adapter": f"{runtime.adapter.name}: {', '.join(sorted(runtime.adapter.capabilities)) or 'in place'}",
                "store": store,
                "ledger": "the store" if ledger == store else ledger,
            }
        )
        findings = [*_reach(app), *runtime.adapter.doctor()]
        for finding in findings:
            click.secho(f"{finding.severity}: ", fg=COLOURS[finding.severity], bold=True, nl=False)
            click.echo(finding.message + (f"\n  {finding.fix}" if finding.fix else ""))
        if not findings:
            click.secho("nothing to complain about", fg="green")
        errors += sum(finding.severity == "error" for finding in findings)
    sys.exit(1 if errors else 0)


@click.command()
def adapters() -> None:
    """The adapters that are installed."""
    for name in installed():
        click.echo(name)


def _named(backend: object) -> str:
    plain = type(backend).__repr__ is object.__repr__
    return type(backend).__name__ if plain else repr(backend)


def _reach(app: Rewarm) -> list[Finding]:
    """Whether store, ledger and queue answer, and whether tasks are dead."""
    runtime = app.runtime
    try:
        ((*letters,),) = runtime.run([Letters(runtime.dead_key)])
        runtime.store.run([])
    except StoreError as error:
        return [Finding("error", f"the store does not answer: {error}", "start it, or mend store= of the application")]
    found = []
    if Capability.DEPTH in runtime.adapter.capabilities:
        try:
            runtime.adapter.depth()
        except Exception as error:  # each queue has its own
            found.append(Finding("error", f"the queue does not answer: {error}", "start it, or mend its address"))
    if letters:
        told = "1 task is dead" if len(letters) == 1 else f"{len(letters)} tasks are dead"
        found.append(Finding("warning", told, "rewarm dead list"))
    return found
