"""Transactions that wait: automine off, nonce gaps, replacement, and what a block takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rlp
from eth_abi import encode
from eth_account import Account
from eth_utils import keccak

from zg_core.localnet.chain import pool as pool_module
from zg_core.localnet.chain.chain import Chain
from zg_core.localnet.chain.devaccounts import DEV_BALANCE, DEV_KEYS

PROBE = json.loads((Path(__file__).parent / "probe.json").read_text())
BYTECODE = bytes.fromhex(PROBE["bytecode"][2:])
OG = 10**18
ADDRESSES, KEYS = list(DEV_KEYS), list(DEV_KEYS.values())
ALICE, BOB, CAROL = ADDRESSES[:3]
ALICE_KEY, BOB_KEY = KEYS[:2]


def data(signature: str, *arguments: Any) -> bytes:
    types = [each for each in signature[signature.index("(") + 1 : -1].split(",") if each]
    return keccak(text=signature)[:4] + encode(types, arguments)


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def signed(key: str, nonce: int, **fields: Any) -> bytes:
    """A transaction signed by eth_account, a second implementation."""
    transaction = {
        "chainId": 31337,
        "nonce": nonce,
        "gas": 100_000,
        "to": CAROL,
        "value": 1,
        "maxFeePerGas": 3 * 10**9,
        "maxPriorityFeePerGas": 10**9,
    }
    return bytes(Account.from_key(key).sign_transaction(transaction | fields).raw_transaction)


@pytest.fixture
def chain() -> Chain:
    return Chain(genesis={})


@pytest.fixture
def probe(chain: Chain) -> str:
    address = chain.send(ALICE_KEY, to=None, data=BYTECODE).contract_address
    assert address is not None
    return address


def test_without_automine_transactions_wait_and_are_mined_in_nonce_order(chain: Chain, probe: str) -> None:
    chain.automine = False
    second = chain.submit(signed(ALICE_KEY, 2, to=probe, data=data("keep(uint256,uint256)", 1, 2)))
    first = chain.submit(signed(ALICE_KEY, 1, to=probe, data=data("keep(uint256,uint256)", 1, 1)))
    other = chain.submit(signed(BOB_KEY, 0))
    assert (chain.nonce(ALICE), chain.pending_nonce(ALICE)) == (1, 3)
    assert chain.receipt(first) is None
    assert [each.hash for each in chain.waiting()] == [second, first, other], "order of arrival"
    chain.mine()
    order = [each.receipt.tx_hash for each in chain.head.transactions]
    assert order.index(first) < order.index(second)
    assert set(order) == {first, second, other}
    assert chain.call(to=probe, data=data("kept(uint256)", 1)) == word(2)
    assert chain.waiting() == []
    cumulative = [each.receipt.cumulative_gas_used for each in chain.head.transactions]
    assert cumulative == sorted(cumulative)
    assert cumulative[-1] == chain.head.header.gas_used
    positions = [log.log_index for each in chain.head.transactions for log in each.receipt.logs]
    assert positions == [0, 1], "log_index counts through the block"


def test_a_nonce_gap_waits_until_it_is_filled(chain: Chain) -> None:
    later = chain.submit(signed(ALICE_KEY, 1))
    assert (chain.block_number, chain.pending_nonce(ALICE)) == (0, 0)
    first = chain.submit(signed(ALICE_KEY, 0))
    receipts = [chain.receipt(first), chain.receipt(later)]
    assert [receipt and receipt.status for receipt in receipts] == [1, 1]
    assert chain.pending_nonce(ALICE) == 2


def test_switching_automine_on_mines_what_waits(chain: Chain) -> None:
    chain.automine = False
    waiting = chain.submit(signed(ALICE_KEY, 0))
    chain.automine = True
    assert chain.receipt(waiting) is not None


def test_send_without_automine_mines_what_waits_before_it(chain: Chain) -> None:
    chain.automine = False
    waiting = chain.submit(signed(ALICE_KEY, 0))
    receipt = chain.send(ALICE_KEY, to=BOB)
    before = chain.receipt(waiting)
    assert before is not None
    assert (before.block_number, before.transaction_index) <= (receipt.block_number, receipt.transaction_index)
    assert chain.automine is False


def test_a_block_takes_only_what_fits_under_its_gas_limit(chain: Chain, probe: str) -> None:
    chain.automine = False
    burning = [
        chain.submit(signed(key, 0, to=probe, value=0, data=data("invalid()"), gas=4_000_000)) for key in KEYS[1:]
    ]
    chain.mine()
    assert len(chain.head.transactions) == 7, "7 x 4 million fit under 30 million"
    chain.mine()
    assert len(chain.head.transactions) == 2
    assert all(chain.receipt(each) for each in burning)


def test_a_transaction_its_sender_can_no_longer_pay_for_is_dropped(chain: Chain) -> None:
    chain.automine = False
    waiting = chain.submit(signed(BOB_KEY, 0, value=OG))
    chain.set_balance(BOB, 5)
    chain.mine()
    assert (chain.receipt(waiting), chain.waiting(), chain.balance(BOB)) == (None, [], 5)


def test_a_waiting_transaction_is_replaced_only_by_one_that_pays_more(chain: Chain) -> None:
    chain.automine = False
    first = chain.submit(signed(ALICE_KEY, 0))
    with pytest.raises(ValueError, match="already known"):
        chain.submit(signed(ALICE_KEY, 0))
    with pytest.raises(ValueError, match="replacement transaction underpriced"):
        chain.submit(signed(ALICE_KEY, 0, value=2))
    better = chain.submit(signed(ALICE_KEY, 0, value=2, maxFeePerGas=4 * 10**9, maxPriorityFeePerGas=2 * 10**9))
    chain.mine()
    assert chain.receipt(first) is None
    assert chain.receipt(better) is not None
    with pytest.raises(ValueError, match="nonce too low: next nonce 1, tx nonce 0"):
        chain.submit(signed(ALICE_KEY, 0, value=2, maxFeePerGas=4 * 10**9, maxPriorityFeePerGas=2 * 10**9))


def test_what_waits_must_be_payable_all_together(chain: Chain) -> None:
    chain.automine = False
    chain.submit(signed(BOB_KEY, 0, value=DEV_BALANCE // 2))
    with pytest.raises(ValueError, match=r"insufficient funds .* queued cost"):
        chain.submit(signed(BOB_KEY, 1, value=DEV_BALANCE // 2))


def test_only_so_many_transactions_may_wait(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MAX_WAITING", 3)
    for nonce in (1, 2, 3):
        chain.submit(signed(BOB_KEY, nonce))
    with pytest.raises(ValueError, match="txpool is full"):
        chain.submit(signed(BOB_KEY, 4))


def test_the_other_signature_of_the_same_transaction_is_refused(chain: Chain) -> None:
    kind, fields = b"\x02", rlp.decode(signed(ALICE_KEY, 0)[1:])
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    other = order - int.from_bytes(fields[-1], "big")
    parity = b"" if fields[-3] else b"\x01"
    with pytest.raises(ValueError, match="invalid transaction v, r, s values"):
        chain.submit(kind + rlp.encode([*fields[:-3], parity, fields[-2], other]))


def test_a_contract_cannot_send(probe: str) -> None:
    account = {"balance": hex(DEV_BALANCE), "code": "0x00"}
    with pytest.raises(ValueError, match="sender not an eoa"):
        Chain(genesis={BOB: account}).submit(signed(BOB_KEY, 0))


def test_a_fault_of_the_evm_leaves_the_chain_as_it_was(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.automine = False
    good, bad = chain.submit(signed(ALICE_KEY, 0)), chain.submit(signed(BOB_KEY, 0))
    apply = chain._world.apply

    def broken(tx: Any, block: Any) -> Any:
        if tx.hash == bad:
            raise RecursionError("too deep")
        return apply(tx, block)

    monkeypatch.setattr(chain._world, "apply", broken)
    with pytest.raises(RecursionError):
        chain.mine()
    assert (chain.block_number, chain.balance(ALICE), chain.nonce(ALICE)) == (0, DEV_BALANCE, 0)
    assert [each.hash for each in chain.waiting()] == [good], "the one that broke it is gone, the other waits"
    chain.mine()
    assert chain.receipt(good) is not None
