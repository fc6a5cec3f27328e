"""SQLite for everything, and the queue that NOTES_QUEUE names."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

QUEUE = os.environ.get("NOTES_QUEUE", "djangoq")  # threads, celery, dramatiq, rq, huey, djangoq, django-tasks
FOLDER = Path(os.environ.get("NOTES_FOLDER", Path(__file__).parents[1]))
REDIS = os.environ.get("NOTES_REDIS", "redis://127.0.0.1:6379/0")  # of celery, dramatiq and rq
PAUSE = float(os.environ.get("NOTES_PAUSE", "0.5"))  # s: copying a note, and asking for a list, take so long
ROOM = 8  # notes that a notebook takes

SECRET_KEY = "an example has no secrets"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
USE_TZ = True
ROOT_URLCONF = "notes.urls"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.contrib.messages.context_processors.messages"]},
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "notes.sqlite3",
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
    }
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache"}}
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "django.contrib.messages",
    "django.contrib.staticfiles", "rewarm_django", "notes",
]  # fmt: skip

# All that this project says of Rewarm. Web process and worker share the entries: they are in the database's cache.
REWARM: dict[str, Any] = {"default": {"NAME": "notes", "ADAPTER": QUEUE, "COMMIT": "outbox"}}

# And what each queue wants to know.
if QUEUE == "celery":
    CELERY_BROKER_URL = REDIS
elif QUEUE == "dramatiq":
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    dramatiq.set_broker(RedisBroker(url=REDIS))
elif QUEUE == "rq":
    INSTALLED_APPS.append("django_rq")
    RQ_QUEUES = {"default": {"URL": REDIS}}
elif QUEUE == "huey":
    INSTALLED_APPS.append("huey.contrib.djhuey")
    HUEY = {"huey_class": "huey.SqliteHuey", "name": "notes", "immediate": False, "filename": str(FOLDER / "huey.db")}
elif QUEUE == "djangoq":
    INSTALLED_APPS.append("django_q")
    Q_CLUSTER = {"name": "notes", "orm": "default", "workers": 2, "timeout": 60, "retry": 90, "poll": 0.2}
elif QUEUE == "django-tasks":
    INSTALLED_APPS += ["django_tasks_db", *(["django_tasks"] if find_spec("django_tasks") else [])]
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
