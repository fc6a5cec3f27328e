"""Job: a named cached read, as a class or a decorated function; bound to an application it is a BoundJob."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypedDict, TypeVar, cast, overload

from .entry import Entry, Read, refuse_blocking
from .errors import ArgumentError
from .gather import Gathered
from .policies import DEFAULTS, Policy, Templates
from .receipt import Receipt
from .retry import Breaker, Retry
from .serializers import Serializer, resolve
from .signature import Signature
from .target import Target
from .task import Route

if TYPE_CHECKING:
    from .app import Rewarm

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

Seconds = float | timedelta | Callable[..., float | timedelta]


class Policies(TypedDict, total=False):
    """The policies of a job. Each is a value, or a callable that gets those of the job's arguments that it names."""

    stale_while_revalidate: Seconds
    stale_if_error: Seconds
    tags: Sequence[str] | Callable[..., Sequence[str]]
    on_invalidated: str | Callable[..., str]
    on_miss: str | Callable[..., str]
    empty: Any
    wait: Seconds
    lease: Seconds
    timeout: Seconds
    retry: Retry | Callable[..., Retry]
    route: Route | dict[str, Any] | Callable[..., Any] | None
    cache_if: bool | Callable[..., bool | Awaitable[bool]]
    jitter: float | Callable[..., float]
    early: float | Callable[..., float]
    throttle: Seconds
    rate: float | Callable[..., float | None] | None
    breaker: Breaker | Callable[..., Breaker | None] | None
    normalize: Callable[..., dict[str, Any]] | None
    key: str | Callable[..., str] | None
    version: int
    serializer: str | Serializer


class Job:
    """A cached read as a class: write `load`, and any policy as an attribute or a method.

    It knows no application and may be added to several (`Rewarm.add`). `name` defaults to the class's own.
    """

    name: str | None = None
    ttl: Any = None

    def load(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the source. The only method that a job must have."""
        raise NotImplementedError(f"{type(self).__name__} needs a load method")


class FunctionJob(Job):
    """A decorated function as a job."""

    def __init__(self, function: Callable[..., Any], name: str | None, policies: dict[str, Any]) -> None:
        self.load = function  # type: ignore[method-assign]
        self.name = name
        self.__dict__.update(policies)


class Loads(Protocol[P, R_co]):
    """What `Rewarm.add` takes: an object with a `load` method."""

    def load(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class JobDecorator(Protocol):
    """What `Rewarm.job` returns."""

    @overload
    def __call__(self, load: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncJob[P, R]: ...
    @overload
    def __call__(self, load: Callable[P, R], /) -> BoundJob[P, R]: ...


class BoundJob(Generic[P, R]):
    """A job of one application. Its verbs take exactly the load's arguments; options are on `entry(...)`."""

    is_async = False

    def __init__(self, app: Rewarm, job: Job, load: Callable[..., Any], name: str, place: tuple[str, str]) -> None:
        self.app, self.job, self.name = app, job, name
        self.module, self.place = place
        self.load: Callable[P, Any] = load
        functools.update_wrapper(self, load, updated=())
        self.signature = Signature(load, app.codec, name=name)
        self._bind, self._key_part = self.signature.bind, self.signature.key_part
        names = self.signature.names
        self.policies = {
            policy: Policy(name, policy, getattr(job, policy, default), names, awaited=self.is_async)
            for policy, default in DEFAULTS.items()
        }
        self._tags = self._templates("tags") if self.policies["tags"].function is None else None
        self._key = self.policies["key"]
        version = self.policies["version"].fixed
        self.prefix = f"{app.name}:{name}" + (f"@{version}" if version != 1 else "") + ":"
        self._stamp = f"{app.name}::job:{name}"
        self._normalize = self.policies["normalize"] if self.policies["normalize"].function else None
        if isinstance(self._key.fixed, str):
            self._key_templates: Templates | None = Templates(name, "key", [self._key.fixed], names)
        else:
            self._key_templates = None
        self._plain_key = self._key.fixed is None and self._key.function is None
        self._untagged = self._tags is not None and not self._tags.texts

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.app.name}:{self.name}{inspect.signature(self.load)}>"

    # --- verbs

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        value: R = self.app.runtime.read(self._target(args, kwargs)).value
        return value

    def get(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value: fresh, stale while a refresh is queued, or loaded. Raises what the load raises."""
        return self.entry(*args, **kwargs).get()

    async def aget(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """`get` on the running event loop; the load of a `def` job runs in a thread."""
        return await self.entry(*args, **kwargs).aget()

    def read(self, *args: P.args, **kwargs: P.kwargs) -> Read[R]:
        """The value, and how it was come by."""
        return self.entry(*args, **kwargs).read()

    async def aread(self, *args: P.args, **kwargs: P.kwargs) -> Read[R]:
        """`read` on the running event loop."""
        return await self.entry(*args, **kwargs).aread()

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Read[R] | None:
        """What a read would serve without loading or queuing anything; None if there is nothing."""
        return self.entry(*args, **kwargs).peek()

    async def apeek(self, *args: P.args, **kwargs: P.kwargs) -> Read[R] | None:
        """`peek` on the running event loop."""
        return await self.entry(*args, **kwargs).apeek()

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        """Queue a load, also where nothing is stored; joins one that is queued or running. Raises EnqueueError."""
        return self.entry(*args, **kwargs).refresh()

    async def arefresh(self, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        """`refresh` on the running event loop."""
        return await self.entry(*args, **kwargs).arefresh()

    def reload(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Load here and now, store, return. Raises what the load raises."""
        return self.entry(*args, **kwargs).reload()

    async def areload(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """`reload` on the running event loop."""
        return await self.entry(*args, **kwargs).areload()

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        """Fence now: the value is no HIT any more, a load that runs is refused, the next read queues a refresh."""
        return self.entry(*args, **kwargs).invalidate()

    async def ainvalidate(self, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        """`invalidate` on the running event loop."""
        return await self.entry(*args, **kwargs).ainvalidate()

    def delete(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Remove the entry; the next read is a MISS."""
        self.entry(*args, **kwargs).delete()

    async def adelete(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """`delete` on the running event loop."""
        await self.entry(*args, **kwargs).adelete()

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The entry's key in the store. No I/O."""
        return self._target(args, kwargs).key

    def entry(self, *args: P.args, **kwargs: P.kwargs) -> Entry[R]:
        """The job with these arguments. No I/O. Raises ArgumentError."""
        return Entry(self, self._target(args, kwargs))

    # --- the whole job

    def invalidate_all(self) -> Receipt:
        """Fence every entry of the job, whatever its version, in one step."""
        return self.app.invalidate(jobs=[self])

    async def ainvalidate_all(self) -> Receipt:
        """`invalidate_all` on the running event loop."""
        return await self.app.ainvalidate(jobs=[self])

    def sweep(self, *leading: Any) -> Receipt:
        """Queue the invalidation of all entries whose first arguments are these, in slices.

        With a `key` policy: of those whose keys begin with one literal text. Raises ArgumentError, EnqueueError.
        """
        gathered, receipt = self._sweeping(leading)
        self.app.submit(gathered)
        return receipt

    async def asweep(self, *leading: Any) -> Receipt:
        """`sweep` on the running event loop."""
        gathered, receipt = self._sweeping(leading)
        await self.app.asubmit(gathered)
        return receipt

    # --- what a Target asks

    def may_load(self, verb: str) -> None:
        """Raise BlockingCall where loading would block a running event loop."""

    def call(self, values: Sequence[Any]) -> tuple[Any, bool]:
        """Ask the source -> the value, and whether `cache_if` lets it be stored."""
        value = self._ask(values)
        return value, bool(self.policies["cache_if"](values, value))

    async def acall(self, values: Sequence[Any]) -> tuple[Any, bool]:
        """`call` of an `async def` job, whose `cache_if` may be one too."""
        value = await self._ask(values)
        keep = self.policies["cache_if"](values, value)
        return value, bool(await keep if inspect.isawaitable(keep) else keep)

    def _ask(self, values: Sequence[Any]) -> Any:
        args, kwargs = self.signature.call(values)
        return cast(Callable[..., Any], self.load)(*args, **kwargs)

    def key_of(self, values: Sequence[Any]) -> str:
        if self._plain_key:
            return self.prefix + self._key_part(values)
        if self._key_templates is not None:
            return self.prefix + self._key_templates.render(self.signature.mapping(values))[0]
        text = self._key(values)
        if not isinstance(text, str):
            raise ArgumentError(f"{self.name}(): the key policy gave {text!r}, not a text")
        return self.prefix + text

    def tags_of(self, values: Sequence[Any]) -> Sequence[str]:
        if self._tags is not None:
            return self._tags.render(self.signature.mapping(values))
        given = self.policies["tags"](values)
        tags = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
        if isinstance(given, str) or not all(isinstance(tag, str) for tag in tags):
            raise ArgumentError(f"{self.name}(): the tags policy gave {given!r}, not a list of texts")
        return tags

    def stamps_of(self, values: Sequence[Any]) -> tuple[str, ...]:
        """The keys of the stamps that fence an entry: its tags', and the job's own."""
        if self._untagged:
            return (self._stamp,)
        name = self.app.name
        return tuple(sorted({self._stamp, *(f"{name}:tag:{tag}" for tag in self.tags_of(values))}))

    @cached_property
    def serializer(self) -> Serializer:
        return resolve(self.policies["serializer"].fixed, self.app.codec, self.app.settings.signing_keys)

    def _target(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Target:
        values = self._bind(args, kwargs)
        if self._normalize is not None:
            changed = self._normalize(values)
            if not isinstance(changed, Mapping):
                raise ArgumentError(f"{self.name}(): normalize gave {changed!r}, not a dict of changed arguments")
            if unknown := [name for name in changed if name not in self.signature.names]:
                raise ArgumentError(f"{self.name}(): normalize changed {unknown[0]!r}, which is no argument of the job")
            values = tuple({**self.signature.mapping(values), **changed}.values())
        if not self._plain_key:  # whose key is made of the encoded arguments; a worker will need them either way
            self.signature.encode(values)
        return Target(self, values)

    def _templates(self, policy: str) -> Templates:
        return Templates(self.name, policy, self.policies[policy].fixed, self.signature.names)

    def _sweeping(self, leading: tuple[Any, ...]) -> tuple[Gathered, Receipt]:
        args = {"prefix": self.prefix + self._leading(leading), "cursor": "0", "run": "", "slice": 0}
        gathered, runtime = Gathered(self.app), self.app.runtime
        return gathered, gathered.sweep(runtime.sender.route(runtime.new_task("sweep", args, self.name)))

    def _leading(self, leading: tuple[Any, ...]) -> str:
        if self._plain_key:
            return self.signature.prefix(leading)
        if len(leading) > 1 or not all(isinstance(text, str) for text in leading):
            raise ArgumentError(f"{self.name} has a key of its own: sweep takes one literal prefix, not {leading!r}")
        return "".join(leading)


class AsyncJob(BoundJob[P, R]):
    """A job whose load is `async def`: calling it gives a coroutine."""

    is_async = True

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        return self.aget(*args, **kwargs)

    def may_load(self, verb: str) -> None:
        refuse_blocking(self.name, verb)
