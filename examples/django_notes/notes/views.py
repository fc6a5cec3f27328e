"""The pages. Whoever looks may be anybody: an example needs no passwords."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from notes.caches import copying, latest, notebook
from notes.models import Copy, Note
from rewarm import Receipt
from rewarm_django import cache

UNDER_WAY = ("queued", "running", "retrying")


@require_GET
def show(request: HttpRequest, name: str) -> HttpResponse:
    user = get_object_or_404(User, username=name)
    own, others = notebook.read(user.pk), latest.read()
    copies = [told(one) for one in user.copies.select_related("target").order_by("pk")]
    return render(request, "notes/show.html", {
        "user": user, "users": User.objects.order_by("pk"), "own": own, "others": others, "copies": copies,
        "again": others.state == "STALE" or any(one["status"] in UNDER_WAY for one in copies),
    })  # fmt: skip


def told(copy: Copy) -> dict[str, Any]:
    """What the user is told of a copy: how far it is, what was left out, why it failed."""
    report = Receipt(cache, "refresh", copy.task).report()
    copy.refresh_from_db(fields=["runs", "copied", "gone"])  # only now: of what is done they tell all
    error = report.error.strip().rpartition("\n")[2].partition(": ")[2]  # what it says, without its class
    return {"copy": copy, "status": report.status, "error": error}


@require_POST
def add(request: HttpRequest, name: str) -> HttpResponse:
    user = get_object_or_404(User, username=name)
    if text := request.POST.get("text", "").strip():
        Note.objects.create(owner=user, text=text[:80])
    return redirect("show", name)


@require_POST
def delete(request: HttpRequest, name: str, pk: int) -> HttpResponse:
    get_object_or_404(Note, pk=pk, owner__username=name).delete()
    return redirect("show", name)


@require_POST
def copy(request: HttpRequest, name: str) -> HttpResponse:
    source = get_object_or_404(User, username=name)
    target = get_object_or_404(User.objects.exclude(pk=source.pk), username=request.POST.get("target"))
    row, _ = Copy.objects.get_or_create(source=source, target=target)
    if not row.task or told(row)["status"] not in UNDER_WAY:
        Copy.objects.filter(pk=row.pk).update(wanted=[[one.pk, one.text] for one in source.notes.order_by("pk")])
    receipt = copying.refresh(source.pk, target.pk)  # joins one that is queued or running, however quick the clicks
    if receipt.id == row.task:
        messages.info(request, f"A copy for {target.username.title()} is on its way already: there is still only one.")
    else:
        Copy.objects.filter(pk=row.pk).update(task=receipt.id)
        messages.success(request, f"Copying to {target.username.title()} has begun. You need not wait here.")
    return redirect("show", name)
