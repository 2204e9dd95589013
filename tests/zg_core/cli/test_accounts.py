"""``zerog account`` and ``zerog settlements``."""

from __future__ import annotations

import pytest


def test_an_empty_wallet_is_told_how_to_begin(poor):
    ran = poor("account")
    assert "1000 0G" in ran.out
    assert "zerog deposit 3" in ran.out
    document = poor.json("account")
    assert document["ledger"] is None
    assert document["accounts"] == []
    assert document["balance"]["neuron"] == str(1000 * 10**18)


def test_a_funded_wallet_sees_ledger_and_accounts(rich, provider):
    ran = rich("account")
    for words in ("0 0G available, 7 0G in sub-accounts", provider, "chat-ml", "7 0G", "local, chain 31337"):
        assert words in ran.out, str(ran)
    document = rich.json("account")
    assert document["ledger"]["locked"]["amount"] == "7"
    (account,) = document["accounts"]
    assert account["provider"] == provider
    assert account["usable"]["neuron"] == str(7 * 10**18)
    assert account["acknowledged"] is True
    assert account["refunds"] == []


def test_anybody_can_look_at_anybody(nobody, rich):
    owner = rich.json("account")["wallet"]
    assert nobody.json("account", "--user", owner.lower()) == rich.json("account")


def test_what_a_provider_settled_is_listed_and_summed(rich, market, provider):
    fees = [int(rich.json("chat", "hi", "--provider", provider)["fee"]["neuron"]) for _ in range(2)]
    market.providers[0].settle()
    document = rich.json("settlements")
    assert document["paid"]["neuron"] == str(sum(fees))
    for item in document["settlements"]:
        assert item["provider"] == provider
        assert item["status"] == "success"
        assert item["signer"] == market.providers[0].tee_signer
        assert item["signed_by_tee_key_on_chain"] is True
        assert len(item["transaction"]) == 66
    ran = rich("settlements")
    assert document["settlements"][0]["transaction"] in ran.out
    assert f"{len(document['settlements'])} settlements, {document['paid']['amount']} 0G paid" in ran.out


def test_the_newest_settlements_come_first_and_no_more_than_asked_for(rich, market, provider):
    for _ in range(3):
        rich("chat", "hi", "--provider", provider)
        market.providers[0].settle()
    every = rich.json("settlements")
    blocks = [each["block"] for each in every["settlements"]]
    assert blocks == sorted(blocks, reverse=True)
    assert every["count"] == len(blocks) == 3
    two = rich.json("settlements", "--limit", "2")
    assert two["settlements"] == every["settlements"][:2]
    assert (two["count"], two["paid"]) == (3, every["paid"])
    assert "--limit 3 shows all" in rich("settlements", "--limit", "2").err


def test_settlements_can_be_narrowed_to_blocks_and_a_provider(rich, market, provider):
    rich("chat", "hi", "--provider", provider)
    market.providers[0].settle()
    block = rich.json("settlements")["settlements"][0]["block"]
    assert rich.json("settlements", "--to-block", str(block - 1))["settlements"] == []
    assert rich.json("settlements", "--from-block", str(block), "--provider", provider)["settlements"]
    assert rich.json("settlements", "--provider", market.providers[1].address)["settlements"] == []


def test_no_settlements_are_none(poor):
    assert "no settlements" in poor("settlements").out
    assert poor.json("settlements")["paid"]["neuron"] == "0"


@pytest.mark.parametrize("command", ["account", "settlements"])
def test_without_a_wallet_and_a_user_there_is_a_hint(nobody, command):
    error = nobody.fails(command, code=1)
    assert error["code"] == "no_wallet"
    assert "ZEROG_PRIVATE_KEY" in error["hint"]
