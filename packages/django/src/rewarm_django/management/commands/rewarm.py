"""`manage.py rewarm doctor|dead|relay|rescue|warm|invalidate|refresh|inspect`, on REWARM's applications."""

from __future__ import annotations

import argparse
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, close_old_connections

from rewarm import ConfigurationError, Rewarm
from rewarm.cli.apps import Apps, pass_apps
from rewarm.cli.command import Group, rewarm

from ... import outbox
from ...applications import caches

TAKEN = ("doctor", "dead", "rescue", "invalidate", "refresh", "inspect", "adapters")


@dataclass
class Described(Apps):
    """The applications that settings describe. `alias`: only this one."""

    paths: str = ""
    alias: str = ""

    @property
    def all(self) -> list[Rewarm]:
        return [caches[self.alias]] if self.alias else list(caches.values())


@click.group(cls=Group)
@click.option("--app", default="", metavar="ALIAS", help="A key of REWARM; default: all of them.")
@click.pass_context
def group(ctx: click.Context, app: str) -> None:
    """Caches kept warm and right from the task queue you already run."""
    ctx.obj = Described(alias=app)
    with suppress(Exception):  # a sick project: the doctor will say
        for one in caches.values():
            one.import_views()


@group.command()
@click.option("--every", type=click.FloatRange(0, min_open=True), help="Go on: look again after so many seconds.")
@click.option(
    "--grace", type=click.FloatRange(0), default=outbox.GRACE, help="Leave rows younger than so many seconds."
)
def relay(every: float | None, grace: float) -> None:
    """Do what processes left in the outbox: once (for cron), or again and again."""
    while True:
        try:
            click.echo(f"{outbox.relay(grace)} done, {outbox.waiting()} waiting")
        except Error as error:
            if not every:
                raise
            click.echo(f"a database is away: {error}", err=True)
        if not every:
            return
        time.sleep(every)
        close_old_connections()


@group.command()
@click.argument("job")
@click.argument("arguments", nargs=-1, metavar="[NAME=TEXT|NAME:=JSON]...")
@pass_apps
def warm(apps: Apps, job: str, arguments: tuple[str, ...]) -> None:
    """Queue refreshes: of one entry, or of all that the job's `warm()` lists, each as its arguments (tuple or dict)."""
    bound = apps.job(job)
    if arguments:
        entries = [apps.entry(job, arguments)]
    elif callable(calls := getattr(bound.job, "warm", None)):
        entries = [bound.entry(**call) if isinstance(call, dict) else bound.entry(*call) for call in calls()]
    elif not bound.signature.names:
        entries = [bound.entry()]
    else:
        raise ConfigurationError(f"job {job!r} has no warm(): give the arguments of one entry, as in author_id:=7")
    with bound.app.batch():
        for entry in entries:
            entry.refresh()
    click.echo(f"{len(entries)} of {job} queued")


for name in TAKEN:
    group.add_command(rewarm.commands[name])


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    help = "Caches: doctor, dead, relay, rescue, warm, invalidate, refresh, inspect."
    requires_system_checks: list[str] = []  # noqa: RUF012  the doctor must be able to look at a sick project

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--app", default="")
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def run_from_argv(self, argv: list[str]) -> None:
        """All options are the group's own."""
        group.main(argv[2:], prog_name=" ".join(argv[:2]))

    def handle(self, *, app: str = "", arguments: Any = (), **options: Any) -> None:
        """From `call_command("rewarm", "doctor")`."""
        try:
            group.main(["--app", app, *arguments], prog_name="rewarm", standalone_mode=False)
        except click.ClickException as error:
            raise CommandError(error.format_message()) from error
        except SystemExit as end:
            if end.code:
                raise CommandError(f"rewarm {' '.join(arguments)} ended with {end.code}") from end
