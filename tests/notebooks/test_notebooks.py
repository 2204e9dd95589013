"""The notebooks run on a local network, and what is committed of them is what they are, small and clean."""

from __future__ import annotations

import base64
import json
import re

import jupytext
import nbformat
import pytest

from tests.notebooks.running import FIGURE, MOST_BYTES, NAMES, NOTEBOOKS, ROOT, execute, output_of, problems, texts

REAL_NETWORK = "ZEROG_MAX_SPEND"


def committed(name: str):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def test_the_notebooks_are_there():
    assert [name[:2] for name in NAMES] == ["01", "02", "03", "04"]
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name):
    kept = texts(committed(name))
    notebook = execute(name)
    assert not problems(notebook)
    assert len(texts(notebook)) == len(kept), "another number of outputs than committed: `make notebooks`"


@pytest.mark.parametrize("name", NAMES)
def test_the_pair_says_the_same(name):
    source = jupytext.read(NOTEBOOKS / f"{name}.py")
    cells = [(cell.cell_type, cell.source) for cell in committed(name).cells]
    assert cells == [(cell.cell_type, cell.source) for cell in source.cells], "run `make notebooks`"


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_committed_as_run(name):
    counts = [cell.execution_count for cell in committed(name).cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert texts(committed(name))
    for cell in committed(name).cells:
        kinds = [output.output_type for output in cell.get("outputs", ())]
        assert "error" not in kinds
        assert all(output.get("name") != "stderr" for output in cell.get("outputs", ()))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_small_and_name_no_machine_and_no_secret(name):
    assert not problems(committed(name))
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < MOST_BYTES


def test_the_search_for_machines_and_secrets_finds_them():
    for text in (
        "see /" + "home/somebody/file.py",
        "http://127.0.0.1:8545",
        "127.0.0.1",
        "Bearer app-sk-" + "abc",
        "0x" + "ab" * 32,
    ):
        cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("stream", text=text)])
        assert problems(nbformat.v4.new_notebook(cells=[cell])), text


@pytest.mark.parametrize("name", NAMES)
def test_the_first_cell_says_what_it_costs_and_stops_on_a_real_network(name, monkeypatch, tmp_path):
    """As on a real network: one is named, and no cap is set."""
    from zg_core.localnet import LocalNet

    first = next(cell.source for cell in jupytext.read(NOTEBOOKS / f"{name}.py").cells if cell.cell_type == "code")
    assert REAL_NETWORK in first
    with LocalNet(providers=5) as net:
        for variable, value in {**net.env(), "ZEROG_HOME": str(tmp_path)}.items():
            monkeypatch.setenv(variable, value)
        monkeypatch.delenv(REAL_NETWORK, raising=False)
        with pytest.raises(SystemExit, match=REAL_NETWORK):
            exec(compile(first, name, "exec"), {})
        assert not any(provider.log for provider in net.providers)
        monkeypatch.setenv(REAL_NETWORK, "100")
        exec(compile(first, name, "exec"), {})


def test_the_page_shows_the_table_and_the_picture_of_the_notebook():
    notebook = committed("02_compare_providers")
    readme = (ROOT / "docs/comparing.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- summary of notebooks/02 -->\n(.*?)\n<!-- end -->", readme, re.DOTALL)
    assert shown is not None
    assert shown[1] == output_of(notebook, "summary", "text/markdown"), "run `make notebooks`"
    assert FIGURE.read_bytes() == base64.b64decode(output_of(notebook, "figure", "image/png"))
    assert "](compare.png)" in readme


def test_one_of_the_compared_providers_is_dishonest_and_fees_are_settled():
    text = "\n".join(texts(committed("02_compare_providers")))
    assert "content_mismatch" in text
    assert "not_verifiable" in text
    source = (NOTEBOOKS / "02_compare_providers.py").read_text()
    assert source.count("ProviderSpec(\"") >= 5
    assert json.loads((NOTEBOOKS / "02_compare_providers.ipynb").read_text())["nbformat"] == 4
