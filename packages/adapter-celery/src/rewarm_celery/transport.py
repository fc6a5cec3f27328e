"""kombu's Redis transport, whose worker outlives a lost connection. Opt-in: in Celery's configuration,
`broker_transport = "rewarm_celery.transport:RedisTransport"`.

When Redis goes away while a message is unacknowledged, Celery closes the channel a second time, or acknowledges on it
later. kombu then looks for the settings of a connection that is gone, which ends the worker: AttributeError
"'NoneType' object has no attribute 'hostname'". See https://github.com/celery/kombu/issues/582.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis
from redis.exceptions import ConnectionError


class Channel(redis.Channel):
    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection is None or self.connection.client is None:
            raise ConnectionError("this channel's connection was lost")  # Celery expects it; the message comes back
        return super()._connparams(asynchronous)  # type: ignore[misc]  # the stubs leave it out


class RedisTransport(redis.Transport):
    Channel = Channel
