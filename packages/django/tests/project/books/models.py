from __future__ import annotations

from typing import Any

from django.db import models

from rewarm_django import InvalidatingManager


class Team(models.Model):
    name = models.CharField(max_length=50)


class Tag(models.Model):
    name = models.CharField(max_length=50)


class Author(models.Model):
    name = models.CharField(max_length=50)
    team: Any = models.ForeignKey(Team, models.CASCADE, null=True)
    motto = models.CharField(max_length=50, default="")
    friends: Any = models.ManyToManyField("self")


class Book(models.Model):
    title = models.CharField(max_length=50)
    author: Any = models.ForeignKey(Author, models.CASCADE, null=True)
    published = models.BooleanField(default=True)
    sold = models.IntegerField(default=0)
    facts = models.JSONField(default=dict)
    tags: Any = models.ManyToManyField(Tag, related_name="books")

    objects = InvalidatingManager()


class Novel(Book):
    pages = models.IntegerField(default=0)


class Word(models.Model):
    text = models.CharField(max_length=50, primary_key=True)
    meaning = models.CharField(max_length=50, default="")
