"""Run a flow: blocking, or on asyncio. The flow decides, the host acts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from .effects import Flow
from .steps import Step

T = TypeVar("T")


class Host(Protocol):
    """What a flow's requests are addressed to: a list of steps is one round trip, all else an effect."""

    def run(self, steps: Sequence[Step]) -> list[Any]: ...
    def do(self, effect: Any) -> Any: ...
    async def arun(self, steps: Sequence[Step]) -> list[Any]: ...
    async def ado(self, effect: Any) -> Any: ...


def drive(flow: Flow[T], host: Host) -> T:
    """Run a flow to its end in this thread. Raises what the flow raises."""
    try:
        request = flow.send(None)
        while True:
            try:
                answer = host.run(request) if type(request) is list else host.do(request)
            except BaseException as error:
                request = flow.throw(error)
            else:
                request = flow.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


async def adrive(flow: Flow[T], host: Host) -> T:
    """Run a flow to its end on the running event loop. Raises what the flow raises."""
    try:
        request = flow.send(None)
        while True:
            try:
                answer = await (host.arun(request) if type(request) is list else host.ado(request))
            except BaseException as error:
                request = flow.throw(error)
            else:
                request = flow.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
