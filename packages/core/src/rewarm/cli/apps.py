"""The applications that a command acts on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import click

from ..app import Rewarm
from ..dead import DeadLetter
from ..entry import Entry
from ..errors import ConfigurationError
from ..job import BoundJob
from ..receipt import Receipt
from ..registry import named_apps
from .arguments import parse


@dataclass
class Apps:
    """`paths`: module:attribute[,…], imported when a command asks for the first application."""

    paths: str

    @cached_property
    def all(self) -> list[Rewarm]:
        """Raises ConfigurationError if none is named."""
        if not (found := named_apps(self.paths)):
            raise ConfigurationError("which application? rewarm --app module:attribute ..., or set REWARM_APP")
        return found

    def job(self, name: str) -> BoundJob[..., Any]:
        """Raises ConfigurationError, with the jobs that exist."""
        for app in self.all:
            if name in app.jobs:
                return app.jobs[name]
        known = sorted(job for app in self.all for job in app.jobs)
        raise ConfigurationError(f"no job {name!r}; there are {', '.join(known) or 'none'}")

    def entry(self, name: str, arguments: tuple[str, ...]) -> Entry[Any]:
        """A job with arguments as on the command line. Raises ConfigurationError, ArgumentError."""
        job = self.job(name)
        return job.entry(**parse(arguments, job.app.codec))

    def letter(self, start: str) -> tuple[Rewarm, DeadLetter]:
        """The dead letter whose id begins so. Raises ConfigurationError if there is none, or several."""
        found = [(app, letter) for app in self.all for letter in app.dead.list() if letter.id.startswith(start)]
        if len(found) != 1:
            raise ConfigurationError(f"{len(found) or 'no'} dead letters begin with {start!r}; see rewarm dead list")
        return found[0]


def told(app: Rewarm, receipt: Receipt, wait: float) -> None:
    """Say what was queued, and how it ended if somebody waits: tasks in this process would end with it."""
    click.echo(f"{receipt.kind} {receipt.id or receipt.status()}")
    if receipt.id and (wait or app.runtime.adapter.in_process):
        click.echo(receipt.outcome(wait or 30.0))


pass_apps = click.make_pass_decorator(Apps)
