"""The settlement message, against the known answer (0g-direct §12.3) and an independent EIP-712 encoder."""

from dataclasses import replace

from eth_account.messages import encode_typed_data
from eth_utils import keccak

from zg_core.localnet.base.keys import Key, recover_address
from zg_core.localnet.provider.billing import BillingEntry
from zg_core.localnet.provider.settlement import (
    SettledUser,
    SettlementRecord,
    UserSettlement,
    call_data,
    domain_separator,
    requests_hash,
    settlement_digest,
    struct_hash,
)

KEY = Key("0x" + "11" * 32)
CONTRACT = "0xa79F4c8311FF93C06b8CfB403690cc987c93F91E"
KNOWN = UserSettlement(
    user="0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A",
    provider="0xa48f01287233509FD694a22Bf840225062E67836",
    total_fee=123456789,
    requests_hash=b"\x01" * 32,
    nonce=17672256000000000,
    request_ids=(),
)


def test_the_known_settlement():
    assert domain_separator(16602, CONTRACT).hex() == "da596bc261f3030c2a3b8586fd56a01aab43437237aab631ee66fafb3f1e31a9"
    assert struct_hash(KNOWN).hex() == "618f050448507d97de712e04c170d75c64155393c5d0148268f094c7af71e900"
    digest = settlement_digest(KNOWN, chain_id=16602, contract=CONTRACT)
    assert digest.hex() == "33ceee9efbee8a0e8615f234352d75a7f9ed062f50aa6c463da8e001b98f289a"
    (item,) = call_data([KNOWN], KEY, chain_id=16602, contract=CONTRACT)
    assert item["signature"].hex() == (
        "568a844110832d2ad1076acddd7a035ed8a874f97a17e05ad3f7fe36d153ceb2"
        "64add55936138c34ca75ab150dd5acbc9b8d139c3863dff6f3bf9fa86f3d9ff41c"
    )


def test_the_tuple_has_the_contracts_order():
    (item,) = call_data([KNOWN], KEY, chain_id=1, contract=CONTRACT)
    assert list(item) == ["user", "provider", "totalFee", "requestsHash", "nonce", "signature"]


def test_a_general_eip712_encoder_agrees():
    item = replace(KNOWN, total_fee=2**200, nonce=7, requests_hash=keccak(b"x"))
    message = encode_typed_data(
        {"name": "0G Inference Serving", "version": "1", "chainId": 31337, "verifyingContract": CONTRACT},
        {
            "TEESettlement": [
                {"name": "requestsHash", "type": "bytes32"},
                {"name": "nonce", "type": "uint256"},
                {"name": "provider", "type": "address"},
                {"name": "user", "type": "address"},
                {"name": "totalFee", "type": "uint256"},
            ]
        },
        {
            "requestsHash": item.requests_hash,
            "nonce": item.nonce,
            "provider": item.provider,
            "user": item.user,
            "totalFee": item.total_fee,
        },
    )
    digest = settlement_digest(item, chain_id=31337, contract=CONTRACT)
    assert digest == keccak(b"\x19\x01" + message.header + message.body)
    (data,) = call_data([item], KEY, chain_id=31337, contract=CONTRACT)
    assert recover_address(digest, data["signature"]) == KEY.address


def test_the_requests_hash_is_over_the_texts_of_every_request():
    entries = [
        BillingEntry(
            user="0xUser",
            chat_id="",
            model="",
            usage=None,
            input_fee=number,
            output_fee=10,
            request_sha256="",
            response_sha256="",
            time=0.0,
            request_id=f"id{number}",
        )
        for number in (1, 2)
    ]
    assert requests_hash(entries) == keccak(b"id10xUser11110id20xUser12210")


def test_a_record_sums_what_was_paid():
    users = tuple(
        SettledUser(user="0x", status=s, total_fee=10, paid=p, unsettled=10 - p, nonce=1, requests_hash=b"")
        for s, p in (("SUCCESS", 10), ("PARTIAL", 4), ("NO_TEE_SIGNER", 0))
    )
    assert SettlementRecord("0x", 1, users).total_paid == 14
