"""The `zerog` command: a module a group of commands, and the only place that prints.

What a command does is a call of the library; here it is asked for and shown.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command; without its extra, say which one to install."""
    if sys.argv[1:] == ["--version"]:  # asked often, and by programs: without loading every command
        from zg_core import __version__

        sys.stdout.write(f"zerog {__version__}\n")
        return
    try:
        from zg_core.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.exit(f"the zerog command needs {error.name}: pip install 'zerog-integrations[cli]'")
    app()
