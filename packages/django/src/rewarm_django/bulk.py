"""Changes of many rows that send no signals: say so, and the rules apply to them too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import models, router, transaction

from . import commit
from .registry import registry
from .rules import Change
from .tracking import tracked

CHUNK = 500  # rows asked for at once


@contextmanager
def changes(queryset: Any) -> Iterator[None]:
    """`with changes(queryset): ...` whatever the block does to these rows, in SQL or otherwise, applies the rules.

    The rows are read before and after, inside one transaction, and followed by their primary keys. Rows that the block
    adds are not seen.
    """
    rules = registry.of(queryset.model)
    using = queryset._db or router.db_for_write(queryset.model, **queryset._hints)
    if not rules:
        yield
        return
    with transaction.atomic(using=using), _batches(rules):
        before = {row.pk: row for row in queryset.using(using)._chain().iterator(CHUNK)}
        yield
        after = _rows(queryset.model, list(before), using)
        for pk, old in before.items():
            _fire(rules, old, after.get(pk), using)


def _fire(rules: Any, old: Any, new: Any, using: str) -> None:
    if new is None:
        change = Change("delete", [old], using)
    else:
        info = tracked(type(old))
        was, now = info.row(old), info.row(new)
        changed = frozenset(name for name in info.columns if was.get(name) != now.get(name))
        change = Change("update", [old, new], using, changed)
    for rule in rules:
        rule.fire(change)


def _rows(model: Any, keys: list[Any], using: str) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for start in range(0, len(keys), CHUNK):
        found |= {row.pk: row for row in model._base_manager.using(using).filter(pk__in=keys[start : start + CHUNK])}
    return found


@contextmanager
def _batches(rules: Any) -> Iterator[None]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        for app in dict.fromkeys(rule.app for rule in rules):
            stack.enter_context(app.batch())
        yield


class InvalidatingQuerySet(models.QuerySet):  # type: ignore[misc]  # Django has no types
    """`update`, `bulk_update` and `bulk_create` that apply the rules: at the price of reading the rows twice."""

    def update(self, **kwargs: Any) -> int:
        with changes(self._chain()):
            return int(super().update(**kwargs))

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_update(self, objs: Any, fields: Any, *args: Any, **kwargs: Any) -> int:
        objs = list(objs)
        with changes(self.filter(pk__in=[one.pk for one in objs])):
            plain = models.QuerySet(self.model, self.query.chain(), self._db, self._hints)  # its updates are covered
            return int(plain.bulk_update(objs, fields, *args, **kwargs))

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> list[Any]:
        objs = list(objs)
        made: list[Any] = super().bulk_create(objs, *args, **kwargs)
        rules = registry.of(self.model)
        overwrites = bool(kwargs.get("update_conflicts"))
        with _batches(rules):
            for one in made:
                state = tracked(self.model).now(one)
                for rule in rules:
                    rule.fire(Change("update" if overwrites else "create", [state], self.db))
        return made

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def _raw_delete(self, using: str) -> Any:
        with changes(self._chain()), commit.on(using):
            return super()._raw_delete(using)


InvalidatingManager: Any = models.Manager.from_queryset(InvalidatingQuerySet, "InvalidatingManager")
"""`objects = InvalidatingManager()`."""
