"""What workers import: the probe's queue object and application, with the judged job, a blow and a wrong clock."""

from __future__ import annotations

import json
import os
import time

from chaos.blows import Blow
from chaos.jobs import judged
from rewarm import worker
from rewarm_conformance.probe import app, native, probe

__all__ = ["app", "native"]

worker.OUTAGE = (0.5, 2.0)  # stands for 1 to 30 s between tries while the store is away
worker.CLAIM = 2_000  # for a minute, in which an invalidation whose worker was killed is taken for running
judged(probe)

if point := os.environ.get("CHAOS_POINT"):
    Blow(point, json.loads(os.environ["CHAOS_STRIKES"]), probe.directory).instrument(app)

if skew := float(os.environ.get("CHAOS_SKEW", "0")):
    right = time.time
    time.time = lambda: right() + skew
