from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django has no types
    dependencies: ClassVar[list[Any]] = [("rewarm_django", "0001_initial")]
    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="LedgerTask",
            fields=[
                ("name", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("kind", models.CharField(default="", max_length=20)),
                ("job", models.CharField(default="", max_length=200)),
                ("status", models.CharField(default="", max_length=20)),
                ("attempt", models.BigIntegerField(default=0, verbose_name="attempts")),
                ("deliveries", models.BigIntegerField(default=0)),
                ("cancelled", models.BooleanField(default=False)),
                ("claim", models.BigIntegerField(default=0)),
                ("errors", models.TextField(default="[]")),
                ("expires", models.BigIntegerField(db_index=True, default=0)),
                ("changed", models.BigIntegerField(db_index=True, default=0)),
            ],
            options={"verbose_name": "recent task"},
        ),
        migrations.CreateModel(
            name="LedgerLetter",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("dead", models.CharField(max_length=200)),
                ("name", models.CharField(max_length=200)),
                ("key", models.CharField(max_length=200, null=True)),
                ("letter", models.TextField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("dead", "name"), name="rewarm_letter_name"),
                    models.UniqueConstraint(fields=("dead", "key"), name="rewarm_letter_key"),
                ],
            },
        ),
        migrations.CreateModel(
            name="LedgerJournal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("journal", models.CharField(max_length=200)),
                ("name", models.CharField(max_length=200)),
                ("payload", models.TextField()),
                ("overdue", models.BigIntegerField()),
                ("times", models.SmallIntegerField(default=0)),
            ],
            options={
                "indexes": [models.Index(fields=["journal", "overdue"], name="rewarm_journal_overdue")],
                "constraints": [models.UniqueConstraint(fields=("journal", "name"), name="rewarm_journal_name")],
            },
        ),
        migrations.CreateModel(
            name="LedgerGate",
            fields=[
                ("name", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("next", models.BigIntegerField(default=0)),
                ("failed", models.BigIntegerField(default=0)),
                ("open", models.BigIntegerField(default=0)),
                ("expires", models.BigIntegerField(db_index=True, default=0)),
            ],
        ),
    ]
