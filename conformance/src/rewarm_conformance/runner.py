"""Run the suite in a pytest of its own: for the cells that are installed, and for mutants."""

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

from .verdicts import RED

GROUP = "rewarm.testbeds"


def run(
    testbed: str, checks: Sequence[str] = (), options: Sequence[str] = (), *, patience: float | None = None
) -> tuple[dict[str, Any] | None, str]:
    """Check a testbed, without any project's configuration -> the report, None if there is none, and the output."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        argv = [
            sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-p", "no:valkey",
            "--rootdir", directory,
            "-c", os.devnull, "--pyargs", "rewarm_conformance", "--rewarm-testbed", testbed,
            "--rewarm-report", str(report), *options, *(part for id in checks for part in ("--rewarm-check", id)),
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        if patience is not None:
            environment["REWARM_PATIENCE"] = str(patience)
        done = subprocess.run(argv, env=environment, cwd=directory, capture_output=True, text=True)
        found = json.loads(report.read_text()) if report.exists() else None
        return found, done.stdout + done.stderr


def cells() -> Mapping[str, str]:
    """The testbeds that installed packages declare: name -> "module:Class"."""
    return {point.name: point.value for point in sorted(entry_points(group=GROUP))}


def run_cells(directory: Path, only: Sequence[str] = (), options: Sequence[str] = ()) -> bool:
    """Run every cell, or these, and write a report of each -> whether none of them is red."""
    directory.mkdir(parents=True, exist_ok=True)
    green = True
    for name, testbed in cells().items():
        if only and name not in only:
            continue
        report, output = run(testbed, options=options)
        if report is None or not report.get("versions"):
            reason = next((line for line in output.splitlines() if "SKIPPED" in line or "Error" in line), "no report")
            print(f"{name:<24} not run: {reason.strip()}", flush=True)
            green = green and "SKIPPED" in reason
            continue
        report["name"] = name
        Path(directory, f"{name}.json").write_text(
            json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        )
        profiles = report["profiles"]
        told = ", ".join(f"{profile} {result['result']}" for profile, result in profiles.items())
        red = [f"{id} ({one['verdict']})" for id, one in report["checks"].items() if one["verdict"] in RED]
        print(f"{name:<24} {told}{'; ' if red else ''}{', '.join(red)}", flush=True)
        green = green and not red
    return green
