"""``zerog notebooks``: which there are, and copies of them to run and to change."""

import re
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

import zg_core
from zg_core.cli.terminal.options import command
from zg_core.cli.terminal.run import Run
from zg_core.errors import ConfigError

__all__ = ["notebooks", "sources"]

notebooks = typer.Typer(help="Notebooks that run on a local network by themselves.", no_args_is_help=True)

_NAME = "[0-9][0-9]_*.py"


def sources() -> dict[str, Path]:
    """The notebooks' texts by name: those of the wheel, or in a source tree those of its folder ``notebooks``."""
    places = (Path(__file__).parent, Path(zg_core.__file__).resolve().parent.parent / "notebooks")
    return next(({each.stem: each for each in found} for place in places if (found := sorted(place.glob(_NAME)))), {})


@notebooks.command("list")
@command
def list_(run: Run) -> None:
    """List the notebooks, and the networks that each is for."""
    rows = [(name, *_head(path.read_text(encoding="utf-8"))) for name, path in sources().items()]
    run.out.table(["notebook", "what it shows", "holds for"], [list(row) for row in rows])
    run.out.document({"notebooks": [dict(zip(("name", "title", "holds_for"), row, strict=True)) for row in rows]})


@notebooks.command()
@command
def copy(
    run: Run,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; it is made if it is not there.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Only this one, by name or number; may be given several times."),
    ] = None,
) -> None:
    """Write the notebooks to a folder, to be run there: `jupyter lab DIR`.

    A file that is there is never written over.
    """
    known = sources()
    chosen = known if not only else {name: known[name] for each in only for name in [_named(each, known)]}
    read, write = _jupytext()
    targets = {directory / f"{name}.ipynb": path for name, path in chosen.items()}
    for target in targets:
        if target.exists():
            raise ConfigError(
                f"{target} exists already; nothing was written", code="file_exists", hint="give another DIR"
            )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for target, path in targets.items():
            with target.open("x", encoding="utf-8") as file:
                file.write(write(read(path.read_text(encoding="utf-8"), fmt="py:percent"), fmt="ipynb"))
    except OSError as error:
        raise ConfigError(
            f"{directory} cannot be written to: {error.strerror}", code="bad_file", hint="give another DIR"
        ) from None
    run.out.line(f"{len(targets)} notebooks written to {directory}")
    run.out.note(f"run them: jupyter lab {shlex.quote(str(directory))}")
    run.out.document({"directory": str(directory), "files": [each.name for each in targets]})


def _named(text: str, known: dict[str, Path]) -> str:
    """The notebook of this name, or whose name begins so, such as ``02``."""
    found = [name for name in known if text == name] or [name for name in known if text and name.startswith(text)]
    if len(found) != 1:
        raise ConfigError(f"there is no notebook {text[:60]!r}", code="no_notebook", hint=f"one of {', '.join(known)}")
    return found[0]


def _head(text: str) -> tuple[str, str]:
    """A notebook's title, and what it says that it holds for."""
    title = re.search(r"^# # (.+)$", text, re.MULTILINE)
    holds = re.search(r"^# \*Holds for:? (.+?)\.\*$", text, re.MULTILINE)
    return title[1] if title else "", holds[1] if holds else ""


def _jupytext() -> tuple[Any, Any]:
    try:
        import jupytext
    except ImportError:
        hint = "pip install 'zerog-integrations[notebooks]'"
        raise ConfigError("notebooks need jupytext", code="missing_extra", hint=hint) from None
    return jupytext.reads, jupytext.writes
