"""Every block of Python in the documents is run: here, or by the test that is named here."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pasting import ROOT, blocks, pages
from zg_core.localnet import LocalNet

ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "docs/chat-model.md": "tests/langchain_zerog/test_docs_page.py",
    "docs/langchain.md": "tests/langchain_zerog/test_docs_page.py",
    "docs/llamaindex.md": "tests/llama_index_zerog/test_docs_page.py",
    "docs/localnet.md": "tests/zg_core/backends/direct/money/test_docs_page.py",
    "docs/opengradient.md": "tests/zg_core/backends/opengradient/test_docs_page.py",
    "docs/router.md": "tests/zg_core/backends/router/test_docs_page.py",
    "docs/money.md": "tests/zg_core/backends/direct/money/test_docs_page.py",
    "docs/guides/attestation.md": "tests/zg_core/verify/attestation/test_page.py",
    "docs/deployment.md": "tests/fleet/test_fleet.py",
    "docs/extras.md": "tests/test_extras.py",
    "docs/testing.md": "tests/docs/test_start.py",
    "docs/start/local.md": "tests/docs/test_start.py",
    "docs/start/testnet.md": "tests/docs/test_start.py",
    "docs/start/router.md": "tests/docs/test_start.py",
    "docs/start/opengradient.md": "tests/docs/test_start.py",
}
WITH_PYTHON = {
    page.relative_to(ROOT).as_posix() for page in pages() if any(each.language == "python" for each in blocks(page))
}


@pytest.fixture
def as_before() -> Iterator[None]:
    """What a page sets is forgotten."""
    kept = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(kept)


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("page", sorted(WITH_PYTHON - ELSEWHERE.keys()))
def test_blocks_run_in_order(page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZEROG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shared: dict[str, object] = {"__name__": page}
    with LocalNet(services=["chat", "embedding", "image", "edit", "speech"]) as net:
        for provider in net.providers:
            net.open_account(net.wallet, provider)
        for name, value in net.env().items():
            if name not in ("ZEROG_PROVIDER", "ZEROG_MODEL"):
                monkeypatch.setenv(name, value)
        for block in blocks(ROOT / page):
            if block.language != "python":
                continue
            assert not block.note.startswith("not run"), f"{block} is not run by anything"
            if block.note == "type-checked":  # tests/langchain_zerog/test_typing.py
                continue
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile(block.text, str(block), "exec"), shared)
            for expected in re.findall(r"^ *print\(.*\)  # (.+)$", block.text, re.MULTILINE):
                assert expected in said.getvalue(), f"{block} does not print {expected!r}: {said.getvalue()}"


def test_pages_that_run_elsewhere_are_named_there() -> None:
    assert ELSEWHERE.keys() <= WITH_PYTHON
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text(encoding="utf-8"), f"{test} does not run {page}"
