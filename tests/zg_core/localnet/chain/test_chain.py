"""The chain in process: accounts, calls, transactions, mining, time, snapshots and logs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import rlp
from eth.vm.forks.cancun.blocks import CancunBlockHeader
from eth_abi import decode, encode
from eth_account import Account
from eth_utils import keccak

from tests.patience import PATIENCE
from zg_core.localnet.base.clock import Clock
from zg_core.localnet.chain import evm
from zg_core.localnet.chain.chain import Chain, Reverted
from zg_core.localnet.chain.devaccounts import DEV_BALANCE, DEV_KEYS
from zg_core.localnet.chain.evm import BASE_FEE, BLOCK_GAS_LIMIT, PRIORITY_FEE, Call

PROBE = json.loads((Path(__file__).parent / "probe.json").read_text())
BYTECODE = bytes.fromhex(PROBE["bytecode"][2:])
OG = 10**18
ADDRESSES, KEYS = list(DEV_KEYS), list(DEV_KEYS.values())
ALICE, BOB, CAROL = ADDRESSES[:3]
ALICE_KEY, BOB_KEY, CAROL_KEY = KEYS[:3]
STRANGER = "0x" + "5e" * 20
NOTED = keccak(text="Noted(address,uint256,uint256)")


def data(signature: str, *arguments: Any) -> bytes:
    types = [each for each in signature[signature.index("(") + 1 : -1].split(",") if each]
    return keccak(text=signature)[:4] + encode(types, arguments)


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture
def chain() -> Chain:
    return Chain(genesis={})


@pytest.fixture
def probe(chain: Chain) -> str:
    address = chain.send(ALICE_KEY, to=None, data=BYTECODE).contract_address
    assert address is not None
    return address


# ---- start ----


def test_an_empty_chain_holds_the_ten_development_accounts(chain: Chain) -> None:
    assert (chain.chain_id, chain.block_number) == (31337, 0)
    for address, key in DEV_KEYS.items():
        assert Account.from_key(key).address == address, "key and address in DEV_KEYS must belong together"
        assert (chain.balance(address), chain.nonce(address), chain.code(address)) == (DEV_BALANCE, 0, b"")
    assert abs(chain.timestamp - time.time()) < 300


def test_the_packaged_genesis_has_the_contracts_and_starts_fast() -> None:
    took = []
    for _ in range(3):
        began = time.thread_time()
        chain = Chain()
        took.append(time.thread_time() - began)
    assert min(took) < 0.15, f"{min(took) * 1000:.0f} ms to start a chain"
    for address in ("0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0", "0x0165878A594ca255338adfa4d48449f69242Eb8F"):
        assert chain.code(address), f"no contract at {address}"
    assert chain.balance(ALICE) == DEV_BALANCE


def test_a_genesis_sets_balance_nonce_code_and_storage() -> None:
    account = {"balance": "0x7", "nonce": "0x3", "code": "0x6001", "storage": {"0x2": "0xff", "0x05": "0x1"}}
    chain = Chain(chain_id=16602, genesis={STRANGER: account})
    assert chain.chain_id == 16602
    assert (chain.balance(STRANGER), chain.nonce(STRANGER), chain.code(STRANGER)) == (7, 3, b"\x60\x01")
    assert [chain.storage(STRANGER, slot) for slot in (2, 5, 6)] == [255, 1, 0]
    assert chain.balance(ALICE) == 0


@pytest.mark.parametrize(
    ("genesis", "says"),
    [
        ([], "map addresses"),
        ({"0x12": {}}, "genesis address must be 20 bytes"),
        ({"nobody": {}}, "genesis address must be 20 bytes"),
        ({STRANGER: "rich"}, "must be a mapping"),
        ({STRANGER: {"balance": "lots"}}, f"balance in genesis account {STRANGER} must be a number"),
        ({STRANGER: {"balance": -1}}, "balance in genesis account .* between 0"),
        ({STRANGER: {"balance": hex(2**256)}}, "balance in genesis account .* between 0"),
        ({STRANGER: {"nonce": hex(2**64)}}, "nonce in genesis account"),
        ({STRANGER: {"code": "6001"}}, "code in genesis account .* 0x prefix"),
        ({STRANGER: {"code": "0x" + "00" * 24_577}}, "24577 bytes; the limit is 24576"),
        ({STRANGER: {"storage": []}}, "storage in genesis account .* mapping of slots"),
        ({STRANGER: {"storage": {"first": "0x1"}}}, "storage slot in genesis account"),
        ({STRANGER: {"storage": {"0x1": "one"}}}, "storage value in genesis account"),
        ({STRANGER: {"balence": "0x1"}}, "unknown entries: balence"),
    ],
)
def test_a_bad_genesis_is_a_value_error_that_names_the_entry(genesis: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Chain(genesis=genesis)


@pytest.mark.parametrize("chain_id", [0, -1, 2**63, "31337", True, None])
def test_a_bad_chain_id_is_a_value_error(chain_id: Any) -> None:
    with pytest.raises(ValueError, match="chain_id"):
        Chain(chain_id=chain_id, genesis={})


def test_without_the_extra_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['eth'] = None; import zg_core.localnet.chain.chain"
    root = Path(__file__).parents[4]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "pip install 'zerog-integrations[localnet]'" in result.stderr.splitlines()[-1]


# ---- transactions ----


def test_a_transfer_moves_value_and_pays_base_fee_and_tip(chain: Chain) -> None:
    receipt = chain.send(ALICE_KEY, to=BOB, value=5 * OG)
    assert (receipt.status, receipt.gas_used, receipt.block_number) == (1, 21_000, 1)
    assert receipt.effective_gas_price == BASE_FEE + PRIORITY_FEE
    assert (receipt.sender, receipt.to, receipt.type) == (ALICE, BOB, 2)
    assert chain.balance(BOB) == DEV_BALANCE + 5 * OG
    assert chain.balance(ALICE) == DEV_BALANCE - 5 * OG - 21_000 * receipt.effective_gas_price
    assert chain.balance("0x" + "00" * 20) == 21_000 * PRIORITY_FEE, "the tip goes to the block's coinbase"
    assert chain.nonce(ALICE) == 1


def test_a_new_contract_has_the_address_that_follows_from_sender_and_nonce(chain: Chain) -> None:
    chain.send(ALICE_KEY, to=BOB)
    receipt = chain.send(ALICE_KEY, to=None, data=BYTECODE)
    expected = keccak(rlp.encode([bytes.fromhex(ALICE[2:]), 1]))[12:]
    assert receipt.contract_address is not None
    assert bytes.fromhex(receipt.contract_address[2:]) == expected
    assert len(chain.code(receipt.contract_address)) > 1000


def test_a_refusing_contract_raises_its_data_and_the_failure_is_on_the_chain(chain: Chain, probe: str) -> None:
    with pytest.raises(Reverted) as caught:
        chain.send(ALICE_KEY, to=probe, data=data("refuse(uint256)", 9), value=3)
    expected = data("Refused(address,uint256)", ALICE, 9)
    assert caught.value.data == expected
    receipt = caught.value.receipt
    assert receipt is not None
    assert (receipt.status, receipt.revert_data, receipt.logs) == (0, expected, ())
    assert chain.receipt(receipt.tx_hash) == receipt
    assert chain.balance(probe) == 0, "value of a failed transaction stays with the sender"
    assert chain.nonce(ALICE) == 2


def test_running_out_of_gas_is_told_from_refusing(chain: Chain, probe: str) -> None:
    with pytest.raises(Reverted, match="out of gas") as caught:
        chain.send(ALICE_KEY, to=probe, data=data("burn()"), gas=100_000)
    assert caught.value.data == b""
    assert caught.value.receipt is not None
    assert caught.value.receipt.gas_used == 100_000


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (data("refuseInWords()"), r"^execution reverted: not today \(data 0x08c379a0"),
        (data("refuseSilently()"), r"^execution reverted$"),
        (data("overflow(uint256)", 1), r"^execution reverted: arithmetic underflow or overflow"),
        (data("refuse(uint256)", 1), r"^execution reverted \(data 0x"),
        (data("invalid()"), r"^invalid opcode: "),
        (b"\x12\x34\x56\x78", r"^execution reverted$"),
    ],
)
def test_a_failed_call_says_why(chain: Chain, probe: str, call: bytes, words: str) -> None:
    with pytest.raises(Reverted, match=words):
        chain.call(to=probe, data=call)


def test_mainnets_code_size_limit_holds(chain: Chain) -> None:
    def deploy(size: int) -> bytes:  # PUSH3 size, PUSH0, RETURN: a contract of `size` zero bytes
        return bytes([0x62, *size.to_bytes(3, "big"), 0x5F, 0xF3])

    assert chain.send(ALICE_KEY, to=None, data=deploy(24_576)).status == 1
    with pytest.raises(Reverted, match="max code size exceeded"):
        chain.send(ALICE_KEY, to=None, data=deploy(24_577))
    with pytest.raises(ValueError, match="max initcode size exceeded: code size 49153 limit 49152"):
        chain.send(ALICE_KEY, to=None, data=bytes(49_153))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"to": "bob"}, "to must be 20 bytes"),
        ({"to": BOB, "value": 20_000 * OG}, "insufficient funds for gas"),
        ({"to": BOB, "gas": 20_999}, "intrinsic gas too low: gas 20999, minimum needed 21000"),
        ({"to": BOB, "gas": BLOCK_GAS_LIMIT + 1}, "exceeds block gas limit"),
    ],
)
def test_what_cannot_be_sent_is_refused_and_leaves_no_trace(chain: Chain, arguments: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        chain.send(ALICE_KEY, **arguments)
    assert (chain.block_number, chain.nonce(ALICE), chain.pending_nonce(ALICE)) == (0, 0, 0)


@pytest.mark.parametrize("key", ["", "0x12", "z" * 64, b"short", bytes(32), b"\xff" * 32, 7, None])
def test_a_bad_private_key_is_refused_without_showing_it(chain: Chain, key: Any) -> None:
    with pytest.raises(ValueError, match="private key") as caught:
        chain.send(key, to=BOB)
    assert not key or str(key) not in str(caught.value)


@pytest.mark.parametrize("form", [lambda key: key[2:], lambda key: bytes.fromhex(key[2:]), str.upper])
def test_a_private_key_may_be_hex_or_bytes(chain: Chain, form: Any) -> None:
    assert chain.send(form(ALICE_KEY), to=BOB).sender == ALICE


def test_a_key_never_shows_up_in_what_a_chain_prints_of_itself(chain: Chain) -> None:
    receipt = chain.send(ALICE_KEY, to=BOB)
    shown = f"{chain!r} {receipt!r} {chain.mined(receipt.tx_hash)!r}".lower()
    assert ALICE_KEY[2:] not in shown


# ---- calls ----


def test_a_call_sees_sender_and_value_and_changes_nothing(chain: Chain, probe: str) -> None:
    before = (chain.balance(BOB), chain.nonce(BOB), chain.block_number)
    output = chain.call(to=probe, data=data("callers()"), sender=BOB, value=11)
    assert decode(["address", "address", "uint256", "uint256"], output) == (BOB.lower(), BOB.lower(), 11, 0)
    chain.call(to=probe, data=data("keep(uint256,uint256)", 1, 2), sender=BOB)
    assert chain.call(to=probe, data=data("kept(uint256)", 1)) == word(0)
    assert (chain.balance(BOB), chain.nonce(BOB), chain.block_number) == before
    with pytest.raises(ValueError, match=r"insufficient funds .* have 0 want 1"):
        chain.call(to=probe, data=data("callers()"), sender=STRANGER, value=1)


def test_the_same_call_costs_the_same_gas_again_and_again(chain: Chain, probe: str) -> None:
    chain.send(ALICE_KEY, to=probe, data=data("keep(uint256,uint256)", 1, 2))
    for call in (data("keep(uint256,uint256)", 1, 0), data("nested(uint256,uint256)", 2, 2), data("kept(uint256)", 1)):
        # Each has another limit, so that it is run, too.
        asked = [Call(bytes.fromhex(BOB[2:]), bytes.fromhex(probe[2:]), call, gas=10**6 + n) for n in range(3)]
        runs = {chain.simulate(request).gas_used for request in asked}
        assert len(runs) == 1, "what one call touched must be cold again for the next"


def test_what_was_asked_is_run_again_when_the_state_or_the_block_is_another(
    chain: Chain, probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Call] = []
    run = evm._run
    monkeypatch.setattr(evm, "_run", lambda state, call, gas: runs.append(call) or run(state, call, gas))
    chain.set_next_timestamp(later := chain.timestamp + 1000)  # so that no second passes between two calls

    def answer(signature: str, *arguments: int) -> tuple[bytes, int]:
        runs.clear()
        return chain.call(to=probe, data=data(signature, *arguments)), len(runs)

    kept = ("kept(uint256)", 1)
    assert [answer(*kept) for _ in range(3)] == [(word(0), 1), (word(0), 0), (word(0), 0)]
    (before, _), (again, _) = answer("blockNow()"), answer("blockNow()")
    assert before == again
    saved = chain.snapshot()
    chain.send(ALICE_KEY, to=probe, data=data("keep(uint256,uint256)", 1, 7))
    chain.set_next_timestamp(later + 5)
    assert [answer(*kept) for _ in range(2)] == [(word(7), 1), (word(7), 0)]
    chain.mine()  # the same state and time, in another block
    chain.set_next_timestamp(later + 5)
    assert [answer(*kept) for _ in range(2)] == [(word(7), 1), (word(7), 0)]
    assert decode(["uint256"] * 2, answer("blockNow()")[0]) == (chain.block_number, later + 5)
    chain.set_next_timestamp(later + 11)
    assert decode(["uint256"] * 2, answer("blockNow()")[0]) == (chain.block_number, later + 11)
    chain.revert(saved)
    assert answer(*kept) == (word(0), 1)
    assert answer("blockNow()") == (before, 1)
    chain.set_balance(probe, 5)
    assert answer(*kept) == (word(0), 1), "a balance is a part of the state"
    seen = []
    for first in (20, 21):  # blocks that come instead of others differ in their hashes alone
        saved = chain.snapshot()
        for moment in (first, 30):
            chain.set_next_timestamp(later + moment)
            chain.mine()
        chain.set_next_timestamp(later + 31)
        seen.append(answer("blockNow()"))
        chain.revert(saved)
    assert seen[0][0] != seen[1][0]
    assert [count for _, count in seen] == [1, 1]


def test_a_call_can_ask_an_earlier_block(chain: Chain, probe: str) -> None:
    heights = []
    for value in (10, 20, 30):
        chain.send(ALICE_KEY, to=probe, data=data("keep(uint256,uint256)", 1, value), value=1)
        heights.append(chain.block_number)
    kept = data("kept(uint256)", 1)
    assert [chain.call(to=probe, data=kept, block=height) for height in heights] == [word(10), word(20), word(30)]
    assert [chain.balance(probe, block=height) for height in heights] == [1, 2, 3]
    assert [chain.nonce(ALICE, block=height) for height in heights] == [2, 3, 4]
    assert chain.code(probe, block=0) == b""
    slot = int.from_bytes(keccak(word(1) + word(0)), "big")
    assert [chain.storage(probe, slot, block=height) for height in heights] == [10, 20, 30]
    now = decode(["uint256"] * 2, chain.call(to=probe, data=data("blockNow()"), block=heights[0]))
    assert now == (heights[0], chain.block(heights[0]).timestamp)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="block 99 does not exist; the latest is 4"):
        chain.call(to=probe, data=kept, block=99)


def test_code_sees_its_block(chain: Chain, probe: str) -> None:
    chain.mine(3)
    kinds = ["uint256", "uint256", "uint256", "uint256", "uint256", "bytes32", "address"]
    number, seen, chain_id, base_fee, random, parent, coinbase = decode(
        kinds, chain.call(to=probe, data=data("blockNow()"))
    )
    assert (number, chain_id, base_fee) == (chain.block_number, 31337, BASE_FEE)
    assert abs(seen - time.time()) < 300
    assert random.to_bytes(32, "big") == chain.head.header.prevrandao
    assert parent == chain.block(chain.block_number - 1).hash  # type: ignore[union-attr]
    assert coinbase == "0x" + "00" * 20


def test_transient_storage_lasts_one_transaction() -> None:
    # TLOAD(0) is returned, then TSTORE(0, 1)
    chain = Chain(genesis={STRANGER: {"code": "0x5f5c5f5260015f5d60205ff3"}, ALICE: {"balance": hex(OG)}})
    for _ in range(2):
        assert chain.call(to=STRANGER, data=b"") == word(0)
        assert chain.send(ALICE_KEY, to=STRANGER).status == 1


def test_a_contract_that_calls_itself_without_end_runs_out_of_gas_or_depth_in_any_thread(chain: Chain) -> None:
    endless = bytes.fromhex("5f5f5f5f5f305af100")  # CALL(gas, self)
    init = bytes([0x68, *endless, 0x5F, 0x52, 0x60, 9, 0x60, 23, 0xF3])
    address = chain.send(ALICE_KEY, to=None, data=init).contract_address
    assert address is not None
    assert chain.code(address) == endless
    outputs: list[bytes] = []
    thread = threading.Thread(target=lambda: outputs.append(chain.call(to=address, data=b"")), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert outputs == [b""]


# ---- gas ----


@pytest.mark.parametrize(
    ("signature", "arguments", "value"),
    [
        ("keep(uint256,uint256)", (5, 6), 0),
        ("nested(uint256,uint256)", (12, 6), 0),  # each level keeps back 1/64
        ("clear(uint256)", (20,), 0),  # refunds are paid at the end
        ("forward(address)", (STRANGER,), 7),  # transfer() gives the receiver a stipend
    ],
)
def test_an_estimate_is_enough_and_not_much_too_high(
    chain: Chain, probe: str, signature: str, arguments: tuple[Any, ...], value: int
) -> None:
    chain.send(ALICE_KEY, to=probe, data=data("nested(uint256,uint256)", 0, 20))
    call = Call(bytes.fromhex(ALICE[2:]), bytes.fromhex(probe[2:]), data(signature, *arguments), value)
    estimate = chain.estimate_gas(call)
    too_little, enough = call.intrinsic_gas, estimate
    while enough - too_little > 1:
        middle = (enough + too_little) // 2
        failed = chain.simulate(Call(call.sender, call.to, call.data, value, middle)).error
        too_little, enough = (middle, enough) if failed else (too_little, middle)
    assert estimate <= enough * 1.03 + 2_301, f"{estimate} estimated, {enough} needed"
    before = chain.balance(ALICE)
    receipt = chain.send(ALICE_KEY, to=probe, data=call.data, value=value, gas=estimate)
    assert receipt.status == 1
    paid = before - chain.balance(ALICE) - value
    assert paid == receipt.gas_used * receipt.effective_gas_price, "gas used is what was paid for, less refunds"


def test_a_plain_transfer_is_estimated_exactly(chain: Chain) -> None:
    assert chain.estimate_gas(Call(bytes.fromhex(ALICE[2:]), bytes.fromhex(STRANGER[2:]), b"", OG)) == 21_000


def test_an_estimate_fails_as_the_transaction_would(chain: Chain, probe: str) -> None:
    target = bytes.fromhex(probe[2:])
    with pytest.raises(Reverted, match="not today"):
        chain.estimate_gas(Call(bytes(20), target, data("refuseInWords()")))
    with pytest.raises(Reverted, match="out of gas"):
        chain.estimate_gas(Call(bytes(20), target, data("nested(uint256,uint256)", 0, 5_000)))
    poor = bytes.fromhex(STRANGER[2:])
    chain.set_balance(STRANGER, 30_000 * BASE_FEE)
    with pytest.raises(ValueError, match=r"gas required exceeds allowance \(30000\)"):
        chain.estimate_gas(Call(poor, target, data("keep(uint256,uint256)", 1, 1), gas_price=BASE_FEE))


# ---- blocks ----


def test_the_block_hash_is_that_of_the_header(chain: Chain, probe: str) -> None:
    chain.send(BOB_KEY, to=probe, data=data("say(string)", "hello"))
    header = chain.head.header
    rebuilt = CancunBlockHeader(
        parent_hash=chain.block(header.number - 1).hash,  # type: ignore[union-attr]
        state_root=header.state_root,
        transaction_root=header.transactions_root,
        receipt_root=header.receipts_root,
        bloom=int.from_bytes(header.logs_bloom, "big"),
        difficulty=0,
        block_number=header.number,
        gas_limit=BLOCK_GAS_LIMIT,
        gas_used=header.gas_used,
        timestamp=header.timestamp,
        mix_hash=header.prevrandao,
        nonce=bytes(8),
        base_fee_per_gas=BASE_FEE,
    )
    assert rebuilt.hash == chain.head.hash
    assert chain.block(chain.head.hash) is chain.head
    assert chain.block(b"\x01" * 32) is None


# ---- time ----


def test_a_thousand_quick_blocks_do_not_push_time_ahead(chain: Chain) -> None:
    chain.mine(1000)
    assert chain.block_number == 1000
    assert chain.timestamp <= chain.clock.now(), "blocks of one second share a timestamp"
    times = [chain.block(number).timestamp for number in range(1001)]  # type: ignore[union-attr]
    assert times == sorted(times)


def test_chain_and_clock_move_together(chain: Chain, probe: str) -> None:
    started = chain.clock.now()
    chain.increase_time(86_400)
    assert chain.clock.now() >= started + 86_400
    seen = decode(["uint256"] * 2, chain.call(to=probe, data=data("blockNow()")))[1]
    assert seen >= started + 86_399, "a call sees the new time before any block has it"
    chain.mine()
    assert chain.timestamp >= int(started) + 86_400
    chain.clock.advance(3_600)
    chain.mine()
    assert chain.timestamp >= int(started) + 90_000


def test_two_chains_on_one_clock_agree_on_the_time() -> None:
    clock = Clock()
    one, other = Chain(clock=clock, genesis={}), Chain(clock=clock, genesis={})
    one.increase_time(1_000)
    one.mine()
    other.mine()
    assert one.clock is clock
    assert 0 <= other.timestamp - one.timestamp <= 1


def test_the_next_timestamp_can_be_fixed(chain: Chain) -> None:
    later = int(chain.clock.now()) + 500
    chain.set_next_timestamp(later)
    assert chain.next_timestamp == later
    chain.mine()
    assert chain.timestamp == later
    assert chain.clock.now() >= later, "the clock went along"
    chain.mine()
    assert later <= chain.timestamp <= later + 5
    with pytest.raises(ValueError, match="before the latest block"):
        chain.set_next_timestamp(later - 1)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 2**40])
def test_time_moves_forward_by_sensible_steps_only(chain: Chain, seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must be between"):
        chain.increase_time(seconds)


# ---- snapshots ----


def test_revert_brings_back_state_blocks_logs_and_waiting_transactions(chain: Chain, probe: str) -> None:
    chain.automine = False
    waiting = chain.rpc("eth_sendTransaction", [{"from": BOB, "to": CAROL}])
    saved = chain.snapshot()
    height, root = chain.block_number, chain.head.header.state_root
    receipt = chain.send(ALICE_KEY, to=probe, data=data("keep(uint256,uint256)", 1, 2))
    chain.set_balance(STRANGER, 77)
    chain.revert(saved)
    assert (chain.block_number, chain.head.header.state_root) == (height, root)
    assert chain.receipt(receipt.tx_hash) is None
    assert chain.logs() == []
    assert chain.balance(STRANGER) == 0
    assert chain.call(to=probe, data=data("kept(uint256)", 1)) == word(0)
    assert ["0x" + each.hash.hex() for each in chain.waiting()] == [waiting]
    chain.mine()
    assert chain.receipt(waiting) is not None


def test_a_snapshot_is_used_up_with_all_later_ones(chain: Chain) -> None:
    first, second = chain.snapshot(), chain.snapshot()
    chain.revert(first)
    for gone in (first, second, 99):
        with pytest.raises(ValueError, match=f"snapshot {gone} does not exist or was used"):
            chain.revert(gone)


def test_snapshot_and_revert_cost_next_to_nothing(chain: Chain) -> None:
    took = []
    for _ in range(10):
        began = time.thread_time()
        for _ in range(10):
            chain.revert(chain.snapshot())
        took.append((time.thread_time() - began) / 10)
    assert min(took) < 0.002, f"{min(took) * 1000:.2f} ms for a snapshot and a revert"


def test_a_fresh_snapshot_after_each_revert_always_leads_back(chain: Chain) -> None:
    for _ in range(5):
        saved = chain.snapshot()
        chain.send(ALICE_KEY, to=BOB, value=OG)
        chain.revert(saved)
    assert (chain.block_number, chain.balance(BOB), chain.nonce(ALICE)) == (0, DEV_BALANCE, 0)


def test_a_balance_set_from_outside_is_there_at_once_and_not_in_earlier_blocks(chain: Chain) -> None:
    chain.mine()
    chain.set_balance(STRANGER, 123)
    assert (chain.balance(STRANGER), chain.balance(STRANGER, block=1), chain.balance(STRANGER, block=0)) == (
        123,
        123,
        0,
    )
    chain.mine()
    assert chain.balance(STRANGER) == 123
    for bad in (-1, 2**256, "much", 1.5, None):
        with pytest.raises(ValueError, match="balance must be"):
            chain.set_balance(STRANGER, bad)  # type: ignore[arg-type]


# ---- logs ----


def test_logs_are_found_by_address_topics_and_range(chain: Chain, probe: str) -> None:
    other = chain.send(BOB_KEY, to=None, data=BYTECODE).contract_address
    assert other is not None
    for key, contract, number in [(ALICE_KEY, probe, 1), (BOB_KEY, probe, 2), (ALICE_KEY, other, 1)]:
        chain.send(key, to=contract, data=data("keep(uint256,uint256)", number, number * 10))

    def found(**wanted: Any) -> list[tuple[str, int]]:
        return [(log.address, int.from_bytes(log.topics[2], "big")) for log in chain.logs(**wanted)]

    alice = bytes(12) + bytes.fromhex(ALICE[2:])
    assert found() == [(probe, 1), (probe, 2), (other, 1)]
    assert found(address=probe) == [(probe, 1), (probe, 2)]
    assert found(address=[probe, other.lower()]) == found()
    assert found(topics=[NOTED, alice]) == [(probe, 1), (other, 1)]
    assert found(topics=[None, None, [word(2), word(3)]]) == [(probe, 2)]
    assert found(topics=[None, None, None, None]) == []
    assert found(from_block=3, to_block=4) == [(probe, 1), (probe, 2)]
    log = chain.logs(address=other)[0]
    assert log.data == word(10)
    assert (log.block_number, log.transaction_index, log.log_index) == (5, 0, 0)
    assert log.block_hash == chain.head.hash
    assert log.tx_hash == chain.head.transactions[0].receipt.tx_hash


# ---- threads ----


def test_many_threads_can_send_call_and_snapshot_at_once(chain: Chain, probe: str) -> None:
    errors: list[BaseException] = []

    def work(index: int) -> None:
        try:
            for number in range(10):
                key = KEYS[index] if index < 6 else CAROL_KEY  # two threads share an account
                chain.send(key, to=probe, data=data("keep(uint256,uint256)", index, number), value=1)
                chain.call(to=probe, data=data("kept(uint256)", index))
                chain.snapshot()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == []
    assert chain.balance(probe) == 80
    assert chain.block_number == 81
    assert chain.nonce(CAROL) == 30, "each sender's nonces are given out once"
    kept = [int.from_bytes(chain.call(to=probe, data=data("kept(uint256)", index)), "big") for index in range(8)]
    assert kept == [9] * 8
