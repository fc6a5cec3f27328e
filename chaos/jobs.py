"""The jobs of the payloads and the one that is judged, beside those of the conformance suite's probe."""

from __future__ import annotations

from typing import Any

from hammer.source import Source

from rewarm import Retry
from rewarm_conformance.probe import ATTEMPTS, LEASE, Probe, ProbeError


def judged(probe: Probe) -> tuple[Source, Any]:
    """The source, and a job that reads it, added to the probe's application."""
    source = Source(probe.directory)
    for load in probe.fails, probe.refuses:  # a killed one must not block its entry for a minute
        retry = Retry(attempts=ATTEMPTS, on=ProbeError)
        probe.app.job(name=f"{load.__name__}_soon", ttl=300, retry=retry, lease=LEASE)(load)
    return source, probe.app.job(name="version", ttl=900, tags=["key:{key}"], lease=LEASE, wait=5)(source.load)
