"""The plugin from outside: what a run prints, how it ends, what it reports."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from rewarm_conformance.runner import NO_OTHERS, PLUGINS

pytest_plugins = ["pytester"]

HONEST = """
import asyncio
import json
import shutil
import tempfile
import time
from pathlib import Path
from rewarm import Capability
from rewarm.adapter import ENTRY
from rewarm_conformance.mutants.adapters import TakesASecondForNone
from rewarm_conformance.reference import Consumer, ReferenceAdapter, ReferenceTestbed
from rewarm_conformance import Missing, Service, Testbed

class Undeclared(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        capabilities = ReferenceAdapter.capabilities - {Capability.PRIORITY}

class Unsupported(TakesASecondForNone):
    class adapter_class(TakesASecondForNone.adapter_class):
        capabilities = ReferenceAdapter.capabilities - {Capability.PRIORITY}
        def enqueue(self, payload, *, route, delay):
            return self.queue.put(payload, route.queue, 1, delay)

class Known(TakesASecondForNone):
    known_failures = {"DELIVER-06": "https://example.org/issues/1"}

class Stale(ReferenceTestbed):
    known_failures = {"DELIVER-03": "https://example.org/issues/2"}

class Broken(ReferenceTestbed):
    def build(self, namespace):
        raise OSError("the testbed itself is broken")

class NoControl(ReferenceTestbed):
    workers, _store = 2, None  # its own

    def make_eager(self, native):
        raise NotImplementedError

class Typo(ReferenceTestbed):
    known_failures = {"DELIVER-99": "?"}

class Coroutines(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def install(self):
            self.queue.entries[ENTRY] = lambda payload: asyncio.run(self.adeliver(payload))

class SaysItself(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        eager = False
        def __init__(self, queue):
            super().__init__(queue)
            self.capabilities, self.eager, self.eager_raises = ReferenceAdapter.capabilities, False, False

class TakesNothing(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload, *, route, delay):
            return self.queue.no_such_method(payload)

class NoProgram(ReferenceTestbed):
    def worker(self, namespace, queue=None):
        return ["no-such-worker", namespace]

class KnownByInstance(TakesASecondForNone):
    def __init__(self, setting):
        super().__init__(setting)
        self.known_failures = {"DELIVER-06": "https://example.org/issues/3"}

class Waits(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload, *, route, delay):
            if not Path(self.queue.path).exists():
                time.sleep(3600)
            return super().enqueue(payload, route=route, delay=delay)

class Refuses(ReferenceTestbed):
    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload, *, route, delay):
            json.loads(payload)
            return super().enqueue(payload, route=route, delay=delay)

class Misspelt(ReferenceTestbed):
    redelivery_second = 3.0

class PathInWords(ReferenceTestbed):
    def worker(self, namespace, queue=None):
        return [Path("/no/such/worker"), namespace]

class NoWorker(Testbed):
    def build(self, namespace): ...

class NoBroker(ReferenceTestbed):
    broker = "kafka"

class Shelf(Service):
    def __init__(self):
        self.home = Path(tempfile.mkdtemp())
        self.url = str(self.home / "here")
        self.start()
    def stop(self):
        Path(self.url).rename(self.home / "away")
    def start(self):
        Path(self.url).mkdir()
        if (self.home / "away").exists():
            shutil.copytree(self.home / "away", self.url, dirs_exist_ok=True)
            shutil.rmtree(self.home / "away")
    def close(self):
        shutil.rmtree(self.home)
    def version(self):
        return "shelf 1.2"

class ForgetfulShelf(Shelf):
    def start(self):
        Path(self.url).mkdir()
        shutil.rmtree(self.home / "away", ignore_errors=True)

class SoldOut(Shelf):
    def __init__(self):
        raise Missing("no shelf in the house")

class OwnBroker(ReferenceTestbed):
    broker = Shelf

class ForgetfulBroker(ReferenceTestbed):
    broker = ForgetfulShelf

class MissingBroker(ReferenceTestbed):
    broker = SoldOut

class SlowWithoutDelay(ReferenceTestbed):
    class consumer_class(Consumer):
        def handle(self, id, payload):
            time.sleep(0.1)
            super().handle(id, payload)

    class adapter_class(ReferenceAdapter):
        def enqueue(self, payload, *, route, delay):
            return super().enqueue(payload, route=route, delay=0.0)

class OneQueue(ReferenceTestbed):
    boot_seconds = 1.0

    def worker(self, namespace, queue=None):
        return super().worker(namespace)

class OneString(ReferenceTestbed):
    def worker(self, namespace, queue=None):
        return " ".join(super().worker(namespace, queue))
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Run checks on a testbed -> exit status, output, report."""
    pytester.makepyfile(beds=HONEST)
    monkeypatch.setenv("REWARM_PATIENCE", "0.2")
    for name, value in NO_OTHERS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(pytester.path), *filter(None, sys.path)]))

    def run(testbed: str, *options: str):  # type: ignore[no-untyped-def]
        done = pytester.runpytest_subprocess(
            *PLUGINS, "--pyargs", "rewarm_conformance", "--rewarm-testbed", f"beds:{testbed}",
            "--rewarm-report", "report.json", *options,
        )  # fmt: skip
        path = Path(pytester.path, "report.json")
        return done.ret, done.stdout.str() + done.stderr.str(), json.loads(path.read_text()) if path.exists() else None

    return run


@pytest.mark.parametrize(
    ("testbed", "check", "expected", "status"),
    [
        ("Undeclared", "ORDER-01", "undeclared", 1),
        ("Unsupported", "ORDER-01", "unsupported", 0),
        ("Known", "DELIVER-06", "known-fail", 0),
        ("KnownByInstance", "DELIVER-06", "known-fail", 0),
        ("Waits", "DELIVER-04", "fail", 1),
        ("Refuses", "PAYLOAD-05", "fail", 1),
        ("Stale", "DELIVER-03", "fail", 1),
        ("Broken", "DELIVER-03", "error", 1),
        ("OneQueue", "DELIVER-10", "fail", 1),
        ("SlowWithoutDelay", "DELIVER-08", "fail", 1),
        ("NoControl", "EAGER-07", "untested", 0),
        ("ForgetfulBroker", "BROKER-01", "fail", 1),
        ("MissingBroker", "SMOKE-01", "untested", 0),
    ],
)
def test_verdicts(suite, testbed: str, check: str, expected: str, status: int) -> None:  # type: ignore[no-untyped-def]
    ended, output, report = suite(testbed, "--rewarm-check", check)
    assert report["checks"][check]["verdict"] == expected, output
    assert ended == status, output


def test_strict_makes_a_missing_control_a_failure(suite) -> None:  # type: ignore[no-untyped-def]
    ended, output, _ = suite("NoControl", "--rewarm-check", "EAGER-07", "--rewarm-strict")
    assert ended == 1
    assert "EAGER-07 is untested" in output


def test_a_broker_of_the_authors_own_is_stopped_and_named(suite) -> None:  # type: ignore[no-untyped-def]
    ended, output, report = suite("OwnBroker", "--rewarm-check", "BROKER-01", "--rewarm-check", "DELIVER-04")
    assert ended == 0, output
    assert [result["verdict"] for result in report["checks"].values()] == ["pass", "pass"]
    assert report["versions"]["shelf"] == "1.2"


def test_a_broker_of_the_authors_own_may_be_required(suite, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("REWARM_REQUIRE_SERVICES", "soldout")
    ended, output, _ = suite("MissingBroker", "--rewarm-check", "SMOKE-01")
    assert ended == 1
    assert "no shelf in the house" in output


def test_a_failure_prints_all_that_helps(suite) -> None:  # type: ignore[no-untyped-def]
    mutant = "rewarm_conformance.mutants.adapters:TakesASecondForNone"
    ended, output, report = suite("Known", "--rewarm-testbed", mutant, "--rewarm-check", "DELIVER-06")
    assert ended == 1
    for part in (
        "DELIVER-06 A delayed payload is not early.", "adapter    rewarm-conformance 0.1.0", "expected   a payload",
        "seen       a payload delayed by 1 s started", "history           t", "usual      `delay` is not passed on",
        f"again      pytest --pyargs rewarm_conformance --rewarm-testbed {mutant} --rewarm-check DELIVER-06",
    ):  # fmt: skip
        assert part in output
    assert report["profiles"]["core"]["result"] == "failed"


def test_a_broken_testbed_says_so_and_stops(suite) -> None:  # type: ignore[no-untyped-def]
    wrong = ["--rewarm-testbed", "rewarm_conformance.mutants.queues:WrongQueue"]
    ended, output, report = suite("Known", *wrong, "--rewarm-check", "SMOKE-01", "--rewarm-check", "DELIVER-01")
    assert ended == 1
    assert "expected   a ping runs in a worker" in output
    assert report["checks"]["DELIVER-01"]["verdict"] == "untested"


@pytest.mark.parametrize(
    ("testbed", "told"),
    [
        ("TakesNothing", "seen       EnqueueError: queue 'reference' did not take refresh"),
        ("NoProgram", "No such file or directory: 'no-such-worker'"),
        ("OneString", "expected   `worker` returns a list of words"),
        ("PathInWords", "No such file or directory: '/no/such/worker'"),
    ],
)
def test_what_breaks_every_check_is_told_once(suite, testbed: str, told: str) -> None:  # type: ignore[no-untyped-def]
    ended, output, report = suite(testbed, "--rewarm-check", "SMOKE-01", "--rewarm-check", "DELIVER-01")
    assert ended == 1
    assert told in output
    verdicts = {id: result["verdict"] for id, result in report["checks"].items()}
    assert verdicts == {"SMOKE-01": "fail", "DELIVER-01": "untested"}, output


def test_a_worker_that_does_not_start_fails_whichever_check_is_asked_for(suite) -> None:  # type: ignore[no-untyped-def]
    ended, output, report = suite("NoProgram", "--rewarm-check", "DELIVER-01", "--rewarm-check", "DELIVER-03")
    assert ended == 1
    assert "SMOKE-01 does not hold: [Errno 2] No such file or directory: 'no-such-worker'" in output
    assert [result["verdict"] for result in report["checks"].values()] == ["error", "untested"], output


def test_a_testbed_that_raises_is_told_at_length_once(suite) -> None:  # type: ignore[no-untyped-def]
    ended, output, report = suite("Broken", "--rewarm-check", "APP-01", "--rewarm-check", "DELIVER-01")
    assert ended == 1
    assert output.count('raise OSError("the testbed itself is broken")') == 1
    assert "DELIVER-01 was not tried, as above: OSError('the testbed itself is broken')" in output
    assert report["checks"]["DELIVER-01"]["verdict"] == "error"


def test_a_worker_that_runs_coroutines_is_asked_the_same(suite) -> None:  # type: ignore[no-untyped-def]
    ended, output, _ = suite("Coroutines", "--rewarm-check", "CRASH-09")
    assert ended == 0, output


def test_an_adapter_may_keep_what_it_says_in_attributes_of_its_own(suite) -> None:  # type: ignore[no-untyped-def]
    ids = ("DELIVER-07", "EAGER-01", "EAGER-04")
    ended, output, report = suite("SaysItself", *(f"--rewarm-check={id}" for id in ids))
    assert ended == 0, output
    assert [report["checks"][id]["verdict"] for id in ids] == ["pass"] * 3


def test_a_run_that_names_nothing_to_check_says_what_to_name(pytester: pytest.Pytester) -> None:
    done = pytester.runpytest_subprocess("--pyargs", "rewarm_conformance")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "name a testbed (--rewarm-testbed) or a store (--rewarm-store)" in done.stderr.str()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("Typo",), "names DELIVER-99, which is no check"),
        (("Known", "--rewarm-check", "NOPE-1"), "no check NOPE-1"),
        (("NotThere",), "--rewarm-testbed beds:NotThere"),
        (("Capability",), "is no Testbed class"),
        (("NoWorker",), "--rewarm-testbed beds:NoWorker has no worker"),
        (("Misspelt",), "has 'redelivery_second', which nobody asks for: is it 'redelivery_seconds'?"),
        (("NoBroker",), "broker 'kafka' is none of redis, rabbitmq, postgresql, directory and no Service class"),
    ],
)
def test_mistakes_are_errors(suite, options: tuple[str, ...], told: str) -> None:  # type: ignore[no-untyped-def]
    ended, output, _ = suite(*options)
    assert ended == pytest.ExitCode.USAGE_ERROR
    assert told in output


def test_the_report_is_gathered_across_processes(suite) -> None:  # type: ignore[no-untyped-def]
    ended, output, report = suite("NoControl", "-n", "2", *(f"--rewarm-check=PAYLOAD-0{n}" for n in range(1, 5)))
    assert ended == 0, output
    assert [result["verdict"] for result in report["checks"].values()] == ["pass"] * 4
    assert report["name"] == "no-control"
    assert report["versions"]["Python"]
