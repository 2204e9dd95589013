"""Finished calls, one file each, under a name made of what was asked: a second run of the same pays nothing.

A file appears under its name only when it is complete, so a process that dies loses the calls it was waiting for and
none that had ended. The files hold prompts' answers and receipts, and are for their owner alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError
from zg_core.store import home_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Cache", "default_directory", "key_of"]

logger = logging.getLogger(__name__)
_VERSION = 1


def key_of(asked: Mapping[str, Any]) -> str:
    """The name of a call: a hash of what was asked, of whom, and for the how-manieth time.

    Example:
        >>> key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
        True
    """
    text = json.dumps({"version": _VERSION, **asked}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def default_directory(environ: Mapping[str, str] | None = None) -> Path:
    """``compare`` in the directory that ``ZEROG_HOME`` names, ``~/.zerog`` without it."""
    return home_directory(environ) / "compare"


class Cache:
    """A directory of finished calls.

    Args:
        directory: Where; it is made when the first call ends.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory).expanduser()

    def get(self, key: str) -> dict[str, Any] | None:
        """What is known of a call; None if nothing is, or if its file cannot be read."""
        try:
            value = json.loads((self.directory / f"{key}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("the finished call %s cannot be read and is made again: %s", key, error)
            return None
        return value if isinstance(value, dict) else None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep a call that has ended.

        Raises:
            ConfigError: the directory cannot be written to.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            # mkstemp makes it for its owner alone; the name is taken only once all is in it
            descriptor, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=self.directory)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump(value, file, ensure_ascii=False)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self.directory / f"{key}.json")  # noqa: PTH105 - one rename
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise _unusable(self.directory, error) from error

    def check(self) -> None:
        """See that calls can be kept, before one is paid for.

        Raises:
            ConfigError: the directory cannot be written to.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self.directory):
                pass
        except OSError as error:
            raise _unusable(self.directory, error) from error


def _unusable(directory: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"finished calls cannot be kept in {directory}: {error.strerror}",
        code="bad_cache",
        hint="cache=DIRECTORY, or cache=None to keep nothing",
    )
