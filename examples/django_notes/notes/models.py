"""Notes, and copies of whole notebooks."""

from django.contrib.auth.models import User
from django.db import models


class Note(models.Model):
    """A note. `origin`: of which note it is the copy. A notebook has one copy of each at most, however often a task is
    delivered."""

    owner = models.ForeignKey(User, models.CASCADE, related_name="notes")
    text = models.CharField(max_length=80)
    origin = models.BigIntegerField(null=True, editable=False)

    class Meta:
        constraints = (models.UniqueConstraint("owner", "origin", name="one_copy_of_each"),)

    def __str__(self) -> str:
        return self.text


class Copy(models.Model):
    """A notebook that is being copied into another: what was asked for, how far it is, and which task does it."""

    source = models.ForeignKey(User, models.CASCADE, related_name="copies")
    target = models.ForeignKey(User, models.CASCADE, related_name="+")
    task = models.CharField(max_length=64, blank=True)  # the receipt's id
    runs = models.PositiveIntegerField(default=0)  # how often a worker has begun
    wanted = models.JSONField(default=list)  # the notes that were there when the user asked: [[id, text], …]
    copied = models.PositiveIntegerField(default=0)
    gone = models.JSONField(default=list)  # what was deleted before its turn came

    class Meta:
        constraints = (models.UniqueConstraint("source", "target", name="one_copy_for_two"),)
