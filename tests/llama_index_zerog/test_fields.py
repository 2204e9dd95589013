"""The shared settings: nothing mistyped is dropped, and a model made again asks for as much proof."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llama_index_zerog import ZeroG, ZeroGEmbedding
from zg_core import Policy, Wallet
from zg_core.verify.conditions import AllOf, Kinds, ResponseBound

KEY = "0x" + "5e" * 32
MODELS = [ZeroG, ZeroGEmbedding]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", ["verfy", "private_kee", "max_retrys"])
def test_a_mistyped_argument_is_named_and_its_value_is_not_repeated(kind: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected argument '{name}': did you mean") as caught:
        kind(**{"private_key": KEY, name: "something secret"})
    assert "secret" not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    "verify",
    [
        "require",
        "off",
        Policy("require", kinds={"TeeML"}, attest=2),
        AllOf(ResponseBound(), Kinds("TeeML")),
    ],
    ids=["require", "off", "policy", "condition"],
)
def test_a_model_made_again_asks_for_the_same_proof(kind: Any, verify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZEROG_VERIFY", raising=False)
    before = kind(private_key=KEY, model="m", network="mainnet", verify=verify)
    monkeypatch.setenv("ZEROG_PRIVATE_KEY", KEY)
    for after in (kind.from_dict(before.to_dict()), kind.from_dict(json.loads(before.to_json()))):
        assert after.network == "mainnet"
        assert Policy.of(after.verify).to_dict() == Policy.of(verify).to_dict()


def test_a_wallet_is_no_part_of_it() -> None:
    assert "5e5e" not in json.dumps(ZeroG(wallet=Wallet.from_key(KEY), model="m").to_dict())


@pytest.mark.parametrize("kind", MODELS)
def test_both_take_the_models_name_under_either_name(kind: Any) -> None:
    for made in (kind("m", private_key=KEY), kind(model="m", private_key=KEY), kind(model_name="m", private_key=KEY)):
        assert made.model == "m"
        assert kind.from_dict({**made.to_dict(), "private_key": KEY}).model == "m"
    nameless = kind(private_key=KEY)
    assert kind.from_dict({**nameless.to_dict(), "private_key": KEY}).model is None
