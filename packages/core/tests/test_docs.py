"""The Python in README and docs runs as it stands, each file from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rewarm.cli.server import Server

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("packages/*/README.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if BLOCK.search(page.read_text()) and page.stem != "django"],  # that one's package runs it
    ids=lambda page: f"{page.parent.name}-{page.stem}",
)
def test_every_python_block_runs(page: Path, valkey: Server) -> None:
    names = {"__name__": "shop.cache", "URL": valkey.url, "BROKER": valkey.url}
    for block in BLOCK.findall(page.read_text()):
        exec(compile(block, str(page), "exec", dont_inherit=True), names)


def test_no_page_links_to_one_that_is_missing() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
