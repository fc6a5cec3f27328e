"""`rewarm rescue`: send again what the queue has lost."""

from __future__ import annotations

import time

import click

from ..errors import ConfigurationError, RewarmError
from .apps import Apps, pass_apps


@click.command()
@click.option("--every", type=click.FloatRange(0, min_open=True), help="Go on: look again after so many seconds.")
@pass_apps
def rescue(apps: Apps, every: float | None) -> None:
    """Send again what the queue has lost: once (for cron), or again and again."""
    rescued = [app for app in apps.all if app.settings.rescue]
    if not rescued:
        raise ConfigurationError(f"nothing is journaled: {apps.all[0].name} needs Rewarm(rescue=seconds)")
    while True:
        for app in rescued:
            try:
                if (sent := app.rescue()) or not every:
                    click.echo(f"{app.name}: {sent} sent again")
            except RewarmError as error:
                if not every:
                    raise
                click.echo(f"{app.name}: {error}", err=True)
        if not every:
            return
        time.sleep(every)
