"""Checks of the repository itself that no linter knows. Prints what is wrong and exits 1, or is silent."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import matrix

ROOT = Path(__file__).parents[1]


def git(*args: str) -> str:
    """What git prints. A search that finds nothing ends with status 1; above that something is wrong."""
    done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True)
    return done.stdout if done.returncode < 2 else sys.exit(done.stderr)


def versions() -> Iterator[str]:
    """All packages carry one version."""
    members = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
    files = [path for member in members for path in ROOT.glob(f"{member}/pyproject.toml")]
    projects = [tomllib.loads(path.read_text())["project"] for path in files]
    found = {project["name"]: project["version"] for project in projects}
    if len(set(found.values())) != 1:
        yield f"not one version: {found}"


def addresses() -> Iterator[str]:
    """The lock is staged without addresses, and no tracked file names a host that packages come from.

    The hosts are those in the full lock that uv has just written here, so this file need not know them.
    """
    if "://" in git("show", ":uv.lock"):
        yield "uv.lock is staged with addresses: run `make setup`, then `git add --renormalize uv.lock`"
    lock = (ROOT / "uv.lock").read_text()
    for host in sorted(set(re.findall(r'(?:registry|url) = "https?://(?:[^/@"]*@)?([^/"]+)', lock))):
        for name in git("grep", "--cached", "-lF", "-e", host).splitlines():
            yield f"{name} names {host}, where packages come from"


problems = [*versions(), *(addresses() if (ROOT / ".git").exists() else ()), *matrix.problems()]
if problems:
    sys.exit("\n".join(problems))
