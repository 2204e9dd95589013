"""A progress bar for whoever asks for one: a line that is written over, in a terminal or a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from zg_core.progress import Listener, Progress

__all__ = ["Bar"]

_WIDTH = 30


class Bar:
    r"""A listener that draws the calls that have ended, and hands every step on.

    Args:
        stream: Where to draw.
        then: The next listener.

    Example:
        >>> import io
        >>> from zg_core.progress import Progress
        >>> stream = io.StringIO()
        >>> Bar(stream)(Progress("call_done", "…", {"done": 1, "total": 2, "failed": 0}))
        >>> stream.getvalue()
        '\r[###############...............] 1/2'
    """

    def __init__(self, stream: TextIO, then: Listener | None = None) -> None:
        self._stream = stream
        self._then = then
        self._width = 0

    def __call__(self, step: Progress) -> None:
        """Draw a step."""
        if step.name == "call_done":
            done, total, failed = (int(step.details[name]) for name in ("done", "total", "failed"))
            full = _WIDTH * done // total
            text = f"[{'#' * full}{'.' * (_WIDTH - full)}] {done}/{total}"
            if failed:
                text += f", {failed} failed"
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
            if done == total:
                self._stream.write("\n")
            self._stream.flush()
        if self._then is not None:
            self._then(step)
