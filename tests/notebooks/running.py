"""Runs a notebook in a fresh kernel and an empty directory, and makes what it shows fit to be committed."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any, Self

import jupytext
import nbformat
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient

from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = ROOT / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))
FIGURE = ROOT / "docs" / "compare.png"
MOST_BYTES = 250_000
HOMES = ("HOME", "ZEROG_HOME", "IPYTHONDIR", "MPLCONFIGDIR", "JUPYTER_RUNTIME_DIR")

# What no output may hold: a path of a machine, an address of a server, a token or a key.
FORBIDDEN = {
    "a path": r"(?<![\w.:/])/(?:[a-z][\w.-]*/)+[\w.-]+|[A-Z]:\\\\|site-packages|ipykernel",
    "an address": r"https?://|\b127\.0\.0\.1\b|\blocalhost\b|\b\d{1,3}(?:\.\d{1,3}){3}\b",
    "a token": r"app-sk-[A-Za-z0-9+/=]",
    "a private key": r"\b(?:0x)?[0-9a-f]{64}\b",
}


# Before a notebook that is run after another: nothing of that one is left but imported modules. Matplotlib looks for
# fonts where it has never run, and tells whoever waits for more than five seconds: here, where nothing shown is kept.
ANEW = """\
import os
os.chdir({place!r})
get_ipython().run_line_magic("reset", "-f")
import builtins, os
at_the_start = vars(builtins).setdefault("_environ_at_the_start", dict(os.environ))
os.environ.clear()
os.environ.update({{**at_the_start, **dict.fromkeys({homes!r}, {place!r})}})
del at_the_start
import matplotlib.font_manager
"""


def execute(name: str, kernel: Kernel | None = None) -> Any:
    """The notebook `name` (from its ``.py``), run in a kernel of its own or in one that has run others."""
    if kernel is None:
        with Kernel() as own:
            return execute(name, own)
    notebook = jupytext.read(NOTEBOOKS / f"{name}.py")
    with tempfile.TemporaryDirectory() as place:
        anew = nbformat.v4.new_code_cell(ANEW.format(place=place, homes=HOMES))
        notebook.cells.insert(0, anew)
        waits = dict.fromkeys(("timeout", "startup_timeout", "iopub_timeout"), PATIENCE)
        NotebookClient(notebook, km=kernel.manager, **waits).execute()
    del notebook.cells[0]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for each in (cell, *cell.outputs):
                if each.get("execution_count"):
                    each["execution_count"] -= kernel.cells + 1
    kernel.cells += 1 + sum(cell.cell_type == "code" for cell in notebook.cells)
    return tidy(notebook)


def environment(place: str) -> dict[str, str]:
    """The variables of a notebook in the directory `place`: nothing of the developer's own."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("ZEROG_", "ZG_", "OG_"))}
    environ.pop("PRIVATE_KEY", None)
    return environ | dict.fromkeys(HOMES, place)


class Kernel:
    """One process that runs notebooks, one after the other. A context manager."""

    def __init__(self) -> None:
        self.cells = 0
        self._place = tempfile.TemporaryDirectory()
        # files instead of ports: nobody else on the machine can talk to the kernel
        self.manager = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=str(Path(self._place.name) / "k"))

    def __enter__(self) -> Self:
        run_sync(self.manager.start_kernel)(env=environment(self._place.name), cwd=self._place.name)
        return self

    def __exit__(self, *_: object) -> None:
        run_sync(self.manager.shutdown_kernel)(now=True)
        self._place.cleanup()


def tidy(notebook: Any) -> Any:
    """Without what differs from machine to machine: times of execution, ids, versions of Python."""
    notebook.metadata = {
        "jupytext": {"formats": "ipynb,py:percent"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        if "outputs" in cell:
            cell.outputs = _joined(cell.outputs)
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            output.pop("transient", None)
            if "metadata" in output:
                output["metadata"] = {}
    return notebook


def _joined(outputs: list[Any]) -> list[Any]:
    """What was printed in several pieces, as a busy machine does, as one."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last["text"] += output.text
        else:
            joined.append(output)
    return joined


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
