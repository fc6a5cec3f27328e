from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django has no types
    dependencies: ClassVar[list[Any]] = [("rewarm_django", "0002_ledger")]
    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="DeadLetter",
            fields=[("id", models.CharField(max_length=400, primary_key=True, serialize=False))],
            options={"managed": False, "default_permissions": ("view", "change", "delete")},
        ),
        migrations.CreateModel(
            name="Minute",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("app", models.CharField(max_length=200)),
                ("job", models.CharField(max_length=200)),
                ("at", models.DateTimeField()),
                *(
                    (name, models.BigIntegerField(default=0))
                    for name in ("hits", "stales", "misses", "loads", "failures", "refreshes", "waited", "slowest")
                ),
                ("depth", models.BigIntegerField(null=True)),
            ],
            options={
                "verbose_name_plural": "dashboard",
                "default_permissions": ("view",),
                "constraints": [models.UniqueConstraint(fields=("at", "app", "job"), name="rewarm_minute_once")],
            },
        ),
    ]
