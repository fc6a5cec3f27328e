"""The `rewarm` command on a small application of its own."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from rewarm import registry
from rewarm.cli.command import rewarm

Run = Callable[..., Result]

SHOP = """
from uuid import UUID

from rewarm import Adapter, Capability, Finding, Rewarm
from rewarm.local import InlineAdapter


class Sick(InlineAdapter):
    name = "sick"

    def doctor(self):
        return [Finding("error", "loses work", "do not")]


class Away(InlineAdapter):
    name = "away"
    capabilities = frozenset({Capability.DEPTH})

    def depth(self, queue=None):
        raise ConnectionError("no broker")


cache = Rewarm("shop", adapter="inline")
away = Rewarm("away", adapter=Away())
sick = Rewarm("sick", adapter=Sick())
broken = set()
loads = []


@cache.job(ttl=60, tags=["user:{user}"])
def tweets(user: str, limit: int = 20) -> list[str]:
    loads.append(user)
    if user in broken:
        raise ValueError("no such user")
    return [user] * limit


@cache.job(ttl=60)
def item(id: UUID) -> UUID:
    return id
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "rewarm_test_shop.py").write_text(SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("REWARM_APP", "rewarm_test_shop:cache")
    yield sys.modules.get("rewarm_test_shop") or __import__("rewarm_test_shop")
    sys.modules.pop("rewarm_test_shop").cache.close()


@pytest.fixture
def run(shop: ModuleType) -> Run:
    return lambda *words: CliRunner().invoke(rewarm, words)


def fields(result: Result) -> dict[str, str]:
    assert result.exit_code == 0, result.output
    return dict(line.split(maxsplit=1) for line in result.stdout.splitlines())


def bury(shop: ModuleType) -> str:
    shop.broken.add("eve")
    assert shop.tweets.refresh("eve").status() == "dead"
    return str(shop.cache.dead.list()[-1].id)


# --- looking


def test_inspect_shows_an_entry_and_never_loads(shop: ModuleType, run: Run) -> None:
    assert fields(run("inspect", "tweets", "user=ada"))["state"] == "absent"
    assert not shop.loads

    shop.tweets("ada", 2)
    seen = fields(run("inspect", "tweets", "user=ada", "limit:=2"))
    assert seen["key"] == shop.tweets.key("ada", 2)
    assert seen["tags"] == "user:ada"
    assert seen["state"] == "HIT"
    assert seen["value"] == "['ada', 'ada']"
    assert shop.loads == ["ada"]


def test_inspect_as_json_keeps_types(shop: ModuleType, run: Run) -> None:
    tagged = '{"$uuid": "12345678-1234-5678-1234-567812345678"}'
    shop.item(shop.UUID("12345678-1234-5678-1234-567812345678"))
    told = json.loads(run("inspect", "item", f"id:={tagged}", "--json").stdout)
    assert told["state"] == "HIT"
    assert told["value"] == json.loads(tagged)
    assert 0 < told["expires_in"] <= 60


# --- acting


def test_invalidate_an_entry_a_tag_and_a_whole_job(shop: ModuleType, run: Run) -> None:
    for words in (["tweets", "user=ada"], ["--tag", "user:ada"], ["tweets", "--all"]):
        shop.tweets.reload("ada")
        assert run("invalidate", *words).exit_code == 0
        assert fields(run("inspect", "tweets", "user=ada"))["state"] == "STALE", words


def test_refresh_loads_where_tasks_run(shop: ModuleType, run: Run) -> None:
    result = run("refresh", "tweets", "user=ada")
    assert result.output.splitlines()[-1] == "done"
    assert shop.tweets.peek("ada").state == "HIT"


def test_dead_letters_from_list_to_retry(shop: ModuleType, run: Run) -> None:
    assert run("dead", "list").output == "no dead letters\n"
    letter = bury(shop)
    listed = run("dead", "list").stdout.splitlines()
    assert listed[1].startswith(f"{letter[:12]}  tweets")
    assert [one["id"] for one in json.loads(run("dead", "list", "--json").stdout)] == [letter]
    shown = run("dead", "show", letter[:6])
    assert "no such user" in shown.stdout
    assert "stale    shop:tweets:" in shown.stdout
    assert json.loads(run("dead", "show", letter, "--json").stdout)["job"] == "tweets"

    shop.broken.clear()
    assert run("dead", "retry", letter[:6]).output.splitlines()[-1] == "done"
    assert not shop.cache.dead.list()


def test_dead_letters_are_forgotten_one_by_one_or_all(shop: ModuleType, run: Run) -> None:
    assert run("dead", "drop", bury(shop)[:6]).exit_code == 0
    assert not shop.cache.dead.list()
    bury(shop)
    assert run("dead", "purge").exit_code == 1  # nobody said yes
    assert run("dead", "purge", "--yes").output == "shop: 1 forgotten\n"
    assert not shop.cache.dead.list()


def test_doctor_says_what_was_chosen_and_fails_on_errors(shop: ModuleType, run: Run) -> None:
    well = run("doctor")
    assert well.exit_code == 0
    assert "inline" in well.output
    assert "MemoryStore" in well.output
    ill = run("--app", "rewarm_test_shop:cache,rewarm_test_shop:sick", "doctor")
    assert ill.exit_code == 1
    assert "error: loses work\n  do not\n" in ill.output
    shop.sick.close()


def test_doctor_says_that_the_queue_is_away_beside_what_is_dead(shop: ModuleType, run: Run) -> None:
    shop.away.job(ttl=3, name="no")(lambda: 1 / 0)
    shop.away.jobs["no"].refresh()
    told = run("--app", "rewarm_test_shop:away", "doctor")
    assert told.exit_code == 1
    assert "error: the queue does not answer: no broker\n" in told.output
    assert "warning: 1 task is dead\n" in told.output
    shop.away.close()


def test_adapters(run: Run) -> None:
    assert run("adapters").output.split() == registry.adapters()


# --- mistakes: one clear line, status 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inspect", "nope"], "no job 'nope'; there are item, tweets"),
        (["inspect", "tweets", "nix=1"], "nix"),
        (["inspect", "tweets", "user"], "neither name=text nor name:=JSON"),
        (["inspect", "tweets", "user=a", "user=b"], "given twice"),
        (["inspect", "tweets", "limit:=x"], "write limit=x"),
        (["invalidate"], "invalidate what?"),
        (["invalidate", "--all"], "invalidate what?"),
        (["dead", "show", "feed"], "no dead letters begin with 'feed'"),
        (["--app", "", "doctor"], "which application?"),
        (["--app", "nowhere_at_all:cache", "doctor"], "no module 'nowhere_at_all'"),
        (["--app", "rewarm_test_shop:loads", "doctor"], "is a list, not a Rewarm application"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(run: Run, words: list[str], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert said in line


# --- the command itself


def test_version(run: Run) -> None:
    assert run("--version").output.startswith("rewarm 0.")


def test_without_its_packages_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['click'] = None; from rewarm.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "pip install 'rewarm[cli]'" in ended.stderr


def test_the_library_needs_none_of_it() -> None:
    code = "import rewarm, sys; print([name for name in ('click', 'rich', 'redis') if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "[]\n"
