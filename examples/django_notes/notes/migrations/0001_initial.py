from typing import ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

USER = settings.AUTH_USER_MODEL


class Migration(migrations.Migration):
    initial = True

    dependencies: ClassVar = [migrations.swappable_dependency(USER)]

    operations: ClassVar = [
        migrations.CreateModel(
            name="Note",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.CharField(max_length=80)),
                ("origin", models.BigIntegerField(editable=False, null=True)),
                ("owner", models.ForeignKey(USER, django.db.models.deletion.CASCADE, related_name="notes")),
            ],
            options={"constraints": (models.UniqueConstraint("owner", "origin", name="one_copy_of_each"),)},
        ),
        migrations.CreateModel(
            name="Copy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("task", models.CharField(blank=True, max_length=64)),
                ("runs", models.PositiveIntegerField(default=0)),
                ("wanted", models.JSONField(default=list)),
                ("copied", models.PositiveIntegerField(default=0)),
                ("gone", models.JSONField(default=list)),
                ("source", models.ForeignKey(USER, django.db.models.deletion.CASCADE, related_name="copies")),
                ("target", models.ForeignKey(USER, django.db.models.deletion.CASCADE, related_name="+")),
            ],
            options={"constraints": (models.UniqueConstraint("source", "target", name="one_copy_for_two"),)},
        ),
    ]
