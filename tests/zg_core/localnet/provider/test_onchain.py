"""A provider's contract calls."""

import json

import pytest

from zg_core.localnet import Chain, ProviderSpec, Tier
from zg_core.localnet.base.keys import Key
from zg_core.localnet.chain import abi
from zg_core.localnet.chain.chain import Reverted
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.provider.onchain import ChainSide, Registration, additional_info

OWNER = next(iter(DEV_KEYS.values()))


@pytest.fixture
def side():
    chain, key = Chain(), Key.random()
    chain.set_balance(key.address, 300 * 10**18)
    return ChainSide(chain, key, OWNER)


def registration(**changes):
    fields = {
        "service_type": "chatbot",
        "url": "http://127.0.0.1:1",
        "model": "m",
        "verifiability": "TeeML",
        "input_price": 1,
        "output_price": 2,
        "additional_info": "{}",
        "tee_signer": Key.random().address,
    }
    return Registration(**(fields | changes))


def test_registering_stakes_once_and_updates_for_free(side):
    side.register(registration(), first=True)
    assert side.service()["model"] == "m"
    side.register(registration(model="n"), first=False)
    assert side.service()["model"] == "n"
    with pytest.raises(Reverted) as refused:
        side.register(registration(), first=True)
    assert abi.inference().decode_error(refused.value.data)[0] == "CannotAddStakeWhenUpdating"


def test_the_owner_confirms_and_takes_back(side):
    side.register(registration(), first=True)
    assert not side.signer_acknowledged()
    side.acknowledge()
    assert side.signer_acknowledged()
    side.revoke_acknowledgement()
    assert not side.signer_acknowledged()


def test_a_missing_account_is_none(side):
    assert side.account(Key.random().address) is None


def test_a_settlement_has_one_to_fifty_users(side):
    for items in ([], [None] * 51):
        with pytest.raises(ValueError, match="1 to 50"):
            side.settle(items, Key.random())


def test_the_published_text_fits_the_contracts_limit_and_is_compact():
    tiers = tuple(Tier(1000 * number, 3, 5, 2, 4) for number in range(1, 12))
    text = additional_info(ProviderSpec(kind="TeeTLS", tiers=tiers), target_tee_address="0x")
    assert len(text.encode()) <= 4096
    assert ": " not in text
    assert json.loads(text)["tieredPricing"]["tiers"][0] == {
        "maxInputTokens": 1000,
        "inputMultiplier": 3,
        "outputMultiplier": 5,
        "inputMultiplierDenominator": 2,
        "outputMultiplierDenominator": 4,
    }
