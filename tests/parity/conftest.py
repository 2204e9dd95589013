"""The three sides that every scenario is played on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from zg_core.localnet.chain import abi

from . import reference
from .deployment import deploy, prepare
from .sides import Local
from .sides import anvil as running_anvil
from .stage import Records, Stage


@pytest.fixture(scope="session")
def records() -> Records:
    """What all scenarios together went through."""
    return Records()


@pytest.fixture(scope="session")
def stage(anvil_program: str, records: Records) -> Iterator[Stage]:
    """The real contracts on anvil, ours on anvil, and ours on our own chain."""
    real = reference.contracts()

    def real_code(name: str) -> bytes:
        return bytes.fromhex(real[name]["bytecode"][2:]) if name in real else abi.creation_code(name)

    with (
        running_anvil(anvil_program, "real on anvil") as first,
        running_anvil(anvil_program, "ours on anvil") as second,
    ):
        sides = [first, second, Local("ours on our chain")]
        made = Stage(sides, [real_code, abi.creation_code, abi.creation_code], records)
        try:
            deploy(made, [0, 1])
            prepare(made)
            yield made
        finally:
            made.close()


@pytest.fixture(scope="session")
def anvil_program(anvil: str | None) -> str:
    """The program; the tests are marked with what they need, so that it is there."""
    assert anvil is not None
    return anvil


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show the gas that was compared."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", ()):
            if name == "gas":
                terminalreporter.write_sep("-", "gas: the largest differences")
                terminalreporter.write_line(value)
