"""The demo's application: imported by its readers and by the queue's worker, set up by REWARM_DEMO_*."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ... import Rewarm
from .journal import Journal
from .queues import open_queue
from .source import describe

TTL = 60.0
folder = Path(os.environ["REWARM_DEMO_FOLDER"])
queue, adapter = open_queue(os.environ["REWARM_DEMO_QUEUE"], os.environ["REWARM_DEMO_BROKER"])
app = Rewarm(os.environ["REWARM_DEMO_NAME"], store=os.environ["REWARM_DEMO_STORE"], adapter=adapter)
app.listen(Journal(folder / "journal").write)


@app.job(ttl=TTL, stale_while_revalidate=600, tags=["package:{name}"])
def package(name: str) -> dict[str, Any]:
    """What a package imports, defines and weighs."""
    return describe(folder / "rewarm" / name)
