"""Check a job and bind it to an application: what may be a job, and under which name."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError
from .job import AsyncJob, BoundJob, FunctionJob, Job
from .task import KINDS

if TYPE_CHECKING:
    from .app import Rewarm

RESERVED = (*KINDS, "tag")


def bind(app: Rewarm, job: Job) -> BoundJob[..., Any]:
    """Check a job and bind it to an application. Raises ConfigurationError."""
    load = job.load
    function = load if isinstance(job, FunctionJob) else type(job)
    module = getattr(function, "__module__", None) or "?"
    qualname = getattr(function, "__qualname__", type(function).__qualname__)
    name = job.name or _default_name(function, load, qualname, isinstance(job, FunctionJob))
    if not isinstance(name, str) or not name or re.search(r"[:@\s]", name) or name in RESERVED:
        raise ConfigurationError(f"{name!r} is no job name: one word without ':' or '@', none of {', '.join(RESERVED)}")
    if isinstance(job, FunctionJob) and _in_class_body(load):
        raise _no_instance(qualname)
    if not isinstance(job, FunctionJob) and type(job).load is Job.load:
        raise ConfigurationError(f"job {name!r}: {type(job).__name__} needs a load method")
    if inspect.isgeneratorfunction(load) or inspect.isasyncgenfunction(load):
        raise ConfigurationError(f"job {name!r}: a generator is used up by its first reader; return a list")
    if getattr(job, "ttl", None) is None:
        raise ConfigurationError(f"job {name!r} needs a ttl: for how many seconds is a value fresh?")
    kind = AsyncJob if _is_async(load) else BoundJob
    return kind(app, job, load, name, (module, qualname))


def _is_async(load: Callable[..., Any]) -> bool:
    while isinstance(load, functools.partial):
        load = load.func
    return inspect.iscoroutinefunction(load) or inspect.iscoroutinefunction(type(load).__call__)


def _default_name(function: Any, load: Callable[..., Any], qualname: str, decorated: bool) -> str:
    if not decorated:
        return type.__getattribute__(function, "__name__")  # type: ignore[no-any-return]
    owner = qualname.rpartition(".")[0]
    if inspect.ismethod(load) or not hasattr(function, "__name__"):
        raise ConfigurationError(f"{qualname} is a bound method or a callable object: give the job a name=")
    if "<lambda>" in qualname or owner.endswith("<locals>"):
        raise ConfigurationError(f"{qualname} is a lambda or a nested function: give the job a name=")
    if owner:
        raise _no_instance(qualname)
    return str(function.__name__)


def _in_class_body(load: Any) -> bool:
    """A function that wants `self`, whose class is still being written."""
    if not inspect.isfunction(load) or "." not in load.__qualname__.rpartition("<locals>.")[2]:
        return False
    return next(iter(inspect.signature(load).parameters), "") == "self"


def _no_instance(qualname: str) -> ConfigurationError:
    return ConfigurationError(
        f"{qualname} is a method in a class body, which has no instance yet: decorate the bound method "
        "(app.job(name=...)(self.method)), or write a Job"
    )
