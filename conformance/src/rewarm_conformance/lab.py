"""Lab: the servers of one test process, its scratch directory, and the bed that checks share."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .bed import Bed, CheckFailed
from .checkers import Broken
from .journal import Journal
from .services import KINDS, Missing, Service, required
from .testbed import Setting, Testbed


class Lab:
    """The servers, the scratch directory and the warm bed of one test process."""

    def __init__(self, path: str, testbed: type[Testbed], strict: bool = False) -> None:
        self.path, self.testbed_class, self.strict = path, testbed, strict
        self.directory = Path(tempfile.mkdtemp(prefix="rewarm-lab-"))
        self.journal = Journal(self.directory / "journal")
        self.limit: float | None = None  # seconds that an unsupported check may wait
        self.beds: list[Bed] = []
        self.services: list[Service] = []
        try:
            self.broker = self.service(testbed.broker) if testbed.broker else None
            self.store = self.service("redis")
            url = self.broker.url if self.broker else str(self.directory)
            self.setting = Setting(url=url, store=self.store.url, directory=str(self.directory))
            self.testbed = testbed(self.setting)
        except BaseException:
            self.close()  # nobody has the lab yet, and its servers run
            raise
        self.kept: Bed | None = None  # the warm one
        self.smoke: Broken | bool | None = False  # False: not tried yet
        self.told = False  # SMOKE-01 has said what is wrong, or somebody for it

    def service(self, kind: str | type[Service]) -> Service:
        """A new server, or a skip with the reason; a failure where it is required."""
        name, make = (kind, KINDS[kind]) if isinstance(kind, str) else (kind.__name__.lower(), kind)
        try:
            service = make()
        except Missing as error:
            if self.strict or required(name):
                raise
            pytest.skip(str(error))
        self.services.append(service)
        return service

    def bed(self) -> Bed:
        """A new namespace without a worker."""
        bed = Bed(self)
        self.beds.append(bed)
        return bed

    def warm(self) -> Bed:
        """The namespace with a running worker that checks share if they stop and kill nothing."""
        if self.kept is None or not self.kept.workers[0].alive:
            self.kept = self.bed()
            self.kept.start()
        return self.kept

    def cool(self) -> None:
        """Stop the warm worker: the next check stops the broker, which it would notice."""
        if self.kept is not None:
            self.kept.close()
            self.kept = None

    @contextlib.contextmanager
    def outage(self) -> Iterator[Service]:
        """The broker, to be stopped; started again in any case. Untested without one."""
        if self.broker is None:
            pytest.skip("the testbed names no broker that could be stopped")
        self.cool()
        stopped = Outage(self.broker, self.journal)
        try:
            yield stopped
        finally:
            stopped.start()

    def try_smoke(self) -> Broken | None:
        """SMOKE-01, once: what was wrong, or None."""
        if self.smoke is False:
            self.kept = self.bed()
            try:
                self.kept.start(ready=False)
                self.smoke = self.kept.ready()
            except CheckFailed as error:  # no worker to start, or no ping taken: said once, not by every check
                self.smoke = error.broken
        assert not isinstance(self.smoke, bool)
        return self.smoke

    def log(self) -> str:
        """The last lines of the warm worker."""
        return self.kept.workers[0].tail() if self.kept is not None and self.kept.workers else ""

    def close(self) -> None:
        for bed in self.beds:
            bed.close()
        while self.services:  # each once: this may be called again
            self.services.pop().close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Outage(Service):
    """A broker whose stops and starts are in the journal. Starts at most once per stop."""

    def __init__(self, broker: Service, journal: Journal) -> None:
        self.broker, self.journal, self.url, self.down = broker, journal, broker.url, False

    def stop(self) -> None:
        self.broker.stop()
        self.down = True
        self.journal.write("broker-stop")

    def start(self) -> None:
        if self.down:
            self.down = False
            self.broker.start()
            self.journal.write("broker-start")

    def close(self) -> None: ...

    def version(self) -> str:
        return self.broker.version()
