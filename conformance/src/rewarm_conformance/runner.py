"""Run the suite in a pytest of its own: for the testbeds that are installed, and for mutants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

GROUP = "rewarm.testbeds"
NO_OTHERS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
PLUGINS = ("-p", "rewarm_conformance.plugin", "-p", "xdist.plugin")
"""All that is loaded: what else happens to be installed may take longer to import than a check does."""


def run(
    testbed: str, checks: Sequence[str] = (), options: Sequence[str] = (), *, patience: float | None = None
) -> tuple[dict[str, Any] | None, str]:
    """Check a testbed, without any project's configuration -> the report, None if there is none, and the output."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        argv = [
            sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *PLUGINS, "--rootdir", directory,
            "-c", os.devnull, "--pyargs", "rewarm_conformance", "--rewarm-testbed", testbed,
            "--rewarm-report", str(report), *options, *(part for id in checks for part in ("--rewarm-check", id)),
        ]  # fmt: skip
        environment = {**os.environ, **NO_OTHERS, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        if patience is not None:
            environment["REWARM_PATIENCE"] = str(patience)
        done = subprocess.run(argv, env=environment, cwd=directory, capture_output=True, text=True)
        found = json.loads(report.read_text()) if report.exists() else None
        return found, done.stdout + done.stderr


def cells() -> Mapping[str, str]:
    """The testbeds that installed packages declare: name -> "module:Class"."""
    return {point.name: point.value for point in sorted(entry_points(group=GROUP))}
