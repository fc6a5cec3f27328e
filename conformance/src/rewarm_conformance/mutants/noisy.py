"""An adapter module that connects to something when it is imported."""

import contextlib
import socket

from ..reference import ReferenceAdapter

with contextlib.suppress(OSError, TypeError):
    socket.create_connection(("127.0.0.1", 1), timeout=0.1)


class NoisyAdapter(ReferenceAdapter):
    """Nothing else is wrong with it."""
