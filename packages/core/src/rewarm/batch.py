"""Batch: what a block invalidates, refreshes and sweeps is merged and sent when the block has ended well."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING

from .gather import Gathered

if TYPE_CHECKING:
    from .app import Rewarm


class Batch(AbstractContextManager["Batch"], AbstractAsyncContextManager["Batch"]):
    """`with app.batch():`. A batch within a batch joins the outer one. Reads, `set` and `delete` act at once."""

    def __init__(self, app: Rewarm) -> None:
        self.app = app
        self._stack: ContextVar[tuple[Gathered, ...]] = ContextVar(f"rewarm_batch_{app.name}", default=())

    @property
    def open(self) -> Gathered | None:
        """What has been gathered in this context; None outside of a batch."""
        stack = self._stack.get()
        return stack[0] if stack and not stack[0].sent else None

    def submit(self, gathered: Gathered) -> None:
        """Send work: at the end of the batch if one is open, after the commit if a transaction is, else now."""
        if (into := self.open) is not None:
            into.merge(gathered)
        else:
            self.app.send(gathered)

    async def asubmit(self, gathered: Gathered) -> None:
        """`submit` on the running event loop."""
        if self.open is not None or self.app.in_transaction():
            self.submit(gathered)
        else:
            await self.app.runtime.adrive(gathered.flow())

    def _push(self) -> None:
        if (outer := self.open) is not None:
            self._stack.set((*self._stack.get(), outer))
        else:
            self._stack.set((Gathered(self.app),))

    def _pop(self, kind: type[BaseException] | None) -> Gathered | None:
        stack = self._stack.get()
        self._stack.set(stack[:-1])
        if len(stack) > 1:
            return None
        stack[0].sent = True
        return stack[0] if kind is None and not stack[0].empty else None

    def __enter__(self) -> Batch:
        self._push()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (gathered := self._pop(kind)) is not None:
            self.submit(gathered)

    async def __aenter__(self) -> Batch:
        self._push()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (gathered := self._pop(kind)) is not None:
            await self.asubmit(gathered)
