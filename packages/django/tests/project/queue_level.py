"""COMMIT = "queue": the task is a row of the same transaction, and carries the fence. Prints JSON."""

import json
from contextlib import suppress

import django

django.setup()

from books.caches import author_name  # noqa: E402
from books.models import Author  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402
from django_q.models import OrmQ  # noqa: E402

from rewarm_django import cache  # noqa: E402

call_command("migrate", run_syncdb=True, verbosity=0)
ada = Author.objects.create(name="Ada")
author_name.reload(ada.pk)
with suppress(KeyError), transaction.atomic():
    author_name.invalidate(ada.pk)
    inside = OrmQ.objects.count()
    raise KeyError
told = {"inside": inside, "after a rollback": OrmQ.objects.count()}
with transaction.atomic():
    author_name.entry(ada.pk).refresh(delay=300)
    waiting = OrmQ.objects.count()
told["delayed"] = [waiting, *(json.loads(row.task["args"][0])["kind"] for row in OrmQ.objects.all())]
OrmQ.objects.all().delete()
author_name.reload(ada.pk)
cache.flush = lambda gathered: False  # type: ignore[method-assign]  # the process dies after its commit
with transaction.atomic():
    ada.name = "Ada L"
    ada.save()
told["after the commit"] = OrmQ.objects.count()
told["before the worker"] = str(author_name.read(ada.pk).state)
for row in OrmQ.objects.all():
    cache.run(row.task["args"][0])
told["after the worker"] = str(author_name.read(ada.pk).state)
print(json.dumps(told))
