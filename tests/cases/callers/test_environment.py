"""What is written in the program wins over what the environment names: another model, a fallback, `None`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cases.callers.conftest import MODEL
from tests.patience import PATIENCE
from zg_core import VerificationFailed
from zg_core.localnet import LocalNet

OTHER = "local-chat-1"
SENTENCE = "Say 'other'"


@pytest.mark.parametrize("more", [{}, {"provider": None}, {"provider": ""}], ids=str)
def test_a_model_that_was_passed_is_asked_although_the_environment_names_another_provider(
    callers_net: LocalNet, lc: Any, li: Any, keeper: Any, way: Any, more: dict[str, Any]
) -> None:
    other = callers_net.providers[1]
    before = len(other.log)
    way.lc(lc(model=OTHER, **more), SENTENCE)
    way.li(li(model=OTHER, **more), [_user(SENTENCE)])
    assert len(other.log) == before + 2
    assert keeper.bodies == []


def test_without_arguments_the_environment_says_who_is_asked(lc: Any, li: Any, keeper: Any, way: Any) -> None:
    way.lc(lc(), "q")
    way.li(li(), [_user("q")])
    assert len(keeper.bodies) == 2
    assert keeper.last["model"] == MODEL


def test_a_fallback_to_another_model_works(callers_net: LocalNet, lc: Any) -> None:
    chain = lc(verify="require").with_fallbacks([lc(model=OTHER)], exceptions_to_handle=(VerificationFailed,))
    with callers_net.providers[0].fault("body_changed"):
        assert chain.invoke(SENTENCE).text == "other"


def test_the_model_named_on_the_command_line_is_asked(callers_net: LocalNet, tmp_path: Path) -> None:
    environment = {**callers_net.env(), "PATH": "", "ZEROG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "zg_core.cli", "chat", "--model", OTHER, SENTENCE],
        env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "other" in done.stdout


def _user(text: str) -> Any:
    from llama_index.core.llms import ChatMessage

    return ChatMessage(text)
