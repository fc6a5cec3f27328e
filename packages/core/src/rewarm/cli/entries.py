"""`rewarm inspect`, `invalidate`, `refresh`: one entry, or what is tagged."""

from __future__ import annotations

from typing import Any

import click

from ..errors import ArgumentError
from . import show
from .apps import Apps, pass_apps, told

job_name = click.argument("job")
job_arguments = click.argument("arguments", nargs=-1, metavar="[NAME=TEXT|NAME:=JSON]...")


@click.command()
@job_name
@job_arguments
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_apps
def inspect(apps: Apps, job: str, arguments: tuple[str, ...], as_json: bool) -> None:
    """Look at an entry. Loads nothing and queues nothing."""
    entry = apps.entry(job, arguments)
    seen = entry.peek()
    facts: dict[str, Any] = {"key": entry.key, "tags": entry.tags, "state": "absent"}
    if seen is not None:
        facts |= {
            "state": str(seen.state), "age": round(seen.age, 3), "expires_in": round(seen.expires_in, 3),
            "refreshing": seen.refreshing, "value": entry.job.app.codec.encode(seen.value) if as_json else seen.value,
        }  # fmt: skip
    if as_json:
        show.as_json(facts)
    else:
        texts = {**facts, "tags": ", ".join(entry.tags) or "none"}
        if seen is not None:
            texts |= {"age": f"{seen.age:.1f} s", "expires_in": f"{seen.expires_in:.1f} s", "value": repr(seen.value)}
            texts["refreshing"] = "yes" if seen.refreshing else "no"
        show.facts(texts)


@click.command()
@click.argument("job", required=False)
@job_arguments
@click.option("--tag", "tags", multiple=True, help="Everything that bears this tag, in every application named.")
@click.option("--all", "whole", is_flag=True, help="Every entry of the job.")
@pass_apps
def invalidate(apps: Apps, job: str | None, arguments: tuple[str, ...], tags: tuple[str, ...], whole: bool) -> None:
    """Fence an entry, a whole job or tags: what was loaded before is no HIT any more."""
    if not (job or tags) or (whole and (arguments or not job)):
        raise ArgumentError("invalidate what? JOB NAME=TEXT ..., JOB --all, or --tag TAG")
    entry = apps.entry(job, arguments) if job and not whole else None
    if job and whole:
        apps.job(job).invalidate_all()
    elif entry:
        entry.invalidate()
    for app in apps.all if tags else ():
        app.invalidate(tags=tags)
    done = [entry.key if entry else f"all of {job}"] if job else []
    click.echo(f"invalidated {', '.join([*done, *(f'tag {tag}' for tag in tags)])}")


@click.command()
@job_name
@job_arguments
@click.option("--wait", type=click.FloatRange(0), default=0.0, help="Wait so many seconds for the outcome.")
@pass_apps
def refresh(apps: Apps, job: str, arguments: tuple[str, ...], wait: float) -> None:
    """Queue a load of an entry, or join one that is queued or running."""
    entry = apps.entry(job, arguments)
    told(entry.job.app, entry.refresh(), wait)
