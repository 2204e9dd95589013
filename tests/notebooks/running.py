"""Runs a notebook in a fresh kernel and an empty directory, and makes what it shows fit to be committed."""

from __future__ import annotations

import importlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import jupytext
from nbclient import NotebookClient
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = ROOT / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))
FIGURE = ROOT / "docs" / "compare.png"
TIMEOUT = 240
MOST_BYTES = 250_000

# What no output may hold: a path of a machine, an address of a server, a token or a key.
FORBIDDEN = {
    "a path": r"(?<![\w.:/])/(?:[a-z][\w.-]*/)+[\w.-]+|[A-Z]:\\\\|site-packages|ipykernel",
    "an address": r"https?://|\b127\.0\.0\.1\b|\blocalhost\b|\b\d{1,3}(?:\.\d{1,3}){3}\b",
    "a token": r"app-sk-[A-Za-z0-9+/=]",
    "a private key": r"\b(?:0x)?[0-9a-f]{64}\b",
}


def execute(name: str) -> Any:
    """The notebook `name` (from its ``.py``), run."""
    notebook = jupytext.read(NOTEBOOKS / f"{name}.py")
    with tempfile.TemporaryDirectory() as place:
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("ZEROG_", "ZG_"))}
        environ.pop("PRIVATE_KEY", None)
        environ |= {
            "HOME": place,
            "ZEROG_HOME": place,
            "IPYTHONDIR": place,
            "MPLCONFIGDIR": place,
            "JUPYTER_RUNTIME_DIR": place,
        }
        # files instead of ports: nobody else on the machine can talk to the kernel
        config = Config(KernelManager={"transport": "ipc", "ip": str(Path(place) / "kernel")})
        resources = {"metadata": {"path": place}}
        client = NotebookClient(notebook, config=config, timeout=TIMEOUT, kernel_name="python3", resources=resources)
        client.execute(env=environ)
    return tidy(notebook)


def tidy(notebook: Any) -> Any:
    """Without what differs from machine to machine: times of execution, ids, versions of Python."""
    notebook.metadata = {
        "jupytext": {"formats": "ipynb,py:percent"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            output.pop("transient", None)
            if "metadata" in output:
                output["metadata"] = {}
    return notebook


def texts(notebook: Any) -> list[str]:
    """Everything that the outputs show, pictures left out."""
    shown = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            shown.append(output.get("text", ""))
            shown += [str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/")]
            shown += [*output.get("traceback", ()), output.get("evalue", "")]
    return ["".join(text) for text in shown]


def problems(notebook: Any) -> list[str]:
    """What the outputs show and may not."""
    return [
        f"{what}: {match.group()}"
        for text in texts(notebook)
        for what, pattern in FORBIDDEN.items()
        for match in re.finditer(pattern, text)
    ]


def output_of(notebook: Any, tag: str, kind: str) -> str:
    """What the cell with `tag` shows as `kind`."""
    (cell,) = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", ())]
    (value,) = [output["data"][kind] for output in cell.outputs if kind in output.get("data", {})]
    return "".join(value)
