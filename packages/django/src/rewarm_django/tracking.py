"""What rows were and are: signals tell the rules, with the values that were loaded beside those that are saved."""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connections, transaction
from django.db.models import signals

from .registry import registry
from .rules import Change, InvalidationRule, attname

Row = dict[str, Any]  # column attribute -> value


class Moment:
    """A savepoint's, or a transaction's: its hook is called only if it is committed."""

    def __init__(self, level: tuple[str, ...]) -> None:
        self.level, self.committed = level, False

    def __call__(self) -> None:
        self.committed = True


def moment(alias: str) -> Moment | None:
    """Of the transaction that is open on a database; None if none is."""
    connection = connections[alias]
    if not connection.in_atomic_block:
        return None
    level = tuple(connection.savepoint_ids)
    found = getattr(connection, "_rewarm_moment", lambda: None)()
    if found is None or found.committed or found.level != level:
        found = Moment(level)
        transaction.on_commit(found, using=alias)
        connection._rewarm_moment = weakref.ref(found)
    return found


class Tracked:
    """One model with rules: which columns they look at, and the hooks that keep their loaded values."""

    def __init__(self, model: Any) -> None:
        self.model, self.rules = model, registry.of(model)
        wanted = [rule.paths for rule in self.rules]
        columns = {field.attname for field in model._meta.concrete_fields}
        named = {attname(model, path.split(".")[0]) for paths in wanted if paths is not None for path in paths}
        if None in wanted or "pk" in named or named - columns:  # a property may depend on any column
            named = columns
        self.columns = sorted(named & columns)
        self.asks = any(rule.compare == "database" for rule in self.rules)

    def row(self, instance: Any, names: Iterable[str] | None = None) -> Row:
        """The values that an instance has now; mutable ones copied."""
        held = instance.__dict__
        return {name: _frozen(held[name]) for name in (names or self.columns) if name in held}

    def typed(self, row: Row) -> Row:
        """The values as the database will give them back: a key that was assigned as text is a number there."""
        fields = {field.attname: field for field in self.model._meta.concrete_fields}
        return {name: _typed(fields[name], value) for name, value in row.items()}

    def now(self, instance: Any) -> Any:
        """A copy of the instance as it will be read again."""
        return self.state(instance, self.typed(self.row(instance)))

    def stored(self, instance: Any, using: str) -> Row | None:
        """The row as the database has it."""
        found: Row | None = self.model._base_manager.using(using).filter(pk=instance.pk).values(*self.columns).first()
        return found

    def state(self, instance: Any, row: Row) -> Any:
        """The instance as it was: a copy with these values."""
        old = copy.copy(instance)
        for field in self.model._meta.concrete_fields:
            name = field.attname
            if name in row and (name not in old.__dict__ or old.__dict__[name] != row[name]):
                old.__dict__[name] = row[name]
                if field.is_relation:
                    old._state.fields_cache.pop(field.name, None)
        return old


_tracked: dict[Any, Tracked] = {}


def tracked(model: Any) -> Tracked:
    """Of a model, until rules are registered or other ones."""
    if (found := _tracked.get(model)) is None:
        found = _tracked[model] = Tracked(model)
    return found


# --- loaded values: a list of (moment, row) on the instance's state, the newest last


def loaded(instance: Any, **_: Any) -> None:
    """post_init: what it was made with, which is what was loaded unless it is new (see `before`)."""
    instance._state.rewarm = [(None, tracked(type(instance)).row(instance))]


def reloaded(model: Any) -> None:
    """Let `refresh_from_db`, which no signal tells of, and deferred fields keep the loaded values too."""
    original = model.refresh_from_db
    if getattr(original, "rewarm", False):
        return

    @functools.wraps(original)
    def refresh_from_db(self: Any, *args: Any, **kwargs: Any) -> None:
        absent = {name for name in tracked(type(self)).columns if name not in self.__dict__}
        original(self, *args, **kwargs)
        fields = kwargs.get("fields") or (args[1] if len(args) > 1 else None)
        info = tracked(type(self))
        names = {attname(type(self), name) for name in fields} if fields else set(info.columns)
        rows = getattr(self._state, "rewarm", [(None, {})])
        for name, value in info.row(self, [n for n in info.columns if n in names | absent]).items():
            for _, row in rows:
                row[name] = value

    refresh_from_db.rewarm = True  # type: ignore[attr-defined]
    model.refresh_from_db = refresh_from_db


def before(sender: Any, instance: Any, using: str, **_: Any) -> None:
    """pre_save: what the row may be in the database. Several, if earlier saves of this transaction may be undone."""
    info, state = tracked(sender), instance._state
    rows: list[Row] | None = None
    if state.adding:
        default = instance._meta.pk.has_default() or instance._meta.pk.has_db_default()
        if instance.pk is None or default:
            rows = []
    elif not info.asks and state.db in (None, using):
        rows = [row for _, row in _since_commit(getattr(state, "rewarm", []))]
    if rows is None:
        found = info.stored(instance, using)
        rows = [] if found is None else [found]
    state.__dict__.setdefault("rewarm_saving", []).append(rows)


def after(sender: Any, instance: Any, created: bool, using: str, update_fields: Any = None, **_: Any) -> None:
    """post_save: tell the rules, and keep what was saved."""
    info, state = tracked(sender), instance._state
    waiting = state.__dict__.get("rewarm_saving") or [[]]
    olds, now = waiting.pop(), info.typed(info.row(instance))
    if any(hasattr(value, "resolve_expression") for value in now.values()):  # F(): only the database knows
        now = {**now, **(info.stored(instance, using) or {})}
    names = frozenset(update_fields) if update_fields is not None else None
    saved = now
    if names is not None:
        columns = {attname(sender, name) for name in names}
        saved = {name: value for name, value in now.items() if name in columns}
    changed = None
    if olds:
        changed = frozenset(
            name for name, value in saved.items() if any(name not in old or old[name] != value for old in olds)
        )
    states = [info.state(instance, old) for old in olds] + [info.state(instance, now)]
    _tell(info.rules, Change("create" if created else "update", states, using, None if created else changed, names))
    _keep(instance, saved, olds, using)


def deleted(sender: Any, instance: Any, using: str, **_: Any) -> None:
    """post_delete: the values are still there; after it Django takes the primary key away."""
    info = tracked(sender)
    olds = [row for _, row in _since_commit(getattr(instance._state, "rewarm", []))]
    states = [*(info.state(instance, row) for row in olds), info.now(instance)]
    _tell(info.rules, Change("delete", states, using))


def related(
    sender: Any, instance: Any, action: str, reverse: bool, model: Any, pk_set: Any, using: str, **_: Any
) -> None:
    """m2m_changed: of both sides, either of which may have the rules."""
    if action not in ("post_add", "post_remove", "pre_clear", "post_clear"):
        return
    declaring = model if reverse else type(instance)
    for field in (one for one in declaring._meta.many_to_many if one.remote_field.through is sender):
        far = field.name if reverse or field.remote_field.symmetrical else field.remote_field.name
        near = field.remote_field.name if reverse else field.name
        ends = (field.m2m_reverse_field_name(), field.m2m_field_name())
        this, that = ends if reverse else ends[::-1]
        others, there = model._base_manager.using(using), f"{sender._meta.get_field(that).target_field.attname}__in"
        cleared = instance._state.__dict__.setdefault("rewarm_cleared", {})
        if action == "pre_clear":
            linked = sender._base_manager.using(using).filter(**{this: instance}).values(that)
            cleared[sender, far] = list(others.filter(**{there: linked})) if _watching(model, far) else []
            continue
        _m2m(type(instance), [instance], near, using)
        if action == "post_clear":
            _m2m(model, cleared.pop((sender, far), []), far, using)
        elif _watching(model, far):
            _m2m(model, others.filter(**{there: pk_set}), far, using)


def _watching(model: Any, name: str) -> list[InvalidationRule]:
    """The rules that a change of a many-to-many relation concerns: on the side that does not declare it, where it is no
    field of the row, only those that name it."""
    rules = registry.of(model)
    if name in {field.name for field in model._meta.many_to_many}:
        return rules
    return [rule for rule in rules if name in {attname(model, watched) for watched in rule.watch_fields or ()}]


def _m2m(model: Any, instances: Iterable[Any], name: str, using: str) -> None:
    if rules := _watching(model, name):
        for instance in instances:
            _tell(rules, Change("m2m", [tracked(model).now(instance)], using, frozenset({name})))


def _tell(rules: Sequence[InvalidationRule], change: Change) -> None:
    for rule in rules:
        rule.fire(change)


def _since_commit(history: Sequence[tuple[Moment | None, Row]]) -> list[tuple[Moment | None, Row]]:
    """The rows that the database may have: the last that was committed, and what was saved after it."""
    for index in range(len(history) - 1, -1, -1):
        at = history[index][0]
        if at is None or at.committed:
            return list(history[index:])
    return list(history)


def _keep(instance: Any, saved: Row, olds: Sequence[Row], using: str) -> None:
    state, at = instance._state, moment(using)
    last = olds[-1] if olds else {}
    history = _since_commit(state.__dict__.get("rewarm", [])) if at is not None and olds else []
    if at is not None and history and history[-1][0] is at:
        history.pop()
    state.rewarm = [*history, (at, {**last, **saved})]


def _typed(field: Any, value: Any) -> Any:
    if hasattr(value, "resolve_expression"):
        return value
    try:
        return field.to_python(value)
    except (ValidationError, TypeError, ValueError):  # of a field that only the database understands
        return value


def _frozen(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, (dict, list, set, bytearray)) else value


# --- connecting

_connected: set[tuple[Any, str]] = set()


def connect() -> None:
    """Listen to the models that have rules, now and when more are registered."""
    registry.changed = connect
    _tracked.clear()
    if not apps.models_ready:
        return
    for model in apps.get_models(include_auto_created=True):
        if not registry.of(model):
            continue
        hooks: dict[str, tuple[Any, Callable[..., None]]] = {
            "init": (signals.post_init, loaded), "before": (signals.pre_save, before),
            "after": (signals.post_save, after), "deleted": (signals.post_delete, deleted),
        }  # fmt: skip
        for name, (signal, receiver) in hooks.items():
            _listen(signal, receiver, model, name)
        reloaded(model)
        declared = [field.remote_field for field in model._meta.many_to_many]
        for relation in (*declared, *(one for one in model._meta.related_objects if one.many_to_many)):
            _listen(signals.m2m_changed, related, relation.through, "m2m")


def _listen(signal: Any, receiver: Callable[..., None], sender: Any, name: str) -> None:
    if (sender, name) not in _connected:
        _connected.add((sender, name))
        signal.connect(receiver, sender=sender, dispatch_uid=f"rewarm_django.{name}")
