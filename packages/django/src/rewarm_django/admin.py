"""Django's admin: dead letters, recent tasks, the outbox and the dashboard."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from rewarm import ConfigurationError, RewarmError
from rewarm.task import KINDS

from . import dashboard, letters, outbox
from .applications import caches
from .ledger_db import DatabaseLedger
from .models import DeadLetter, LedgerTask, Minute, Outbox

Method = TypeVar("Method", bound=Callable[..., Any])
PAGE = 50
MOST = 200  # letters that one action takes
COLUMNS = ("What, and why", "Job", "Kind", "Attempts", "Since")


def display(description: str, ordering: str | None = None) -> Callable[[Method], Method]:
    """Django's decorator, with types."""
    decorate: Callable[[Method], Method] = admin.display(description=description, ordering=ordering)
    return decorate


class ReadOnly(admin.ModelAdmin):  # type: ignore[misc]  # Django has no types
    """What the code writes, people look at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def page(self, request: HttpRequest, name: str, title: str, **context: Any) -> TemplateResponse:
        """A page of our own in the admin's frame."""
        request.current_app = self.admin_site.name
        whole = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, **context}
        return TemplateResponse(request, f"rewarm_django/admin/{name}.html", whole)

    def address(self, page: str, *args: str) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return str(reverse(name, args=args, current_app=self.admin_site.name))

    def our_urls(self, **pages: tuple[str, Callable[..., Any]]) -> list[Any]:
        base = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path(route, self.admin_site.admin_view(view), name=f"{base}_{name}")
            for name, (route, view) in pages.items()
        ]


@admin.register(Outbox)
class OutboxAdmin(ReadOnly):
    list_display = ("app", "what", "created")
    list_filter = ("app", "created")
    search_fields = ("app", "payload")
    actions = ("relay",)

    @display("what is to be done")
    def what(self, row: Outbox) -> str:
        try:
            wire = json.loads(row.payload)
            names = [name for kind in ("keys", "tags", "jobs") for name in wire["args"].get(kind, ())]
            return f"{wire['kind']} {', '.join(map(str, names)) or wire['args'].get('prefix', '')}"[:200]
        except (ValueError, KeyError, TypeError, AttributeError):
            return str(row.payload)[:200]

    def has_relay_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("rewarm_django.change_outbox"))

    @display("Relay all that waits, now")
    def relay(self, request: HttpRequest, rows: Any) -> None:
        done = outbox.relay(grace=0)
        self.message_user(request, f"{done} done, {outbox.waiting()} waiting", messages.SUCCESS)

    relay.allowed_permissions = ("relay",)  # type: ignore[attr-defined]


class Known(admin.SimpleListFilter):  # type: ignore[misc]
    """A filter whose values are known beforehand: there may be a million rows."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, value) for value in self.known()]

    def queryset(self, request: HttpRequest, rows: Any) -> Any:
        return rows.filter(**{self.parameter_name: self.value()}) if self.value() else rows

    def known(self) -> list[str]:
        raise NotImplementedError


class StatusFilter(Known):
    title = parameter_name = "status"

    def known(self) -> list[str]:
        return ["running", "retried", "deferred", "done", "skipped", "dead"]


class KindFilter(Known):
    title = parameter_name = "kind"

    def known(self) -> list[str]:
        return list(KINDS)


class JobFilter(Known):
    title = parameter_name = "job"

    def known(self) -> list[str]:
        return sorted({name for app in caches.values() for name in app.jobs})


@admin.register(LedgerTask)
class TaskAdmin(ReadOnly):
    list_display = ("job_or_id", "kind", "state", "attempt", "deliveries", "at", "last_error")
    list_filter = (StatusFilter, KindFilter, JobFilter)
    search_fields = ("name", "job", "errors")
    ordering = ("-changed",)
    list_per_page = PAGE
    show_full_result_count = False
    fields = ("name", "kind", "job", "state", "attempt", "deliveries", "cancelled", "at", "kept_until", "all_errors")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> Any:
        """Of the applications' ledger in the database; where there are several, of the first."""
        ledger = next(iter(_ledgers()), None)
        rows = super().get_queryset(request)
        return rows.none() if ledger is None else rows.using(ledger.alias).filter(expires__gt=ledger.now())

    @display("job", ordering="job")
    def job_or_id(self, row: LedgerTask) -> str:
        return str(row.job or row.name.rpartition(":")[2])

    @display("status", ordering="status")
    def state(self, row: LedgerTask) -> str:
        return "cancelled" if row.cancelled and row.status in ("", "running") else str(row.status)

    @display("last change", ordering="changed")
    def at(self, row: LedgerTask) -> datetime:
        return datetime.fromtimestamp(row.changed / 1000, UTC)

    @display("known until", ordering="expires")
    def kept_until(self, row: LedgerTask) -> datetime:
        return datetime.fromtimestamp(row.expires / 1000, UTC)

    @display("last error")
    def last_error(self, row: LedgerTask) -> str:
        errors = json.loads(row.errors)
        return str(errors[-1]).strip().rpartition("\n")[2][:200] if errors else ""

    @display("errors")
    def all_errors(self, row: LedgerTask) -> str:
        return "\n\n".join(json.loads(row.errors))


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly):
    """No table is behind it: the list is what the ledgers say."""

    def get_urls(self) -> list[Any]:
        return self.our_urls(changelist=("", self.changelist_view), change=("<path:object_id>/", self.change_view))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        self._check(request, "view")
        if request.method == "POST":
            return self._act(request, request.POST.getlist("_selected_action")[:MOST])
        found, problems = letters.everything()
        for problem in problems:
            self.message_user(request, problem, messages.ERROR)
        asked = request.GET.dict()
        shown = letters.matching(found, asked)
        page = Paginator(shown, PAGE).get_page(asked.get("p"))
        return self.page(
            request, "dead", "Dead letters", letters=page, total=len(found), filters=letters.choices(found, asked),
            query=asked.get("q", ""), chosen={name: asked[name] for name in letters.FILTERS if asked.get(name)},
            unfiltered=letters.query({"q": asked.get("q", "")}), here=letters.query(asked), columns=COLUMNS,
            may=self._may(request), pages=page.paginator.get_elided_page_range(page.number),
        )  # fmt: skip

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        self._check(request, "view")
        id = unquote(object_id)
        if request.method == "POST":
            return self._act(request, [id])
        try:
            found = letters.one(id)
        except RewarmError as problem:
            gone = f"{id} is no dead letter any more: it was retried, discarded, or its entry refreshed after all"
            told = gone if isinstance(problem, ConfigurationError) else str(problem)
            self.message_user(request, told, messages.WARNING)
            return HttpResponseRedirect(self.address("changelist"))
        letter = found.letter
        facts = [
            ("Application", found.alias), ("Task", letter.id), ("Kind", found.kind), ("Job", found.job or "–"),
            ("Reason", letter.reason), ("Attempts", letter.attempt or "–"), ("Dead since", found.at),
            ("Stale because of it", ", ".join(letter.stale) or "–"),
        ]  # fmt: skip
        may = self._may(request)
        return self.page(request, "letter", "Dead letter", subtitle=found.what, found=found, facts=facts, may=may)

    def _act(self, request: HttpRequest, ids: list[str]) -> HttpResponse:
        action = request.POST.get("action", "")
        back = HttpResponseRedirect(request.get_full_path() if len(ids) != 1 else self.address("changelist"))
        if action not in ("retry", "discard"):
            self.message_user(request, "No action selected.", messages.WARNING)
        elif not ids:
            self.message_user(request, "Nothing is selected.", messages.WARNING)
        else:
            self._check(request, "change" if action == "retry" else "delete")
            if action == "discard" and "confirmed" not in request.POST:
                names = {found.id: found.what for found in letters.everything()[0]}
                chosen = [(id, names.get(id, id)) for id in ids]
                return self.page(request, "discard", "Are you sure?", chosen=chosen, back=self.address("changelist"))
            self._done(request, action, ids)
        return back

    def _done(self, request: HttpRequest, action: str, ids: list[str]) -> None:
        done = 0
        for id in ids:
            alias, _, name = id.partition(":")
            try:
                dead = caches[alias].dead
                dead.retry(name) if action == "retry" else dead.drop(name)
            except (RewarmError, ObjectDoesNotExist) as problem:  # the row that it is about may be gone
                self.message_user(request, f"{id}: {problem}", messages.ERROR)
            else:
                done += 1
                self.log_change(request, DeadLetter(id=id), "Queued again" if action == "retry" else "Discarded")
        if done:
            told = f"{done} {'task' if done == 1 else 'tasks'} {'queued again' if action == 'retry' else 'discarded'}."
            self.message_user(request, told, messages.SUCCESS)

    def _may(self, request: HttpRequest) -> dict[str, bool]:
        names = {"retry": "change", "discard": "delete"}
        return {verb: bool(request.user.has_perm(f"rewarm_django.{name}_deadletter")) for verb, name in names.items()}

    def _check(self, request: HttpRequest, permission: str) -> None:
        if not request.user.has_perm(f"rewarm_django.{permission}_deadletter"):
            raise PermissionDenied

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("rewarm_django.view_deadletter"))


@admin.register(Minute)
class DashboardAdmin(ReadOnly):
    def get_urls(self) -> list[Any]:
        return self.our_urls(changelist=("", self.changelist_view))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        names = list(caches)
        alias = name if (name := request.GET.get("app", "")) in names else names[0]
        span = name if (name := request.GET.get("span", "")) in dashboard.SPANS else "6h"
        shown = dashboard.look(caches[alias], span, count="count" in request.GET)
        return self.page(
            request, "dashboard", "Dashboard", shown=shown, alias=alias, aliases=names, span=span,
            spans=list(dashboard.SPANS),
        )  # fmt: skip


def _ledgers() -> list[DatabaseLedger]:
    return [app.settings.ledger for app in caches.values() if isinstance(app.settings.ledger, DatabaseLedger)]
