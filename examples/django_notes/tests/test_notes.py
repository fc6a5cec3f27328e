"""The example as a user runs it, `python run.py`, in a real browser: the system's chromium, driven by playwright.

REWARM_PICTURES: a folder for pictures.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rewarm_conformance.services import required

RUN = Path(__file__).parents[1] / "run.py"
SIZES = {"desktop": (1200, 850), "phone": (375, 740)}
PICTURES = os.environ.get("REWARM_PICTURES")
pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=30_000)


@contextmanager
def running(queue: str, folder: Path, **more: str) -> Iterator[str]:
    """The example on a queue -> its address."""
    environment = {**os.environ, "NOTES_QUEUE": queue, "NOTES_PORT": "0", "NOTES_FOLDER": str(folder), **more}
    with subprocess.Popen([sys.executable, RUN], stdout=subprocess.PIPE, text=True, env=environment) as example:
        try:
            assert example.stdout is not None
            told = re.search(r"http://\S+/", example.stdout.readline())
            assert told is not None, "it printed no address"
            yield told[0]
        finally:
            example.terminate()


@contextmanager
def worker(folder: Path) -> Iterator[None]:
    """django-q2's, started by hand."""
    environment = {**os.environ, "NOTES_QUEUE": "djangoq", "NOTES_FOLDER": str(folder), "NOTES_PAUSE": "0.1"}
    with subprocess.Popen([sys.executable, "manage.py", "qcluster"], cwd=RUN.parent, env=environment) as cluster:
        try:
            yield
        finally:
            cluster.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        if required("chromium"):
            raise LookupError("no chromium, nor Google Chrome")
        pytest.skip("no chromium: install chromium or Google Chrome")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """`visit(address, size, scheme)`: a page; no answer of its server is an error."""
    problems: list[str] = []

    def make(address: str, size: str = "desktop", scheme: str = "light") -> Page:
        width, height = SIZES[size]
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("response", lambda answer: problems.append(answer.url) if answer.status >= 400 else None)
        page.goto(address)
        return page

    yield make
    for context in browser.contexts:
        context.close()
    assert problems == []


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


def copy(page: Page, target: str) -> None:
    page.get_by_role("button", name=f"Copy to {target}").click()


def test_duplicate_runs_and_operations_in_conflict(visit: Callable[..., Page], tmp_path: Path) -> None:
    with running("djangoq", tmp_path, NOTES_WORKER="no", NOTES_PAUSE="0.1") as address:
        page = visit(address)
        copy(page, "Ben")
        expect(page.get_by_text("Copying to Ben has begun")).to_be_visible()
        copy(page, "Ben")
        expect(page.get_by_text("on its way already")).to_be_visible()
        page.get_by_role("button", name="Delete Buy milk").click()  # after it was asked for, before its turn
        expect(page.locator("#own").get_by_text("Buy milk")).to_have_count(0)
        expect(page.locator("article")).to_contain_text("queued")
        picture(page, "under_way")
        with worker(tmp_path):
            expect(page.get_by_text("“Buy milk” was deleted before its turn came")).to_be_visible()
            expect(page.locator("article.done")).to_contain_text("4 of 5 copied, in 1 run.")
            picture(page, "deleted_meanwhile")
            page.get_by_role("link", name="Ben").click()
            expect(page.locator("#own li")).to_have_count(5)  # his own one, and four
            expect(page.locator("#own").get_by_text("Buy milk")).to_have_count(0)


def test_outdated_data_and_errors(visit: Callable[..., Page], tmp_path: Path) -> None:
    with running("djangoq", tmp_path, NOTES_PAUSE="0.1") as address:
        page = visit(address)
        page.get_by_placeholder("A new note").fill("Feed the cat")
        with page.expect_navigation():
            page.get_by_role("button", name="Add").click()
        assert "Feed the cat" in page.locator("#own li").first.inner_text()  # one's own list is never old
        expect(page.locator("#latest li").first).to_contain_text("Feed the cat")  # this one says so, and renews itself
        expect(page.locator(".STALE")).to_have_count(0)

        copy(page, "Cleo")
        expect(page.locator("article.dead")).to_contain_text("Cleo's notebook is full: it takes 8 notes")
        picture(page, "error")
        page.get_by_role("link", name="Cleo").click()
        for left in (7, 6, 5, 4, 3):
            page.locator("#own li").last.get_by_role("button").click()
            expect(page.locator("#own li")).to_have_count(left)
        page.get_by_role("link", name="Ada").click()
        copy(page, "Cleo")
        expect(page.locator("article.done")).to_contain_text("6 of 6 copied, in 2 runs.")
        page.get_by_role("link", name="Cleo").click()
        expect(page.locator("#own").get_by_text("Buy milk")).to_have_count(1)  # though copied in both runs

        for size, (width, _) in SIZES.items():
            for scheme in ("light", "dark"):
                other = visit(f"{address}ada/", size, scheme)
                assert other.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out
                picture(other, f"{size}_{scheme}")


@pytest.mark.parametrize("queue", ["threads", "celery", "dramatiq", "rq", "huey", "django-tasks"])
def test_any_queue_by_one_setting(queue: str, visit: Callable[..., Page], tmp_path: Path) -> None:
    with running(queue, tmp_path, NOTES_PAUSE="0") as address:
        page = visit(address)
        copy(page, "Ben")
        expect(page.locator("article.done")).to_contain_text("5 of 5 copied, in 1 run.")
