"""A second application on the same worker: nothing imports it, so that only REWARM_APP can lead here."""

from __future__ import annotations

from .probe import from_environment
from .second_keys import KEYS

probe = from_environment(suffix="-b", signing_keys=KEYS)
app = probe.app
