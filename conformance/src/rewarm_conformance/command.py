"""The `rewarm-conformance` command: the checks as a list, or one testbed by way of pytest."""

from __future__ import annotations

import argparse
import subprocess
import sys

from .rules import RULES

USAGE = """
everything else goes to pytest, with the plugin's options in short: --testbed, --store, --check, --profile, --report,
--strict stand for --rewarm-testbed and so on:

  rewarm-conformance --testbed my_pkg.testbed:MyTestbed --check RETRY-03 -n auto
"""
SHORT = ("testbed", "store", "check", "profile", "report", "name", "strict")


def main(argv: list[str] | None = None) -> int:
    """Run the command -> its exit status."""
    parser = argparse.ArgumentParser(
        "rewarm-conformance", description=__doc__, epilog=USAGE, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print id, profile and rule of every check")
    given, rest = parser.parse_known_args(argv)
    if given.list:
        for rule in RULES.values():  # of queues; those of stores are in `store_rules`
            print(f"{rule.id:<11} {rule.profile:<8} {rule.sentence}")
        return 0
    # in a process of its own: in this one the package is imported already, and pytest could no longer rewrite it
    return subprocess.call([sys.executable, "-m", "pytest", "--pyargs", "rewarm_conformance", *map(_long, rest)])


def _long(option: str) -> str:
    name = option.removeprefix("--").partition("=")[0]
    return f"--rewarm-{option[2:]}" if option.startswith("--") and name in SHORT else option


if __name__ == "__main__":
    sys.exit(main())
