"""Who holds something in the store: one process, told apart from every other that has or had its number.

On the machine itself a holder that has died is seen at once. From elsewhere (another machine, or a container with
process numbers of its own) only its silence shows.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import lru_cache
from pathlib import Path
from typing import Literal

__all__ = ["Life", "holder", "life_of"]

Life = Literal["alive", "gone", "elsewhere"]
_PROC = Path("/proc")
_PLATFORM: str = sys.platform


def holder() -> str:
    """This process: where it runs, its number, and when it began."""
    return _holder(os.getpid())


def life_of(text: str) -> Life:
    """Whether the process that a `holder` named still runs; ``"elsewhere"`` where that cannot be seen from here.

    Example:
        >>> life_of(holder())
        'alive'
        >>> life_of("another-boot/1/2/3")
        'elsewhere'
    """
    place, _, rest = text.rpartition("/")
    place, _, number = place.rpartition("/")
    if place != _place() or not number.isdigit() or os.name != "posix":
        return "elsewhere"
    pid = int(number)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except (PermissionError, OverflowError):  # another user's, or no number of a process
        pass
    state, began = _stat(pid)
    return "gone" if state in ("Z", "X") or (began and rest and began != rest) else "alive"


@lru_cache(maxsize=1)
def _holder(pid: int) -> str:
    return f"{_place()}/{pid}/{_stat(pid)[1]}"


@lru_cache(maxsize=1)
def _place() -> str:
    """The running system and its space of process numbers, which containers on one machine do not share."""
    if _PLATFORM.startswith("linux"):
        try:
            boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
            space = str((_PROC / "self/ns/pid").readlink()).strip("pid:[]")
        except OSError:
            return f"{socket.gethostname()[:64]}/?"
        return f"{boot}/{space}"
    return f"{socket.gethostname()[:64]}/-"


def _stat(pid: int) -> tuple[str, str]:
    """State and start (clock ticks since boot) of a process, "" where the system does not tell."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError, UnicodeDecodeError):
        return "", ""
