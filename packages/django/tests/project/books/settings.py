"""The tests' own project: on SQLite, or on what REWARM_TEST_DATABASE names."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any
from urllib.parse import urlsplit

FOLDER = os.environ.get("REWARM_TEST_FOLDER") or tempfile.mkdtemp(prefix="rewarm-django-")
PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"
server = urlsplit(os.environ.get("REWARM_TEST_DATABASE", ""))


def _database(name: str) -> dict[str, Any]:
    if server.scheme == "postgresql":
        return {
            "ENGINE": "django.db.backends.postgresql", "HOST": server.hostname, "PORT": server.port,
            "USER": server.username, "NAME": os.environ.get(f"REWARM_TEST_{name.upper()}", f"{name}_rewarm"),
        }  # fmt: skip
    return {
        "ENGINE": "django.db.backends.sqlite3", "NAME": f"{FOLDER}/{name}.sqlite3",
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": PRAGMAS},
        "TEST": {"NAME": f"{FOLDER}/test_{name}_{os.getpid()}.sqlite3"},
    }  # fmt: skip


SECRET_KEY = "tests"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "books.urls"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
PROCESSORS = ["django.template.context_processors.request", "django.contrib.auth.context_processors.auth"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": [*PROCESSORS, "django.contrib.messages.context_processors.messages"]},
    }
]
STATIC_URL = "static/"
DATABASES = {"default": _database("default"), "other": _database("other")}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 10_000}},
    "second": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "second"},
}
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "django.contrib.messages",
    "django.contrib.staticfiles", "django.contrib.admin", "rest_framework", "rewarm_django", "books",
]  # fmt: skip
REWARM: dict[str, Any] = json.loads(os.environ.get("REWARM_TEST_SETTINGS", "{}")) or {
    "default": {"NAME": "books", "ADAPTER": "inline"},
    "second": {"ADAPTER": "inline", "STORE": "memory", "ROUTES": {"refresh": {"queue": "low"}}},
}
exec(os.environ.get("REWARM_TEST_EXTRA", ""))
