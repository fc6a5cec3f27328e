"""The pages about Django: their code runs, and the feature tables are whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from books.models import Author, Book
from django.test import override_settings

from rewarm.cli.server import Server

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| ([A-Z]+-?\d+) \| (.+) \| `(test_\w+)` \|$", re.MULTILINE)


@pytest.mark.django_db(transaction=True)
def test_the_code_of_the_page_runs() -> None:
    first, *blocks = BLOCK.findall((ROOT / "docs" / "django.md").read_text())
    with Server() as server:
        names: dict[str, Any] = {"INSTALLED_APPS": [], "URL": server.url, "__name__": "books.caches"}
        exec(compile(first, "django.md", "exec"), names)
        assert names["INSTALLED_APPS"] == ["rewarm_django"]
        with override_settings(
            REWARM={"default": {**names["REWARM"]["default"], "NAME": "books", "ADAPTER": "inline"}}
        ):
            for block in blocks:
                exec(compile(block, "django.md", "exec", dont_inherit=True), names)
            ada = Author.objects.create(name="Ada")
            Book.objects.create(title="Notes", author=ada)
            assert names["titles"](ada.pk) == ["Notes"]
            assert len(names["rules"]) == 2


def test_every_row_has_its_counterpart_and_a_test_that_exists() -> None:
    rows = ROW.findall((ROOT / "docs" / "django-features.md").read_text())
    wanted = [
        *(f"CB-{n:02}" for n in range(1, 62)), *(f"RF-{n:02}" for n in range(1, 87)), *(f"C{n}" for n in range(1, 14)),
        *(f"R{n}" for n in range(1, 20)),
    ]  # fmt: skip
    assert [row for row, _, _ in rows] == wanted
    texts = [path.read_text() for path in ROOT.glob("packages/*/tests/test_*.py")]
    there = {name for text in texts for name in re.findall(r"def (test_\w+)\(", text)}
    assert [name for _, _, name in rows if name not in there] == []
    for row, _, name in rows:
        if row[0] in "CR" and "-" not in row:
            assert name.startswith(f"test_{row.lower()}_")
