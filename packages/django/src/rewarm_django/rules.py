"""InvalidationRule: which entries a change of a model's rows makes old."""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal

from asgiref.sync import async_to_sync
from django.apps import apps
from django.db import transaction
from django.utils.module_loading import import_string

from rewarm import BoundJob, ConfigurationError, Route

from . import commit

if TYPE_CHECKING:
    from .applications import Application

logger = logging.getLogger("rewarm.django")
Kind = Literal["create", "update", "delete", "m2m"]
_MISSING: Any = object()


@dataclass(frozen=True)
class Change:
    """A row before and after. `states`: what it was (one or more) and is, as instances.   `changed`: names of fields,
    None where that is not known."""

    kind: Kind
    states: Sequence[Any]
    using: str
    changed: frozenset[str] | None = None
    update_fields: frozenset[str] | None = None


@dataclass(kw_only=True, eq=False)
class InvalidationRule:
    """What becomes old when rows of `model` change. Restflow's fields, and more.

    job: whose entries; a BoundJob, or its name in the application that `dispatcher` names.
    tags: templates over `instance` and the mapped arguments, or a callable of the instance: they are invalidated too.
    field_mapping: argument -> dotted path on the instance ("" is the instance itself). A mapping of all arguments
        names one entry; of some, the job's tag that needs no other argument, else the whole job; none: the whole job.
    require_args: True: mapped values must not be None, or the rule does not apply; a list: these; False: none.
    trigger_on_create: creating a row counts.   watch_fields: of updates, only those that change one of these; []: all.
    invalidate_when: attribute -> value ("!attribute": another value); all must hold, before or after the change.
    rewarm: refresh the entries, instead of leaving that to the next read.
    invalidator: called instead, after the commit (`run="commit"`) or by a task (`run="worker"`): a function, or its
        dotted path, of `(job, instance)` and as many of `signal_type, instance_created, update_fields` as it takes.
    dispatcher: key of `REWARM`; default: the job's application.   dispatcher_config: route of the rule's tasks.
    batch: its refreshes may share a task.   raise_exception: a rule that fails raises, instead of being reported, with
        its whole job invalidated; default: what `REWARM` says.
    compare: "loaded": a row was what the instance was loaded as; "database": asked again at each save, for rows that
        others change between load and save.
    name: on the wire and in reports; default: made of the fields above, so the same in every process.

    Raises ConfigurationError for fields that contradict each other.
    """

    model: Any
    job: BoundJob[..., Any] | str | None = None
    tags: Sequence[str] | Callable[[Any], Sequence[str]] = ()
    field_mapping: Mapping[str, str] = field(default_factory=dict)
    require_args: bool | Sequence[str] = True
    trigger_on_create: bool = False
    watch_fields: Sequence[str] | None = None
    invalidate_when: Mapping[str, Any] = field(default_factory=dict)
    rewarm: bool = False
    invalidator: Callable[..., Any] | str | None = None
    run: Literal["commit", "worker"] = "commit"
    dispatcher: str | None = None
    dispatcher_config: Mapping[str, Any] = field(default_factory=dict)
    batch: bool = True
    raise_exception: bool | None = None
    compare: Literal["loaded", "database"] = "loaded"
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or self._default_name()
        wrong = None
        if self.job is None and not self.tags and self.invalidator is None:
            wrong = "give job=, tags= or invalidator=: what does it invalidate?"
        elif self.invalidator is not None and (self.field_mapping or self.rewarm or self.tags):
            wrong = "an invalidator decides by itself: no field_mapping, tags or rewarm beside it"
        elif (self.field_mapping or self.rewarm) and self.job is None and not self.tags:
            wrong = "field_mapping and rewarm need job="
        elif self.rewarm and self.job is None:
            wrong = "rewarm needs job=: tags do not say what to load"
        elif isinstance(self.tags, str) or isinstance(self.watch_fields, str):
            wrong = "tags and watch_fields are lists"
        elif self.run not in ("commit", "worker") or self.compare not in ("loaded", "database"):
            wrong = "run is 'commit' or 'worker', compare 'loaded' or 'database'"
        elif unknown := set(self.dispatcher_config) - {"queue", "priority", "options"}:
            wrong = f"dispatcher_config has no {sorted(unknown)[0]!r}; there are queue, priority, options"
        if wrong:
            raise ConfigurationError(f"rule {self.name}: {wrong}")

    def __repr__(self) -> str:
        return f"<InvalidationRule {self.name}>"

    def _default_name(self) -> str:
        label = self.model if isinstance(self.model, str) else self.model._meta.label
        job = self.job.name if isinstance(self.job, BoundJob) else self.job
        parts = [
            job, self.tags, sorted(self.field_mapping.items()), self.require_args, self.trigger_on_create,
            self.watch_fields, sorted(self.invalidate_when.items(), key=str), self.rewarm, self.invalidator, self.run,
            self.dispatcher,
        ]  # fmt: skip
        named = [f"{part.__module__}.{part.__qualname__}" if inspect.isroutine(part) else repr(part) for part in parts]
        digest = hashlib.blake2b("\n".join(named).encode(), digest_size=4).hexdigest()
        return f"{label.lower()}-{job or 'tags'}-{digest}"

    # --- what it is about

    @property
    def model_class(self) -> Any:
        """Raises LookupError for a label that no app has."""
        return apps.get_model(self.model) if isinstance(self.model, str) else self.model

    @property
    def app(self) -> Application:
        """Raises ConfigurationError."""
        from .applications import Application, caches

        if isinstance(self.job, BoundJob) and isinstance(self.job.app, Application):
            return self.job.app
        return caches[self.dispatcher or "default"]

    @property
    def bound(self) -> BoundJob[..., Any] | None:
        """The job. Raises ConfigurationError if the application has none of this name."""
        if self.job is None or isinstance(self.job, BoundJob):
            return self.job
        if (found := self.app.jobs.get(self.job)) is None:
            raise ConfigurationError(
                f"rule {self.name}: {self.app.name} has no job {self.job!r}; there are "
                f"{', '.join(self.app.jobs) or 'none'}"
            )
        return found

    @property
    def paths(self) -> list[str] | None:
        """What it looks at on an instance; None where only running it can tell."""
        if callable(self.tags) or self.invalidator is not None or "" in self.field_mapping.values():
            return None
        fields = [name for text in self.tags for _, name, _, _ in Formatter().parse(text) if name]
        used = [name.removeprefix("instance.") for name in fields if name.startswith("instance.")]
        conditions = [name.removeprefix("!") for name in self.invalidate_when]
        return [*self.field_mapping.values(), *conditions, *used, *(self.watch_fields or ())]

    @property
    def raises(self) -> bool:
        """The rule says, else its application, else no."""
        return self.app.raises if self.raise_exception is None else self.raise_exception

    # --- when it applies

    def applies(self, change: Change) -> bool:
        """Whether creation counts, a watched field has changed, and the conditions hold."""
        if change.kind == "create" and not self.trigger_on_create:
            return False
        if change.kind in ("update", "m2m") and self.watch_fields and change.changed is not None:
            watched = {attname(self.model_class, name) for name in self.watch_fields}
            if not watched & change.changed:
                return False
        return any(self.matches(state) for state in change.states)

    def matches(self, state: Any) -> bool:
        """All conditions hold for one state of a row. None is compared by identity."""
        for name, wanted in self.invalidate_when.items():
            found = _resolve(state, name.removeprefix("!"))
            same = found is None if wanted is None else found == wanted
            if same == name.startswith("!"):
                return False
        return True

    # --- what it does

    def fire(self, change: Change) -> None:
        """Invalidate what the change makes old, as part of the transaction of the change's database."""
        app = self.app
        try:
            if not self.applies(change):
                return
            with commit.on(change.using), app.batch():
                if self.invalidator is not None:
                    self._hand_over(change)
                else:
                    self._invalidate(change)
        except Exception as error:
            if self.raises:
                raise
            logger.error("rule %s failed, so its whole job is invalidated: %r", self.name, error, exc_info=error)
            self._invalidate_all(change)

    def _invalidate_all(self, change: Change) -> None:
        with commit.on(change.using):
            try:
                if (job := self.bound) is not None:
                    job.invalidate_all()
            except Exception as error:
                logger.error("rule %s: nothing could be invalidated: %r", self.name, error, exc_info=error)

    def _invalidate(self, change: Change) -> None:
        job, app = self.bound, self.app
        for state in change.states:
            if not self.matches(state):
                continue
            values = {name: _resolve(state, path) for name, path in self.field_mapping.items()}
            needed = values if self.require_args is True else self.require_args or ()
            if any(values.get(name) is None for name in needed):
                continue
            if tags := self._tags(state, values):
                app.invalidate(tags=tags)
            if job is None:
                continue
            if values and values.keys() >= set(job.signature.names):
                self._entry(job, values)
            elif values and (tags := tags_within(job, values)):
                job.app.invalidate(tags=tags)
            else:
                job.invalidate_all()

    def _tags(self, state: Any, values: Mapping[str, Any]) -> list[str]:
        if callable(self.tags):
            return list(self.tags(state))
        return [text.format(instance=state, **values) for text in self.tags]

    def _entry(self, job: BoundJob[..., Any], values: dict[str, Any]) -> None:
        entry = job.entry(**values)
        if self.rewarm and not self.dispatcher_config and self.batch:
            entry.invalidate(refresh=True)
            return
        entry.invalidate()
        if self.rewarm:
            entry.refresh(route=Route(**self.dispatcher_config))

    def _hand_over(self, change: Change) -> None:
        """To the invalidator: after the commit, or on a worker."""
        state, extras = change.states[-1], _extras(change)
        if self.run == "worker":
            from .invalidators import queue

            queue(self, state, extras, change.using)
            return

        def act() -> None:
            with commit.on(), self.app.batch():
                self.call(state, extras)

        if commit.aliases():
            transaction.on_commit(act, using=change.using)
        else:
            act()

    def call(self, instance: Any, extras: Mapping[str, Any]) -> None:
        """Run the invalidator with as many of the extras as it takes."""
        function: Any = import_string(self.invalidator) if isinstance(self.invalidator, str) else self.invalidator
        parameters = inspect.signature(function).parameters.values()
        takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters)
        taken = {name: value for name, value in extras.items() if takes_all or name in {one.name for one in parameters}}
        if inspect.iscoroutinefunction(function):
            function = async_to_sync(function)
        function(self.bound, instance, **taken)


def tags_within(job: BoundJob[..., Any], values: Mapping[str, Any]) -> list[str]:
    """A job's own tags that these arguments suffice for."""
    fixed = job.policies["tags"].fixed
    templates: Iterable[str] = getattr(job.job, "tag_templates", None) or (fixed if fixed else ())
    found = []
    for text in templates:
        heads = {name.split(".")[0].split("[")[0] for _, name, _, _ in Formatter().parse(text) if name is not None}
        if heads and heads <= values.keys():
            found.append(text.format(**values))
    return found


def _extras(change: Change) -> dict[str, Any]:
    signals = {"delete": "post_delete", "m2m": "m2m_changed"}
    return {
        "signal_type": signals.get(change.kind, "post_save"),
        "instance_created": change.kind == "create",
        "update_fields": change.update_fields,
    }  # fmt: skip


def _resolve(state: Any, path: str) -> Any:
    """A dotted path; None where a step on the way is None."""
    for step in path.split(".") if path else ():
        if state is None:
            return None
        state = getattr(state, step)
    return state


def attname(model: Any, name: str) -> str:
    """A field's column attribute, or a relation's name: "author" and "author_id" are one, as are "book" and
    "book_set"."""
    for one in model._meta.get_fields():
        if name in (one.name, getattr(one, "attname", None), getattr(one, "get_accessor_name", str)()):
            return str(getattr(one, "attname", one.name))
    return name
