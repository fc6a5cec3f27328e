"""Ready-made jobs for reads of the ORM. Rows travel to the store as their columns, never as pickles."""

from __future__ import annotations

from typing import Any

from rewarm import Job


class QuerySetJob(Job):
    """Base of the two below. model: a model class.   using: a database; None: as the router says.

    name: default `<label>.<verb>`.   Everything else is a policy: `ttl=600, tags=["model:author"], ...`.
    """

    verb = ""

    def __init__(self, model: Any, *, using: str | None = None, name: str | None = None, **policies: Any) -> None:
        self.model, self.using = model, using
        self.name = name or f"{model._meta.label_lower}.{self.verb}"
        self.__dict__.update(policies)

    @property
    def queryset(self) -> Any:
        """What is asked. Override to select related rows or to order."""
        return self.model._default_manager.using(self.using)


class QuerySetGetJob(QuerySetJob):
    """`job(pk=7)`: one instance. Raises what `get` raises."""

    verb = "get"

    def load(self, **lookups: Any) -> Any:
        return self.queryset.get(**lookups)


class QuerySetFilterJob(QuerySetJob):
    """`job(author=7)`: a list of instances."""

    verb = "filter"

    def load(self, **lookups: Any) -> list[Any]:
        return list(self.queryset.filter(**lookups))
