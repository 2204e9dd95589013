"""The `zerog` command."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command; without its extra, say which one to install."""
    try:
        from zg_core.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.exit(f"the zerog command needs {error.name}: pip install 'zerog-integrations[cli]'")
    app()
