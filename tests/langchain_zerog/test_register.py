"""`register()` makes LangChain's factories know "zerog"; an import alone does not."""

from __future__ import annotations

import gc
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain.chat_models import base as chat_base
from langchain.chat_models import init_chat_model
from langchain.embeddings import base as embeddings_base
from langchain.embeddings import init_embeddings
from langchain_core.runnables import ConfigurableField

from langchain_zerog import ChatZeroG, ZeroGEmbeddings, receipt_of, register
from zg_core.localnet import LocalNet

MODULES = (chat_base, embeddings_base)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What the test registers is forgotten."""
    yield
    for module in MODULES:
        module._BUILTIN_PROVIDERS.pop("zerog", None)
    chat_base._get_chat_model_creator.cache_clear()
    embeddings_base._get_embeddings_class_creator.cache_clear()


def test_an_import_registers_nothing() -> None:
    code = (
        "import langchain_zerog, sys\nfor name in langchain_zerog.__all__: getattr(langchain_zerog, name)\n"
        "assert 'langchain.chat_models' not in sys.modules\n"
        "from langchain.chat_models import base\nassert 'zerog' not in base._BUILTIN_PROVIDERS"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_name_makes_a_model_that_answers(local: LocalNet, talk: Any) -> None:
    register()
    model = init_chat_model("zerog:local-chat-1", temperature=0, verify="require")
    assert isinstance(model, ChatZeroG)
    reply = talk.invoke(model, "What is 2 + 3?")
    model.close()
    assert "5" in reply.text
    receipt = receipt_of(reply)
    assert receipt is not None
    assert receipt.model == "local-chat-1"


def test_it_can_be_called_again_and_keeps_what_is_there() -> None:
    register()
    tables = [dict(module._BUILTIN_PROVIDERS) for module in MODULES]
    register()
    assert [dict(module._BUILTIN_PROVIDERS) for module in MODULES] == tables


def test_a_configurable_model_is_made_when_it_is_called(local: LocalNet) -> None:
    register()
    model = init_chat_model(configurable_fields=("model", "model_provider"), temperature=0)
    reply = model.invoke("Hello", {"configurable": {"model": "local-chat-1", "model_provider": "zerog"}})
    assert reply.response_metadata["zerog"]["provider"] == local.providers[0].address


def test_a_name_makes_embeddings() -> None:
    register()
    made = init_embeddings("zerog:local-embed-1", private_key="0x" + "22" * 32)
    assert isinstance(made, ZeroGEmbeddings)
    assert made.model == "local-embed-1"


@pytest.mark.parametrize("table", [None, {}, {"openai": "elsewhere"}], ids=repr)
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_langchain_that_keeps_its_providers_elsewhere_is_named_and_left_alone(
    monkeypatch: pytest.MonkeyPatch, module: Any, table: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "_BUILTIN_PROVIDERS", table)
        with pytest.raises(RuntimeError, match="nothing was changed"):
            register()
    assert all("zerog" not in each._BUILTIN_PROVIDERS for each in MODULES)


def test_without_langchain_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['langchain'] = None\nimport langchain_zerog; langchain_zerog.register()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'langchain>=1.0'" in result.stderr


def test_fields_can_be_configured_in_each_call(make_model: Callable[..., ChatZeroG], talk: Any) -> None:
    model = make_model().configurable_fields(max_tokens=ConfigurableField(id="limit"))
    prompt = "Write a story about a cat."
    short = talk.invoke(model, prompt, config={"configurable": {"limit": 2}})
    long = talk.invoke(model, prompt, config={"configurable": {"limit": 20}})
    assert short.usage_metadata["output_tokens"] == 2
    assert long.usage_metadata["output_tokens"] > 2
    assert talk.invoke(model, prompt).usage_metadata["output_tokens"] > 2


def test_models_made_for_one_call_leave_no_socket_open(make_model: Callable[..., ChatZeroG]) -> None:
    model = make_model(shared=False).configurable_fields(temperature=ConfigurableField(id="t"))
    model.invoke("Hello", {"configurable": {"t": 0.5}})
    gc.collect()  # what other tests, and the first call of the process, left in cycles
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        for number in range(3):
            model.invoke("Hello", {"configurable": {"t": number / 10}})
        gc.collect()
    assert [str(warning.message) for warning in caught if "unclosed" in str(warning.message)] == []


def test_a_configured_model_keeps_the_key_it_was_given(
    make_model: Callable[..., ChatZeroG], local: LocalNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = local.wallet.private_key
    monkeypatch.delenv("ZEROG_PRIVATE_KEY")
    model = make_model(private_key=key).configurable_fields(temperature=ConfigurableField(id="t"))
    assert model.invoke("Hello", {"configurable": {"t": 0.5}}).text


def test_one_of_several_models_can_be_chosen_in_each_call(make_model: Callable[..., ChatZeroG]) -> None:
    model = make_model(temperature=0).configurable_alternatives(
        ConfigurableField(id="which"), default_key="plain", terse=make_model(max_tokens=1)
    )
    reply: Any = model.invoke("Write a story about a cat.", {"configurable": {"which": "terse"}})
    assert reply.usage_metadata["output_tokens"] == 1
