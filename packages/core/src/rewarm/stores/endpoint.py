"""Where a server is and how to reach it, from a URL or from a redis-py client."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

import redis
import redis.asyncio.sentinel
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry

from ..errors import ConfigurationError
from .cluster import AsyncClusterLink, ClusterLink
from .connections import AsyncPool, Pool

_redis: Any = redis
"""redis-py is typed in parts only."""

TIMEOUT = 5.0
"""Seconds for connecting, for an answer, and for a free connection, unless the URL says otherwise."""

Link = Pool | ClusterLink
AsyncLink = AsyncPool | AsyncClusterLink

_TWINS: dict[type, type] = {
    Connection: redis.asyncio.Connection,
    SSLConnection: redis.asyncio.SSLConnection,
    UnixDomainSocketConnection: redis.asyncio.UnixDomainSocketConnection,
}
_DEFAULT_PORT = {"sentinel": 26379, "cluster": 6379}


class Endpoint(NamedTuple):
    """`address` has no password; `link` and `alink` make pools: one per process, one per event loop."""

    address: str
    link: Callable[[], Link]
    alink: Callable[[], AsyncLink] | None
    cluster: bool = False


def endpoint(target: Any, async_client: Any, limit: int) -> Endpoint:
    """Of a URL, a `redis.Redis` or a `redis.RedisCluster`. Opens nothing. Raises ConfigurationError."""
    if isinstance(target, str):
        try:
            found = _from_url(urlsplit(target), limit)
        except (ValueError, TypeError, redis.RedisError) as error:
            raise ConfigurationError(f"this store URL cannot be used: {error}") from error
    elif isinstance(target, redis.Redis | redis.RedisCluster):
        found = _from_client(target, limit)
    else:
        raise ConfigurationError(f"a store is a URL, redis.Redis or redis.RedisCluster, not {type(target)!r}")
    if async_client is None:
        return found
    if not isinstance(async_client, redis.asyncio.Redis | redis.asyncio.RedisCluster):
        raise ConfigurationError(f"async_client is a client of redis.asyncio, not {type(async_client)!r}")
    if isinstance(async_client, redis.asyncio.RedisCluster) != found.cluster:
        raise ConfigurationError("of the two clients one is for a cluster and the other is not")
    return found._replace(alink=_from_async_client(async_client, limit))


# -- URLs ----------------------------------------------------------------------------------------------------


def _from_url(url: SplitResult, limit: int) -> Endpoint:
    if url.netloc and "@" not in url.netloc and "@" in url.path + url.query.partition("=")[0] + url.fragment:
        raise ValueError("a /, ? or # in user or password must be escaped: %2F, %3F, %23")
    transport, _, kind = url.scheme.replace("valkey", "redis").partition("+")
    if kind not in ("", "sentinel", "cluster"):
        raise ValueError(f"unknown scheme {url.scheme!r}")
    user, at, hosts = url.netloc.rpartition("@")
    path, service = url.path, ""
    if kind == "sentinel":
        _, service, *rest = path.split("/")
        path = "/".join(["", *rest])
    if transport != "unix" and not (path.strip("/") or "0").isdigit():
        raise ValueError(f"{path!r} is no database number")
    options = _redis.connection.parse_url(f"{transport}://{user}{at}{hosts.split(',')[0]}{path}?{url.query}")
    timeout = options.setdefault("socket_timeout", TIMEOUT)
    options.setdefault("socket_connect_timeout", TIMEOUT)
    limit = int(options.pop("max_connections", limit))
    patience = float(options.pop("timeout", timeout))
    options = _ours(options)
    if not kind:
        make = options.pop("connection_class", Connection)
        make(**options)  # an unknown option shows here, not at the first read
        return Endpoint(
            _address(options),
            lambda: Pool(lambda: make(**options), limit, patience),
            lambda: AsyncPool(lambda: _TWINS[make](**options), limit, patience),
        )
    nodes = [_node(host, _DEFAULT_PORT[kind]) for host in hosts.split(",")]
    for own in ("host", "port", "path"):
        options.pop(own, None)
    if options.pop("connection_class", None) is not None:
        options["ssl"] = True
    address = f"{url.scheme}://{hosts}{url.path}"
    if kind == "sentinel":
        if not service:
            raise ValueError("a service is needed: redis+sentinel://host,host/service/0")
        return _sentinel(address, nodes, service, options, limit, patience)
    return _cluster(address, nodes, options, limit, patience)


def _node(host: str, port: int) -> tuple[str, int]:
    parts = urlsplit("//" + host)
    return parts.hostname or "localhost", parts.port or port


def _sentinel(
    address: str, nodes: list[Any], service: str, options: dict[str, Any], limit: int, patience: float
) -> Endpoint:
    asked = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout")}

    def link() -> Pool:
        sentinels = asked | {"retry": Retry(NoBackoff(), 0)}  # rather ask the next one
        sentinel = _redis.sentinel.Sentinel(nodes, sentinel_kwargs=sentinels)
        return Pool(_maker(sentinel.master_for(service, **options)), limit, patience, sentinel.sentinels)

    def alink() -> AsyncPool:
        sentinels = asked | {"retry": AsyncRetry(NoBackoff(), 0)}
        sentinel = _redis.asyncio.sentinel.Sentinel(nodes, sentinel_kwargs=sentinels)
        return AsyncPool(_maker(sentinel.master_for(service, **options)), limit, patience, sentinel.sentinels)

    return Endpoint(address, link, alink)


def _cluster(address: str, nodes: list[Any], options: dict[str, Any], limit: int, patience: float) -> Endpoint:
    def connect() -> Any:
        startup = [_redis.cluster.ClusterNode(*node) for node in nodes]
        return _redis.RedisCluster(startup_nodes=startup, retry=Retry(NoBackoff(), 1), **options)

    def aconnect() -> Any:
        startup = [AsyncClusterNode(*node) for node in nodes]
        return redis.asyncio.RedisCluster(startup_nodes=startup, retry=AsyncRetry(NoBackoff(), 1), **options)

    return Endpoint(
        address,
        lambda: ClusterLink(connect, limit, patience, own=True),
        lambda: AsyncClusterLink(aconnect, limit, patience, own=True),
        cluster=True,
    )


# -- clients -------------------------------------------------------------------------------------------------


def _from_client(client: Any, limit: int) -> Endpoint:
    """Without an asyncio client of the same kind, asyncio callers run in threads."""
    if isinstance(client, redis.RedisCluster):
        _bytes_only(_encoder(client).decode_responses)
        link = partial(ClusterLink, lambda: client, limit, TIMEOUT, own=False)
        return Endpoint("the given cluster", link, None, cluster=True)
    make, options = _maker(client), client.connection_pool.connection_kwargs
    address = getattr(client.connection_pool, "service_name", None) or _address(options)
    return Endpoint(address, lambda: Pool(make, limit, options.get("socket_timeout") or TIMEOUT), None)


def _from_async_client(client: Any, limit: int) -> Callable[[], AsyncLink]:
    if isinstance(client, redis.asyncio.RedisCluster):
        _bytes_only(_encoder(client).decode_responses)
        return partial(AsyncClusterLink, lambda: client, limit, TIMEOUT, own=False)
    make, options = _maker(client), client.connection_pool.connection_kwargs
    return lambda: AsyncPool(make, limit, options.get("socket_timeout") or TIMEOUT)


def _encoder(client: Any) -> Any:
    return client.get_encoder()


def _maker(client: Any) -> Callable[[], Any]:
    """Makes connections such as the client's own, but outside its pool."""
    pool = client.connection_pool
    options = _ours(pool.connection_kwargs)
    return lambda: pool.connection_class(**options)  # keeps the pool: Sentinel's connections ask it for the master


def _ours(options: dict[str, Any]) -> dict[str, Any]:
    # What is sent again, and when, is the protocol's to decide.
    _bytes_only(options.get("decode_responses"))
    kept = {name: value for name, value in options.items() if not name.startswith(("retry", "maint_"))}
    return kept | {"protocol": 2, "decode_responses": False}


def _bytes_only(decode_responses: Any) -> None:
    if decode_responses:
        raise ConfigurationError("a store needs bytes: give it a client without decode_responses=True")


def _address(options: dict[str, Any]) -> str:
    if path := options.get("path"):
        return str(path)
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}/{options.get('db', 0)}"
