"""The `rewarm` command."""

import sys


def main() -> None:
    """Run the command, or say how to install what it needs."""
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ModuleNotFoundError as error:
        sys.exit(f"The rewarm command needs {error.name}: pip install 'rewarm[cli]'")
    from .command import rewarm

    rewarm()
