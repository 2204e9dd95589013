"""What importing and calling loads, and what is said where something is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zg_core.localnet import LocalNet

ROOT = Path(__file__).resolve().parents[2]
NEVER_BY_IMPORT = (
    "web3",
    "eth_account",
    "openai",
    "sqlalchemy",
    "starlette",
    "eth_abi",
    "langchain_openai",
    "tiktoken",
)
NEVER_BY_A_CALL = ("web3", "openai", "sqlalchemy", "starlette", "langchain_openai", "tiktoken", "transformers")


def run(code: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh process."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_the_import_loads_nothing_heavy() -> None:
    code = "import json, sys\nfrom langchain_zerog import ChatZeroG, receipt_of\nprint(json.dumps(list(sys.modules)))"
    result = run(code)
    assert result.returncode == 0, result.stderr
    loaded = {name.partition(".")[0] for name in json.loads(result.stdout)}
    assert not loaded & set(NEVER_BY_IMPORT)


def test_naming_the_package_alone_does_not_load_the_framework() -> None:
    result = run("import sys, langchain_zerog\nprint(langchain_zerog.__version__, 'langchain_core' in sys.modules)")
    assert result.stdout.split()[-1:] == ["False"], result.stderr


def test_one_call_in_a_fresh_process_loads_nothing_heavy(local: LocalNet) -> None:
    import os

    code = (
        "import json, sys\nfrom langchain_zerog import ChatZeroG\n"
        "print(ChatZeroG(verify='require').invoke('Hello').response_metadata['zerog']['status'])\n"
        "print(json.dumps(list(sys.modules)))"
    )
    result = run(code, dict(os.environ))
    assert result.returncode == 0, result.stderr
    status, modules = result.stdout.splitlines()
    assert status == "verified"
    assert not {name.partition(".")[0] for name in json.loads(modules)} & set(NEVER_BY_A_CALL)


@pytest.mark.parametrize(
    "statement",
    ["import langchain_zerog", "from langchain_zerog import ChatZeroG", "import langchain_zerog.chat_models"],
)
def test_without_langchain_core_the_error_says_what_to_install(statement: str) -> None:
    hide = "import sys; sys.modules['langchain_core'] = None\n"
    result = run(hide + statement)
    assert result.returncode != 0
    assert "pip install 'zerog-integrations[langchain]'" in result.stderr.splitlines()[-1], result.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    import langchain_zerog

    with pytest.raises(AttributeError, match="ChatZero"):
        _ = langchain_zerog.ChatZero
    assert {"ChatZeroG", "receipt_of", "__version__"} <= set(dir(langchain_zerog))
