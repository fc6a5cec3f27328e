"""An adapter whose module connects to something when it is imported. Alone here, to leave the other mutants quiet."""

import contextlib
import socket

from ..reference import ReferenceAdapter, ReferenceTestbed
from . import breaks

with contextlib.suppress(OSError, TypeError):
    socket.create_connection(("127.0.0.1", 1), timeout=0.1)


class NoisyAdapter(ReferenceAdapter):
    """Nothing else is wrong with it."""


@breaks("APP-04", "connected to")
class ConnectsAtImport(ReferenceTestbed):
    adapter_class = NoisyAdapter
