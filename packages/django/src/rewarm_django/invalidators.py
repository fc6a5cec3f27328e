"""Invalidators that run on a worker: each is a job that stores nothing, so it has retries and dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.apps import apps

from rewarm import Job, Route

from . import commit
from .references import home

if TYPE_CHECKING:
    from .rules import InvalidationRule


class RuleJob(Job):
    """`name` is the rule's own: every process that knows the rule knows the job."""

    ttl = 1
    cache_if = False

    def __init__(self, rule: InvalidationRule) -> None:
        self.rule, self.name = rule, f"rule.{rule.name}"

    def load(self, label: str, pk: Any, alias: str, extras: dict[str, Any], occasion: str) -> None:
        """The row as it is now; one that is gone has its primary key only."""
        model = apps.get_model(label)
        instance = model._base_manager.using(alias).filter(pk=pk).first() or model(pk=pk)
        given = {
            **extras,
            "update_fields": None if extras["update_fields"] is None else frozenset(extras["update_fields"]),
        }
        self.rule.call(instance, given)


def add(rule: InvalidationRule) -> None:
    """Make the rule's job known."""
    rule.app.add(RuleJob(rule))


def queue(rule: InvalidationRule, instance: Any, extras: dict[str, Any], using: str) -> None:
    """Queue one run; one for each row and transaction, however often it is saved."""
    open_ones = commit.aliases()
    occasion = commit.current(rule.app, using).id if using in open_ones else uuid4().hex
    fields = extras["update_fields"]
    plain = {**extras, "update_fields": None if fields is None else sorted(fields)}
    label = type(instance)._meta.concrete_model._meta.label_lower
    route = Route(**rule.dispatcher_config) if rule.dispatcher_config else None
    entry = rule.app.jobs[f"rule.{rule.name}"].entry(label, instance.pk, using or home(instance), plain, occasion)
    entry.refresh(route=route)
