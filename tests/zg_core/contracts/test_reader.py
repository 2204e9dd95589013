"""Reads of the contracts over a real socket: what is found, what is missing, what is kept, what is never trusted."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.moments import instead
from tests.patience import PATIENCE
from zg_core.config import Network
from zg_core.contracts.reader import ChainReader
from zg_core.errors import ChainError, ConfigError, WrongChain
from zg_core.http.transport import AsyncTransport, SyncTransport, run

USER = "0x" + "aa" * 20
INFERENCE, LEDGER = "0x" + "1f" * 20, "0x" + "1e" * 20


def reader(node: Any, transport: Any = None, ttl: float = 600.0) -> ChainReader:
    return ChainReader(Network("local", 31337, node.url, LEDGER, INFERENCE), transport or SyncTransport(), ttl)


def account(node: Any, provider: str, **changes: Any) -> None:
    values: dict[str, Any] = {
        "user": USER,
        "provider": provider,
        "nonce": 5,
        "balance": 3 * 10**18,
        "pending_refund": 10**18,
        "refunds": [(0, 7, 11, False), (1, 8, 12, False), (9, 9, 9, True)],
        "additional_info": "",
        "acknowledged": True,
        "live": 2,
        "generation": 4,
        "bitmap": 0,
    }
    node.accounts[USER, provider] = tuple((values | changes).values())


class TestService:
    def test_is_read(self, node: Any) -> None:
        provider = node.add(7, model="m7")
        service = run(reader(node).service(provider))
        assert (service.provider.lower(), service.model, service.url) == (provider, "m7", "https://p7.example")

    def test_an_unknown_provider_is_a_setting_to_correct(self, node: Any) -> None:
        with pytest.raises(ConfigError, match="zerog providers") as caught:
            run(reader(node).service("0x" + "77" * 20))
        assert caught.value.code == "unknown_provider"
        assert "ZEROG_NETWORK" in caught.value.hint

    def test_is_kept_within_its_time(self, node: Any) -> None:
        chain = reader(node)
        provider = node.add(7)
        for spelling in (provider, run(chain.service(provider)).provider, provider.upper().replace("0X", "0x")):
            run(chain.service(spelling))
        assert node.asked == [["eth_chainId", "eth_blockNumber", "getService"]]

    def test_is_read_again_after_its_time(self, node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 1000.0
        instead(monkeypatch, "zg_core.contracts.reader.time", monotonic=lambda: now)
        chain = reader(node, ttl=60.0)
        provider = node.add(7)
        assert run(chain.service(provider)).input_price == 107
        node.add(7, input_price=999)
        now += 59
        assert run(chain.service(provider)).input_price == 107
        now += 1
        assert run(chain.service(provider)).input_price == 999

    def test_is_read_again_when_asked_to_and_then_kept(self, node: Any) -> None:
        chain = reader(node)
        provider = node.add(7)
        run(chain.service(provider))
        node.add(7, input_price=999)
        assert run(chain.service(provider, fresh=True)).input_price == 999
        assert run(chain.service(provider)).input_price == 999
        assert node.asked == [["eth_chainId", "eth_blockNumber", "getService"], ["eth_blockNumber", "getService"]]

    def test_a_failed_reading_keeps_the_old_record(self, node: Any) -> None:
        chain = reader(node)
        provider = node.add(7)
        run(chain.service(provider))
        node.body = lambda honest: b"junk"
        with pytest.raises(ChainError):
            run(chain.service(provider, fresh=True))
        assert run(chain.service(provider)).input_price == 107


class TestServices:
    @pytest.mark.parametrize(
        ("count", "pages"),
        [
            (0, [0]),
            (1, [0]),
            (49, [0]),
            (50, [0]),
            (51, [0, 50]),
            (100, [0, 50]),
            (101, [0, 50, 100]),
            (120, [0, 50, 100]),
        ],
    )
    def test_are_read_in_pages_of_50(self, node: Any, count: int, pages: list[int]) -> None:
        for number in range(1, count + 1):
            node.add(number)
        services = run(reader(node).services())
        assert [service.model for service in services] == [f"model-{n}" for n in range(1, count + 1)]
        assert node.pages == [(offset, 50) for offset in pages]

    def test_pages_behind_the_first_come_several_in_one_request(self, node: Any) -> None:
        for number in range(1, 502):
            node.add(number)
        assert len(run(reader(node).services())) == 501
        requests = [sum(name == "getAllServices" for name in names) for names in node.asked]
        assert requests == [1, 8, 2]

    def test_are_kept_for_later(self, node: Any) -> None:
        provider = node.add(7)
        chain = reader(node)
        run(chain.services())
        run(chain.service(provider))
        assert node.asked == [["eth_chainId", "getAllServices"]]

    def test_a_service_that_moved_between_pages_is_listed_once(self, node: Any) -> None:
        for number in range(1, 56):
            node.add(number)
        chain = reader(node)
        original = node.result

        def shuffle(name: str, answer: Any) -> Any:
            if len(node.pages) == 1:  # after the first page, the last service takes the place of a removed one
                del node.services[sorted(node.services)[10]]
            return answer

        node.result = shuffle
        providers = [service.provider for service in run(chain.services())]
        assert original is None
        assert len(providers) == len(set(providers))

    def test_a_total_that_lies_does_not_make_it_read_for_ever(self, node: Any) -> None:
        node.add(1)

        def lie(name: str, answer: Any) -> Any:
            if name != "getAllServices":
                return answer
            return answer[:66] + (10**9).to_bytes(32).hex() + answer[130:]

        node.result = lie
        assert len(run(reader(node).services())) == 1
        assert len(node.asked) == 2


class TestAccounts:
    def test_one_is_read_without_the_dead_refunds(self, node: Any) -> None:
        provider = node.add(7)
        account(node, provider)
        found = run(reader(node).account(USER, provider))
        assert found is not None
        assert [(refund.amount, refund.created_at) for refund in found.refunds] == [(7, 11), (8, 12)]
        assert (found.usable, found.generation) == (2 * 10**18, 4)

    def test_a_missing_one_is_none(self, node: Any) -> None:
        assert run(reader(node).account(USER, node.add(7))) is None

    def test_comes_with_the_service_in_one_request_and_fresh(self, node: Any) -> None:
        provider = node.add(7)
        account(node, provider)
        chain = reader(node)
        run(chain.service(provider))
        node.add(7, input_price=999)
        service, found = run(chain.service_and_account(provider, USER))
        assert (service.input_price, found and found.nonce) == (999, 5)
        assert node.asked[1:] == [["eth_blockNumber", "getService", "getAccount"]]
        assert run(chain.service(provider)).input_price == 999

    def test_a_missing_one_beside_a_service_is_none(self, node: Any) -> None:
        assert run(reader(node).service_and_account(node.add(7), USER))[1] is None

    def test_beside_an_unknown_provider_the_provider_is_the_error(self, node: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            run(reader(node).service_and_account("0x" + "77" * 20, USER))
        assert caught.value.code == "unknown_provider"

    @pytest.mark.parametrize("count", [0, 1, 50, 51, 130])
    def test_all_of_a_user_are_paged(self, node: Any, count: int) -> None:
        for number in range(1, count + 1):
            account(node, f"0x{number:040x}", nonce=number)
        assert [found.nonce for found in run(reader(node).accounts(USER))] == list(range(1, count + 1))
        assert [limit for _, limit in node.pages] == [50] * max(1, -(-count // 50))


class TestLedger:
    def test_is_read_from_its_own_contract(self, node: Any) -> None:
        node.ledgers[USER] = (USER, 30, 100, "")
        found = run(reader(node).ledger(USER))
        assert found is not None
        assert (found.available, found.locked) == (30, 70)

    def test_a_missing_one_is_none(self, node: Any) -> None:
        assert run(reader(node).ledger(USER)) is None


class TestChainId:
    def test_is_checked_with_the_first_reading_only(self, node: Any) -> None:
        chain = reader(node)
        node.add(7)
        run(chain.services())
        run(chain.account(USER, "0x" + "77" * 20))
        run(chain.ledger(USER))
        assert node.asked == [["eth_chainId", "getAllServices"], ["getAccount"], ["getLedger"]]

    def test_another_chain_is_refused_with_both_ids(self, node: Any) -> None:
        node.chain_id = 1
        with pytest.raises(WrongChain, match=r"chain 1.*'local' is 31337") as caught:
            run(reader(node).service(node.add(7)))
        assert "ZEROG_NETWORK" in caught.value.hint
        assert "ZEROG_RPC_URL" in caught.value.hint

    def test_another_chain_is_refused_again_and_again(self, node: Any) -> None:
        node.chain_id, chain = 1, reader(node)
        for _ in range(2):
            with pytest.raises(WrongChain):
                run(chain.services())
        node.chain_id = 31337
        assert run(chain.services()) == []

    @pytest.mark.parametrize("answer", [None, 5, "", "nonsense", [], {"code": 1, "message": "no"}])
    def test_an_id_that_is_none_is_junk(self, node: Any, answer: Any) -> None:
        node.result = lambda name, honest: answer if name == "eth_chainId" else honest
        with pytest.raises(ChainError) as caught:
            run(reader(node).services())
        assert caught.value.code == "rpc_junk"

    def test_first_readings_of_many_tasks_at_once_all_succeed(self, node: Any) -> None:
        providers = [node.add(number) for number in range(1, 9)]
        node.gate = threading.Barrier(8)

        async def main() -> list[Any]:
            transport = AsyncTransport()
            chain = reader(node, transport)
            found = await asyncio.gather(*(chain.service(provider) for provider in providers))
            await transport.close()
            return found

        assert [service.provider.lower() for service in asyncio.run(main())] == providers

    def test_first_readings_of_many_threads_at_once_all_succeed(self, node: Any) -> None:
        providers = [node.add(number) for number in range(1, 9)]
        node.gate = threading.Barrier(8)
        chain, found = reader(node), []
        threads = [threading.Thread(target=lambda p=p: found.append(run(chain.service(p)))) for p in providers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(service.provider.lower() for service in found) == providers


class TestWithoutBatches:
    def test_a_node_that_takes_single_calls_only_serves_too(self, node: Any) -> None:
        node.batches = False
        provider = node.add(7)
        account(node, provider)
        service, found = run(reader(node).service_and_account(provider, USER))
        assert (service.model, found is not None) == ("model-7", True)
        assert node.asked == [["batch refused"], ["eth_chainId"], ["eth_blockNumber"], ["getService"], ["getAccount"]]


class TestFailures:
    def test_an_address_without_code_says_which_settings_to_check(self, node: Any) -> None:
        node.result = lambda name, honest: honest if name == "eth_chainId" else "0x"
        with pytest.raises(ChainError, match="ZEROG_INFERENCE") as caught:
            run(reader(node).services())
        assert (caught.value.code, INFERENCE in str(caught.value)) == ("no_contract", True)

    @pytest.mark.parametrize("junk", [None, 5, [], "", "0x12", "0xzz", "0x" + "ff" * 320])
    def test_a_result_that_does_not_decode_is_junk(self, node: Any, junk: Any) -> None:
        node.result = lambda name, honest: honest if name == "eth_chainId" else junk
        for read in (lambda c: c.service("0x" + "77" * 20), lambda c: c.account(USER, USER), lambda c: c.ledger(USER)):
            with pytest.raises(ChainError) as caught:
                run(read(reader(node)))
            assert caught.value.code == "rpc_junk"

    @pytest.mark.parametrize(
        ("error", "retryable"),
        [
            ({"code": -32000, "message": "header not found"}, True),
            ({"code": 3, "message": "execution reverted", "data": "0x"}, True),
            ({"code": 3, "message": "execution reverted", "data": "0x4e487b71" + "00" * 31 + "11"}, False),
        ],
    )
    def test_a_failed_call_tells_whether_to_try_again(self, node: Any, error: Any, retryable: bool) -> None:
        node.result = lambda name, honest: honest if name == "eth_chainId" else error
        for read in (lambda c: c.services(), lambda c: c.account(USER, USER), lambda c: c.ledger(USER)):
            with pytest.raises(ChainError) as caught:
                run(read(reader(node)))
            assert (caught.value.code, caught.value.retryable) == ("call_failed", retryable)

    def test_a_missing_account_is_not_confused_with_a_failed_call(self, node: Any) -> None:
        node.result = lambda name, honest: {"code": -32000, "message": "busy"} if name == "getAccount" else honest
        with pytest.raises(ChainError, match="getAccount failed: busy"):
            run(reader(node).account(USER, node.add(7)))
