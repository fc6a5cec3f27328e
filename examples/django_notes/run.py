"""Everything at once: a database, a worker of the queue that NOTES_QUEUE names, and the pages. Prints the address.

NOTES_QUEUE: threads, celery, dramatiq, rq, huey, djangoq (the default) or django-tasks.
NOTES_PORT: 8000 if not named; 0, or where it is taken: any.   NOTES_WORKER: "no": you start it yourself.
NOTES_FOLDER: keep the database there; otherwise it is gone at the end.
NOTES_REDIS: the broker of celery, dramatiq and rq; otherwise a private one is started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PYTHON = [sys.executable, "-m"]
MANAGE = [sys.executable, "manage.py"]
WORKERS = {
    "threads": [],
    "celery": [*PYTHON, "celery", "-A", "notes.worker", "worker", "-c", "2"],
    "dramatiq": [*PYTHON, "dramatiq", "notes.worker", "-p", "1", "-t", "2"],
    "rq": [*MANAGE, "rqworker", "--with-scheduler", "default"],
    "huey": [*MANAGE, "run_huey", "-w", "2"],
    "djangoq": [*MANAGE, "qcluster"],
    "django-tasks": [*MANAGE, "rewarm_db_worker", "--interval", "0.2", "--no-reload"],
}
NOTES = {
    "ada": ["Buy milk", "Call Grace", "Read about fences", "Water the plants", "Send the parcel"],
    "ben": ["Hello"],
}
FULL = {"cleo": [f"Thought {number}" for number in range(1, 8)]}  # room for one more


def main() -> None:
    queue = os.environ.setdefault("NOTES_QUEUE", "djangoq")
    if queue not in WORKERS:
        sys.exit(f"NOTES_QUEUE is {queue!r}, none of {', '.join(WORKERS)}")
    os.environ["DJANGO_SETTINGS_MODULE"] = "notes.settings"
    os.chdir(HERE)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with ExitStack() as stack:
        if "NOTES_FOLDER" not in os.environ:
            os.environ["NOTES_FOLDER"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="notes-"))
        if queue in ("celery", "dramatiq", "rq") and "NOTES_REDIS" not in os.environ:
            from rewarm.cli.server import Server

            os.environ["NOTES_REDIS"] = stack.enter_context(Server()).url
        prepare()
        if WORKERS[queue] and os.environ.get("NOTES_WORKER") != "no":
            worker = subprocess.Popen(WORKERS[queue], stdout=subprocess.DEVNULL, start_new_session=True)
            stack.callback(stop, worker)
        server = stack.enter_context(pages())
        print(f"{queue} works for http://127.0.0.1:{server.server_port}/   Ctrl-C ends both", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def prepare() -> None:
    """Tables, users and a few notes. Says nothing to a database that has them."""
    import django

    django.setup()
    if os.environ["NOTES_QUEUE"] == "celery":
        import notes.worker  # noqa: F401  the application that sends
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from notes.models import Note

    call_command("migrate", verbosity=0)
    call_command("createcachetable", verbosity=0)
    for name, texts in {**NOTES, **FULL}.items():
        user, new = User.objects.get_or_create(username=name)
        for text in texts if new else ():
            Note.objects.create(owner=user, text=text)


def pages() -> Any:
    """A server of this process, on the port that was asked for, or on any that is free."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    try:
        server = ThreadedWSGIServer(("127.0.0.1", int(os.environ.get("NOTES_PORT", "8000"))), Quiet)
    except OSError:
        server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.daemon_threads = True
    server.set_app(StaticFilesHandler(get_wsgi_application()))
    return server


def stop(worker: subprocess.Popen[bytes]) -> None:
    """End it and its children. It has a session of its own, so that what a terminal or make signals reaches it once."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)  # who asks twice shall not cut this short
    worker.terminate()
    try:
        worker.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


if __name__ == "__main__":
    main()
