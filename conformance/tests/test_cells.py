"""A fast pass of the contract over every adapter, on real brokers and workers. `make conformance` runs all of it."""

from __future__ import annotations

import pytest

from rewarm_conformance.runner import cells, run

FAST = (
    "SMOKE-01", "APP-01", "DELIVER-01", "DELIVER-06", "PAYLOAD-01", "RETRY-01", "RETRY-08", "EAGER-07", "IDEMP-04",
    "CRASH-01",
)  # fmt: skip
MAIN = (
    "celery-redis", "celery-rabbitmq", "dramatiq-redis", "dramatiq-rabbitmq", "rq-redis", "djangoq-orm", "huey-ack",
)  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.parametrize("cell", MAIN)
def test_the_adapter_passes_quickly(cell: str) -> None:
    report, output = run(cells()[cell], FAST)
    assert report is not None, output
    verdicts = {id: result["verdict"] for id, result in report["checks"].items() if id in FAST}
    assert set(verdicts) == set(FAST), output
    if set(verdicts.values()) == {"untested"}:  # where the service is required, that is an error
        pytest.skip(report["checks"]["SMOKE-01"]["seen"])
    assert set(verdicts.values()) <= {"pass", "unsupported"}, output
