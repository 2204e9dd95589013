"""Makes the virtual environments of this repository; `make` calls it, nothing else needs to.

    python .ci/environment.py setup NAME     make or update one environment (quick when nothing changed)
    python .ci/environment.py lock [NAME…]   resolve the constraints files again (--upgrade: the newest)

Needs only the standard library and Python 3.11: uv comes from the package index into `.venv-tools`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv-tools"
UV_REQUIREMENT = "uv>=0.8,<1"
OLDEST_PYTHON = (3, 11)
STAMP = ".installed"


@dataclass(frozen=True)
class Environment:
    """One virtual environment: where it is, what goes in, which versions."""

    directory: str
    constraints: str
    extras: tuple[str, ...]
    groups: tuple[str, ...] = ()
    overrides: str | None = None
    lock: bool = True
    version: str | None = None  # of another Python; None for the one that runs this

    @property
    def path(self) -> Path:
        """Where the environment is."""
        return ROOT / self.directory

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


FRAMEWORKS = ("langchain", "llama-index", "localnet", "serve", "cli", "attestation", "postgres", "otel", "opengradient")
ENVIRONMENTS = {
    "main": Environment(".venv", "constraints.txt", ("all",), ("dev",)),
    "demo": Environment(".venv-demo", "constraints.txt", ("localnet", "langchain", "cli", "opengradient"), lock=False),
    "openai2": Environment(".venv-openai2", "constraints-openai2.txt", FRAMEWORKS, ("test", "openai2")),
    "newest": Environment(
        ".venv-newest", "constraints-newest.txt", FRAMEWORKS, ("test", "newest"), ".ci/overrides-newest.txt"
    ),
    **{
        version: Environment(f".venv-{version}", "constraints.txt", FRAMEWORKS, ("test",), lock=False, version=version)
        for version in ("3.12", "3.13")
    },
}


def uv() -> str:
    """The path of uv, installed into its own small environment when it is not there yet."""
    program = TOOLS / ("Scripts/uv.exe" if os.name == "nt" else "bin/uv")
    if not program.exists():
        print(f"{TOOLS.name}: installing {UV_REQUIREMENT}", flush=True)
        shutil.rmtree(TOOLS, ignore_errors=True)
        try:
            import ensurepip  # noqa: F401
        except ImportError:
            sys.exit(f"{sys.executable} has no ensurepip: install the venv package of this Python first.")
        run([sys.executable, "-m", "venv", str(TOOLS)])
        python = program.with_name("python.exe" if os.name == "nt" else "python")
        run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV_REQUIREMENT])
    return str(program)


def run(command: list[str]) -> None:
    """Run a command; on failure end with its exit status, its own message says why."""
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status:
        sys.exit(status)


def interpreter(version: str | None) -> str | None:
    """The path of a Python of this version that runs, None where there is none; without one, of this Python."""
    if version is None:
        return sys.executable
    names = [shutil.which(f"python{version}")]
    for versions in {Path(sys.base_prefix).parent, Path.home() / ".pyenv/versions"}:  # one directory for each
        names += sorted(map(str, versions.glob(f"{version}*/bin/python{version}")), reverse=True)
    probe = "import sys; sys.exit('%d.%d' % sys.version_info[:2] != sys.argv[1])"
    for name in filter(None, names):
        if subprocess.run([name, "-c", probe, version], capture_output=True, check=False).returncode == 0:
            return name
    return None


def fingerprint(environment: Environment) -> str:
    """A hash of everything that decides what the environment holds."""
    digest = hashlib.sha256(repr((environment, str(ROOT), sys.version, UV_REQUIREMENT)).encode())
    for name in ("pyproject.toml", environment.constraints, environment.overrides):
        if name:
            digest.update((ROOT / name).read_bytes())
    release = ROOT / "zg_core/__init__.py"  # where the version stands
    if release.exists() and (
        version := re.search(r"^__version__ = .*$", release.read_text(encoding="utf-8"), re.MULTILINE)
    ):
        digest.update(version[0].encode())
    return digest.hexdigest()


def setup(environment: Environment) -> None:
    """Install the project, editable, with the extras, groups and versions of one environment."""
    stamp, wanted = environment.path / STAMP, fingerprint(environment)
    if environment.python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    started = time.monotonic()
    python = interpreter(environment.version)
    if python is None:
        print(f"{environment.directory}: SKIPPED, there is no Python {environment.version} on this machine", flush=True)
        shutil.rmtree(environment.path, ignore_errors=True)
        return
    program = uv()
    version = environment.version or ".".join(map(str, sys.version_info[:3]))
    what = f"zerog-integrations[{','.join(environment.extras)}]"
    if environment.groups:
        what += f" and the groups {', '.join(environment.groups)}"
    print(f"{environment.directory}: Python {version}, {what}, {environment.constraints}", flush=True)
    stamp.unlink(missing_ok=True)
    run([program, "venv", "--quiet", "--allow-existing", "--python", python, str(environment.path)])
    command = [program, "pip", "install", "--python", str(environment.python), "--exact"]
    command += ["--editable", f".[{','.join(environment.extras)}]", "--constraints", environment.constraints]
    for group in environment.groups:
        command += ["--group", group]
    if environment.overrides:
        command += ["--overrides", environment.overrides]
    install(command)
    stamp.write_text(wanted)
    print(f"{environment.directory}: ready in {time.monotonic() - started:.0f} s", flush=True)


def install(command: list[str]) -> None:
    """Run uv, passing its progress on as it comes and its list of packages as one paragraph."""
    changes: list[str] = []
    # Compiled once here, not by the first import of whoever is waiting for it.
    settings = {**os.environ, "UV_COMPILE_BYTECODE": "1", "NO_COLOR": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=settings, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if change := re.match(r" ([+\-~]) (\S+?)==(\S+)", line):
                sign, package, version = change.groups()
                changes.append(f"{'' if sign == '+' else sign}{package} {version}")
            elif line.strip() and not re.search(r"zerog-integrations @|^Using Python|^Installed", line):
                print("  " + line.rstrip(), flush=True)
    if changes:
        width = min(shutil.get_terminal_size((120, 24)).columns, 140)
        text = textwrap.fill(", ".join(changes), width, break_on_hyphens=False, break_long_words=False)
        print(textwrap.indent(text, "  "), flush=True)
    if process.returncode:
        sys.exit(process.returncode)


def lock(name: str, *, upgrade: bool) -> None:
    """Resolve one constraints file: for every platform and Python we support, and without any address."""
    environment = ENVIRONMENTS[name]
    target = ROOT / environment.constraints
    command = [uv(), "pip", "compile", "--quiet", "pyproject.toml", "--universal", "--python-version", "3.11"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    for extra in environment.extras:
        command += ["--extra", extra]
    for group in environment.groups:
        command += ["--group", group]
    if environment.overrides:
        command += ["--overrides", environment.overrides]
    if upgrade:
        command += ["--upgrade"]
    run([*command, "--output-file", str(target)])
    own = "zerog-integrations"
    pins = [line for line in target.read_text().splitlines() if line and not line.startswith((own, "-e", "#"))]
    header = f"# The versions the {name} environment is tested with; made by `make constraints`."
    target.write_text("\n".join([header, *pins]) + "\n")
    print(f"{environment.constraints}: {len(pins)} versions")


def main() -> None:
    """Read the command line."""
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]} (make PYTHON=python3.11 …)")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup").add_argument("name", choices=ENVIRONMENTS)
    locking = commands.add_parser("lock")
    locking.add_argument("names", nargs="*", metavar="NAME")
    locking.add_argument("--upgrade", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "setup":
        setup(ENVIRONMENTS[arguments.name])
    else:
        for name in arguments.names or [name for name, one in ENVIRONMENTS.items() if one.lock]:
            lock(name, upgrade=arguments.upgrade)


if __name__ == "__main__":
    main()
