"""TXN: tasks wait for the commit."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from rewarm import Capability

from .. import checkers
from ..bed import Bed, judge, new_token, untested
from ..plugin import check


class Transaction:
    """A transaction as `Rewarm(transactions=...)` wants it."""

    def __init__(self) -> None:
        self.open, self.hooks = True, list[Callable[[], Any]]()

    def active(self) -> bool:
        return self.open

    def on_commit(self, function: Callable[[], Any], /) -> None:
        self.hooks.append(function)

    def end(self, *, commit: bool) -> None:
        self.open, hooks = False, self.hooks
        for hook in hooks if commit else ():
            hook()


class Rollback(Exception):
    """Ends a transaction of the queue's own database."""


@check("TXN-01")
def test_txn_01(warm: Bed) -> None:
    transaction, tokens = Transaction(), [new_token(), new_token()]
    app = warm.producer(transactions=transaction).app
    for token in tokens:
        app.jobs["ok"].refresh(token)
    transaction.end(commit=False)
    if (native := _native(warm)) is not None:
        tokens.append(new_token())
        with suppress(Rollback), native:
            warm.app.jobs["ok"].refresh(tokens[-1])
            raise Rollback
    warm.started(warm.send("ok").token)  # sent later, and there: what was sent before has had its time
    judge(checkers.never_started(warm.quiet(lambda h: checkers.never_started(h, tokens)), tokens))


@check("TXN-02")
def test_txn_02(warm: Bed) -> None:
    transaction, token = Transaction(), new_token()
    warm.producer(transactions=transaction).app.jobs["ok"].refresh(token)
    judge(checkers.never_started(warm.quiet(lambda h: checkers.never_started(h, [token])), [token]))
    transaction.end(commit=True)
    tokens = [token]
    if (native := _native(warm)) is not None:
        with native:
            tokens.append(warm.send("ok").token)
    warm.started(*tokens)
    judge(checkers.ran_once(warm.quiet(lambda h: checkers.at_most(h, tokens)), tokens))


def _native(bed: Bed) -> AbstractContextManager[Any] | None:
    """A transaction of the queue's own database, where the adapter declares that payloads are part of one."""
    if Capability.TRANSACTIONAL not in bed.adapter.capabilities:
        return None
    found = bed.testbed.transaction(bed.probe.native)
    return found or untested("TRANSACTIONAL is declared, but the testbed has no transaction")
