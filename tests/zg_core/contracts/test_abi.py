"""Calls and answers of the contracts: encodings against eth_abi, and junk of every kind."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from zg_core.contracts import abi

# 0g-direct §2.2; written as Solidity names the types, unlike the module under test.
SERVICE = "(address,string,string,uint256,uint256,uint256,string,string,string,address,bool)"
REFUND = "(uint256,uint256,uint256,bool)"
ACCOUNT = f"(address,address,uint256,uint256,uint256,{REFUND}[],string,bool,uint256,uint256,uint256)"
LEDGER = "(address,uint256,uint256,string)"
A, B, C = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A", "0x" + "bb" * 20, "0x" + "cc" * 20
uints = st.integers(0, 2**256 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=70)
addresses = st.binary(min_size=20, max_size=20).map(lambda b: "0x" + b.hex())


@pytest.mark.parametrize(
    ("call", "signature", "arguments"),
    [
        (abi.get_service(C, A), "getService(address)", [A]),
        (abi.get_all_services(C, 50, 50), "getAllServices(uint256,uint256)", [50, 50]),
        (abi.get_account(C, A, B), "getAccount(address,address)", [A, B]),
        (abi.get_accounts_by_user(C, A, 0, 50), "getAccountsByUser(address,uint256,uint256)", [A, 0, 50]),
        (abi.get_ledger(C, A), "getLedger(address)", [A]),
    ],
)
def test_a_call_is_its_selector_and_its_arguments(call: abi.Call, signature: str, arguments: list[Any]) -> None:
    types = signature[signature.index("(") + 1 : -1].split(",")
    assert call.to == C
    assert call.data == "0x" + (keccak(text=signature)[:4] + encode(types, arguments)).hex()


def test_a_call_without_arguments() -> None:
    assert abi.Call.of(C, "lockTime()", [], "uint256").data == "0x" + keccak(text="lockTime()")[:4].hex()


# 0g-abi, interface tables
@pytest.mark.parametrize(
    ("call", "selector"),
    [
        (abi.get_service(C, A), "0x15a52302"),
        (abi.get_all_services(C, 0, 50), "0xa09cfca9"),
        (abi.get_account(C, A, B), "0xfd590847"),
        (abi.get_accounts_by_user(C, A, 0, 50), "0x4fe63f4d"),
        (abi.get_ledger(C, A), "0xf7cd6af9"),
    ],
)
def test_selectors_are_the_published_ones(call: abi.Call, selector: str) -> None:
    assert call.data[:10] == selector


class TestService:
    @given(
        provider=addresses,
        texts=st.tuples(texts, texts, texts, texts, texts),
        numbers=st.tuples(uints, uints, uints),
        signer=addresses,
        acknowledged=st.booleans(),
    )
    @settings(max_examples=60, deadline=None)
    def test_any_record_is_read(
        self,
        provider: str,
        texts: tuple[str, ...],
        numbers: tuple[int, ...],
        signer: str,
        acknowledged: bool,
    ) -> None:
        kind, url, model, verifiability, info = texts
        values = (provider, kind, url, *numbers, model, verifiability, info, signer, acknowledged)
        (value,) = abi.get_service(C, A).decode("0x" + encode([SERVICE], [values]).hex())
        service = abi.service(value)
        assert (service.provider.lower(), service.tee_signer.lower()) == (provider, signer)
        assert (service.service_type, service.url, service.model) == (kind, url.rstrip("/"), model)
        assert (service.input_price, service.output_price, service.updated_at) == numbers
        assert (service.verifiability, service.additional_info, service.acknowledged) == (
            verifiability,
            info,
            acknowledged,
        )

    def test_a_text_that_is_no_utf8_does_not_spoil_the_list(self) -> None:
        bad = SERVICE.replace("string", "bytes")
        good = (A, b"chatbot", b"https://p", 1, 2, 3, b"m", b"TeeML", b"{}", B, True)
        broken = (B, b"chatbot", b"\xff\xfe", 1, 2, 3, b"\xc3", b"TeeML", b"\x80", B, True)
        data = encode([bad + "[]", "uint256"], [[good, broken, good], 3])
        page, total = abi.get_all_services(C, 0, 50).decode("0x" + data.hex())
        services = [abi.service(item) for item in page]
        assert total == 3
        assert [service.model for service in services] == ["m", "\ufffd", "m"]
        assert services[1].info == {}

    def test_a_url_has_no_slash_at_its_end(self) -> None:
        values = (A, b"c", b"https://p//", 1, 2, 3, b"m", b"TeeML", b"", B, True)
        assert abi.service(values).endpoint == "https://p/v1/proxy"


class TestAccount:
    def read(self, **changes: Any) -> abi.Account:
        values: dict[str, Any] = {
            "user": A,
            "provider": B,
            "nonce": 1,
            "balance": 100,
            "pending": 30,
            "refunds": [(0, 10, 111, False), (1, 20, 222, False), (2, 99, 333, True)],
            "info": "",
            "acknowledged": True,
            "live": 2,
            "generation": 9,
            "bitmap": 5,
        }
        data = encode([ACCOUNT], [tuple((values | changes).values())])
        (value,) = abi.get_account(C, A, B).decode("0x" + data.hex())
        return abi.account(value)

    def test_is_read_field_by_field(self) -> None:
        account = self.read()
        assert (account.user, account.provider.lower()) == (A, B)
        assert (account.nonce, account.balance, account.pending_refund, account.acknowledged) == (1, 100, 30, True)
        assert (account.generation, account.revoked_bitmap) == (9, 5)

    @pytest.mark.parametrize("live", [0, 1, 2, 3])
    def test_the_dead_tail_of_the_refunds_is_cut(self, live: int) -> None:
        refunds = (abi.Refund(10, 111), abi.Refund(20, 222), abi.Refund(99, 333))
        assert self.read(live=live).refunds == refunds[:live]

    def test_generation_and_bitmap_are_not_swapped(self) -> None:
        account = self.read(generation=2, bitmap=0)
        assert (account.generation, account.revoked_bitmap) == (2, 0)

    def test_what_is_usable_is_less_what_was_asked_back(self) -> None:
        assert self.read().usable == 70

    @pytest.mark.parametrize(("token_id", "revoked"), [(0, True), (1, False), (2, True), (3, False), (254, False)])
    def test_a_revoked_key_is_a_bit(self, token_id: int, revoked: bool) -> None:
        assert self.read().is_revoked(token_id) is revoked
        assert self.read(bitmap=2**256 - 1).is_revoked(token_id)


def test_a_ledger_is_read() -> None:
    data = encode([LEDGER], [(A, 30, 100, "info")])
    ledger = abi.ledger(abi.get_ledger(C, A).decode("0x" + data.hex())[0])
    assert (ledger.user, ledger.available, ledger.total, ledger.locked) == (A, 30, 100, 70)


CALLS = [abi.get_service(C, A), abi.get_all_services(C, 0, 50), abi.get_account(C, A, B), abi.get_ledger(C, A)]


class TestJunk:
    @pytest.mark.parametrize("call", CALLS, ids=lambda c: c.outputs[0][:20])
    @pytest.mark.parametrize("answer", ["", "0x00", "0xzz", "nonsense", "0x" + "ff" * 64, "0x" + "00" * 63, "0x0"])
    def test_is_a_value_error(self, call: abi.Call, answer: str) -> None:
        with pytest.raises(ValueError):
            call.decode(answer)

    @given(data=st.binary(max_size=700), call=st.sampled_from(CALLS))
    @settings(max_examples=300, deadline=None)
    def test_any_bytes_decode_or_are_a_value_error(self, data: bytes, call: abi.Call) -> None:
        try:
            values = call.decode("0x" + data.hex())
        except ValueError:
            return
        assert len(values) == len(call.outputs)

    @given(
        words=st.lists(st.sampled_from([0, 1, 32, 64, 96, 352, 2**16, 2**63, 2**64, 2**255, 2**256 - 1]), max_size=24),
        call=st.sampled_from(CALLS),
    )
    @settings(max_examples=300, deadline=None)
    def test_pointers_and_lengths_out_of_the_world_are_a_value_error(self, words: list[int], call: abi.Call) -> None:
        try:
            call.decode("0x" + b"".join(word.to_bytes(32) for word in words).hex())
        except ValueError:
            return


KNOWN = {"ServiceNotExist(address)": [A], "AccountNotExists(address,address)": [A, B], "LedgerNotExists(address)": [B]}


class TestErrors:
    @pytest.mark.parametrize(("signature", "arguments"), KNOWN.items())
    def test_those_that_reads_meet_are_decoded(self, signature: str, arguments: list[str]) -> None:
        name, _, types = signature[:-1].partition("(")
        data = "0x" + (keccak(text=signature)[:4] + encode(types.split(","), arguments)).hex()
        for spelling in (data, data.upper().replace("0X", "0x")):
            found, values = abi.decode_error(spelling)
            assert (found, [value.lower() for value in values]) == (name, [one.lower() for one in arguments])

    @pytest.mark.parametrize("data", ["", "0x", "0x12", "0x12345678", "nonsense"])
    def test_an_unknown_one_has_no_name(self, data: str) -> None:
        assert abi.decode_error(data) == ("", ())

    @given(signature=st.sampled_from([*KNOWN, "Error(string)", "Panic(uint256)"]), rest=st.binary(max_size=200))
    @settings(max_examples=150, deadline=None)
    def test_junk_behind_a_known_selector_is_no_failure(self, signature: str, rest: bytes) -> None:
        name, arguments = abi.decode_error("0x" + (keccak(text=signature)[:4] + rest).hex())
        assert isinstance(name, str)
        assert isinstance(arguments, tuple)

    def test_no_hex_behind_a_known_selector_is_no_failure(self) -> None:
        assert abi.decode_error("0x08ca03aczz")[1] == ()
