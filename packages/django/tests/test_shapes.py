"""Fingerprints of models and serializers."""

from __future__ import annotations

from typing import Any

from books.models import Author, Book
from rest_framework import serializers

from rewarm_django import cache, shape


class AuthorSerializer(serializers.ModelSerializer):
    class Meta:
        model = Author
        fields = ("name",)


class BookSerializer(serializers.ModelSerializer):
    author = AuthorSerializer()

    class Meta:
        model = Book
        fields = ("title", "author")


def test_a_changed_shape_is_a_new_version() -> None:
    before = shape(Author, BookSerializer)
    assert before == shape(Author, BookSerializer) != shape(Book, BookSerializer)
    many: Any = BookSerializer(many=True)
    assert shape(many) != shape(BookSerializer)
    AuthorSerializer.Meta.fields = ("name", "motto")
    try:
        assert shape(Author, BookSerializer) != before  # a nested field
    finally:
        AuthorSerializer.Meta.fields = ("name",)
    job = cache.job(ttl=1, name="shaped", version=before)(lambda: 1)
    assert job.key().startswith(f"books:shaped@{before}:")
