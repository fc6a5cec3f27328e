"""Model instances: as arguments they travel as a reference, as values of a job as their row."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import DEFAULT_DB_ALIAS, models, router
from django.db.models.fields.files import FieldFile

from rewarm import ArgumentError, SerializeError
from rewarm.codec import Codec
from rewarm.serializers import JsonSerializer

TAG = "model"


def home(instance: Any) -> str:
    """The database that an instance is written to: a row read from a replica is the same row."""
    return str(router.db_for_write(type(instance), instance=instance) or DEFAULT_DB_ALIAS)


def encode(instance: Any) -> list[Any]:
    """Label, primary key and database. Raises ArgumentError for an instance that is not saved."""
    if instance.pk is None:
        raise ArgumentError(f"{type(instance).__name__} is not saved: it has no primary key to travel by")
    return [instance._meta.concrete_model._meta.label_lower, instance.pk, home(instance)]


def decode(data: Any) -> Any:
    """Read the row that `encode` named. Raises the model's DoesNotExist if it is gone."""
    label, pk, alias = data
    try:
        manager = apps.get_model(label)._base_manager
    except LookupError as error:
        raise ArgumentError(f"there is no model {label!r} here: {error}") from error
    return manager.using(alias).get(pk=pk)


def encode_row(instance: Any) -> list[Any]:
    """The columns that are loaded, as they are."""
    columns = {
        field.attname: _plain(instance.__dict__[field.attname])
        for field in instance._meta.concrete_fields
        if field.attname in instance.__dict__
    }
    return [instance._meta.label_lower, instance._state.db or DEFAULT_DB_ALIAS, columns]


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, FieldFile) else value


def decode_row(data: Any) -> Any:
    """The instance, without asking the database. Raises SerializeError if the model has other columns now."""
    label, alias, columns = data
    try:
        model = apps.get_model(label)
        for name in columns:
            model._meta.get_field(name)
    except (LookupError, FieldDoesNotExist) as error:
        raise SerializeError(f"a stored row of {label} does not fit the model any more: {error}") from error
    names = [field.attname for field in model._meta.concrete_fields if field.attname in columns]
    return model.from_db(alias, names, [columns[name] for name in names])


class Rows(JsonSerializer):
    """The JSON serializer, for values that hold model instances as well: their columns travel, no pickles."""

    def __init__(self) -> None:
        codec = Codec()
        codec.add_type("row", models.Model, encode_row, decode_row)
        super().__init__(codec)
        self.codec = codec

    def __repr__(self) -> str:
        return "rewarm_django.Rows()"
