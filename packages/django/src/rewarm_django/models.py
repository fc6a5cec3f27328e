"""The tables: the outbox, and a ledger for those who keep it in their database.

The ledger's instants are milliseconds; its letters and payloads are JSON strings, since a database may refuse what a
Python string can hold.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models


class Outbox(models.Model):  # type: ignore[misc]  # Django has no types
    """An invalidation that was committed with the data it is about, and is not done yet."""

    id = models.BigAutoField(primary_key=True)
    app = models.CharField(max_length=200)
    payload = models.TextField()
    created = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        verbose_name_plural = "outbox"

    def __str__(self) -> str:
        return f"{self.app} {self.pk}"


class LedgerTask(models.Model):  # type: ignore[misc]
    """A task's record. `claim`: until when a delivery holds it; 0: none does. `errors`: a JSON list."""

    name = models.CharField(max_length=200, primary_key=True)
    kind = models.CharField(max_length=20, default="")
    job = models.CharField(max_length=200, default="")
    status = models.CharField(max_length=20, default="")
    attempt = models.BigIntegerField("attempts", default=0)
    deliveries = models.BigIntegerField(default=0)
    cancelled = models.BooleanField(default=False)
    claim = models.BigIntegerField(default=0)
    errors = models.TextField(default="[]")
    expires = models.BigIntegerField(default=0, db_index=True)
    changed = models.BigIntegerField(default=0, db_index=True)

    class Meta:
        verbose_name = "recent task"

    def __str__(self) -> str:
        return str(self.name)


class LedgerLetter(models.Model):  # type: ignore[misc]
    """A dead letter; `key`: the entry that waits for it, None for none. The newest has the highest `id`."""

    id = models.BigAutoField(primary_key=True)
    dead = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    key = models.CharField(max_length=200, null=True)
    letter = models.TextField()

    class Meta:
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["dead", "name"], name="rewarm_letter_name"),
            models.UniqueConstraint(fields=["dead", "key"], name="rewarm_letter_key"),
        ]


class LedgerJournal(models.Model):  # type: ignore[misc]
    """A task that was sent and has not ended. `times`: how often it was overdue."""

    id = models.BigAutoField(primary_key=True)
    journal = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    payload = models.TextField()
    overdue = models.BigIntegerField()
    times = models.SmallIntegerField(default=0)

    class Meta:
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["journal", "name"], name="rewarm_journal_name")
        ]
        indexes: ClassVar[list[Any]] = [models.Index(fields=["journal", "overdue"], name="rewarm_journal_overdue")]


class LedgerGate(models.Model):  # type: ignore[misc]
    """What is known of a source. A row that bears a list's name is that list's lock."""

    name = models.CharField(max_length=200, primary_key=True)
    next = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    open = models.BigIntegerField(default=0)
    expires = models.BigIntegerField(default=0, db_index=True)


class Minute(models.Model):  # type: ignore[misc]
    """What happened in one minute, to one job; the row without a job is about the queue.

    `waited`: milliseconds between queueing and end, summed over `refreshes`; `slowest`: the longest of them.
    """

    id = models.BigAutoField(primary_key=True)
    app = models.CharField(max_length=200)
    job = models.CharField(max_length=200)
    at = models.DateTimeField()
    hits = models.BigIntegerField(default=0)
    stales = models.BigIntegerField(default=0)
    misses = models.BigIntegerField(default=0)
    loads = models.BigIntegerField(default=0)
    failures = models.BigIntegerField(default=0)
    refreshes = models.BigIntegerField(default=0)
    waited = models.BigIntegerField(default=0)
    slowest = models.BigIntegerField(default=0)
    depth = models.BigIntegerField(null=True)

    class Meta:
        verbose_name_plural = "dashboard"
        default_permissions = ("view",)
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["at", "app", "job"], name="rewarm_minute_once")
        ]


class DeadLetter(models.Model):  # type: ignore[misc]
    """No table: a task that was given up, in the ledger of an application, wherever that is. `id`: alias:id.

    Permissions: `view`; `change` to retry, `delete` to discard.
    """

    id = models.CharField(max_length=400, primary_key=True)

    class Meta:
        managed = False
        default_permissions = ("view", "change", "delete")

    def __str__(self) -> str:
        return str(self.id)
