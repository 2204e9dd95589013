"""The version, which stands in one place."""

from __future__ import annotations

from zg_core import __version__

__all__ = ["__version__"]
