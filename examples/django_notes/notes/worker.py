"""What the workers of Celery and Dramatiq import: they do not set Django up by themselves."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notes.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402

if settings.QUEUE == "celery":
    from celery import Celery

    app = Celery("notes", broker=settings.CELERY_BROKER_URL)
    app.set_default()
elif settings.QUEUE == "dramatiq":
    import dramatiq

    broker = dramatiq.get_broker()
