from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.views import View
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.views import APIView

from books.caches import loads
from books.models import Author, Book
from rewarm_django import cached_view


@cached_view(
    ttl=60, vary_user=False,
    invalidates_on=[{"model": "books.Author", "field_mapping": {"pk": "pk"}, "watch_fields": ["name"]}],
)  # fmt: skip
def author(request: Any, pk: int) -> HttpResponse:
    loads["author view"] += 1
    found = Author.objects.filter(pk=pk).first()
    if found is None:
        raise Http404
    return HttpResponse(f"{found.name} {request.GET.urlencode()}", headers={"X-View": "author"})


@cached_view(ttl=60, tags=["books"])
def personal_by_default(request: Any) -> HttpResponse:
    loads["personal"] += 1
    return HttpResponse(f"for {request.user}")


@cached_view(ttl=60, vary_user=True, vary_headers=["X-Theme"], vary_query=["page"])
def dashboard(request: Any) -> HttpResponse:
    loads["dashboard"] += 1
    return HttpResponse(f"{request.user.pk} {request.headers.get('X-Theme')} {request.GET.get('page')}")


@cached_view(ttl=60, cache_if=lambda response: b"keep" in response.content, cache_unless=lambda r: b"not" in r.content)
def picky(request: Any, text: str) -> HttpResponse:
    loads["picky"] += 1
    return HttpResponse(text)


@cached_view(ttl=60)
def strange(request: Any, kind: str) -> Any:
    loads["strange"] += 1
    if kind == "cookie":
        response = HttpResponse("cookie")
        response.set_cookie("a", "b")
        return response
    if kind == "stream":
        return StreamingHttpResponse(iter([b"stream"]))
    if kind == "error":
        return HttpResponse("error", status=503)
    if kind == "private":
        return HttpResponse("private", headers={"Cache-Control": "private"})
    return TemplateResponse(request, "plain.html", {"text": kind})


@cached_view(ttl=60)
def absolute(request: Any) -> HttpResponse:
    loads["absolute"] += 1
    return HttpResponse(request.build_absolute_uri("?page=2"))


@cached_view(ttl=60, tags=["books"])
async def slowly(request: Any) -> JsonResponse:
    loads["async view"] += 1
    return JsonResponse({"books": await Book.objects.acount()})


class Page(View):
    @cached_view(ttl=60, tags=["books"])
    def get(self, request: Any, number: int) -> HttpResponse:
        loads["page"] += 1
        return HttpResponse(f"page {number} of {Book.objects.count()}")

    def post(self, request: Any, number: int) -> HttpResponse:
        return HttpResponse("posted")


class Api(APIView):
    permission_classes: Any = ()

    @cached_view(ttl=60, tags=["books"], vary_user=True)
    def get(self, request: Any) -> Response:
        loads["api"] += 1
        return Response({"books": Book.objects.count(), "user": str(request.user)})


@api_view(["GET"])
@cached_view(ttl=60, tags=["books"], vary_user=False)
def api_function(request: Any) -> Response:
    loads["api function"] += 1
    return Response({"books": Book.objects.count(), "page": request.query_params.get("page")})
