"""The `rewarm` command: what its parts share."""

from __future__ import annotations

from typing import Any

import click

from ..errors import RewarmError
from .apps import Apps
from .dead import dead
from .demo.command import demo
from .doctor import adapters, doctor
from .entries import inspect, invalidate, refresh
from .rescue import rescue


class Fault(click.ClickException):
    """What is wrong, in the library's own words, without a traceback."""

    exit_code = 2


class Group(click.Group):
    """A group whose commands may raise RewarmError."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RewarmError as error:
            raise Fault(str(error)) from error


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--app", envvar="REWARM_APP", default="", metavar="MODULE:ATTRIBUTE", help="Or REWARM_APP.")
@click.version_option(package_name="rewarm", message="rewarm %(version)s")
@click.pass_context
def rewarm(ctx: click.Context, app: str) -> None:
    """Caches kept warm and right from the task queue you already run."""
    ctx.obj = Apps(app)


for command in (inspect, invalidate, refresh, dead, rescue, doctor, adapters, demo):
    rewarm.add_command(command)
