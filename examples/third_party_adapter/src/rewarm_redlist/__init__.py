"""Rewarm on redlist: the whole adapter."""

from redlist import Redlist
from rewarm import Adapter, Capability, Route


class RedlistAdapter(Adapter):
    """`queue`: your Redlist."""

    name = "redlist"
    capabilities = frozenset({Capability.DELAY, Capability.REDELIVERY, Capability.PERSISTENCE, Capability.DEPTH})

    def __init__(self, queue: Redlist) -> None:
        self.queue = queue

    @property
    def apps(self):
        return self.queue.__dict__.setdefault("_rewarm_apps", {})  # several applications may share the queue

    def install(self) -> None:
        self.queue.handlers.setdefault("rewarm.run", self.insist)  # redlist cannot hand a message back

    def enqueue(self, payload: str, *, route: Route, delay: float) -> str:
        return self.queue.push("rewarm.run", payload, route.queue, delay)

    def depth(self, queue: str | None = None) -> int:
        return self.queue.waiting(queue)
