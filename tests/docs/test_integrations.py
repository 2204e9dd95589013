"""The pages in the frameworks' own templates have their headings, run on a local network, and show what they print."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.docs.pasting import ROOT
from zg_core.localnet import LocalNet, ProviderSpec

FOLDER = ROOT / "docs/integrations"
HEADINGS = {
    "langchain-zerog": [
        "# ChatZeroG", "## Overview", "### Integration details", "### Model features", "## Setup", "### Credentials",
        "### Installation", "## Instantiation", "## Invocation", "## Chaining", "## API reference",
    ],
    "langchain-zerog-embeddings": [
        "# ZeroGEmbeddings", "## Overview", "### Integration details", "## Setup", "### Credentials",
        "### Installation",
        "## Instantiation", "## Indexing and Retrieval", "## Direct Usage", "### Embed single texts",
        "### Embed multiple texts", "## API Reference",
    ],
    "langchain-zerog-tools": [
        "# ZeroGImageGenerator", "## Overview", "### Integration details", "### Tool features", "## Setup",
        "### Credentials", "## Instantiation", "## Invocation", "### [Invoke directly with args]",
        "### [Invoke with ToolCall]", "## Use within an agent", "## API reference",
    ],
}  # fmt: skip


def read(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


@pytest.fixture
def network() -> Iterator[None]:
    """Providers with the names of the pages; what a page sets is forgotten."""
    kept = dict(os.environ)
    specs = [
        ProviderSpec(model="qwen/qwen-2.5-7b-instruct"),
        ProviderSpec(model="bge-m3", service_type="embedding", output_price=0, lora=False),
        ProviderSpec(model="flux-turbo", service_type="text-to-image", lora=False),
    ]
    with LocalNet(providers=specs) as net:
        for provider in net.providers:
            net.open_account(net.wallet, provider)
        os.environ.update(net.env())
        for name in ("ZEROG_PROVIDER", "ZEROG_MODEL"):
            os.environ.pop(name, None)
        yield
    os.environ.clear()
    os.environ.update(kept)


@pytest.mark.parametrize("name", HEADINGS)
def test_a_page_has_the_headings_of_its_template_in_their_order(name: str) -> None:
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    places = [text.find(f"{heading}") for heading in HEADINGS[name]]
    assert -1 not in places, dict(zip(HEADINGS[name], places, strict=True))
    assert places == sorted(places)
    first = read(name).cells[0]
    assert first.cell_type == "raw"
    assert "sidebar_label: ZeroG" in first.source
    assert "TODO" not in text


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("name", HEADINGS)
def test_a_page_runs_and_prints_what_it_shows(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = read(name)
    nbformat.validate(notebook)
    shared: dict[str, object] = {"__name__": name}
    shown = 0
    for cell in notebook.cells:
        if cell.cell_type != "code" or cell.source.startswith("%pip"):
            continue
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(cell.source, f"{name}.ipynb", "exec"), shared)
        assert said.getvalue() == "".join(output.text for output in cell.outputs), cell.source
        shown += bool(cell.outputs)
    assert shown >= 3


def test_what_llamahub_reads_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hub = project["tool"]["llamahub"]
    assert hub["contains_example"] is False
    assert hub["import_path"] == "llama_index.llms.zerog"
    packaged = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert f"{hub['import_path'].replace('.', '/')}/__init__.py" in packaged.values()
    ours = importlib.import_module("llama_index_zerog")
    assert set(hub["class_authors"]) == {"ZeroG", "ZeroGEmbedding"}
    assert all(hasattr(ours, name) for name in hub["class_authors"])


def test_the_readme_for_llamaindex_has_its_form() -> None:
    text = (FOLDER / "llama-index-llms-zerog/README.md").read_text(encoding="utf-8")
    assert re.findall(r"^#+ .*", text, re.MULTILINE)[:3] == [
        "# LlamaIndex Llms Integration: ZeroG", "## Installation", "## Usage",
    ]  # fmt: skip
