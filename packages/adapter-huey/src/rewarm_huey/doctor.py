"""huey settings that lose, duplicate or delay work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huey.serializer import Serializer

from rewarm import Capability, Finding

if TYPE_CHECKING:
    from .adapter import HueyAdapter


def examine(adapter: HueyAdapter) -> list[Finding]:
    """What the adapter's huey instance and its consumer should have otherwise. Connects to nothing."""
    huey = adapter.huey
    found = []
    graceful = "huey_consumer -g TERM (huey 3.4)"
    if Capability.REDELIVERY in adapter.capabilities:
        found.append(
            Finding("info", "SIGTERM interrupts the running task, which comes back when its lease lapses", graceful)
        )
    else:
        found += [
            Finding("warning", "SIGTERM interrupts and loses the running task", graceful),
            Finding("info", "delayed tasks run up to 1 s late: the consumer's scheduler looks once a second"),
            Finding(
                "warning", "a task whose worker is killed is lost: this storage forgets it when it is taken",
                "use rewarm_huey.AckRedisHuey",
            ),
        ]  # fmt: skip
    if huey.immediate:
        found.append(
            Finding(
                "warning", "immediate is on: tasks run in the process that queues them (djhuey: where DEBUG is on)",
                "immediate=False in production",
            )
        )  # fmt: skip
    if type(huey.serializer) is Serializer:
        found.append(
            Finding(
                "info", "huey's serializer is pickle: who can write to its storage can run code on the workers",
                "Huey(serializer=rewarm_huey.JSONSerializer()), in producers and consumers alike",
            )
        )  # fmt: skip
    if Capability.PRIORITY not in adapter.capabilities:
        found.append(
            Finding(
                "info", "this storage has no priorities: invalidations do not overtake refreshes", "PriorityRedisHuey"
            )
        )
    return found
