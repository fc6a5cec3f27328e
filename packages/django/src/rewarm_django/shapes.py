"""Fingerprints of models and serializers: a version for jobs whose values have their shape."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any


def shape(*classes: Any) -> int:
    """`version=shape(Book, BookSerializer)`: another number, so other keys, as soon as their fields change.

    Of a model its columns count, of a REST framework's serializer its fields, nested ones too.
    """
    text = ";".join(_told(one) for one in classes)
    return 1 + int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")


def _told(one: Any) -> str:
    if hasattr(one, "_meta"):
        columns = (f"{field.attname}:{field.get_internal_type()}:{field.null}" for field in one._meta.concrete_fields)
        return f"{one._meta.label}({','.join(sorted(columns))})"
    serializer = one() if isinstance(one, type) else one
    child = getattr(serializer, "child", None)
    if child is not None:
        return f"[{_told(child)}]"
    fields = getattr(serializer, "fields", None)
    if not fields:
        return type(serializer).__name__
    return (
        f"{type(serializer).__name__}({','.join(f'{name}={_told(field)}' for name, field in sorted(fields.items()))})"
    )
