"""The cached reads, the work in the background, and the rules. Found by its name, in web processes and workers."""

from __future__ import annotations

import time

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F

from notes.models import Copy, Note
from rewarm import Retry
from rewarm_django import InvalidationRule, cache


class NotebookFull(Exception):
    """No task can mend this; the user can."""


@cache.job(ttl=600, on_invalidated="expire")
def notebook(owner_id: int) -> list[dict[str, object]]:
    """Somebody's own notes. Never outdated: after a change the next read loads, whoever asks."""
    time.sleep(settings.PAUSE)  # stands for a slow query
    return [{"id": note.pk, "text": note.text} for note in Note.objects.filter(owner=owner_id).order_by("-pk")]


@cache.job(ttl=600)
def latest() -> list[dict[str, object]]:
    """What everybody wrote last. A page that waits for nobody: after a change the old list is served, marked as such,
    while one worker loads the new one."""
    time.sleep(settings.PAUSE)
    newest = Note.objects.select_related("owner").order_by("-pk")[:6]
    return [{"text": note.text, "owner": note.owner.username} for note in newest]


@cache.job(ttl=3600, retry=Retry(attempts=3))
def copying(source_id: int, target_id: int) -> dict[str, object]:
    """Copy a notebook. Work in the background is a job too, whose value is its report: its arguments say what is the
    same work, so that who asks twice joins. Deliveries may repeat, so each step may, too."""
    row = Copy.objects.filter(source=source_id, target=target_id)
    row.update(runs=F("runs") + 1, copied=0, gone=[])
    copied, gone = 0, []
    for pk, text in row.get().wanted:
        time.sleep(settings.PAUSE)  # stands for attachments
        if _copied(pk, target_id):
            copied += 1
        else:  # deleted since the user asked: what is gone stays gone, and the user is told
            gone.append(text)
        row.update(copied=copied, gone=gone)
    return {"copied": copied, "gone": gone}


def _copied(pk: int, target_id: int) -> bool:
    """Copy one note as it is now -> whether it still was there."""
    with transaction.atomic():
        if (note := Note.objects.filter(pk=pk).first()) is None:
            return False
        target = User.objects.get(pk=target_id)
        if target.notes.filter(origin=pk).exists():
            return True
        if target.notes.count() >= settings.ROOM:
            raise NotebookFull(f"{target.username.title()}'s notebook is full: it takes {settings.ROOM} notes")
        try:
            with transaction.atomic():
                Note.objects.create(owner=target, text=note.text, origin=pk)
        except IntegrityError:  # another delivery of the same task was faster
            pass
        return True


rules = [
    InvalidationRule(
        model="notes.Note", job=notebook, field_mapping={"owner_id": "owner_id"}, trigger_on_create=True,
    ),
    InvalidationRule(model="notes.Note", job=latest, trigger_on_create=True, rewarm=True),
]  # fmt: skip
