"""Cached views: what the key is made of, what is not stored, what a worker does, what the client is told."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from books.caches import loads
from books.models import Author, Book
from books.views import Api, api_function
from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.utils.decorators import method_decorator
from django.views import View

from rewarm import ConfigurationError, DuplicateJob, Outcome
from rewarm_django import cache, cached_view
from rewarm_django.testing import capture, drain, travel

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client() -> Client:
    return Client()


def status(response: Any) -> str:
    return str(response["Cache-Status"].split(";")[1].strip())


def test_hit_headers_and_304(client: Client) -> None:
    ada = Author.objects.create(name="Ada")
    first, second = client.get(f"/author/{ada.pk}/?a=1"), client.get(f"/author/{ada.pk}/?a=1")
    assert (first.content, second.content, loads["author view"]) == (b"Ada a=1", b"Ada a=1", 1)
    assert (first["Cache-Status"], status(second)) == ("rewarm; fwd=miss; stored", "hit")
    assert (second["Age"], second["X-View"], second["ETag"]) == ("0", "author", first["ETag"])
    assert "Vary" not in second
    third = client.get(f"/author/{ada.pk}/?a=1", headers={"If-None-Match": second["ETag"]})
    assert (third.status_code, third.content) == (304, b"")


def test_the_query_is_part_of_the_key(client: Client) -> None:
    ada = Author.objects.create(name="Ada")
    for query in ("", "?a=1", "?a=1&a=2", "?a=1,2", "?a=2&a=1", "?b=1"):
        assert status(client.get(f"/author/{ada.pk}/{query}")) == "fwd=miss"
    assert status(client.get(f"/author/{ada.pk}/?a=1&b=2")) == "fwd=miss"
    assert status(client.get(f"/author/{ada.pk}/?b=2&a=1")) == "hit"


def test_a_rule_invalidates_the_view(client: Client) -> None:
    ada, bob = Author.objects.create(name="Ada"), Author.objects.create(name="Bob")
    with capture() as tasks:
        for one in (ada, bob):
            client.get(f"/author/{one.pk}/")
        ada.motto = "onwards"
        ada.save()
        assert status(client.get(f"/author/{ada.pk}/")) == "hit"
        assert tasks == []
        ada.name = "Ada L"
        ada.save()
        stale = client.get(f"/author/{ada.pk}/")
        assert (stale.content, len(tasks)) == (b"Ada ", 1)
        assert "ttl=0" in stale["Cache-Status"] or "ttl=-" in stale["Cache-Status"]
        client.get(f"/author/{bob.pk}/")
        assert (len(tasks), drain()) == (1, 1)
        assert client.get(f"/author/{ada.pk}/").content == b"Ada L "


def test_users_who_are_logged_in_are_not_cached_unless_asked_for(client: Client) -> None:
    for _ in range(2):
        assert client.get("/personal/").content == b"for AnonymousUser"
    assert loads["personal"] == 1
    client.force_login(get_user_model().objects.create(username="ada"))
    for _ in range(2):
        response = client.get("/personal/")
        assert (response.content, status(response)) == (b"for ada", "fwd=bypass")


def test_an_authorization_that_only_the_view_can_judge_goes_past_the_cache(client: Client) -> None:
    for token in ("ada", "bob"):
        for url in ("/personal/", "/dashboard/"):
            assert status(client.get(url, headers={"Authorization": token})) == "fwd=bypass"
    told = cached_view(ttl=60, vary_headers=["authorization"], name="told")(lambda request: HttpResponse("yours"))
    public = cached_view(ttl=60, vary_user=False, name="public")(lambda request: HttpResponse("everybody's"))
    for view, found in ((told, ["fwd=miss", "fwd=miss", "hit"]), (public, ["fwd=miss", "hit", "hit"])):
        requests = [RequestFactory().get("/", headers={"Authorization": token}) for token in ("ada", "bob", "ada")]
        assert [status(view(request)) for request in requests] == found


class First(View):
    def get(self, request: Any) -> HttpResponse:
        return HttpResponse(type(self).__name__)


class Second(First): ...


def test_a_class_based_view_is_a_job_of_its_own() -> None:
    views = [cached_view(ttl=60)(one.as_view()) for one in (First, Second)]
    assert [view(RequestFactory().get("/")).content for view in views] == [b"First", b"Second"]
    assert [view.job.name.rpartition(".")[2] for view in views] == ["First", "Second"]
    with pytest.raises(DuplicateJob, match="give one of them a name="):
        cached_view(ttl=60)(First.as_view(http_method_names=["get"]))


class Later(View):
    async def get(self, request: Any) -> HttpResponse:
        return HttpResponse("later")


def test_an_async_class_based_view_is_awaited() -> None:
    view = cached_view(ttl=60)(Later.as_view())

    async def main() -> list[Any]:
        return [await view(RequestFactory().get("/later/")) for _ in range(2)]

    assert [(status(response), response.content) for response in async_to_sync(main)()] == [
        ("fwd=miss", b"later"), ("hit", b"later"),
    ]  # fmt: skip


def test_a_decorator_outside_of_what_it_must_see_is_refused() -> None:
    for around in (Api.as_view(), api_function):
        with pytest.raises(ConfigurationError, match="put it on the method, or below @api_view"):
            cached_view(ttl=60)(around)
    with pytest.raises(ConfigurationError, match="without method_decorator"):
        method_decorator(cached_view(ttl=60), name="dispatch")(Second)
    with pytest.raises(ConfigurationError, match="needs a name="):
        cached_view(ttl=60)(lambda request: HttpResponse())
    with pytest.raises(ConfigurationError, match="for functions and methods"):
        cached_view(ttl=60, name="partial")(functools.partial(First.as_view()))


def test_a_worker_builds_the_addresses_that_the_client_would_see(client: Client) -> None:
    asked = {"path": "/absolute/", "headers": {"Host": "shop.example"}, "secure": True}
    with capture() as tasks:
        assert client.get(**asked).content == b"https://shop.example/absolute/?page=2"
        assert client.get("/absolute/").content == b"http://testserver/absolute/?page=2"
        travel(61)
        client.get(**asked)
        assert cache.run(tasks.payloads.pop()) is Outcome.DONE
        again = client.get(**asked)
    assert (status(again), again.content) == ("hit", b"https://shop.example/absolute/?page=2")
    assert loads["absolute"] == 3


def test_r18_no_user_ever_gets_anothers(client: Client) -> None:
    users = [get_user_model().objects.create(username=name) for name in ("ada", "bob")]
    for _ in range(2):
        for user in users:
            client.force_login(user)
            for theme in ("dark", "light"):
                response = client.get("/dashboard/?page=3&other=4", headers={"X-Theme": theme})
                assert response.content == f"{user.pk} {theme} 3".encode()
                assert {"Cookie", "X-Theme"} <= {one.strip() for one in response["Vary"].split(",")}
    assert loads["dashboard"] == 4
    assert status(client.get("/dashboard/?page=3&other=5", headers={"X-Theme": "dark"})) == "hit"


def test_r18_without_a_request_there_is_no_key() -> None:
    @cached_view(ttl=60, vary_user=True, name="whoever")
    def whoever(visitor: Any, request: Any = None) -> HttpResponse:
        return HttpResponse("somebody's")

    with pytest.raises(TypeError, match="without a request"):
        whoever("ada")


def test_r19_cache_if_and_cache_unless_must_both_agree(client: Client) -> None:
    for text, times in (("keep", 1), ("keep not", 2), ("drop", 2)):
        loads["picky"] = 0
        for _ in range(2):
            assert client.get(f"/picky/{text}/").content == text.encode()
        assert loads["picky"] == times
    with pytest.raises(ConfigurationError, match="predicates"):
        cached_view(ttl=60, cache_if=True, name="odd")(lambda request: None)  # type: ignore[arg-type]

    async def later(response: Any) -> bool:
        return False

    with pytest.raises(ConfigurationError, match="is an async def"):
        cached_view(ttl=60, cache_unless=later, name="odd")(lambda request: None)


@pytest.mark.parametrize("kind", ["cookie", "stream", "error", "private"])
def test_what_is_one_visitors_own_is_not_stored(client: Client, kind: str) -> None:
    for _ in range(2):
        response = client.get(f"/strange/{kind}/")
        assert b"".join(response) == kind.encode()
        assert response["Cache-Status"] == "rewarm; fwd=miss"
    assert loads["strange"] == 2


def test_templates_class_based_views_and_other_methods(client: Client) -> None:
    for _ in range(2):
        assert client.get("/strange/text/").content == b"<p>text</p>"
        assert client.get("/page/3/").content == b"page 3 of 0"
        assert client.post("/page/3/").content == b"posted"
    assert (loads["strange"], loads["page"]) == (1, 1)
    assert client.get("/author/77/").status_code == 404


def test_a_worker_answers_the_same_request_again(client: Client) -> None:
    user = get_user_model().objects.create(username="ada")
    client.force_login(user)
    with capture() as tasks:
        for url in ("/dashboard/?page=3", "/api/", "/page/2/", "/slowly/"):
            before = client.get(url, headers={"X-Theme": "dark"})
            travel(61)
            assert client.get(url, headers={"X-Theme": "dark"}).content == before.content
            if url == "/page/2/" or url == "/slowly/":
                assert status(before) == "fwd=bypass"
                continue
            assert cache.run(tasks.payloads.pop()) is Outcome.DONE
            after = client.get(url, headers={"X-Theme": "dark"})
            assert (status(after), after.content) == ("hit", before.content)
        client.logout()
        for url in ("/page/2/", "/slowly/"):
            client.get(url)
            Book.objects.create(title="one more")
            cache.invalidate(tags=["books"])
            client.get(url)
            assert cache.run(tasks.payloads.pop()) is Outcome.DONE
            assert str(Book.objects.count()).encode() in client.get(url).content


def test_the_rest_framework_renders_once_and_by_format(client: Client) -> None:
    for _ in range(2):
        assert client.get("/api/", headers={"Accept": "application/json"}).json()["books"] == 0
        assert b"<html" in client.get("/api/", headers={"Accept": "text/html"}).content
    assert loads["api"] == 3  # the page has a form with a CSRF token, so it is not stored


def test_a_function_of_the_rest_framework_is_cached_as_its_classes_are(client: Client) -> None:
    found = [client.get("/api/function/", {"page": page}) for page in (1, 1, 2)]
    assert [response.json() for response in found] == [{"books": 0, "page": page} for page in "112"]
    assert ([status(response) for response in found], loads["api function"]) == (["fwd=miss", "hit", "fwd=miss"], 2)


def test_async_views() -> None:
    async def main() -> list[Any]:
        client = AsyncClient()
        return [await client.get("/slowly/") for _ in range(2)]

    found = async_to_sync(main)()
    assert [response.json() for response in found] == [{"books": 0}] * 2
    assert ([status(response) for response in found], loads["async view"]) == (["fwd=miss", "hit"], 1)


def test_an_async_view_may_ask_in_an_async_def_what_to_store() -> None:
    async def drops(response: Any) -> bool:
        return bool(response.content == b"drop")

    @cached_view(ttl=60, cache_unless=drops, name="view.picky.async")
    async def picky(request: Any, text: str) -> HttpResponse:
        return HttpResponse(text)

    async def main() -> list[str]:
        paths = [(RequestFactory().get(f"/{text}/"), text) for text in ("keep", "drop") * 2]
        return [status(await picky(request, text=text)) for request, text in paths]

    assert async_to_sync(main)() == ["fwd=miss", "fwd=miss", "hit", "fwd=miss"]


def test_two_views_need_two_names() -> None:
    def one(request: Any) -> HttpResponse: ...
    def two(request: Any) -> HttpResponse: ...

    cached_view(ttl=1, name="same")(one)
    cached_view(ttl=1, name="same")(one)
    with pytest.raises(DuplicateJob, match="give one of them a name="):
        cached_view(ttl=1, name="same")(two)


def test_a_worker_finds_views_that_it_has_not_imported(client: Client) -> None:
    with capture() as tasks:
        client.get("/page/2/")
        cache.invalidate(tags=["books"])
        client.get("/page/2/")
        payload = tasks.payloads[0]
    code = f"""
import django; django.setup()
from rewarm_django import cache
name = "view.books.views.Page.get"
assert name not in cache.jobs
cache._known({payload!r})
assert name in cache.jobs
"""
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=Path(__file__).with_name("project"),
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "books.settings"},
    )  # fmt: skip
