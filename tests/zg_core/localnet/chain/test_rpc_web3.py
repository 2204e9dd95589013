"""web3.py, unchanged, against the local chain: over HTTP, and with a provider that calls `Chain.rpc`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from web3 import AsyncHTTPProvider, AsyncWeb3, HTTPProvider, Web3
from web3.exceptions import ContractCustomError, ContractLogicError, ContractPanicError, Web3RPCError
from web3.logs import DISCARD
from web3.middleware import SignAndSendRawMiddlewareBuilder
from web3.providers import BaseProvider

from tests.patience import PATIENCE
from zg_core.localnet.chain.chain import Chain
from zg_core.localnet.chain.devaccounts import DEV_BALANCE, DEV_KEYS
from zg_core.localnet.chain.rpc import RpcError, RpcServer

PROBE = json.loads((Path(__file__).parent / "probe.json").read_text())
ALICE, BOB = list(DEV_KEYS)[:2]
ALICE_KEY = DEV_KEYS[ALICE]
CUSTOM_ERROR = "0x" + "00" * 12 + ALICE[2:].lower() + f"{5:064x}"


class InProcess(BaseProvider):
    """What a user would write to save the sockets."""

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.chain = chain

    def make_request(self, method: Any, params: Any) -> Any:
        try:
            return {"jsonrpc": "2.0", "id": 1, "result": self.chain.rpc(method, params)}
        except RpcError as error:
            return {"jsonrpc": "2.0", "id": 1, "error": error.as_json()}


@pytest.fixture
def chain() -> Chain:
    return Chain(genesis={})


@pytest.fixture(params=["in process", "http"])
def w3(request: pytest.FixtureRequest, chain: Chain) -> Iterator[Web3]:
    if request.param == "in process":
        yield Web3(InProcess(chain))
        return
    with RpcServer(chain) as server:
        yield Web3(HTTPProvider(server.url))


@pytest.fixture
def signing(w3: Web3) -> Web3:
    """The same, with a local key that signs: gas, fees, nonce and type are left to web3.py."""
    w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(Account.from_key(ALICE_KEY)), layer=0)
    w3.eth.default_account = ALICE
    return w3


@pytest.fixture
def probe(signing: Web3) -> Any:
    sent = signing.eth.contract(abi=PROBE["abi"], bytecode=PROBE["bytecode"]).constructor().transact()
    receipt = signing.eth.wait_for_transaction_receipt(sent, timeout=PATIENCE)
    return signing.eth.contract(address=receipt.contractAddress, abi=PROBE["abi"])


def test_the_chain_is_there(w3: Web3) -> None:
    assert (w3.eth.chain_id, w3.eth.block_number, w3.net.version) == (31337, 0, "31337")
    assert w3.eth.get_balance(ALICE) == DEV_BALANCE
    assert ALICE in w3.eth.accounts
    assert w3.eth.syncing is False


def test_a_transaction_becomes_eip_1559_without_help(signing: Web3) -> None:
    sent = signing.eth.send_transaction({"from": ALICE, "to": BOB, "value": 5})
    receipt = signing.eth.wait_for_transaction_receipt(sent, timeout=PATIENCE)
    shown = signing.eth.get_transaction(sent)
    assert (receipt.status, receipt.type, shown.type) == (1, 2, 2)
    assert shown.maxFeePerGas > shown.maxPriorityFeePerGas > 0
    block = signing.eth.get_block("latest", full_transactions=True)
    assert receipt.effectiveGasPrice == block.baseFeePerGas + shown.maxPriorityFeePerGas
    assert block.transactions[0].hash == sent
    assert signing.eth.get_balance(BOB) == DEV_BALANCE + 5


def test_a_contract_is_deployed_called_and_written_to(signing: Web3, probe: Any) -> None:
    sent = probe.functions.keep(1, 42).transact({"value": 3})
    receipt = signing.eth.wait_for_transaction_receipt(sent, timeout=PATIENCE)
    assert probe.functions.kept(1).call() == 42
    assert probe.functions.kept(1).call(block_identifier=receipt.blockNumber - 1) == 0
    assert signing.eth.get_balance(probe.address) == 3
    sender, origin, value, _ = probe.functions.callers().call({"from": BOB, "value": 9})
    assert (sender, origin, value) == (BOB, BOB, 9)
    built = probe.functions.nested(8, 4).build_transaction({"from": ALICE})
    assert built["maxFeePerGas"]
    assert signing.eth.wait_for_transaction_receipt(signing.eth.send_transaction(built), timeout=PATIENCE).status == 1


def test_events_are_decoded_from_receipts_ranges_and_filters(signing: Web3, probe: Any) -> None:
    new = probe.events.Noted.create_filter(from_block="latest")
    sent = probe.functions.say("hello").transact()
    receipt = signing.eth.wait_for_transaction_receipt(sent, timeout=PATIENCE)
    assert [event.args.text for event in probe.events.Plain().process_receipt(receipt, errors=DISCARD)] == ["hello"]
    noted = probe.events.Noted.get_logs(from_block=0, argument_filters={"who": ALICE})
    assert [(event.args.value, event.logIndex, event.transactionHash) for event in noted] == [(5, 1, sent)]
    assert probe.events.Noted.get_logs(from_block=0, argument_filters={"who": BOB}) == []
    assert [event.args.value for event in new.get_new_entries()] == [5]
    assert new.get_new_entries() == []


@pytest.mark.parametrize("how", ["call", "estimate_gas", "transact"])
def test_what_a_contract_refuses_is_decoded(probe: Any, how: str) -> None:
    with pytest.raises(ContractCustomError) as caught:
        getattr(probe.functions.refuse(5), how)()
    assert caught.value.data.endswith(CUSTOM_ERROR[2:])
    with pytest.raises(ContractLogicError, match="execution reverted: not today"):
        getattr(probe.functions.refuseInWords(), how)()
    with pytest.raises(ContractPanicError, match="0x11"):
        getattr(probe.functions.overflow(1), how)()


def test_errors_of_the_node_arrive_as_such(w3: Web3) -> None:
    signed = Account.from_key(ALICE_KEY).sign_transaction(
        {"chainId": 31337, "nonce": 0, "gas": 21_000, "to": BOB, "value": 2 * DEV_BALANCE, "gasPrice": 2 * 10**9}
    )
    with pytest.raises(Web3RPCError, match="insufficient funds for gas"):
        w3.eth.send_raw_transaction(signed.raw_transaction)


def test_pending_nonces_let_several_transactions_wait(signing: Web3, chain: Chain) -> None:
    chain.automine = False
    sent = [signing.eth.send_transaction({"from": ALICE, "to": BOB, "value": 1, "nonce": nonce}) for nonce in range(3)]
    assert signing.eth.get_transaction_count(ALICE, "pending") == 3
    assert signing.eth.get_block("pending").transactions == sent
    chain.mine()
    assert [signing.eth.get_transaction_receipt(each).transactionIndex for each in sent] == [0, 1, 2]


async def test_the_asynchronous_client_and_its_batches_work(chain: Chain) -> None:
    with RpcServer(chain) as server:
        w3 = AsyncWeb3(AsyncHTTPProvider(server.url))
        assert await w3.eth.get_balance(ALICE) == DEV_BALANCE
        async with w3.batch_requests() as batch:
            batch.add(w3.eth.get_block("latest"))
            batch.add(w3.eth.get_balance(BOB))
            block, balance = await batch.async_execute()
        assert (block.number, balance) == (0, DEV_BALANCE)
        await w3.provider.disconnect()
