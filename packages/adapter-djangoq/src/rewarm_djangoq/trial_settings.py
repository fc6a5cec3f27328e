"""Django settings for trying it, as testbeds and demo do: any cluster name, on what REWARM_TRIAL_URL names."""

import os
from typing import Any
from urllib.parse import urlsplit

URL, DIRECTORY = os.environ["REWARM_TRIAL_URL"], os.environ["REWARM_TRIAL_DIRECTORY"]
server = urlsplit(URL)

SECRET_KEY = "trial"
INSTALLED_APPS = ["django_q"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": server.hostname, "PORT": server.port, "USER": server.username, "NAME": server.path[1:],
    } if server.scheme == "postgresql" else {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{DIRECTORY if server.scheme else URL}/db.sqlite3",
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
    }
}  # fmt: skip

Q_CLUSTER = {
    "name": "trial",
    "ALT_CLUSTERS": {},
    "workers": 1,
    "timeout": 7,
    "retry": 8,
    "poll": 0.2,
    "guard_cycle": 0.2,
    "catch_up": False,
    "log_level": "WARNING",
    **({"redis": URL} if server.scheme == "redis" else {"orm": "default"}),
}
