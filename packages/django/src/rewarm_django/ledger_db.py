"""The ledger in a database of Django's: each step is a short transaction of its own.

A claim or a count that is rolled back with the transaction of the job would let a task run twice, or for ever. So where
the thread has a transaction open on this database, the steps run on a connection of their own. Two exceptions take part
in the open transaction: a `TestCase`, whose rows nobody else sees; and SQLite, which has one writer and would wait for
itself (give the ledger a file of its own: `"database://ledger"`).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

from asgiref.sync import sync_to_async
from django.db import Error, connections, transaction
from django.db.models import F
from django.db.models.functions import Greatest

from rewarm import ConfigurationError, StoreError
from rewarm.steps import Step
from rewarm.stores import Ledger
from rewarm.stores import base as b
from rewarm.stores.limits import check
from rewarm.stores.memory_ledger import Task, Tasks
from rewarm.stores.memory_lists import OFTEN, Gate, Lists

from .ledger import safe

CLOCKS = {"postgresql": "SELECT extract(epoch FROM clock_timestamp())"}  # elsewhere this host's clock must do
LOOK = 60.0  # s between two looks at the server's clock, and for what has expired
SLICE = 500  # rows that one purge takes
GATE = 600_000  # ms: a gate that nobody asks for is forgotten

_running: ContextVar[tuple[str, str, str]] = ContextVar("rewarm_django_running", default=("", "", ""))


class DatabaseLedger(Ledger):
    """`alias`: a key of `DATABASES`, migrated. Tested on SQLite and PostgreSQL."""

    def __init__(self, alias: str = "default") -> None:
        if alias not in connections:
            known = ", ".join(connections)
            raise ConfigurationError(f"ledger database://{alias}: DATABASES has no {alias!r}; there are {known}")
        self.alias = alias
        self._ahead, self._looked, self._purged = 0.0, -LOOK, -LOOK
        self._handlers: dict[type, Callable[[Any], Any]] = {
            b.Start: self._changed, b.Settle: self._settle, b.Extend: self._extend, b.Recall: self._recall,
            b.Cancel: self._changed, b.Forget: self._forget, b.Bury: self._bury, b.Resolve: self._resolve,
            b.Letters: self._letters, b.Letter: self._letter, b.Exhume: self._exhume, b.Clear: self._clear,
            b.Enter: self._enter, b.Strike: self._strike, b.Overdue: self._overdue, b.Backlog: self._backlog,
            b.Admit: self._passed, b.Report: self._passed,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"DatabaseLedger({self.alias!r})"

    def run(self, steps: Sequence[Step]) -> list[Any]:
        """The answer to each step; each is committed by itself. Raises StoreError, ValueError, TypeError."""
        check(steps)
        answers, problem = [], None
        try:
            with self._connected():
                for step in steps:
                    try:
                        answers.append(self._handler(step)(step))
                    except Error as error:
                        problem = problem or error
                if problem is None:
                    with suppress(Error):  # another time
                        self._purge()
        except Error as error:
            problem = error
        if problem is not None:
            raise StoreError(
                f"the ledger in database {self.alias!r}: {problem} (is it there, and migrated: "
                f"manage.py migrate --database {self.alias}?)"
            ) from problem
        return answers

    async def arun(self, steps: Sequence[Step]) -> list[Any]:
        """`run`, in the thread that has this context's connections."""
        answers: list[Any] = await sync_to_async(self.run, thread_sensitive=True)(steps)
        return answers

    def now(self) -> int:
        """The database server's clock in milliseconds; of SQLite, this host's."""
        if (clock := CLOCKS.get(connections[self.alias].vendor)) and time.monotonic() - self._looked > LOOK:
            with connections[self.alias].cursor() as cursor:
                cursor.execute(clock)
                self._ahead = float(cursor.fetchone()[0]) - time.time()
            self._looked = time.monotonic()
        return int((time.time() + self._ahead) * 1000)

    def _handler(self, step: Step) -> Callable[[Any], Any]:
        try:
            return self._handlers[type(step)]
        except KeyError:
            raise TypeError(f"not a step of a ledger: {step!r}") from None

    # --- connections and transactions

    @contextmanager
    def _connected(self) -> Iterator[None]:
        usual = connections[self.alias]
        if not _in_transaction(usual):
            if usual.errors_occurred:  # a server that was away: nobody else tidies up in the core's own threads
                usual.errors_occurred = False
                if not usual.is_usable():
                    usual.close()
            try:
                yield
            finally:
                if threading.current_thread().name.startswith("rewarm-"):
                    usual.close()
        elif usual.vendor == "sqlite" or any(block._from_testcase for block in usual.atomic_blocks):
            yield
        else:
            connections[self.alias] = connections.create_connection(self.alias)
            try:
                yield
            finally:
                connections[self.alias].close()
                connections[self.alias] = usual

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with transaction.atomic(using=self.alias):
            if connections[self.alias].vendor == "sqlite":  # the lock for writing at once: a later wish may be refused
                self._rows("LedgerGate").filter(name="").update(next=0)
            yield

    def _rows(self, model: str) -> Any:
        from . import models

        return getattr(models, model).objects.using(self.alias)

    def _locked(self, model: str, name: str) -> Any:
        """The row of this name, made if there is none, and kept from others until the transaction ends."""
        rows = self._rows(model)
        while (row := rows.select_for_update().filter(name=name).first()) is None:
            rows.bulk_create([rows.model(name=name)], ignore_conflicts=True)
        return row

    def _purge(self) -> None:
        """Forget a slice of what has expired, now and then; again soon where that was not all."""
        if time.monotonic() - self._purged < LOOK:
            return
        self._purged = time.monotonic()
        skips = connections[self.alias].features.has_select_for_update_skip_locked
        for model in ("LedgerTask", "LedgerGate"):
            old = self._rows(model).filter(expires__lte=self.now()).order_by("expires")
            with self._transaction():
                names = list((old.select_for_update(skip_locked=True) if skips else old).values_list("name")[:SLICE])
                self._rows(model).filter(name__in=[name for (name,) in names])._raw_delete(self.alias)
            if len(names) == SLICE:
                self._purged = -LOOK

    # --- records: the memory ledger's own rules, on a locked row

    def _changed(self, step: Any) -> Any:
        tasks, name, now = Tasks(self.now), safe(step.task), self.now()
        with self._transaction():
            row = self._locked("LedgerTask", name)
            if row.expires > now:
                errors = json.loads(row.errors)
                tasks._tasks[step.task] = Task(
                    row.status, row.attempt, row.deliveries, row.cancelled, row.claim, errors, row.expires
                )
            answer = tasks.handlers[type(step)](step)
            if (task := tasks._tasks.get(step.task)) is not None:
                fields = {**asdict(task), "errors": json.dumps(task.errors), "changed": now, **_about(step.task)}
                self._rows("LedgerTask").filter(name=name).update(**fields)
        return answer

    def _settle(self, step: b.Settle) -> None:
        if step.status != "deferred":
            self._changed(step)
            return
        found = self._record(step.task).filter(deliveries__gt=0)
        found.update(deliveries=F("deliveries") - 1)

    def _extend(self, step: b.Extend) -> bool:
        until = self.now() + step.lease
        found = self._record(step.task).filter(claim__gt=0)
        return bool(found.update(claim=until, expires=Greatest(F("expires"), until)))

    def _recall(self, step: b.Recall) -> b.Record | None:
        row = self._record(step.task).first()
        if row is None:
            return None
        return b.Record(row.status, row.attempt, row.deliveries, row.cancelled, json.loads(row.errors))

    def _forget(self, step: b.Forget) -> None:
        self._rows("LedgerTask").filter(name=safe(step.task))._raw_delete(self.alias)

    def _record(self, task: str) -> Any:
        return self._rows("LedgerTask").filter(name=safe(task), expires__gt=self.now())

    # --- dead letters

    def _bury(self, step: b.Bury) -> int:
        dead, name, key = safe(step.dead), safe(step.id), safe(step.key) if step.key else None
        rows = self._rows("LedgerLetter").filter(dead=dead)
        with self._transaction():
            self._locked("LedgerGate", dead)
            rows.filter(name=name)._raw_delete(self.alias)
            if key:
                rows.filter(key=key)._raw_delete(self.alias)
            rows.bulk_create([rows.model(dead=dead, name=name, key=key, letter=json.dumps(step.letter))])
            over = max(0, int(rows.count()) - step.limit)
            oldest = list(rows.order_by("id").values_list("id", flat=True)[:over])
            rows.filter(id__in=oldest)._raw_delete(self.alias)
        return over

    def _resolve(self, step: b.Resolve) -> bool:
        return bool(self._rows("LedgerLetter").filter(dead=safe(step.dead), key=safe(step.key))._raw_delete(self.alias))

    def _letters(self, step: b.Letters) -> list[tuple[str, str]]:
        rows = self._rows("LedgerLetter").filter(dead=safe(step.dead))
        return [(name, json.loads(text)) for name, text in rows.order_by("id").values_list("name", "letter")]

    def _letter(self, step: b.Letter) -> str | None:
        found = self._rows("LedgerLetter").filter(dead=safe(step.dead), name=safe(step.id))
        text = found.values_list("letter", flat=True).first()
        return None if text is None else str(json.loads(text))

    def _exhume(self, step: b.Exhume) -> str | None:
        letter = self._letter(b.Letter(step.dead, step.id))
        if letter is None or step.letter not in ("", letter):
            return None
        found = self._rows("LedgerLetter").filter(dead=safe(step.dead), name=safe(step.id), letter=json.dumps(letter))
        return letter if found._raw_delete(self.alias) else None  # of several, one gets it

    def _clear(self, step: b.Clear) -> int:
        dead = safe(step.dead)
        with self._transaction():
            self._locked("LedgerGate", dead)
            return int(self._rows("LedgerLetter").filter(dead=dead)._raw_delete(self.alias))

    # --- the journal

    def _enter(self, step: b.Enter) -> bool:
        journal, name, overdue = safe(step.journal), safe(step.id), self.now() + step.wait
        rows = self._rows("LedgerJournal")
        row = rows.model(journal=journal, name=name, payload=json.dumps(step.payload), overdue=overdue)
        known = rows.filter(journal=journal)
        if not known.filter(name=name).exists() and known.count() >= step.limit:
            return False
        target = connections[self.alias].features.supports_update_conflicts_with_target  # MySQL takes any unique one
        rows.bulk_create(
            [row], update_conflicts=True, update_fields=["payload", "overdue", "times"],
            unique_fields=["journal", "name"] if target else None,
        )  # fmt: skip
        return True

    def _strike(self, step: b.Strike) -> None:
        self._rows("LedgerJournal").filter(journal=safe(step.journal), name=safe(step.id))._raw_delete(self.alias)

    def _overdue(self, step: b.Overdue) -> list[tuple[str, str]]:
        now = self.now()
        late = self._rows("LedgerJournal").filter(journal=safe(step.journal), overdue__lte=now)
        if connections[self.alias].features.has_select_for_update_skip_locked:
            late = late.select_for_update(skip_locked=True)
        with self._transaction():
            found = list(late.order_by("overdue", "name")[: step.limit])
            for row in found:
                row.overdue, row.times = now + step.wait * 2**row.times, min(row.times + 1, OFTEN)
            self._rows("LedgerJournal").bulk_update(found, ["overdue", "times"])
        return [(row.name, json.loads(row.payload)) for row in found]

    def _backlog(self, step: b.Backlog) -> int:
        return int(self._rows("LedgerJournal").filter(journal=safe(step.journal)).count())

    # --- gates

    def _passed(self, step: b.Admit | b.Report) -> Any:
        lists, name, now = Lists(self.now), safe(step.gate), self.now()
        with self._transaction():
            row = self._locked("LedgerGate", name)
            gate = lists._gates[step.gate] = Gate(row.next, row.failed, row.open)
            answer = lists.handlers[type(step)](step)
            kept = 2 * max(GATE, step.pause, getattr(step, "every", 0))
            self._rows("LedgerGate").filter(name=name).update(**asdict(gate), expires=now + kept)
        return answer


def _in_transaction(connection: Any) -> bool:
    return bool(connection.in_atomic_block or (connection.connection is not None and not connection.get_autocommit()))


def note(app: str, id: Any, kind: Any, job: Any) -> None:
    """This context runs the task: its record will say what it is."""
    _running.set((f"{app}::task:{id}", str(kind)[:20], str(job or "")[:200]))


def _about(record: str) -> dict[str, str]:
    begins, kind, job = _running.get()
    return {"kind": kind, "job": job} if begins and record.startswith(begins) else {}
