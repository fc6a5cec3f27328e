"""`make fuzz`: coverage-guided payloads against a worker (atheris).

Whatever arrives from the queue, `app.run` answers with an outcome. It imports nothing, opens nothing, compiles
nothing, and calls nothing but registered jobs; where payloads are signed, only what was signed.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from typing import Any

import atheris

with atheris.instrument_imports(include=["rewarm"]):
    from rewarm import Adapter, Capability, Rewarm, Route
    from rewarm.stores import MemoryStore
    from rewarm.task import SIGNED, WIRE
    from rewarm.worker import Outcome

FORBIDDEN = ("import", "compile", "exec", "open", "os.", "subprocess.", "socket.", "pickle.", "marshal.", "ctypes.")
"""Audit events that no payload may cause (PEP 578)."""


class Sink(Adapter):
    """Keeps what is sent."""

    name, capabilities, in_process = "sink", frozenset(Capability), True

    def __init__(self) -> None:
        self.sent: list[str] = []

    def install(self) -> None: ...

    def enqueue(self, payload: str, *, route: Route, delay: float) -> None:
        self.sent.append(payload)


class Target:
    """An application with two jobs, and what they were called with."""

    def __init__(self, keys: tuple[bytes, ...] = ()) -> None:
        self.sink, self.called = Sink(), list[Any]()
        self.app = Rewarm("shop", store=MemoryStore(max_entries=1000), adapter=self.sink, signing_keys=keys)
        self.price = self.app.job(name="price", ttl=60, tags=["item:{item}"])(self._price)
        self.names = self.app.job(name="names", ttl=60)(self._names)

    def _price(self, item: int, currency: str = "EUR") -> str:
        self.called.append([item, currency])
        return f"{item} {currency}"

    def _names(self, *parts: str) -> list[str]:
        self.called.append([list(parts)])
        return list(parts)

    def payloads(self, item: int) -> list[str]:
        """One of each kind, as the application itself sends them."""
        self.sink.sent.clear()
        self.price.delete(item)  # so that none is queued already
        self.names.delete("a", str(item))
        self.price.refresh(item)
        self.names.refresh("a", str(item))
        self.price.sweep(item)
        self.price.entry(item).invalidate(refresh=True, fence="task")
        return list(self.sink.sent)


PLAIN, SIGNED_APP = Target(), Target((b"k" * 32, b"o" * 32))
watching = False
outcomes, loads = Counter[str](), Counter[str]()


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    source = event == "open" and str(arguments[0]).endswith(".py") and arguments[1] in ("r", "rb")
    if watching and event.startswith(FORBIDDEN) and not source:  # a dead letter's traceback quotes our own source
        raise SystemError(f"a payload caused {event} {arguments!r}")


sys.addaudithook(watch)


def value(data: atheris.FuzzedDataProvider, depth: int = 0) -> Any:
    """Some JSON."""
    match data.ConsumeIntInRange(0, 8 if depth < 3 else 5):
        case 0:
            return data.ConsumeUnicode(12)
        case 1:
            return data.ConsumeInt(8)
        case 2:
            return data.ConsumeFloat()
        case 3:
            return data.ConsumeBool()
        case 4:
            return None
        case 5:
            return data.PickValueInList(["shop", "price", "os.system", "shop:", "shop:*", "refresh", "sweep", "$uuid"])
        case 6:
            return [value(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 3))]
        case 7:
            return {"$" + data.ConsumeUnicode(6): value(data, depth + 1)}
    return {data.ConsumeUnicode(6): value(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 3))}


def payload(data: atheris.FuzzedDataProvider, real: list[str]) -> str:
    """Any text; or a real payload with some fields changed, or cut short."""
    if data.ConsumeIntInRange(0, 5) == 5:
        return str(data.ConsumeUnicode(200))
    wire = json.loads(data.PickValueInList(real))
    for _ in range(data.ConsumeIntInRange(0, 4)):
        wire[data.PickValueInList([*WIRE, "colour"])] = value(data)
    text = json.dumps(wire)
    return text[: data.ConsumeIntInRange(0, len(text))] if data.ConsumeIntInRange(0, 9) == 9 else text


def one(raw: bytes) -> None:
    """One payload to each application."""
    global watching
    data = atheris.FuzzedDataProvider(raw)
    for target in (PLAIN, SIGNED_APP):
        real = target.payloads(data.ConsumeIntInRange(0, 50))
        text = payload(data, real)
        target.called.clear()
        watching = True
        try:
            outcome = target.app.run(text)
        finally:
            watching = False
        assert isinstance(outcome, Outcome), outcome
        outcomes[outcome] += 1
        if sum(outcomes.values()) % 4000 == 0:
            print(f"# outcomes {dict(outcomes)}, loads {dict(loads)}", flush=True)
        if not target.called:
            continue
        loads["signed" if target is SIGNED_APP else "plain"] += 1
        sent = json.loads(text)
        assert sent["kind"] == "refresh", text
        assert sent["job"] in target.app.jobs, text
        if target is SIGNED_APP:
            signed = [{name: json.loads(each).get(name) for name in SIGNED} for each in real]
            assert {name: sent.get(name) for name in SIGNED} in signed, text


def main() -> None:
    """Arguments as libFuzzer takes them: -max_total_time=60 -seed=1 -runs=100000"""
    for target in (PLAIN, SIGNED_APP):  # what is imported only at first use
        for text in target.payloads(1):
            target.app.run(text)
            target.app.run(text.replace('"', "'"))
            target.app.run(text.replace("price", "prices").replace("names", "name"))
    logging.getLogger("rewarm").setLevel(logging.CRITICAL)
    atheris.Setup([*sys.argv, "-max_len=512", "-len_control=0"], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
