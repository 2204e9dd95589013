"""What faults mean, as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from enum import Enum

__all__ = ["fault_lines"]


def fault_lines(faults: Iterable[tuple[Enum, str, Mapping[str, Any]]]) -> dict[str, str]:
    """One line on each fault, by public name, with the options it takes and their defaults.

    Args:
        faults: Each with its meaning and its options.
    """
    lines = {}
    for fault, meaning, options in faults:
        shown = ", ".join(f"{name}={value!r}" for name, value in options.items())
        lines[fault.value] = f"{meaning} ({shown})" if shown else meaning
    return lines
