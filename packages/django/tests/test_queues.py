"""Rules through each queue: a real worker, started as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rewarm.cli.server import Server

PROJECT = Path(__file__).with_name("project")
PYTHON = [sys.executable, "-m"]
EXTRA = {
    "celery": "CELERY_BROKER_URL = {url!r}",
    "dramatiq": "import dramatiq; from dramatiq.brokers.redis import RedisBroker;"
    "dramatiq.set_broker(RedisBroker(url={url!r}))",
    "rq": "INSTALLED_APPS.append('django_rq'); RQ_QUEUES = {{'default': {{'URL': {url!r}}}}}",
    "djangoq": "INSTALLED_APPS.append('django_q'); Q_CLUSTER = {{'name': 'books', 'orm': 'default', 'poll': 0.05,"
    "'timeout': 30, 'retry': 40, 'workers': 1}}",
    "django-tasks": "from importlib.util import find_spec; INSTALLED_APPS += ['django_tasks_db',"
    "*(['django_tasks'] if find_spec('django_tasks') else [])];"
    "TASKS = {{'default': {{'BACKEND': 'django_tasks_db.DatabaseBackend'}}}}",
    "huey": "INSTALLED_APPS.append('huey.contrib.djhuey'); HUEY = {{'huey_class': 'huey.RedisHuey', 'name': 'books',"
    "'immediate': False, 'connection': {{'url': {url!r}}}}}",
}
WORKER = {
    "celery": [
        "celery", "-A", "books.worker", "worker", "-P", "solo", "--without-gossip", "--without-mingle",
        "--without-heartbeat",
    ],
    "dramatiq": ["dramatiq", "books.worker", "-p", "1", "-t", "2"],
    "rq": ["django", "rqworker", "--with-scheduler", "default"],
    "djangoq": ["django", "qcluster"],
    "django-tasks": ["django", "db_worker", "--interval", "0.05"],
    "huey": ["django", "run_huey", "-w", "1"],
}  # fmt: skip
LEVEL = {"djangoq": "queue", "django-tasks": "queue", "rq": "outbox"}


@pytest.mark.parametrize("queue", list(EXTRA))
def test_rules_reach_a_worker(queue: str, tmp_path: Path) -> None:
    with Server() as server:
        settings: dict[str, Any] = {"NAME": "books", "STORE": server.url, "COMMIT": LEVEL.get(queue, "on_commit")}
        both: dict[str, Any] = {
            "cwd": PROJECT,
            "env": {
                **os.environ, "DJANGO_SETTINGS_MODULE": "books.settings", "PYTHONPATH": str(PROJECT),
                "REWARM_TEST_FOLDER": str(tmp_path), "REWARM_TEST_DATABASE": "", "QUEUE": queue,
                "QUEUE_URL": server.url, "REWARM_TEST_SETTINGS": json.dumps({"default": settings}),
                "REWARM_TEST_EXTRA": EXTRA[queue].format(url=server.url),
            },
        }  # fmt: skip
        subprocess.run(
            [*PYTHON, "django", "migrate", "--run-syncdb", "-v", "0"], check=True, capture_output=True, **both
        )
        with open(tmp_path / "log", "wb") as log:
            worker = subprocess.Popen(
                [*PYTHON, *WORKER[queue]], stdout=log, stderr=log, start_new_session=True, **both
            )  # fmt: skip
        try:
            sent = subprocess.run([sys.executable, "e2e.py"], capture_output=True, text=True, timeout=100, **both)
        finally:
            worker.terminate()
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(worker.pid, 9)
                worker.wait()
    assert sent.returncode == 0, f"{sent.stderr}\n{(tmp_path / 'log').read_text()}"
    assert json.loads(sent.stdout.splitlines()[-1]) == {
        "adapter": queue, "before": "HIT Ada", "rewarmed": True, "invalidator on a worker": True,
        "cacheback's jobs": True,
    }, (tmp_path / "log").read_text()  # fmt: skip
