"""What the command line remembers between runs: a network, and where the wallet's encrypted key is.

Both are in the directory of `home_directory`. Only commands read them; the library asks nobody but its caller and the
environment.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from zg_core.cli.terminal.private import write_private
from zg_core.config import NETWORKS
from zg_core.errors import ConfigError
from zg_core.jsontext import parse_json
from zg_core.store import home_directory

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["keep", "keystore", "network", "remember_network", "settings_file"]


def settings_file() -> Path:
    """Where the settings are."""
    return home_directory() / "settings.json"


def keystore() -> Path:
    """Where `zerog login` keeps the encrypted key."""
    return home_directory() / "keystore.json"


def network() -> str | None:
    """The network that is used where neither option nor environment names one.

    Raises:
        ConfigError: the file is none of ours.
    """
    path = settings_file()
    try:
        found = parse_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        found = None
    name = found.get("network") if isinstance(found, dict) else ""
    if name is not None and name not in NETWORKS:
        raise ConfigError(
            f"{path} does not name a network", code="bad_settings", hint="`zerog network NAME` writes it again"
        )
    return name


def remember_network(name: str | None) -> None:
    """Use the network of this name from now on; None forgets it."""
    if name is None:
        settings_file().unlink(missing_ok=True)
    else:
        keep(settings_file(), json.dumps({"network": name}) + "\n")


def keep(path: Path, text: str) -> None:
    """Keep a file of ours, in a directory that only its owner may enter.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, text)
