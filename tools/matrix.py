"""The matrix of conformance cells: print it for GitHub Actions, list it, or run cells and hold them to their profile.

python tools/matrix.py                   one line a cell
python tools/matrix.py --github          JSON for a job's `strategy.matrix`
python tools/matrix.py --newest [CELL…]  all cells but the lowest, in this environment: reports, then the pages in docs
python tools/matrix.py --lowest [CELL…]  all cells of the lowest versions, each in an environment of its own
python tools/matrix.py --pages           the pages in docs, from the reports
python tools/matrix.py CELL [...]        one cell in an environment of its own; more goes to pytest
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "conformance/reports"
CELLS: dict[str, dict[str, Any]] = {
    cell["name"]: cell for cell in tomllib.loads((ROOT / "matrix.toml").read_text())["cell"]
}
NEWEST = [name for name, cell in CELLS.items() if cell.get("resolution") != "lowest-direct"]
LOWEST = [name for name in CELLS if name not in NEWEST]
UV = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools/bin/uv")


def interpreter(version: str) -> str | None:
    """A Python of this version. Interpreters that pyenv keeps are found too."""
    kept = Path.home() / ".pyenv" / "versions"
    for path in (shutil.which(f"python{version}"), *map(str, sorted(kept.glob(f"{version}.*/bin/python")))):
        if path and subprocess.run([path, "-c", "pass"], capture_output=True).returncode == 0:
            return path
    return None


def isolated(cell: dict[str, Any], python: str) -> list[str]:
    """A Python with the package and its own dependencies only, so that no adapter leans on another's."""
    own = dict.fromkeys(("packages/core", folder(cell), "conformance"))
    packages = [part for path in own for part in ("--with-editable", str(ROOT / path))]
    extra = [part for requirement in cell.get("with", []) for part in ("--with", requirement)]
    resolution = cell.get("resolution", "highest")
    return [UV, "run", "--no-project", "--isolated", "--python", python, "--resolution", resolution,
            *packages, *extra, "python"]  # fmt: skip


def folder(cell: dict[str, Any]) -> str:
    name = str(cell["package"]).removeprefix("rewarm-")
    return next(path for path in (f"packages/adapter-{name}", f"packages/{name}", name) if (ROOT / path).is_dir())


def testbed(cell: dict[str, Any]) -> str:
    """The class that the package declares under the cell's name, or under the name that the cell gives."""
    project = tomllib.loads((ROOT / folder(cell) / "pyproject.toml").read_text())["project"]
    return str(project["entry-points"]["rewarm.testbeds"][cell.get("testbed", cell["name"])])


def suite(name: str, report: Path) -> list[str]:
    """pytest's arguments, without any project's configuration."""
    return ["-m", "pytest", "-q", "-rs", "-c", os.devnull, "--rootdir", str(report.parent), "-p", "no:cacheprovider",
            "-p", "no:valkey", "-n", "2", "--dist", "worksteal", "--pyargs", "rewarm_conformance",
            "--rewarm-testbed", testbed(CELLS[name]), "--rewarm-name", name, "--rewarm-report", str(report),
            ]  # fmt: skip


def run(name: str, *more: str, here: bool = False, shown: bool = False) -> tuple[bool, str, str | None]:
    """Run a cell -> whether it is as declared, lines that say so, and its report if it ran at all.

    more: further arguments of pytest.   here: in this environment.   shown: print what pytest prints.
    """
    cell, began = CELLS[name], time.monotonic()
    python = sys.executable if here else interpreter(cell["python"])
    if python is None:
        needed = "python" in os.environ.get("REWARM_REQUIRE_SERVICES", "").replace(",", " ").split()
        return not needed, f"{name:<24} skipped: no Python {cell['python']} here", None
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    if not here:
        environment = {key: value for key, value in environment.items() if key not in ("UV_PYTHON", "VIRTUAL_ENV")}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "report.json")
        argv = [*([python] if here else isolated(cell, python)), *suite(name, path), *more]
        output = None if shown else subprocess.PIPE
        done = subprocess.run(argv, cwd=directory, env=environment, text=True, stdout=output, stderr=subprocess.STDOUT)
        text = path.read_text() if path.exists() else None
    head = f"{name:<24} {time.monotonic() - began:4.0f} s  "
    report = json.loads(text or '{"checks": {}}')
    if not report.get("versions"):  # no check came so far as to describe the cell
        reasons = {result.get("seen", "") for result in report["checks"].values() if result["verdict"] == "untested"}
        skipped = bool(reasons) and not done.returncode
        return skipped, f"{head}{'skipped' if skipped else 'did not run'}: {'; '.join(reasons) or done.stdout}", None
    missed = list(unlike(report, cell["profile"]))
    told = ", ".join(f"{profile} {result['result']}" for profile, result in report["profiles"].items())
    log = [done.stdout] if missed and done.stdout else []
    return not missed and not done.returncode, "\n".join([head + told, *(f"  {line}" for line in missed), *log]), text


def unlike(report: dict[str, Any], profile: str) -> Iterator[str]:
    """What keeps a report from the profile that its cell declares; from "partial" only what is red."""
    from rewarm_conformance.verdicts import RED, profile_result

    for id, result in report["checks"].items():
        if result["verdict"] in RED:
            yield f"{id} is {result['verdict']}: {result.get('seen', '')}"
    verdicts = {id: result["verdict"] for id, result in report["checks"].items()}
    if profile != "partial" and (reached := profile_result(verdicts, profile)) != "conformant":
        yield f"{profile} is declared, and is {reached}"


def run_all(names: list[str], *, here: bool) -> bool:
    """Run these cells, two at a time: they wait more than they work. Here, keep their reports."""
    with ThreadPoolExecutor(2) as pool:
        futures = {name: pool.submit(run, name, here=here) for name in names}
        good = True
        for name, future in futures.items():
            as_declared, told, report = future.result()
            good = good and as_declared
            print(told, flush=True)
            if here and report is not None:
                REPORTS.mkdir(exist_ok=True)
                (REPORTS / f"{name}.json").write_text(report)
    return good


def pages(*options: str) -> int:
    """Make the pages in docs from the reports; with "--check", only say whether they are what the reports give."""
    from rewarm_conformance import report

    found = map(str, sorted(REPORTS.glob("*.json")))
    where = {"--markdown": "matrix.md", "--html": "matrix.html", "--badges": "badges"}
    options = (*options, *(part for option, name in where.items() for part in (option, str(ROOT / "docs" / name))))
    return report.main([*found, *options])


def problems() -> Iterator[str]:
    """What is wrong with the reports that are kept, and with the pages made of them."""
    for name in NEWEST:
        if not (path := REPORTS / f"{name}.json").exists():
            yield f"{path.relative_to(ROOT)} is missing: run `make conformance`"
            continue
        report = json.loads(path.read_text())
        if report["name"] != name:
            yield f"{path.relative_to(ROOT)} is the report of {report['name']}"
        yield from (f"{name}: {line}" for line in unlike(report, CELLS[name]["profile"]))
    for path in (*REPORTS.glob("*.json"), *(ROOT / "docs/badges").glob("*.svg")):
        if path.stem not in NEWEST:
            yield f"{path.relative_to(ROOT)} belongs to no cell of matrix.toml"
    if any(REPORTS.glob("*.json")) and pages("--check"):
        yield "docs/matrix.* and docs/badges are not what the reports give: run `python tools/matrix.py --pages`"


def main() -> int:
    match sys.argv[1:]:
        case []:
            for name, cell in CELLS.items():
                needs, resolution = ", ".join(cell.get("services", [])), cell.get("resolution", "highest")
                print(f"{name:<24} {cell['python']}  {resolution:<13} {cell['profile']:<8} {needs}".rstrip())
        case ["--github"]:
            print(json.dumps({"include": [{"services": [], "resolution": "highest", **c} for c in CELLS.values()]}))
        case ["--newest", *names] if set(names) <= set(NEWEST):
            good = run_all(names or NEWEST, here=True)
            return pages() or int(not good)
        case ["--lowest", *names] if set(names) <= set(LOWEST):
            return int(not run_all(names or LOWEST, here=False))
        case ["--pages"]:
            return pages()
        case [name, *more] if name in CELLS:
            good, told, _ = run(name, *more, shown=True)
            print(told)
            return int(not good)
        case names:
            print(f"no cell {names[-1]!r}; there are {', '.join(CELLS)}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
