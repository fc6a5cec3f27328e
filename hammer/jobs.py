"""The application that is hammered: imported by its readers and by the queue's worker, set up by HAMMER_*."""

from __future__ import annotations

import os
from pathlib import Path

from hammer.source import Source
from rewarm import Rewarm
from rewarm.cli.demo.queues import open_queue

source = Source(Path(os.environ["HAMMER_FOLDER"]))
queue, adapter = open_queue(os.environ["HAMMER_QUEUE"], os.environ["HAMMER_BROKER"])
if os.environ["HAMMER_QUEUE"] == "celery":
    queue.conf.include = ["hammer.jobs"]
os.environ["REWARM_APP"] = "hammer.jobs:app"  # what the workers of RQ and django-q2 look for
app = Rewarm("hammer", store=os.environ["HAMMER_STORE"], adapter=adapter)


@app.job(ttl=900, tags=["key:{key}"])
def version(key: int) -> int:
    """The source's version of a key."""
    return source.load(key)
