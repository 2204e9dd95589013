"""``zerog notebooks``."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import pytest

from zg_core.cli.notebooks.commands import sources

NOTEBOOKS = Path(__file__).resolve().parents[3] / "notebooks"


def test_every_notebook_is_listed_with_what_it_shows_and_holds_for(steady):
    listed = steady.json("notebooks", "list")["notebooks"]
    assert [each["name"] for each in listed] == sorted(path.stem for path in NOTEBOOKS.glob("*.py"))
    assert all(each["title"] and each["holds_for"].startswith("0G Direct") for each in listed)


def test_copies_are_the_notebooks_without_what_they_showed(steady, tmp_path):
    document = steady.json("notebooks", "copy", str(tmp_path / "mine"))
    assert document["files"] == [f"{name}.ipynb" for name in sources()]
    for name in sources():
        copied = json.loads((tmp_path / "mine" / f"{name}.ipynb").read_text())
        kept = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
        text = [("".join(cell["source"]), cell["cell_type"]) for cell in copied["cells"]]
        assert text == [("".join(cell["source"]), cell["cell_type"]) for cell in kept["cells"]]
        assert not any(cell.get("outputs") for cell in copied["cells"])
        assert copied["metadata"]["kernelspec"]["name"] == "python3"


def test_one_is_chosen_by_name_or_number(steady, tmp_path):
    ran = steady("notebooks", "copy", str(tmp_path), "--only", "02", "--only", "05_audit")
    assert "2 notebooks written" in ran.out
    assert "jupyter lab" in ran.err
    assert {path.name for path in tmp_path.iterdir()} == {"02_compare_providers.ipynb", "05_audit.ipynb"}
    error = steady.fails("notebooks", "copy", str(tmp_path), "--only", "9", code=1)
    assert error["code"] == "no_notebook"
    assert "01_quickstart" in error["hint"]


def test_no_file_is_written_over_and_none_written_beside_it(steady, tmp_path):
    (tmp_path / "03_verified_agent.ipynb").write_text("mine")
    assert steady.fails("notebooks", "copy", str(tmp_path), code=1)["code"] == "file_exists"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_made_is_said(steady, tmp_path):
    (tmp_path / "file").write_text("")
    assert steady.fails("notebooks", "copy", str(tmp_path / "file" / "in"), code=1)["code"] == "bad_file"


def test_without_jupytext_the_extra_is_named(steady, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "jupytext":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    error = steady.fails("notebooks", "copy", str(tmp_path / "mine"), code=1)
    assert error["code"] == "missing_extra"
    assert "zerog-integrations[notebooks]" in error["hint"]
    assert not (tmp_path / "mine").exists()


def test_a_wheels_own_copies_go_before_a_folder_beside_it(monkeypatch, tmp_path):
    import zg_core.cli.notebooks.commands as module

    (tmp_path / "01_other.py").write_text("# # Other\n")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "commands.py"))
    assert list(sources()) == ["01_other"]


@pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS.glob("*.py")))
def test_the_build_puts_each_notebook_into_the_wheel(name):
    import tomllib

    settings = tomllib.loads((NOTEBOOKS.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
    included = settings["build"]["targets"]["wheel"]["force-include"]
    assert included[f"notebooks/{name}.py"] == f"zg_core/cli/notebooks/{name}.py"
