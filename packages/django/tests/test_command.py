"""`manage.py rewarm …`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from books.caches import author_name, everything, titles
from books.models import Author
from django.core.management import CommandError, call_command
from django.test import override_settings

from rewarm import Job, Outcome, State
from rewarm_django import cache
from rewarm_django.models import Outbox
from rewarm_django.testing import capture

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
PROJECT = Path(__file__).with_name("project")


@pytest.fixture
def rewarm(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> str:
        call_command("rewarm", *words)
        return capsys.readouterr().out

    return run


def test_inspect_invalidate_and_refresh(rewarm: Any) -> None:
    ada = Author.objects.create(name="Ada")
    assert "absent" in rewarm("inspect", "author_name", f"author_id:={ada.pk}")
    assert "done" in rewarm("refresh", "author_name", f"author_id:={ada.pk}")
    assert "HIT" in rewarm("inspect", "author_name", f"author_id:={ada.pk}")
    assert "invalidated" in rewarm("invalidate", "author_name", f"author_id:={ada.pk}")
    assert author_name.read(ada.pk).state is State.STALE
    titles(3)
    rewarm("--app", "default", "invalidate", "--tag", "author:3")
    found = titles.peek(3)
    assert found is not None
    assert found.state is State.STALE


def test_dead_letters(rewarm: Any) -> None:
    with capture() as tasks:
        everything.refresh()
        broken = tasks.payloads[0].replace('"kind":"refresh"', '"kind":"refrsh"')
        assert cache.run(broken) is Outcome.DEAD
        [letter] = cache.dead.list()
        assert letter.id[:12] in rewarm("dead", "list")
        rewarm("dead", "drop", letter.id)
        assert "no dead letters" in rewarm("dead", "list")


def test_doctor(rewarm: Any) -> None:
    found = rewarm("doctor")
    assert "books" in found
    assert "CacheStore('default')" in found


def test_relay(rewarm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(REWARM={"default": {"NAME": "books", "ADAPTER": "inline", "COMMIT": "outbox"}}):
        from django.db import transaction

        monkeypatch.setattr(cache, "flush", lambda gathered: False)
        with transaction.atomic():
            everything.invalidate()
        assert "0 done, 1 waiting" in rewarm("relay")
        assert "1 done, 0 waiting" in rewarm("relay", "--grace", "0")
        assert Outbox.objects.count() == 0


def test_rescue_says_what_it_needs(rewarm: Any) -> None:
    with pytest.raises(CommandError, match="rescue"):
        rewarm("rescue")
    with override_settings(REWARM={"default": {"NAME": "books", "ADAPTER": "inline", "STORE": "memory", "RESCUE": 60}}):
        assert "0 sent again" in rewarm("rescue")


def test_warm(rewarm: Any) -> None:
    class Squares(Job):
        ttl = 60

        def load(self, n: int, *, by: int = 1) -> int:
            return n * n * by

        def warm(self) -> list[Any]:
            return [(2,), {"n": 3, "by": 4}]

    squares = cache.add(Squares())
    assert "2 of Squares queued" in rewarm("warm", "Squares")
    assert (squares.read(2).state, squares.read(3, by=4).value) == (State.HIT, 36)
    assert "1 of Squares queued" in rewarm("warm", "Squares", "n:=5")
    assert "1 of everything queued" in rewarm("warm", "everything")
    with pytest.raises(CommandError, match="has no warm"):
        rewarm("warm", "titles")


def test_as_it_is_typed(tmp_path: Path) -> None:
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "books.settings", "REWARM_TEST_FOLDER": str(tmp_path),
        "REWARM_TEST_DATABASE": "",
    }  # fmt: skip
    command = [sys.executable, "-m", "django", "rewarm"]
    done = subprocess.run([*command, "doctor"], cwd=PROJECT, capture_output=True, text=True, env=environment)
    assert (done.returncode, "books" in done.stdout) == (0, True), done.stderr
    done = subprocess.run(
        [*command, "inspect", "nothing"], cwd=PROJECT, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2
    assert "no job 'nothing'; there are" in done.stderr
