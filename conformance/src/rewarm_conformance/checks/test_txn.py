"""TXN: tasks wait for the commit."""

from collections.abc import Callable
from typing import Any

from .. import checkers
from ..bed import QUIET, Bed, judge, new_token
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


@check("TXN-01")
def test_txn_01(warm: Bed) -> None:
    transaction, tokens = Transaction(), [new_token(), new_token()]
    app = warm.producer(transactions=transaction).app
    for token in tokens:
        app.jobs["ok"].refresh(token)
    transaction.end(commit=False)
    judge(checkers.never_started(warm.quiet(lambda h: checkers.never_started(h, tokens), 2 * QUIET), tokens))


@check("TXN-02")
def test_txn_02(warm: Bed) -> None:
    transaction, token = Transaction(), new_token()
    warm.producer(transactions=transaction).app.jobs["ok"].refresh(token)
    judge(checkers.never_started(warm.quiet(lambda h: checkers.never_started(h, [token])), [token]))
    transaction.end(commit=True)
    warm.started(token)
    judge(checkers.ran_once(warm.quiet(lambda h: checkers.at_most(h, [token])), [token]))
