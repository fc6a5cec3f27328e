"""What `REWARM` says of each application: the keywords of `Rewarm` in upper case, and Django's own few."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from rewarm import ConfigurationError, Rewarm
from rewarm.app import NAME
from rewarm.job import Policies

KEYWORDS: Mapping[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(Rewarm).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
}
"""Whatever the core's constructor takes, with its defaults: what it learns can be set here too."""

OWN: Mapping[str, Any] = {
    "NAME": None,  # the application's name, in keys and payloads; default: the alias
    "COMMIT": "on_commit",  # or "outbox", or "queue": see docs/django.md
    "POLICIES": {},  # defaults of all jobs
    "RAISE_EXCEPTION": False,  # what cannot be sent after a commit raises, instead of being reported and kept
    "HISTORY": None,  # days for which per-minute counts are kept, for the admin's dashboard; None: nothing is counted
    "RELAY_EVERY": 60.0,  # seconds between two looks at the outbox after a request; None: only by command
}
KNOWN = (*OWN, *map(str.upper, KEYWORDS))
LEVELS = ("on_commit", "outbox", "queue")
DEFAULT_STORE = "cache://default"


def aliases() -> list[str]:
    """The applications that `REWARM` describes; there is always a "default"."""
    given = _given()
    return list(dict.fromkeys(["default", *given]))


def described(alias: str) -> dict[str, Any]:
    """One application's settings, own ones filled in. Raises ConfigurationError for an unknown key or level."""
    given = _given()
    if alias != "default" and alias not in given:
        raise ConfigurationError(f"REWARM has no {alias!r}; there are {', '.join(aliases())}")
    found = given.get(alias, {})
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"REWARM[{alias!r}] is {found!r}: give a dict")
    if unknown := [key for key in found if key not in KNOWN]:
        raise ConfigurationError(f"REWARM[{alias!r}] has no {unknown[0]!r}; there are {', '.join(KNOWN)}")
    whole = {**OWN, **found}
    if whole["COMMIT"] not in LEVELS:
        raise ConfigurationError(f"REWARM[{alias!r}]['COMMIT'] is {whole['COMMIT']!r}, none of {', '.join(LEVELS)}")
    name = whole["NAME"] or alias
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigurationError(f"REWARM[{alias!r}]['NAME'] is {name!r}: use {NAME.pattern}")
    for key, unit in ("HISTORY", "days"), ("RELAY_EVERY", "seconds"):
        if isinstance(one := whole[key], bool) or not isinstance(one, int | float | None) or (one or 1) <= 0:
            raise ConfigurationError(f"REWARM[{alias!r}][{key!r}] is {one!r}: give a number of {unit}, or None")
    policies = whole["POLICIES"]
    names = ("ttl", *Policies.__annotations__)
    if not isinstance(policies, Mapping) or (wrong := [name for name in policies if name not in names]):
        wrong = [] if not isinstance(policies, Mapping) else wrong
        told = f"has no {wrong[0]!r}; there are {', '.join(names)}" if wrong else f"is {policies!r}: give a dict"
        raise ConfigurationError(f"REWARM[{alias!r}]['POLICIES'] {told}")
    return whole


def _given() -> Mapping[str, Any]:
    given = getattr(settings, "REWARM", {})
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"REWARM is {given!r}: give a dict of dicts, REWARM = {{'default': {{...}}}}")
    if flat := [key for key in given if key in KNOWN]:
        raise ConfigurationError(
            f"REWARM[{flat[0]!r}] is one level too high: REWARM = {{'default': {{{flat[0]!r}: ...}}}}"
        )
    return given
