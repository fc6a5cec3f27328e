"""APP: how adapters are found, and how workers find applications."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points

from rewarm import ConfigurationError
from rewarm.errors import RewarmError
from rewarm.registry import GROUP, find_adapter

from .. import checkers
from ..bed import Bed, judge, new_token
from ..cell import modules
from ..journal import History
from ..plugin import check
from ..second_keys import KEYS

QUEUES = {"celery", "dramatiq", "rq", "huey", "django_q", "taskiq", "arq", "procrastinate"}
IMPORT = """
import json, os, socket, sys
opened = []
socket.socket.connect = socket.socket.connect_ex = lambda self, address: opened.append(repr(address))
if "DJANGO_SETTINGS_MODULE" in os.environ:  # models cannot be imported before
    import django
    django.setup()
import {module}
print(json.dumps([opened, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


@check("APP-01")
def test_app_01(bed: Bed) -> None:
    adapter = bed.adapter
    found = [point for point in entry_points(group=GROUP) if point.name == adapter.name]
    judge(checkers.holds(found, f"an entry point {adapter.name!r} in the group {GROUP}", "there is none"))
    loaded = found[0].load()
    own = isinstance(adapter, loaded) if isinstance(loaded, type) else callable(loaded)  # a function may make it
    judge(checkers.holds(own, f"it names {type(adapter).__name__}", f"it names {loaded!r}"))
    try:
        find_adapter("no-such-queue")
    except ConfigurationError as error:
        judge(checkers.holds("pip install" in str(error), "the error says what to install", str(error)))
    else:
        judge(checkers.holds(False, "ConfigurationError for an unknown name", "an adapter"))


@check("APP-02")
def test_app_02(warm: Bed) -> None:
    probe = warm.producer(suffix="-b", signing_keys=KEYS)
    payloads: list[str] = []
    send = probe.adapter.enqueue
    probe.adapter.enqueue = lambda payload, **options: payloads.append(payload) or send(payload, **options)  # type: ignore
    probe.app.jobs["ok"].refresh(token := new_token())
    history = warm.started(token)
    named = [word for word in ("rewarm_conformance", "probe", __package__) if word in json.dumps(payloads)]
    judge(
        checkers.ran_once(history, [token]),
        checkers.holds(not named, "a payload names a registered job", f"it holds {named}"),
    )
    if warm.testbed.imports_app:
        other = warm.lab.bed()
        other.start(ready=False, apps=None)
        if (broken := other.ready()) is not None:
            told = f"without REWARM_APP {broken.seen} (imports_app = False where it needs that)"
            judge(checkers.Broken("the worker's own command line imports the application", told))


@check("APP-03")
def test_app_03(warm: Bed) -> None:
    known = warm.task("ok", new_token())
    for strange in ({"job": "nowhere"}, {"app": f"{warm.namespace}-nowhere"}):
        first, last = replace(known, id=new_token() * 2), replace(known, id=new_token() * 2)
        warm.post(first, **strange)
        warm.post(last, attempt=10, **strange)
        history = warm.wait(_reported(first.id, last.id))
        judge(
            checkers.buried(history, last.id),
            checkers.holds(_reported(first.id)(history), "its first delivery is reported", "nothing was reported"),
        )


@check("APP-04")
def test_app_04(bed: Bed) -> None:
    module = type(bed.adapter).__module__
    own = {one.partition(".")[0] for one in (module, *modules(bed.adapter, bed.probe.native))}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT.format(module=module)],
        capture_output=True,
        text=True,
        env=bed.plain_environment(),
        timeout=60,
    )
    judge(checkers.holds(done.returncode == 0, "the adapter can be imported", done.stderr[-500:]))
    opened, imported = json.loads(done.stdout.splitlines()[-1])
    others = sorted(QUEUES & set(imported) - own)
    judge(
        checkers.holds(not opened, "importing opens no connection", f"connected to {opened}"),
        checkers.holds(not others, "importing imports no other queue", f"imported {', '.join(others)}"),
    )


@check("APP-05")
def test_app_05(warm: Bed) -> None:
    token = new_token()

    async def inside() -> None:
        warm.app.jobs["ok"].refresh(token)

    try:
        warm.answered(lambda: asyncio.run(inside()))
    except RewarmError as error:  # refused, which must be true
        judge(checkers.never_started(warm.quiet(lambda h: checkers.never_started(h, [token])), [token]))
        judge(checkers.holds(str(error), "an error that says why", repr(error)))
    except (RuntimeError, TypeError) as error:
        judge(checkers.holds(False, "it works, or fails with an error of Rewarm's", repr(error)))
    else:
        judge(checkers.ran_once(warm.started(token), [token]))


def _reported(*ids: str) -> Callable[[History], bool]:
    return lambda history: set(ids) <= {one.id for one in history if one.event in ("end", "dead")}
