"""The journal: one line per event, appended by every process of a run to one file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `t`: seconds of the host's monotonic clock, the same for all of its processes.

    event: from probe jobs `start`, `done`, `failed`; from the core `queued`, `refused`, `end`, `dead`; from whoever
    sends `sent`; from the suite `spawn`, `term`, `kill`, `broker-stop`, `broker-start`.
    token: the first argument of the probe's job: what the suite filters by.
    """

    t: float
    pid: int
    event: str
    token: str = ""
    id: str = ""
    attempt: int = 0
    ppid: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)


History = list[Event]


class Journal:
    """Appends to the file, and reads what has been added since."""

    def __init__(self, path: str | Path) -> None:
        self.path, self._read, self._rest, self._events = str(path), 0, b"", History()

    def write(self, event: str, token: str = "", id: str = "", attempt: int = 0, **data: Any) -> None:
        """Append one event."""
        entry = Event(time.monotonic(), os.getpid(), event, token, id, attempt, os.getppid(), data)
        line = json.dumps(asdict(entry), separators=(",", ":")).encode() + b"\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line)  # one write: lines of several processes never mix
        finally:
            os.close(file)

    def history(self) -> History:
        """All events so far, in the order of their instants."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return []
        self._read += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        if lines:
            self._events += [Event(**json.loads(line)) for line in lines]
            self._events.sort(key=lambda event: event.t)
        return self._events
