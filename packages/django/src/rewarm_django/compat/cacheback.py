"""django-cacheback's names and signatures: changing the import is the migration.

A job here is found by its class's path, as there; its configuration travels with it. Where cacheback pickles, values
travel as JSON, model instances as their columns.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from rewarm import ConfigurationError, Entry

from .carrier import carry, route_of
from .job import MEMCACHE_MAX_EXPIRATION, Call, Job, logger
from .paths import locate, path_of

__all__ = [
    "MEMCACHE_MAX_EXPIRATION", "Call", "FunctionJob", "Job", "QuerySetFilterJob", "QuerySetGetJob", "QuerySetJob",
    "cacheback", "carry", "enqueue_task", "get_job_class",
]  # fmt: skip


class FunctionJob(Job):
    """Caches a function: the first argument of every method. It must be found by its module and name."""

    def __init__(
        self, lifetime: float | None = None, fetch_on_miss: bool | None = None, cache_alias: str | None = None,
        task_options: dict[str, Any] | None = None, set_data_kwarg: str | None = None,
    ) -> None:  # fmt: skip
        given = {
            "lifetime": None if lifetime is None else float(lifetime), "fetch_on_miss": fetch_on_miss,
            "cache_alias": cache_alias, "task_options": task_options, "set_data_kwarg": set_data_kwarg,
        }  # fmt: skip
        self.__dict__.update({name: value for name, value in given.items() if value is not None})
        super().__init__()

    def prepare_args(self, fn: Any, *args: Any) -> Any:
        return (fn if isinstance(fn, str) else path_of(fn, ":"), *args)

    def _entry(self, args: Any, kwargs: dict[str, Any]) -> Entry[Any]:
        return super()._entry(FunctionJob.prepare_args(self, *args), kwargs)  # `refresh(f, …)` prepares nothing

    def fetch(self, fn_string: str, *args: Any, **kwargs: Any) -> Any:
        function = locate(fn_string, object)
        return getattr(function, "fn", function)(*args, **kwargs)


class QuerySetJob(Job):
    """Base of the two below."""

    def __init__(
        self, model: Any, lifetime: float | None = None, fetch_on_miss: bool | None = None,
        cache_alias: str | None = None, task_options: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        if isinstance(model, str):
            from django.apps import apps

            model = apps.get_model(model)
        self.model = model
        given = {
            "lifetime": lifetime, "fetch_on_miss": fetch_on_miss, "cache_alias": cache_alias,
            "task_options": task_options,
        }  # fmt: skip
        self.__dict__.update({name: value for name, value in given.items() if value is not None})
        super().__init__()

    def get_init_args(self) -> Any:
        return (self.model._meta.label_lower, *self._init[0][1:])

    def get_init_kwargs(self) -> dict[str, Any]:
        return {name: value for name, value in self._init[1].items() if name != "model"}

    def key(self, *args: Any, **kwargs: Any) -> str:
        return f"{self.model._meta.label_lower}:{super().key(*args, **kwargs)}"


class QuerySetGetJob(QuerySetJob):
    """`get(**lookups)`: one instance."""

    def fetch(self, *args: Any, **kwargs: Any) -> Any:
        return self.model.objects.get(**kwargs)


class QuerySetFilterJob(QuerySetJob):
    """`get(**lookups)`: the instances, as a list: a queryset would have to be pickled."""

    def fetch(self, *args: Any, **kwargs: Any) -> Any:
        return list(self.model.objects.filter(**kwargs))


def cacheback(
    lifetime: float | None = None, fetch_on_miss: bool | None = None, cache_alias: str | None = None,
    job_class: type[Job] | None = None, task_options: dict[str, Any] | None = None, **job_class_kwargs: Any,
) -> Callable[[Callable[..., Any]], Any]:  # fmt: skip
    """Cache a function. `.fn` is the bare one, `.job` the job, whose methods take the function first.

    Raises ConfigurationError for a method or a nested function, which a worker could not find.
    """
    job = (job_class or FunctionJob)(
        lifetime=lifetime, fetch_on_miss=fetch_on_miss, cache_alias=cache_alias, task_options=task_options,
        **job_class_kwargs,
    )  # type: ignore[call-arg]  # fmt: skip

    def decorate(fn: Callable[..., Any]) -> Any:
        qualname = getattr(fn, "__qualname__", "")
        if inspect.ismethod(fn) or "." in qualname or "<lambda>" in qualname:
            raise ConfigurationError(
                f"{qualname} is a method or a nested function, which no worker finds by name: cache a function of a "
                "module, or write a Job"
            )

        @functools.wraps(fn)
        def cached(*args: Any, **kwargs: Any) -> Any:
            return job.get(fn, *args, **kwargs)

        cached.fn, cached.job = fn, job  # type: ignore[attr-defined]
        return cached

    return decorate


def get_job_class(klass_str: str) -> type[Job] | None:
    """The class at a path, or None, with a line in the log."""
    try:
        found: type[Job] = locate(klass_str, Job)
    except ConfigurationError as error:
        logger.error("no job class %r: %s", klass_str, error)
        return None
    return found


def enqueue_task(kwargs: dict[str, Any], task_options: dict[str, Any] | None = None) -> None:
    """Queue the refresh that the seed's keywords describe. Raises ConfigurationError, EnqueueError."""
    job = locate(kwargs["klass_str"], Job)(*kwargs.get("obj_args", ()), **kwargs.get("obj_kwargs", {}))
    entry = job._entry(tuple(kwargs.get("call_args", ())), dict(kwargs.get("call_kwargs", {})))
    entry.refresh(route=route_of(task_options) if task_options else None)
