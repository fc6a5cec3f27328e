"""The outbox's table."""

from __future__ import annotations

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
