"""The `rewarm` command: its groups and what all of them share."""

from __future__ import annotations

from typing import Any

import click

from ..errors import RewarmError
from .demo.command import demo


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
@click.version_option(package_name="rewarm", message="rewarm %(version)s")
def rewarm() -> None:
    """Caches kept warm and right from the task queue you already run."""


rewarm.add_command(demo)
