"""Responses as plain data, and requests built again on a worker."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.utils import translation
from django.utils.cache import get_conditional_response, patch_vary_headers

from rewarm import Read, State

rebuilding: ContextVar[bool] = ContextVar("rewarm_django_rebuilding", default=False)


def pack(response: Any, store: bool) -> dict[str, Any]:
    """Status, headers and content of a rendered response; nothing of one that is not to be stored."""
    if not store:
        return {"store": False}
    headers = dict(response.items())
    digest = blake2b(response.content, digest_size=12).hexdigest()
    headers.setdefault("ETag", f'"{digest}"')
    return {"store": True, "status": response.status_code, "headers": headers, "content": response.content}


def unpack(value: Mapping[str, Any]) -> Any:
    """A plain response: no view, serializer or renderer has run."""
    return HttpResponse(value["content"], status=value["status"], headers=value["headers"])


def rendered(response: Any, view: Any = None, request: Any = None, args: Any = (), kwargs: Any = None) -> Any:
    """A template's or a REST framework's response with its content. The latter's renderer is the view's to choose."""
    if not getattr(response, "is_rendered", True):
        if not hasattr(response, "accepted_renderer") and hasattr(view, "finalize_response"):
            response = view.finalize_response(request, response, *args, **(kwargs or {}))
        response.render()
    return response


def storable(response: Any, request: Any, personal: bool) -> bool:
    """Nothing that is one visitor's own: cookies, a CSRF token, what the view itself calls private."""
    if response.streaming or response.status_code != 200 or response.cookies:
        return False
    said = response.get("Cache-Control", "").lower()
    if "no-store" in said or ("private" in said and not personal):
        return False
    return not request.META.get("CSRF_COOKIE_NEEDS_UPDATE")


def marked(response: Any, request: Any, found: Read[Any] | None, vary: Sequence[str]) -> Any:
    """`Age`, `Cache-Status` (RFC 9211) and `Vary`; 304 for a client that has it already (RFC 9110)."""
    if vary:
        patch_vary_headers(response, vary)
    if found is None:
        response["Cache-Status"] = "rewarm; fwd=bypass"
        return response
    if found.state is State.MISS:
        stored = "; stored" if found.value["store"] else ""
        response["Cache-Status"] = f"rewarm; fwd=miss{stored}"
        if stored:
            response["ETag"] = found.value["headers"]["ETag"]
    else:
        response["Cache-Status"] = f"rewarm; hit; ttl={int(found.expires_in)}"
        response["Age"] = str(int(found.age))
    if not response.has_header("ETag"):
        return response
    return get_conditional_response(request, etag=response["ETag"], response=response)


def call_again(path: str, query: Sequence[Any], headers: Mapping[str, str | None], user: Any) -> tuple[Any, Any]:
    """Answer a request that has only what the key says -> (request, response). On a worker, without middleware."""
    from django.core.handlers.wsgi import WSGIRequest
    from django.urls import resolve

    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": urlencode(dict(query), doseq=True),
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "wsgi.url_scheme": headers.get("scheme") or "http",
        "wsgi.input": io.BytesIO(),
        **{f"HTTP_{name.upper().replace('-', '_')}": text for name, text in headers.items() if text is not None},
    }  # fmt: skip
    request = WSGIRequest(environ)
    request.user = _user(user)
    request.auser = functools.partial(_same, request.user)
    if user is not None:
        request._force_auth_user = request.user  # the REST framework's own way
    match = resolve(path)
    request.resolver_match = match
    with _language(headers.get("language")):
        return request, match.func(request, *match.args, **match.kwargs)


async def _same(user: Any) -> Any:
    return user


def _language(name: str | None) -> AbstractContextManager[Any]:
    override: Callable[[str], AbstractContextManager[Any]] = translation.override
    return override(name) if name else nullcontext()


def _user(pk: Any) -> Any:
    from django.apps import apps

    if not apps.is_installed("django.contrib.auth"):
        return None
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import AnonymousUser

    return AnonymousUser() if pk is None else get_user_model()._default_manager.get(pk=pk)
