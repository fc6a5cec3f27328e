"""The same tests on PostgreSQL."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rewarm_conformance.services import Missing, Postgres, required

HERE = Path(__file__).parent
SAME = ("test_rules.py", "test_commit.py", "test_testcase.py", "test_outbox.py", "test_ledger_db.py", "test_admin.py")
SKIPPED = "killed or herd or one_name or r12"  # they bring their own databases


@pytest.mark.timeout(300)
def test_the_same_on_postgresql() -> None:
    try:
        server = Postgres()
    except Missing as missing:
        if required("postgresql"):
            raise
        pytest.skip(str(missing))
    try:
        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", f"not ({SKIPPED})",
                *(str(HERE / name) for name in SAME),
            ],
            cwd=HERE.parents[2], capture_output=True, text=True, timeout=280,
            env={**os.environ, "REWARM_TEST_DATABASE": server.url},
        )  # fmt: skip
    finally:
        server.close()
    assert done.returncode == 0, done.stdout[-5000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 50
