"""Django settings for trying the task framework, as testbeds do: any queue, in what REWARM_TRIAL_URL names."""

import os
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

URL, DIRECTORY = os.environ["REWARM_TRIAL_URL"], os.environ["REWARM_TRIAL_DIRECTORY"]
server = urlsplit(URL)
FRAMEWORK = "django.tasks" if find_spec("django.tasks") else "django_tasks"

SECRET_KEY = "trial"
INSTALLED_APPS = [*(["django_tasks"] if FRAMEWORK == "django_tasks" else []), "django_tasks_db", "rewarm_django"]
REWARM = {"default": {"STORE": "memory", "ADAPTER": "inline"}}  # what is tried has an application of its own
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": server.hostname, "PORT": server.port, "USER": server.username, "NAME": server.path[1:],
    } if server.scheme == "postgresql" else {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{URL}/db.sqlite3",
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
    }
}  # fmt: skip

TASKS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": []},
    "immediate": {"BACKEND": f"{FRAMEWORK}.backends.immediate.ImmediateBackend", "QUEUES": []},
}
