"""The admin in a real browser: the system's chromium, driven by playwright. REWARM_PICTURES: a folder for pictures."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from books.caches import titles
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rewarm_conformance.services import required
from rewarm_django import cache
from rewarm_django.models import Minute

pytestmark = [pytest.mark.django_db(transaction=True, databases=["default", "other"]), pytest.mark.timeout(180)]
SETTINGS = {
    "default": {"NAME": "books", "ADAPTER": "inline", "STORE": "memory", "LEDGER": "database", "HISTORY": 7},
    "second": {"ADAPTER": "inline", "STORE": "memory"},
}
DEAD, BOARD = "/admin/rewarm_django/deadletter/", "/admin/rewarm_django/minute/"
SIZES = {"desktop": (1280, 900), "phone": (375, 740)}
LOOKS = [("desktop", "light"), ("desktop", "dark"), ("phone", "light"), ("phone", "dark")]


@pytest.fixture(scope="module")
def browser(django_db_setup: None) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        if required("chromium"):
            raise LookupError("no chromium, nor Google Chrome")
        pytest.skip("no chromium: install chromium or Google Chrome")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright runs a loop in this thread
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def project() -> Iterator[None]:
    with override_settings(REWARM=SETTINGS):
        yield
        cache.close()


@pytest.fixture
def open_page(browser: Browser, live_server: Any) -> Iterator[Callable[..., Page]]:
    """`open_page(path, size, scheme)`: a page that somebody who may do everything looks at; no error of its scripts."""
    client, problems, contexts = Client(), [], []
    client.force_login(User.objects.create_superuser("root"))
    session = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}

    def failed(answer: Any) -> None:
        if answer.status >= 400 and not answer.url.endswith("/favicon.ico"):
            problems.append(answer.url)

    def make(path: str, size: str = "desktop", scheme: str = "light") -> Page:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(20_000)
        context.add_cookies([session])
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("response", failed)
        page.goto(live_server.url + path)
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []


class Shelf:
    """A job whose source fails while it is `broken`."""

    broken = True

    def __init__(self) -> None:
        @cache.job(ttl=600, name="shelf")
        def shelf(number: int, room: str = "reading room") -> list[str]:
            if self.broken:
                raise (ValueError if number % 3 else KeyError)(f"no shelf {number} in the {room}")
            return ["Notes"]

        self.job = shelf
        for number in range(12):
            shelf.refresh(number)
        cache.run("this payload cannot be read")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def history() -> None:
    """Seven hours of a busy afternoon, in which a source was slow for a while."""
    dice, now, rows = random.Random(7), timezone.now().replace(second=0, microsecond=0), []
    for ago in range(1, 420):
        at, slow = now - timedelta(minutes=ago), 100 < ago < 140
        for job, busy in (("titles", 40), ("members", 15)):
            reads = dice.randrange(busy, 2 * busy)
            stales, misses = dice.randrange(reads // (2 if slow else 8)), dice.randrange(3)
            waited = [dice.randrange(2000, 9000) if slow else dice.randrange(30, 700) for _ in range(stales)]
            rows.append(Minute(
                app="books", job=job, at=at, hits=reads, stales=stales, misses=misses, loads=stales + misses,
                refreshes=len(waited), waited=sum(waited), slowest=max(waited, default=0), failures=int(ago == 120),
            ))  # fmt: skip
        rows.append(Minute(app="books", job="", at=at, depth=dice.randrange(60, 180) if slow else dice.randrange(9)))
    Minute.objects.bulk_create(rows)


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("REWARM_PICTURES"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def fits(page: Page) -> bool:
    """Nothing makes the page itself wider than the window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def contrast(page: Page, selector: str) -> float:
    """WCAG's ratio between an element's colour and what is behind it."""
    return float(page.evaluate(
        """selector => {
            const rgb = text => text.match(/[\\d.]+/g).map(Number);
            const light = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= 0.03928 ? c / 12.92
                : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
            let element = document.querySelector(selector);
            const front = light(rgb(getComputedStyle(element).color));
            let back = [0, 0, 0, 0];
            for (; element && (back.length === 4 && back[3] === 0); element = element.parentElement)
                back = rgb(getComputedStyle(element).backgroundColor);
            const [high, low] = [front, light(back)].sort((a, b) => b - a);
            return (high + 0.05) / (low + 0.05);
        }""", selector,
    ))  # fmt: skip


def test_dead_letters_are_found_inspected_retried_and_discarded(
    open_page: Callable[..., Page], shelf: Shelf, live_server: Any
) -> None:
    page = open_page("/admin/")
    page.get_by_role("link", name="Dead letters").first.click()
    expect(page.locator("#result_list tbody tr")).to_have_count(13)
    page.locator("#searchbar").fill("shelf:7")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.locator("#result_list th a").click()
    expect(page.locator("pre").first).to_contain_text("ValueError: no shelf 7 in the reading room")
    shelf.broken = False
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".messagelist")).to_contain_text("1 task queued again.")
    expect(page.locator("#result_list tbody tr")).to_have_count(12)
    assert shelf.job.read(7).state == "HIT"

    page.locator("#changelist-filter").get_by_text("KeyError (4)").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(4)
    page.locator("#action-toggle").check()
    expect(page.locator(".action-counter")).to_have_text("4 of 4 selected")
    page.get_by_label("Action:").select_option("discard")
    page.get_by_role("button", name="Go").click()
    expect(page.locator("h1").last).to_have_text("Are you sure?")
    picture(page, "discard")
    page.get_by_role("button", name="Yes, discard").click()
    expect(page.locator(".messagelist")).to_contain_text("4 tasks discarded.")
    expect(page.locator("#result_list tbody tr")).to_have_count(8)
    assert len(cache.dead.list()) == 8


@pytest.mark.usefixtures("shelf", "history")
@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_pages_fit_and_can_be_read(open_page: Callable[..., Page], size: str, scheme: str) -> None:
    titles(7)
    for name, path, selectors in (
        ("dashboard", BOARD, (".rewarm-x span", ".rewarm-plot b", ".rewarm-spans a[aria-current]", ".rewarm-jobs td")),
        ("dead", DEAD, (".rewarm-error", "#result_list th a")),
        ("letter", f"{DEAD}default:{cache.dead.list()[0].id}/", (".rewarm-text", ".rewarm-discard")),
        ("tasks", "/admin/rewarm_django/ledgertask/", ()),
        ("index", "/admin/rewarm_django/", ()),
    ):
        page = open_page(path, size, scheme)
        picture(page, f"{name}-{size}-{scheme}")
        assert fits(page), name
        for selector in selectors:
            assert contrast(page, selector) >= 4, (name, selector)


@pytest.mark.usefixtures("history")
def test_the_plots_say_what_the_rows_say(open_page: Callable[..., Page]) -> None:
    page = open_page(BOARD)
    expect(page.locator("figure")).to_have_count(3)
    bars = page.locator("rect.hits")
    assert 70 <= bars.count() <= 72
    box, figure = bars.nth(30).bounding_box(), page.locator(".rewarm-box").first.bounding_box()
    assert box is not None
    assert figure is not None
    assert figure["y"] <= box["y"] <= box["y"] + box["height"] <= figure["y"] + figure["height"] + 1
    assert "hits" in str(page.locator("rect.slot title").nth(30).text_content())
    page.get_by_role("link", name="1h").click()
    expect(page.locator(".rewarm-jobs h2")).to_have_text("Jobs, over 1h")
    assert 55 <= page.locator("rect.hits").count() <= 60
    page.get_by_role("link", name="second").click()
    expect(page.locator(".rewarm-note")).to_contain_text("Nothing is recorded.")
