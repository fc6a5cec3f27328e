"""django-q2's adapter, each test in a process with settings of its own, and the cluster as a user starts it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from rewarm.cli.server import Server

SETUP = """
    import os, sys
    os.environ |= {{
        "DJANGO_SETTINGS_MODULE": "rewarm_djangoq.trial_settings", "REWARM_TRIAL_DIRECTORY": "{path}",
        "REWARM_TRIAL_URL": "{url}",
    }}
    import django
    django.setup()
    from django.core.management import call_command
    call_command("migrate", verbosity=0)
    from django.db import transaction
    from django_q.conf import Conf
    from django_q.models import OrmQ
    from rewarm import Rewarm, Route
    from rewarm_djangoq import DjangoQAdapter
"""
CACHE = """
    import django
    django.setup()
    from rewarm import Rewarm

    cache = Rewarm("shop", store="{url}", adapter="djangoq")
"""


@pytest.fixture
def django(tmp_path: Path) -> Callable[..., str]:
    """Runs code in a process that Django is set up in -> what it printed."""

    def run(code: str, url: str = "") -> str:
        whole = dedent(SETUP.format(path=tmp_path, url=url or tmp_path)) + dedent(code)
        done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def test_rows_of_the_cluster_or_of_the_one_that_a_route_names(django: Callable[..., str]) -> None:
    assert django(
        """
        adapter = DjangoQAdapter()
        ids = [adapter.enqueue("payload", route=Route(queue), delay=0) for queue in (None, "low")]
        adapter.enqueue("payload", route=Route(), delay=60)
        DjangoQAdapter("low").enqueue("payload", route=Route(), delay=0)
        print(len(set(ids)), adapter.depth(), adapter.depth("low"), OrmQ.objects.count())
        """
    ) == "2 1 2 4"  # fmt: skip


def test_a_task_is_part_of_the_transaction(django: Callable[..., str]) -> None:
    assert django(
        """
        try:
            with transaction.atomic():
                DjangoQAdapter().enqueue("payload", route=Route(), delay=0)
                DjangoQAdapter().enqueue("payload", route=Route(), delay=5)
                raise KeyError
        except KeyError:
            print(OrmQ.objects.count())
        """
    ) == "0"  # fmt: skip


def test_it_sends_from_inside_an_event_loop(django: Callable[..., str]) -> None:
    assert django(
        """
        import asyncio
        async def inside():
            return DjangoQAdapter().enqueue("payload", route=Route(), delay=0)
        print(bool(asyncio.run(inside())), OrmQ.objects.count())
        """
    ) == "True 1"  # fmt: skip


def test_capabilities_switch_and_advice_are_those_of_the_settings(django: Callable[..., str], server: Server) -> None:
    code = """
        adapter = DjangoQAdapter()
        print(sorted(map(str, adapter.capabilities)), adapter.eager, adapter.max_hop)
        Conf.SYNC = True
        print(adapter.eager, [finding.severity for finding in adapter.doctor()])
    """
    orm = django(code).splitlines()
    assert orm[0] == "['delay', 'depth', 'persistence', 'redelivery', 'transactional'] False None"
    assert orm[1] == "True ['info', 'warning', 'info']"
    redis = django(code, server.url).splitlines()
    assert redis[0] == "['depth', 'persistence'] False None"
    assert redis[1] == "True ['warning', 'warning', 'info']"


def test_a_load_that_the_cluster_stops_has_failed_and_is_tried_again(
    django: Callable[..., str], server: Server
) -> None:
    assert django(
        f"""
        import time
        from django_q.timeout import TimeoutHandler
        from rewarm_djangoq import run

        cache = Rewarm("stopped", store={server.url!r}, adapter=DjangoQAdapter())
        slow = lambda: time.sleep(30)
        slow.__module__ = "shop"
        receipt = cache.job(ttl=60, name="slow")(slow).refresh()
        (sent,) = OrmQ.objects.all()
        payload = sent.task["args"][0]
        sent.delete()
        with TimeoutHandler(1):
            run(payload)
        print(receipt.status(), OrmQ.objects.count())
        """
    ) == "retrying 1"  # fmt: skip


def test_a_task_that_is_stopped_outside_its_load_is_not_acknowledged(django: Callable[..., str]) -> None:
    assert django(
        """
        from django_q.exceptions import TimeoutException
        from rewarm_djangoq import run

        def insist(adapter, payload):
            raise TimeoutException("while the store was away")

        DjangoQAdapter.insist = insist
        try:
            run("payload")
        except SystemExit as error:
            print(isinstance(error, TimeoutException), error)
        """
    ) == "False rewarm: a task goes back to its queue: while the store was away"  # fmt: skip


def test_importing_it_imports_no_other_queue(imported: Callable[..., set[str]], tmp_path: Path) -> None:
    settings = {
        "DJANGO_SETTINGS_MODULE": "rewarm_djangoq.trial_settings", "REWARM_TRIAL_DIRECTORY": str(tmp_path),
        "REWARM_TRIAL_URL": str(tmp_path),
    }  # fmt: skip
    assert imported("import rewarm_djangoq") == set()  # before Django's settings are there
    assert imported("import rewarm_djangoq.adapter", **settings) == {"django_q"}


def test_the_cluster_as_a_user_types_it(
    django: Callable[..., str], server: Server, shop: Callable[..., str], tmp_path: Path
) -> None:
    django("OrmQ.objects.create(key='trial', payload='no pickle of ours', lock='2026-01-01T00:00Z')")
    told = shop(
        {"cache": CACHE.format(url=server.url)}, "django-admin", "qcluster",
        DJANGO_SETTINGS_MODULE="rewarm_djangoq.trial_settings", REWARM_TRIAL_DIRECTORY=str(tmp_path),
        REWARM_TRIAL_URL=str(tmp_path), REWARM_APP="shop.cache:cache", PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert told == "done ['ada']"
