"""The examples of docs/llamaindex.md run in order, as they stand, and print what their comments say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "llamaindex.md"


def test_the_examples_of_the_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # one of them keeps an index
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 7
    names: dict[str, object] = {"__name__": "page"}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"llamaindex.md, block {number}", "exec"), names)
        said = capsys.readouterr().out
        for printed in re.findall(r"^ *print\(.*\)\s+# (.*)$", block, re.MULTILINE):
            assert printed in said, said
