"""What a worker imports that does not set Django up by itself."""

import os

import django

django.setup()

if os.environ["QUEUE"] == "celery":
    from celery import Celery

    app = Celery("books", broker=os.environ["QUEUE_URL"])
    app.set_default()
if os.environ["QUEUE"] == "dramatiq":
    import dramatiq

    broker = dramatiq.get_broker()
