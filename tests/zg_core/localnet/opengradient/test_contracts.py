"""The payment contracts on the real EVM: they take what was permitted, once, for whom it names, and no more."""

from __future__ import annotations

import time
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from zg_core.localnet.base.keys import Key, keccak256
from zg_core.localnet.chain.chain import Chain, Reverted
from zg_core.localnet.opengradient import places
from zg_core.localnet.opengradient.places import contract

PAYER, FACILITATOR, PAYEE = Key("0x" + "22" * 32), Key("0x" + "33" * 32), "0x" + "44" * 20
OPG = 10**18
WITNESS = [("to", "address"), ("facilitator", "address"), ("validAfter", "uint256")]


@pytest.fixture
def chain() -> Chain:
    made = Chain(chain_id=places.PAYMENT_CHAIN_ID, genesis=places.payment_genesis())
    token = contract("PaymentToken")
    for key in (PAYER, FACILITATOR):
        made.set_balance(key.address, OPG)
    made.send(PAYER.secret, to=token.address, data=token.encode("mint", PAYER.address, 10 * OPG))
    made.send(PAYER.secret, to=token.address, data=token.encode("approve", places.PERMITS, 9 * OPG))
    return made


def permit(**changes: Any) -> dict[str, Any]:
    """What is signed, with one thing or another changed."""
    said: dict[str, Any] = {
        "token": places.TOKEN,
        "amount": 5 * OPG,
        "nonce": 7,
        "deadline": int(time.time()) + 600,
        "to": PAYEE,
        "facilitator": FACILITATOR.address,
        "validAfter": 0,
        "spender": places.UPTO_PROXY,
        "key": PAYER,
    }
    return {**said, **changes}


def signature(said: dict[str, Any]) -> bytes:
    types = {
        "PermitWitnessTransferFrom": [
            {"name": "permitted", "type": "TokenPermissions"},
            {"name": "spender", "type": "address"},
            {"name": "nonce", "type": "uint256"},
            {"name": "deadline", "type": "uint256"},
            {"name": "witness", "type": "Witness"},
        ],
        "TokenPermissions": [{"name": "token", "type": "address"}, {"name": "amount", "type": "uint256"}],
        "Witness": [{"name": name, "type": kind} for name, kind in WITNESS],
    }
    message = {
        "permitted": {"token": said["token"], "amount": said["amount"]},
        "spender": said["spender"],
        "nonce": said["nonce"],
        "deadline": said["deadline"],
        "witness": {name: said[name] for name, _ in WITNESS},
    }
    domain = {"name": "Permit2", "chainId": places.PAYMENT_CHAIN_ID, "verifyingContract": places.PERMITS}
    encoded = encode_typed_data(domain, types, message)
    return bytes(Account.sign_message(encoded, said["key"].secret).signature)


def settle(chain: Chain, said: dict[str, Any], taken: int, *, sender: Key = FACILITATOR, **shown: Any) -> None:
    """Settle what was signed; `shown` is what the proxy is told instead."""
    told, proxy = {**said, **shown}, contract("UptoProxy")
    data = proxy.encode(
        "settle",
        ((told["token"], told["amount"]), told["nonce"], told["deadline"]),
        taken,
        PAYER.address,
        tuple(told[name] for name, _ in WITNESS),
        signature(said),
    )
    chain.send(sender.secret, to=proxy.address, data=data)


def held(chain: Chain, address: str) -> int:
    token = contract("PaymentToken")
    return int(token.decode("balanceOf", chain.call(to=token.address, data=token.encode("balanceOf", address))))


def refusal(error: Reverted) -> str:
    names = {}
    for name in ("UptoProxy", "PermitTransfer", "PaymentToken"):
        names |= {contract(name).decode_error(error.data)[0]: name}
    return next(iter(sorted(names.keys() - {"unknown", ""})), "")


def test_up_to_what_is_permitted_is_taken_once(chain):
    said = permit()
    settle(chain, said, 2 * OPG)
    assert (held(chain, PAYEE), held(chain, PAYER.address)) == (2 * OPG, 8 * OPG)
    with pytest.raises(Reverted) as refused:
        settle(chain, said, OPG)
    assert refusal(refused.value) == "InvalidNonce"


def test_the_selectors_are_those_of_production():
    assert contract("UptoProxy").selector("settle").hex() == "ff11e7b4"
    assert contract("UptoProxy").selector("settleWithPermit").hex() == "016c1748"


@pytest.mark.parametrize(
    ("signed", "shown", "amount", "name"),
    [
        ({}, {}, 5 * OPG + 1, "AmountExceedsPermitted"),
        ({}, {"amount": 6 * OPG}, 6 * OPG, "InvalidSignature"),
        ({}, {"to": "0x" + "55" * 20}, OPG, "InvalidSignature"),
        ({}, {"nonce": 8}, OPG, "InvalidSignature"),
        ({"key": FACILITATOR}, {}, OPG, "InvalidSignature"),
        ({"spender": places.EXACT_PROXY}, {}, OPG, "InvalidSignature"),
        ({"deadline": 1}, {}, OPG, "SignatureExpired"),
        ({"validAfter": 2**40}, {}, OPG, "PaymentTooEarly"),
        ({"to": "0x" + "00" * 20}, {}, OPG, "InvalidDestination"),
    ],
)
def test_everything_else_is_refused(chain, signed, shown, amount, name):
    with pytest.raises(Reverted) as refused:
        settle(chain, permit(**signed), amount, **shown)
    assert refusal(refused.value) == name
    assert held(chain, PAYEE) == 0


def test_only_the_facilitator_that_was_named_may_settle(chain):
    with pytest.raises(Reverted) as refused:
        settle(chain, permit(), OPG, sender=PAYER)
    assert refusal(refused.value) == "UnauthorizedFacilitator"


def test_no_more_is_taken_than_is_approved(chain):
    settle(chain, permit(), 5 * OPG)
    with pytest.raises(Reverted, match="insufficient allowance"):
        settle(chain, permit(nonce=8), 5 * OPG)


def test_a_registry_lists_who_is_enabled_alive_and_approved():
    from zg_core.localnet.chain.devaccounts import DEV_KEYS
    from zg_core.localnet.opengradient.enclave import Enclave

    chain = Chain(chain_id=places.REGISTRY_CHAIN_ID, genesis=places.registry_genesis())
    registered, key, enclave = contract("EnclaveRegistry"), next(iter(DEV_KEYS.values())), Enclave()

    def write(function: str, *args: Any) -> None:
        chain.send(key, to=registered.address, data=registered.encode(function, *args))

    def active() -> list[Any]:
        found = chain.call(to=registered.address, data=registered.encode("getActiveTEEs", 0))
        return list(registered.decode("getActiveTEEs", found))

    now, image = int(chain.clock.now()), keccak256(b"image")
    entry = enclave.entry(endpoint="https://x", owner=PAYEE, payment=PAYEE, pcr_hash=image, now=now)
    write("put", entry)
    assert active() == []  # its image is not approved
    write("approvePCR", 0, image, True)
    (found,) = active()
    assert found["publicKey"] == enclave.public_key
    tee_id = bytes.fromhex(enclave.tee_id[2:])
    write("beat", tee_id, now - 3600)
    assert active() == []
    write("beat", tee_id, now)
    write("setEnabled", tee_id, False)
    assert active() == []
