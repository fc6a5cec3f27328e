"""What happens to tasks, in whichever process: one line per event in one file."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from ... import events

ENDS = ("done", "skipped", "dead")


class Journal:
    """Appends to a file that several processes share."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def write(self, event: events.Event) -> None:
        """A listener: `app.listen(journal.write)`."""
        match event:
            case events.Enqueued(task=task):
                line = f"queued {task.id}"
            case events.TaskEnded(task=task, outcome=outcome):
                line = f"{outcome} {task.id}"
            case events.Loaded(stored=stored):
                line = f"loaded {stored}"
            case _:
                return
        os.write(self._file, f"{line}\n".encode())  # one write: lines of several processes do not mix


class Account:
    """What a journal says so far. `pending`: tasks that were queued and have not ended."""

    def __init__(self, path: Path) -> None:
        lines = [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []
        self.counts = Counter(what for what, _ in lines)
        ended = {task for what, task in lines if what in ENDS}
        self.pending = {task for what, task in lines if what == "queued"} - ended
