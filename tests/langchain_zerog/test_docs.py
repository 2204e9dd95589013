"""The examples in the documentation of the code, run on the local network."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap

import pytest

import langchain_zerog
from langchain_zerog import ChatZeroG
from zg_core.localnet import LocalNet, LocalProvider

SECTIONS = [
    "Setup",
    "Key init args (completion)",
    "Key init args (client)",
    "Instantiate",
    "Invoke",
    "Stream",
    "Async",
    "Tool calling",
    "Structured output",
    "Token usage",
    "Response metadata",
]


def examples() -> dict[str, str]:
    """The python examples of the class, by section."""
    parts = re.split(r"^([A-Z][\w ()]+):$", inspect.getdoc(ChatZeroG) or "", flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert [name for name in sections if name in SECTIONS] == SECTIONS
    found = {}
    for name, body in sections.items():
        blocks = re.findall(r"```python\n(.*?)^ *```", body, flags=re.DOTALL | re.MULTILINE)
        if blocks:
            found[name] = "\n".join(textwrap.dedent(block) for block in blocks)
    return found


def test_the_class_documents_every_section_with_an_example() -> None:
    assert list(examples()) == SECTIONS[3:]


def test_the_examples_run_in_order_and_say_what_they_should(
    local: LocalNet, provider: LocalProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    said: dict[str, str] = {}
    names: dict[str, object] = {"__name__": "example"}
    for section, code in examples().items():
        exec(compile(code, f"ChatZeroG: {section}", "exec"), names)
        said[section] = capsys.readouterr().out.strip()
    assert "5" in said["Invoke"]
    assert said["Stream"]
    assert said["Async"]
    assert said["Tool calling"] == "multiply {'a': 6, 'b': 7}"
    assert said["Structured output"] == "name='Ada' age=36"
    assert "input_tokens" in said["Token usage"]
    verdict, receipt = said["Response metadata"].splitlines()
    assert verdict.startswith("verified ")
    assert verdict.endswith(" neuron")
    assert receipt.endswith(" 0G")


@pytest.mark.parametrize(
    "name", ["langchain_zerog", *(f"langchain_zerog.{m.name}" for m in pkgutil.iter_modules(langchain_zerog.__path__))]
)
def test_doctests_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
