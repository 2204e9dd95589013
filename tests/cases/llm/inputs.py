"""The bytes of the field: streams, whole replies and refusals as servers have sent them, one folder each.

`@ID@` in a body stands for the chat id, `@SOON@` in a header for a moment 4 seconds ahead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

__all__ = ["CASES", "HERE", "Case", "names_in"]

HERE = Path(__file__).parent / "inputs"
FORMS = {"stream": "response.sse", "whole": "response.json"}


def names_in(folder: Path) -> list[str]:
    """The cases of a folder."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


@dataclass(frozen=True)
class Case:
    """One input in one form.

    Attributes:
        name: Name of its folder.
        form: ``stream``, ``whole``, or ``http`` for an answer of a provider that is no success of the usual form.
    """

    name: str
    form: str

    def __str__(self) -> str:
        return f"{self.name}-{self.form}"

    @property
    def body(self) -> bytes:
        """What the server sends."""
        return (HERE / self.name / FORMS.get(self.form, "body.bytes")).read_bytes()

    @property
    def http(self) -> tuple[int, dict[str, str]]:
        """Status and headers."""
        said: dict[str, Any] = json.loads((HERE / self.name / "http.json").read_text())
        soon = format_datetime(datetime.now(UTC) + timedelta(seconds=4), usegmt=True)
        return said["status"], {name: value.replace("@SOON@", soon) for name, value in said["headers"].items()}


def _found() -> list[Case]:
    cases = [Case(name, form) for name in names_in(HERE) for form in FORMS if (HERE / name / FORMS[form]).is_file()]
    return cases + [Case(name, "http") for name in names_in(HERE) if (HERE / name / "http.json").is_file()]


CASES = _found()
