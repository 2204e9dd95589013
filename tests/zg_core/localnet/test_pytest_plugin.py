"""The plugin in a pytest run of its own, as a user has it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.patience import PATIENCE

TESTS = """
import httpx2
import pytest

seen = []


@pytest.fixture(scope="session")
def zerog_localnet_options():
    return {"providers": 2}


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_every_test_finds_the_network_unchanged(zerog_localnet, zerog_wallet, zerog_provider, turn):
    assert len(zerog_localnet.providers) == 2
    assert zerog_provider is zerog_localnet.providers[0]
    assert zerog_provider.log == []
    assert zerog_provider.prices == zerog_localnet.providers[0].spec.input_price, zerog_provider.spec.output_price
    assert zerog_wallet.address not in seen
    seen.append(zerog_wallet.address)
    url = zerog_provider.url + "/v1/proxy/chat/completions"
    assert httpx2.post(url, json={}).status_code == 400
    assert len(zerog_provider.requests) == 1
    zerog_provider.set_price(turn, turn)
    zerog_provider.fault("redirect", times=None)


def test_the_network_lives_on(zerog_localnet):
    assert zerog_localnet.providers[0].requests == []
    assert zerog_localnet.providers[0]._state.faults.active() == []
    assert len(seen) == 3
""".replace(
    "== zerog_localnet.providers[0].spec.input_price, zerog_provider.spec.output_price",
    "== (zerog_provider.spec.input_price, zerog_provider.spec.output_price)",
)


def run(tmp_path, *args, code=TESTS, before=""):
    (tmp_path / "test_user.py").write_text(code)
    command = "import sys, pytest; " + before + "sys.exit(pytest.main(sys.argv[1:]))"
    return subprocess.run(
        [
            sys.executable,
            "-c",
            command,
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            "-p",
            "zg_core.localnet.pytest_plugin",
            *args,
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        cwd=tmp_path,
        timeout=PATIENCE,
    )


def test_the_plugin_is_declared_under_its_name():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"]["zerog_localnet"] == "zg_core.localnet.pytest_plugin"


def test_the_fixtures_work_and_leave_no_trace(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_the_fixtures_are_listed_with_their_help(tmp_path):
    listed = run(tmp_path, "--fixtures").stdout
    for name in ("zerog_localnet", "zerog_provider", "zerog_wallet"):
        assert name in listed
    assert "A fresh wallet with an open sub-account" in listed


def test_a_missing_extra_is_named_by_the_test_that_needs_it(tmp_path):
    hide = (
        "import importlib.abc\n"
        "class F(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *a):\n"
        "        if name.split('.')[0] == 'eth': raise ModuleNotFoundError('no eth', name=name)\n"
        "sys.meta_path.insert(0, F())\n"
    )
    code = "def test_a():\n    pass\n\n\ndef test_b(zerog_wallet):\n    pass\n"
    done = run(tmp_path, code=code, before="\n" + hide)
    assert "1 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "pip install 'zerog-integrations[localnet]'" in done.stdout


def test_loading_the_plugin_imports_nothing_heavy(tmp_path):
    code = (
        "import sys\n\n\ndef test_nothing():\n"
        "    assert not {'eth', 'web3', 'starlette', 'uvicorn', 'coincurve'} & set(sys.modules)\n"
    )
    done = run(tmp_path, code=code)
    assert "1 passed" in done.stdout, done.stdout
