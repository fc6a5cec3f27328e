"""The Lua scripts of `entries.lua` and `ledger.lua`, ready to be sent."""

from __future__ import annotations

import re
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple


class Script(NamedTuple):
    """Source and digest, as `EVAL` and `EVALSHA` want them."""

    source: bytes
    sha: bytes


def _load(name: str) -> dict[str, Script]:
    """Each section `--- name(arguments): ...` is a script; those below the prelude begin with it."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    _, *sections = re.split(r"^--- (\w+).*\n", text, flags=re.MULTILINE)
    prelude, scripts = "", {}
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        if title == "prelude":
            prelude = body
            continue
        source = (prelude + body).encode()
        scripts[title] = Script(source, sha1(source, usedforsecurity=False).hexdigest().encode())
    return scripts


SCRIPTS = _load("entries.lua") | _load("ledger.lua")
"""By name: that of the step in lower case, and `capture`."""

SOURCES = {script.sha: script.source for script in SCRIPTS.values()}
"""What to send to a server that does not know a digest."""
