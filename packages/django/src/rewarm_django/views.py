"""Cached views: a job whose value is a response."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.http import HttpRequest
from django.utils import translation

from rewarm import ConfigurationError, DuplicateJob, Job, Read, State

from . import responses
from .applications import Application, caches
from .registry import register
from .rules import InvalidationRule

_live: ContextVar[list[Callable[[], Any]]] = ContextVar("rewarm_django_live")
"""How the request that waits for a load calls its view; empty once it waits no more."""


class ViewJob(Job):
    """Loads by calling the view: with the request that waits for it, or on a worker with one built from the key."""

    def __init__(self, name: str, personal: bool, tags: Sequence[str], keeps: Callable[[Any], bool]) -> None:
        self.name, self.personal, self.tag_templates, self.keeps = name, personal, tuple(tags), keeps
        self.place = ("", "")

    def load(self, path: str, kwargs: dict[str, Any], query: list[Any], headers: dict[str, Any], user: Any) -> Any:
        if live := _live.get([]):
            return live[0]()
        token = responses.rebuilding.set(True)
        try:
            request, response = responses.call_again(path, query, headers, user)
            if inspect.isawaitable(response):
                response = async_to_sync(_awaited)(response)
        finally:
            responses.rebuilding.reset(token)
        return self.packed(request, responses.rendered(response))

    def packed(self, request: Any, response: Any) -> dict[str, Any]:
        http = getattr(request, "_request", request)
        return responses.pack(response, responses.storable(response, http, self.personal) and self.keeps(response))

    def tags(self, path: str, kwargs: dict[str, Any], user: Any) -> list[str]:
        return [text.format(**{"path": path, "user": user, **kwargs}) for text in self.tag_templates]

    def cache_if(self, value: Any) -> bool:
        return bool(value["store"])


async def _awaited(response: Any) -> Any:
    return await response


def cached_view(
    *,
    ttl: Any = None,
    vary_user: bool | None = None,
    vary_query: str | Sequence[str] = "*",
    vary_headers: Sequence[str] = (),
    tags: Sequence[str] = (),
    invalidates_on: Sequence[InvalidationRule | Mapping[str, Any]] = (),
    cache_if: Callable[[Any], bool] | None = None,
    cache_unless: Callable[[Any], bool] | None = None,
    name: str | None = None,
    app: str | Application = "default",
    **policies: Any,
) -> Callable[[Callable[..., Any]], Any]:
    """Cache GET of a view: a function, a method of a class-based view, or of a REST framework's, `async` too.

    The key is scheme, host and path, the language, what `vary_…` names and, in the REST framework, the format.
    vary_user: True: each user's own; False: one for all; None: users who are logged in are not cached. Unless False,
        neither is an `Authorization` that only the view itself can judge (RFC 9111, 3.5).
    vary_query: "*": all parameters; a list: these; (): none.   vary_headers: names of request headers.
    tags: templates over the URL's keywords, `user` and `path`.   invalidates_on: rules, or their fields without `job`;
        a `field_mapping` names keywords of the URL.
    cache_if, cache_unless: predicates of the response, both of which must agree. Not stored at all: other statuses
        than 200, streams, cookies, CSRF tokens, `no-store`, and `private` without `vary_user`.
    policies: `stale_while_revalidate`, `on_invalidated`, ... as of any job.

    The response has `ETag` (and a client that has it gets 304), `Age`, `Cache-Status`, `Vary`. The decorated view has
    `.job` and `.fn`. Raises TypeError where it is called with no request: its key could not tell users apart; and
    ConfigurationError where it is put around what it must be inside of: `method_decorator`, or a view of the REST
    framework.
    """

    def decorate(view: Callable[..., Any]) -> Any:
        owner = caches[app] if isinstance(app, str) else app
        called, place = _named(view, name)
        fields = [dict(rule) for rule in invalidates_on if isinstance(rule, Mapping)]
        implied = [_template(called, rule["field_mapping"]) for rule in fields if rule.get("field_mapping")]
        plain = ViewJob(called, bool(vary_user), [*tags, *implied], _keeps(view, cache_if, cache_unless))
        plain.__dict__.update(policies)
        if ttl is not None:
            plain.ttl = ttl
        plain.place = place
        if (job := owner.jobs.get(called)) is not None:  # one view at two addresses, or a module that is loaded again
            if getattr(job.job, "place", None) != plain.place:
                raise DuplicateJob(f"two views of {owner.name} are called {called!r}: give one of them a name=")
        else:
            job = owner.add(plain)
            made = [InvalidationRule(**{"job": job, **rule}) for rule in fields]
            register(*made, *(rule for rule in invalidates_on if isinstance(rule, InvalidationRule)))
        vary = [*vary_headers, *(["Cookie"] if vary_user else [])]
        told = "authorization" in map(str.lower, vary_headers)

        def passes(request: Any) -> bool:
            return bool(getattr(request, "_request", request).method != "GET" or responses.rebuilding.get())

        def entry(request: Any, kwargs: dict[str, Any], user: Any) -> Any:
            """The entry that this request asks for; None: it goes past the cache."""
            http = getattr(request, "_request", request)
            pk = user.pk if user is not None and user.is_authenticated else None
            if vary_user is None and pk is not None:
                return None
            if vary_user is not False and pk is None and "Authorization" in http.headers and not told:
                return None
            headers: dict[str, Any] = {one: http.headers.get(one) for one in vary_headers}
            headers |= {"scheme": http.scheme, "host": http.get_host(), "language": translation.get_language()}
            if (renderer := getattr(request, "accepted_renderer", None)) is not None:
                headers["accept"] = renderer.media_type
            query = [
                [key, values] for key, values in sorted(http.GET.lists()) if vary_query == "*" or key in vary_query
            ]
            return job.entry(http.path_info, kwargs, query, headers, pk if vary_user else None)

        def answer(request: Any, found: Read[Any] | None, response: Any) -> Any:
            return responses.marked(response, getattr(request, "_request", request), found, vary)

        @functools.wraps(view)
        def cached(*args: Any, **kwargs: Any) -> Any:
            self, request = _asked(view, args)
            if passes(request):
                return view(*args, **kwargs)
            seen: list[Any] = []

            def live() -> Any:
                response = responses.rendered(view(*args, **kwargs), self, request, args[2:], kwargs)
                seen.append(response)
                return plain.packed(request, response)

            user = getattr(request, "user", None) if vary_user is not False else None
            if (wanted := entry(request, kwargs, user)) is None:
                return answer(request, None, view(*args, **kwargs))
            token = _live.set(waits := [live])
            try:
                found = wanted.read()
            finally:
                waits.clear()  # a task that was made meanwhile has them in its context
                _live.reset(token)
            return answer(request, found, _response(found, seen))

        @functools.wraps(view)
        async def acached(*args: Any, **kwargs: Any) -> Any:
            self, request = _asked(view, args)
            if passes(request):
                return await view(*args, **kwargs)
            seen: list[Any] = []

            async def run() -> Any:
                return responses.rendered(await view(*args, **kwargs), self, request, args[2:], kwargs)

            def live() -> Any:
                response = async_to_sync(run)()
                seen.append(response)
                return plain.packed(request, response)

            user = None
            if vary_user is not False and hasattr(request, "auser"):  # `user` would ask the database in the loop
                user = await request.auser()
            if (wanted := entry(request, kwargs, user)) is None:
                return answer(request, None, await view(*args, **kwargs))
            token = _live.set(waits := [live])
            try:
                found = await wanted.aread()
            finally:
                waits.clear()  # a task that was made meanwhile has them in its context
                _live.reset(token)
            return answer(request, found, _response(found, seen))

        made_view: Any = acached if iscoroutinefunction(view) else cached
        made_view.job, made_view.fn = job, view
        return made_view

    return decorate


def _named(view: Any, name: str | None) -> tuple[str, tuple[str, str]]:
    """(The job's name, where the view is written)."""
    cls = getattr(view, "cls", None)
    if isinstance(cls, type):
        raise ConfigurationError(
            f"@cached_view is around {cls.__qualname__}, where it sees neither who asks nor in which format: "
            "put it on the method, or below @api_view"
        )
    if getattr(view, "__module__", "") == "django.utils.decorators":
        raise ConfigurationError("@cached_view goes on a method itself, without method_decorator")
    if isinstance(cls := getattr(view, "view_class", None), type):
        given = view.view_initkwargs
        module, place = cls.__module__, f"{cls.__qualname__}{given or ''}"
        return name or f"view.{module}.{cls.__qualname__}", (module, place)
    if not inspect.isroutine(view):
        raise ConfigurationError(f"@cached_view is for functions and methods, not for {view!r}")
    if name is None and "<" in view.__qualname__:
        raise ConfigurationError(f"view {view.__qualname__} needs a name=: another one could be called the same")
    return name or f"view.{view.__module__}.{view.__qualname__}", (view.__module__, view.__qualname__)


def _asked(view: Any, args: Any) -> tuple[Any, Any]:
    """(The view's instance or None, the request). Raises TypeError where there is none."""
    for index, one in enumerate(args[:2]):
        if isinstance(getattr(one, "_request", one), HttpRequest):
            around = getattr(one, "parser_context", {}).get("view")  # what `@api_view` has wrapped the function in
            return (args[0] if index else around), one
    raise TypeError(
        f"{view.__qualname__} was called without a request, so its key could not tell who asks: is it a view?"
    )


def _response(found: Read[Any], seen: list[Any]) -> Any:
    """Whoever loaded has the response itself; everybody else a copy."""
    return seen[0] if seen and found.state is State.MISS else responses.unpack(found.value)


def _keeps(view: Any, cache_if: Any, cache_unless: Any) -> Callable[[Any], bool]:
    for one in (cache_if, cache_unless):
        if one is not None and not callable(one):
            raise ConfigurationError(f"cache_if and cache_unless are predicates of the response, not {one!r}")
        if iscoroutinefunction(one) and not iscoroutinefunction(view):
            raise ConfigurationError(f"{one!r} is an async def: only an async view's cache_if and cache_unless may be")
    stores, drops = (async_to_sync(one) if iscoroutinefunction(one) else one for one in (cache_if, cache_unless))

    def keeps(response: Any) -> bool:
        return (stores is None or bool(stores(response))) and not (drops and drops(response))

    return keeps


def _template(name: str, mapping: Mapping[str, str]) -> str:
    return f"{name}," + ",".join(f"{one}={{{one}}}" for one in sorted(mapping))
