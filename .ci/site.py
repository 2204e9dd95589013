"""What `make docs` adds to the pages of `docs/`: the reference, made from the code, and the files of the top folder.

MkDocs calls `on_files` (it is a hook, see mkdocs.yml). Everything here reads: nothing is written beside the site.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("zg_core", "langchain_zerog", "llama_index_zerog")
HOLDS = "*Holds for all backends.*"
ASIDE = ("zg_core/localnet",)  # has errors of its own


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_post_build(config: Any) -> None:
    """Put our own program in the place of one that the theme would load from elsewhere, for search in a folder."""
    own = (ROOT / ".ci/worker.js").read_text(encoding="utf-8")
    for path in Path(config.site_dir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        theirs = r'<script src="https://[^"]*iframe-worker[^"]*"></script>'
        mended = re.sub(theirs, lambda _: f"<script>{own}</script>", text)
        if mended != text:
            path.write_text(mended, encoding="utf-8")


def pages() -> dict[str, str]:
    """Every generated page by its name."""
    sys.path[:0] = [str(ROOT)]
    try:
        return {
            **{f"reference/{package}.md": api(package) for package in PACKAGES},
            "reference/cli.md": commands(),
            "reference/errors.md": errors(),
            "reference/settings.md": settings(),
            "reference/receipt.md": receipt(),
            **{f"{name.lower()}.md": top(f"{name}.md") for name in ("SECURITY", "CHANGELOG", "CONTRIBUTING")},
        }
    finally:
        sys.path.remove(str(ROOT))


def top(name: str) -> str:
    """A file of the top folder, whose links lead into the site."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\]\((?:\./)?docs/([^)]+)\)", r"](\1)", text)
    title, _, rest = text.partition("\n\n")
    text = f"{title}\n\n{HOLDS}\n\n{rest}"
    return re.sub(r"\]\((SECURITY|CHANGELOG|CONTRIBUTING)\.md", lambda each: f"]({each[1].lower()}.md", text)


# The interfaces of the packages


def api(package: str) -> str:
    """The public names of a package, each with its docstring."""
    module = importlib.import_module(package)
    names = sorted(name for name in module.__all__ if not name.startswith("_"))
    lines = [f"# {package}", "", HOLDS, "", (module.__doc__ or "").strip(), ""]
    for name in names:
        found = getattr(module, name)
        home = getattr(found, "__module__", package)
        path = f"{home}.{name}" if isinstance(home, str) and home.startswith(PACKAGES) and callable(found) else ""
        lines += [f"::: {path}" if path else f"## {name}\n\n`{package}.{name}`: {_kind(found)}", ""]
        if path:
            lines += ["    options:", "      heading_level: 2\n      show_root_full_path: false", ""]
    return "\n".join(lines)


def _kind(value: Any) -> str:
    return f"a constant of type `{type(value).__name__}`."


# The command line


def commands() -> str:
    """Every command with its arguments and options."""
    from typer.main import get_command

    from zg_core.cli.app import cli

    root = get_command(cli)
    lines = [
        "# Command line",
        "",
        "*Holds for all backends; commands that move money for 0G Direct, `zerog router` and `zerog opengradient` for",
        "theirs.*",
        "",
        "Made from the program: `zerog COMMAND --help` says the same. What the commands print",
    ]
    lines += ["with `--json`, and their exit codes, are on [a page of their own](../cli.md).", ""]
    shared = {"--json", "--network", "--rpc-url", "--ca-file", "--allow-private-providers", "--help"}
    for path, command in _leaves(root, "zerog"):
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        options = [each for each in command.params if each.param_type_name == "option" and not shared & set(each.opts)]
        usage = " ".join([path, *(each.metavar or (each.name or "").upper() for each in arguments), "[options]"])
        lines += [f"## {path}", "", _words(command.help), "", f"```text\n{usage}\n```", ""]
        rows = [(each.metavar or (each.name or "").upper(), getattr(each, "help", "")) for each in arguments]
        rows += [(_spelled(each), getattr(each, "help", "")) for each in options if not getattr(each, "hidden", False)]
        if rows:
            lines += ["| | |", "|---|---|", *(f"| `{_cell(a)}` | {_cell(_words(b))} |" for a, b in rows), ""]
    lines += ["## Options of every command", "", "| | |", "|---|---|"]
    some = next(command for path, command in _leaves(root, "zerog") if path == "zerog providers")
    lines += [
        f"| `{_cell(_spelled(each))}` | {_cell(_words(getattr(each, 'help', '')))} |"
        for each in some.params
        if shared & set(each.opts)
    ]
    return "\n".join([*lines, ""])


def _leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        if hasattr(inner, "commands"):
            yield from _leaves(inner, f"{path} {name}")
        else:
            yield f"{path} {name}", inner


def _spelled(option: Any) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {option.metavar or (option.name or '').upper()}"


def _words(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# The errors


@dataclass(frozen=True)
class Raised:
    """A place that makes an error."""

    code: str
    kind: str
    message: str
    hint: str
    where: str


def errors() -> str:
    """Every error code with its cause, as the message says it, and its fix, as the hint says it."""
    module = importlib.import_module("zg_core.errors")
    lines = ["# Errors", "", HOLDS, "", "The tree of classes, as `zg_core.errors` has it:", ""]
    tree = (module.__doc__ or "").partition("::\n\n")[2].partition("\n\n")[0]
    lines += ["```text", *(line[4:] for line in tree.splitlines()), "```", ""]
    lines += ["Every code that an error of ours can have. *Cause* is its message and *fix* its hint; what stands in "]
    lines += ["{braces} is filled in when it happens.", ""]
    by_code: dict[str, list[Raised]] = {}
    for each in raised():
        by_code.setdefault(each.code, []).append(each)
    notes = told()["codes"]
    for code in notes:
        by_code.setdefault(code, [])
    for code, places in sorted(by_code.items()):
        kinds = sorted({each.kind for each in places if each.kind})
        lines += [f"## {code}", ""]
        if kinds:
            lines += [f"Raised as {', '.join(f'`{kind}`' for kind in kinds)}.", ""]
        said = dict.fromkeys((each.message, each.hint) for each in places if each.message)
        if code in notes:  # what the places say in part alone is told in words
            said = dict.fromkeys([tuple(notes[code]), *((cause, fix) for cause, fix in said if cause and fix)])
        if said:
            lines += ["| cause | fix |", "|---|---|"]
            lines += [f"| {_prose(message)} | {_prose(hint) or '-'} |" for message, hint in said]
        lines += [""]
    return "\n".join(lines)


def told() -> dict[str, Any]:
    """What is said of codes by hand, and the places whose code is not written there."""
    return tomllib.loads((ROOT / ".ci/errors.toml").read_text(encoding="utf-8"))


def unwritten() -> set[str]:
    """The places whose code is an expression, as ``path: expression``."""
    found = set()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(ASIDE):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                keywords = node.keywords if isinstance(node, ast.Call) else []
                found |= {
                    f"{name}: {ast.unparse(each.value)}"
                    for each in keywords
                    if each.arg == "code" and not _texts(each.value)
                }
    return found


def _prose(text: str) -> str:
    return _cell(text).replace("<", "&lt;").replace("*", "\\*").replace("[", "\\[").replace("_", "\\_")


def raised() -> list[Raised]:
    """Every place in the packages that makes an error with a code that is written there, and every class's own code."""
    found: list[Raised] = []
    classes = {
        name: kind.default_code
        for name, kind in vars(importlib.import_module("zg_core.errors")).items()
        if isinstance(kind, type) and hasattr(kind, "default_code")
    }
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(ASIDE):
                found += _raised_in(ast.parse(path.read_text(encoding="utf-8")), name, classes)
    known = {each.code for each in found}
    found += [Raised(code, kind, "", "", "zg_core/errors.py") for kind, code in classes.items() if code not in known]
    return found


def _raised_in(tree: ast.Module, where: str, classes: dict[str, str]) -> Iterator[Raised]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        kind = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        named = {each.arg: each.value for each in node.keywords if each.arg}
        if kind == "HttpError" and len(node.args) > 2:  # of `zerog serve`: status, code, message, hint
            hint = _template(named.get("hint", node.args[3] if len(node.args) > 3 else None))
            for code in _texts(node.args[1]):
                yield Raised(code, kind, _template(node.args[2]), hint, f"{where}:{node.lineno}")
            continue
        written = _texts(named["code"]) if "code" in named else [classes[kind]] if kind in classes else []
        if not node.args and kind not in classes:
            continue
        message = _template(node.args[0]) if node.args else ""
        for code in written:
            if re.fullmatch(r"[a-z][a-z0-9_]+", code):
                shown = kind if kind in classes or kind[:1].isupper() else ""
                yield Raised(code, shown, message, _template(named.get("hint")), f"{where}:{node.lineno}")


def _texts(node: ast.expr) -> list[str]:
    """The texts that an expression can be, as far as they are written there."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    return []


def _template(node: ast.expr | None) -> str:
    """A text with what is filled in later in angle quotes."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        name = ast.unparse(node.value).split("(")[0].split(".")[-1].strip("_")
        return "{" + name + "}"
    if isinstance(node, ast.BinOp):
        return _template(node.left) + _template(node.right)
    if isinstance(node, ast.IfExp):
        return _template(node.body) or _template(node.orelse)
    return ""


# The settings of the framework classes


def settings() -> str:
    """What `ChatZeroG`, `ZeroG` and both embedding classes take, from the one place that declares it."""
    path = ROOT / "zg_core/frameworks/fields.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    fields = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ClientFields")
    lines = [
        "# Settings",
        "",
        "*Holds for all backends; wallet, provider and attestation for 0G Direct, where nothing else is said.*",
        "",
        "What `ChatZeroG`, `ZeroGEmbeddings` (LangChain), `ZeroG` and `ZeroGEmbedding` (LlamaIndex)",
    ]
    lines += [
        "take beside what their framework and their task bring. `ChatClient` takes the same by the same names.",
        "",
    ]
    lines += ["| setting | type | meaning |", "|---|---|---|"]
    for node, after in zip(fields.body, fields.body[1:], strict=False):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        said = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        if said:
            kind = ast.unparse(node.annotation)
            lines.append(f"| `{node.target.id}` | `{_cell(kind)}` | {_cell(_words(str(said)))} |")
    return "\n".join([*lines, ""])


# The form of receipts


def receipt() -> str:
    """Every field of a receipt, from the schema that the wheel holds."""
    path = ROOT / "zg_core/receipts/schema-v2.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        "# The form of a receipt",
        "",
        "*Holds for all backends.*",
        "",
        "Made from the JSON schema of `zerog-receipt/2`, which is in the package as `zg_core/receipts/schema-v2.json`.",
        "[Receipts](../receipts.md#fields) says what the fields mean, and who vouches for each. Unless its row says",
        "null, a field is always there; nothing that is not listed may be.",
        "",
        "| field | form |",
        "|---|---|",
        *(f"| `{name}` | {_cell(form)} |" for name, form in _fields(schema, schema, "")),
        "",
    ]
    return "\n".join(lines)


def _fields(schema: dict[str, Any], node: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name, found in node.get("properties", {}).items():
        inner = _followed(schema, found)
        whole = f"{path}{name}"
        yield whole, _form(schema, found)
        for each in [inner, *(_followed(schema, other) for other in inner.get("anyOf", []))]:
            yield from _fields(schema, each, f"{whole}.")


def _followed(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def _form(schema: dict[str, Any], node: dict[str, Any]) -> str:
    """A form in words: the kind of value, what it can be, how large, how it is written."""
    node = _followed(schema, node)
    if "anyOf" in node:
        return " or ".join(_form(schema, each) for each in node["anyOf"])
    if "const" in node:
        return f"`{json.dumps(node['const'])}`"
    if "enum" in node:
        return ", ".join(f"`{json.dumps(each)}`" for each in node["enum"])
    kinds = node.get("type", "any value")
    words = kinds if isinstance(kinds, str) else " or ".join(kinds)
    if "items" in node:
        words += f" of {_form(schema, node['items'])}"
    says = {
        "format": "{}",
        "contentEncoding": "in {}",
        "pattern": "`{}`",
        "minimum": "at least {}",
        "maximum": "at most {}",
        "maxLength": "at most {} characters",
    }
    return ", ".join([words, *(text.format(node[name]) for name, text in says.items() if name in node)])
