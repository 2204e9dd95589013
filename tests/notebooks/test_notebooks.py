"""The notebooks run on a local network, and what is committed of them is what they are, small and clean."""

from __future__ import annotations

import ast
import base64
import importlib.metadata
import os
import re
import sys
import tomllib

import jupytext
import nbformat
import pytest
from packaging.requirements import Requirement

from tests.notebooks.running import (
    FIGURE,
    MOST_BYTES,
    NAMES,
    NOTEBOOKS,
    ROOT,
    Kernel,
    execute,
    output_of,
    problems,
    texts,
)

REAL_NETWORK = "ZEROG_MAX_SPEND"


def committed(name: str):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def test_the_notebooks_are_there():
    assert [name[:2] for name in NAMES] == ["01", "02", "03", "04", "05", "06", "07"]
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(NAMES)


@pytest.fixture(scope="module")
def kernel():
    """One for all: what they import is imported once."""
    with Kernel() as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name, kernel):
    kept = texts(committed(name))
    notebook = execute(name, kernel)
    assert not problems(notebook)
    others = [text for text in texts(notebook) if text not in kept]
    assert len(texts(notebook)) == len(kept), f"another number of outputs than committed: `make notebooks`: {others}"


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


@pytest.fixture(scope="module")
def net():
    from zg_core.localnet import LocalNet

    with LocalNet(providers=5) as running:
        yield running


@pytest.mark.parametrize("name", NAMES)
def test_the_first_cell_says_what_it_costs_and_stops_on_a_real_network(name, net, monkeypatch, tmp_path):
    """As on a real network: one is named, and no cap is set."""
    first = code_of(name)[0]
    assert REAL_NETWORK in first
    for variable, value in {**net.env(), "ZEROG_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv(REAL_NETWORK, raising=False)
    with pytest.raises(SystemExit, match=REAL_NETWORK):
        exec(compile(first, name, "exec"), {})
    assert not any(provider.log for provider in net.providers)
    monkeypatch.setenv(REAL_NETWORK, "100")
    exec(compile(first, name, "exec"), {})


@pytest.mark.parametrize("name", NAMES)
def test_the_cells_that_start_networks_can_be_run_again(name, monkeypatch, tmp_path):
    """As when all cells are run a second time in one kernel: what the first time left in the environment is there."""
    monkeypatch.setattr(os, "environ", {**os.environ})  # what cells set goes with it
    for variable in [each for each in os.environ if each.startswith(("ZEROG_", "OG_", "ROUTER_", "OPG_"))]:
        del os.environ[variable]
    os.environ["ZEROG_HOME"] = str(tmp_path)
    there: dict = {"__name__": name}
    running: list = []
    try:
        for _ in range(2):
            for cell in code_of(name)[:2] if name.startswith("02") else code_of(name)[:1]:
                exec(compile(cell, name, "exec"), there)
            running.append(there.get("net") or there["nets"][0])
        assert running[0] is not running[1]
        assert os.environ["ZEROG_RPC_URL"] == running[1].rpc_url
    finally:
        for each in [there.get("net"), *there.get("nets", ())]:
            if each is not None:
                each.stop()


# What brings a module of ours, beyond what is always installed.
EXTRAS = {
    "langchain_zerog": "langchain",
    "llama_index_zerog": "llama-index",
    "zg_core.localnet": "localnet",
    "zg_core.verify.attestation": "attestation",
    "OpenGradientNet": "opengradient",
    "AttestationOptions": "sealed",
}


def brought(extra: str) -> tuple[set[str], set[str]]:
    """The distributions that an extra names, with those of the extras that it stands on; and these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras, waiting = set(), [extra]
    distributions = {Requirement(line).name.lower() for line in project["dependencies"]}
    while waiting:
        extras.add(current := waiting.pop())
        for each in map(Requirement, project["optional-dependencies"][current]):
            if each.name == project["name"]:
                waiting += each.extras - extras
            else:
                distributions.add(each.name.lower())
    return distributions, extras


def code_of(name: str) -> list[str]:
    """The cells of code."""
    return [cell.source for cell in jupytext.read(NOTEBOOKS / f"{name}.py").cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", NAMES)
def test_the_extra_brings_what_a_notebook_imports(name):
    distributions, extras = brought("notebooks")
    homes = importlib.metadata.packages_distributions()
    source = "\n".join(code_of(name))
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "a notebook imports nothing beside it"
            assert not node.level
            imported |= {node.module, *(each.name for each in node.names if each.name in EXTRAS)}
    ours = ("zg_core", "langchain_zerog", "llama_index_zerog")
    for module in imported:
        needed = {extra for part, extra in EXTRAS.items() if module == part or module.startswith(part + ".")}
        assert needed <= extras, f"{module} needs {needed - extras}"
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top in ours or module in EXTRAS:
            continue
        dotted = "llama-index-core" if module.startswith("llama_index.core") else None
        found = {dotted} if dotted else {each.lower() for each in homes.get(top, ())}
        assert found & distributions, f"{module} is of {found or 'nothing installed'}, which the extra does not name"


def test_the_extra_brings_jupyter_lab_and_what_copies_notebooks():
    distributions, extras = brought("notebooks")
    assert {"jupyterlab", "ipykernel", "jupytext", "langchain", "matplotlib", "pandas"} <= distributions
    assert "cli" in extras
    assert "jupyterlab" not in brought("langchain")[0], "the search believes everything"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_says_for_which_networks_it_holds(name):
    first = jupytext.read(NOTEBOOKS / f"{name}.py").cells[0].source
    network = "(0G Direct|0G Router|OpenGradient)"
    assert re.match(rf"# .+\n\n\*Holds for: {network}(, {network})*\.\*\n", first)
    page = (ROOT / "docs/notebooks.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if name in line)
    assert re.search(r"\*Holds for: (.+)\.\*", first)[1] in row


def test_the_page_shows_the_table_and_the_picture_of_the_notebook():
    notebook = committed("02_compare_providers")
    readme = (ROOT / "docs/comparing.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- summary of notebooks/02 -->\n(.*?)\n<!-- end -->", readme, re.DOTALL)
    assert shown is not None
    assert shown[1] == output_of(notebook, "summary", "text/markdown"), "run `make notebooks`"
    assert FIGURE.read_bytes() == base64.b64decode(output_of(notebook, "figure", "image/png"))
    assert "](compare.png)" in readme


def test_the_comparison_shows_all_networks_one_liar_and_what_follows_from_its_own_numbers():
    notebook = committed("02_compare_providers")
    text = "\n".join(texts(notebook))
    for word in ("content_mismatch", "Direct: ", "Router: ", "Router sealed: ", "OpenGradient: ", "1 OPG = "):
        assert word in text
    rows = [line.split(" | ") for line in output_of(notebook, "summary", "text/markdown").splitlines()[2:-2]]
    verified = {row[0].removeprefix("| "): row for row in rows if row[4] == "100 %"}
    choice = output_of(notebook, "choice", "text/markdown")
    for sentence in choice.split("take ")[1:]:
        assert re.match(r"\*\*(.+?)\*\*", sentence)[1] in verified, sentence
    assert "**Direct: ember-bargain** (cheaper, but 100 % of its calls failed)" in choice
    source = (NOTEBOOKS / "02_compare_providers.py").read_text()
    assert not any(row[0].removeprefix("| Direct: ") in source.partition("## Which to choose")[2] for row in rows)


def test_the_audit_finds_the_liar_and_the_change():
    text = "\n".join(texts(committed("05_audit")))
    assert "local-chat-2: settled_too_much" in text
    assert "Router: settled_too_much\nOpenGradient: settled_too_much" in text
    assert "failed: the fee does not follow from usage and prices" in text
    assert "refused: not a bundle" in text
    assert text.count("pins file pins.json") >= 6


def test_operator_and_router_read_the_secret_in_the_clear_only():
    text = "\n".join(texts(committed("07_sealed_prompts")))
    assert re.findall(r"(The \w+) could read the secret: (\w+)", text) == [
        ("The operator", "True"),
        ("The Router", "True"),
        ("The Router", "False"),
        ("The operator", "False"),
    ]
    sealed = text.partition("could read the secret: False")[2]
    assert "ciphertext" in sealed
    assert "swordfish" not in sealed.partition("the password is")[0]
