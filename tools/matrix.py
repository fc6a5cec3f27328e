"""The matrix of conformance cells: print it for GitHub Actions, list it, or run one cell here.

python tools/matrix.py                     one line a cell
python tools/matrix.py --github            JSON for a job's `strategy.matrix`
python tools/matrix.py celery-redis [...]  run it, each in an environment of its own; more goes to pytest
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CELLS = {cell["name"]: cell for cell in tomllib.loads((ROOT / "matrix.toml").read_text())["cell"]}
UV = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools/bin/uv")


def interpreter(version: str) -> str | None:
    """A Python of this version. Interpreters that pyenv keeps are found too."""
    kept = Path.home() / ".pyenv" / "versions"
    for path in (shutil.which(f"python{version}"), *map(str, sorted(kept.glob(f"{version}.*/bin/python")))):
        if path and subprocess.run([path, "-c", "pass"], capture_output=True).returncode == 0:
            return path
    return None


def command(cell: dict[str, Any], python: str, more: list[str]) -> list[str]:
    """One cell: the package and its own dependencies only, so that no adapter leans on another's."""
    own = ("packages/core", folder(cell), "conformance")
    packages = [part for path in own for part in ("--with-editable", str(ROOT / path))]
    extra = [part for requirement in cell.get("with", []) for part in ("--with", requirement)]
    return [
        UV, "run", "--no-project", "--isolated", "--python", python, "--resolution", cell.get("resolution", "highest"),
        *packages, *extra, "pytest", "--pyargs", "rewarm_conformance", "-p", "no:valkey", "-q",
        "-n", "2", "--dist", "loadfile", "--rewarm-testbed", entry_point(cell), *more,
    ]  # fmt: skip


def folder(cell: dict[str, Any]) -> str:
    return str(cell["package"]).replace("rewarm-", "packages/adapter-", 1)


def entry_point(cell: dict[str, Any]) -> str:
    """The testbed class that the package declares under the cell's name."""
    project = tomllib.loads((ROOT / folder(cell) / "pyproject.toml").read_text())["project"]
    return str(project["entry-points"]["rewarm.testbeds"][cell.get("testbed", cell["name"])])


def run(name: str, more: list[str]) -> int:
    if name not in CELLS:
        print(f"no cell {name!r}; there are {', '.join(CELLS)}", file=sys.stderr)
        return 2
    cell = CELLS[name]
    python = interpreter(cell["python"])
    if python is None:
        print(f"{name}: skipped, no Python {cell['python']} here")
        return 1 if "python" in os.environ.get("REWARM_REQUIRE_SERVICES", "") else 0
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("UV_PYTHON", None)
    environment.pop("VIRTUAL_ENV", None)
    return subprocess.run(command(cell, python, more), cwd=ROOT, env=environment).returncode


def main() -> int:
    match sys.argv[1:]:
        case []:
            for name, cell in CELLS.items():
                needs, resolution = ", ".join(cell.get("services", [])), cell.get("resolution", "highest")
                print(f"{name:<24} {cell['package']:<16} {cell['python']}  {resolution:<13} {needs}".rstrip())
        case ["--github"]:
            print(json.dumps({"include": [{"services": [], "resolution": "highest", **c} for c in CELLS.values()]}))
        case [name, *more]:
            return run(name, more)
    return 0


if __name__ == "__main__":
    sys.exit(main())
