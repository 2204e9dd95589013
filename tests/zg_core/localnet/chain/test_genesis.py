"""The state a local network starts with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zg_core.localnet.base.keys import checksum_address, keccak256
from zg_core.localnet.chain import abi, genesis
from zg_core.localnet.chain.chain import Chain
from zg_core.localnet.chain.devaccounts import DEV_BALANCE, DEV_KEYS

DEPLOYER = next(iter(DEV_KEYS))


def created_by(sender: str, nonce: int) -> str:
    """The address of a contract: the hash of RLP([sender, nonce]), for nonces below 128."""
    digits = bytes([0x80 if nonce == 0 else nonce])
    return checksum_address(keccak256(b"\xd6\x94" + bytes.fromhex(sender[2:]) + digits)[12:])


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    return genesis.build()


def test_the_artifacts_deploy_to_the_committed_file(built: dict[str, Any]) -> None:
    committed = (abi.CONTRACTS_DIR / "genesis.json").read_text(encoding="utf-8")
    assert genesis.render(built) == committed, "run `python -m zg_core.localnet.chain.genesis`"


def test_deploying_again_gives_the_same(built: dict[str, Any]) -> None:
    assert genesis.build() == built


def test_the_proxies_are_where_clients_look_for_them() -> None:
    accounts = genesis.load()
    assert created_by(DEPLOYER, 2) == abi.LEDGER_ADDRESS == "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0"
    assert created_by(DEPLOYER, 6) == abi.INFERENCE_ADDRESS == "0x0165878A594ca255338adfa4d48449f69242Eb8F"
    contracts = {address for address, account in accounts.items() if "code" in account}
    assert contracts == {created_by(DEPLOYER, nonce) for nonce in (0, 1, 2, 4, 5, 6)}


def test_the_code_is_that_of_the_artifacts() -> None:
    accounts = genesis.load()
    names = (
        "LedgerManager",
        "UpgradeableBeacon",
        "BeaconProxy",
        "",
        "InferenceServing",
        "UpgradeableBeacon",
        "BeaconProxy",
    )
    for nonce, name in enumerate(names):
        if name:
            assert accounts[created_by(DEPLOYER, nonce)]["code"] == abi.artifact(name)["deployedBytecode"]


def test_ten_development_accounts_are_funded_and_the_deployer_has_sent_ten_transactions() -> None:
    accounts = genesis.load()
    found = {
        address: (int(accounts[address]["balance"], 16), int(accounts[address]["nonce"], 16)) for address in DEV_KEYS
    }
    assert found == {address: (DEV_BALANCE, 10 if address == DEPLOYER else 0) for address in DEV_KEYS}
    assert len(accounts) == 16


def test_what_is_loaded_can_be_changed_without_changing_the_next() -> None:
    genesis.load()[DEPLOYER]["balance"] = "0x0"  # type: ignore[index]
    assert genesis.load()[DEPLOYER]["balance"] == hex(DEV_BALANCE)


def test_a_chain_from_it_has_the_service_registered_and_recommended() -> None:
    chain, ledger = Chain(), abi.ledger()

    def read(function: str, *args: Any) -> Any:
        return ledger.decode(function, chain.call(to=ledger.address, data=ledger.encode(function, *args)))

    assert chain.block_number == 0
    assert read("getServiceInfo", abi.INFERENCE_ADDRESS)["fullName"] == genesis.SERVICE_NAME == "inference-v1.0"
    assert read("getRecommendedService", "inference") == ("v1.0", abi.INFERENCE_ADDRESS)
    assert read("owner") == DEPLOYER


def test_a_chain_from_it_continues_the_deployers_nonces() -> None:
    chain = Chain()
    receipt = chain.send(DEV_KEYS[DEPLOYER], to=None, data=abi.creation_code("LedgerManager"))
    assert receipt.contract_address == created_by(DEPLOYER, 10)


def test_no_slot_is_missing_from_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain made from the file has the storage tries of the chain it was dumped from."""

    def storage_root(chain: Chain, address: str) -> bytes:
        accounts: Any = chain._world._head._account_db
        return bytes(accounts._get_account(bytes.fromhex(address[2:])).storage_root)

    deployed: list[Chain] = []
    dump = genesis._dump
    monkeypatch.setattr(genesis, "_dump", lambda chain, *rest: deployed.append(chain) or dump(chain, *rest))
    genesis.build()
    again = Chain(genesis=genesis.load())
    contracts = [created_by(DEPLOYER, nonce) for nonce in (0, 1, 2, 4, 5, 6)]
    roots = {address: storage_root(again, address) for address in contracts}
    assert roots == {address: storage_root(deployed[0], address) for address in contracts}
    assert len(set(roots.values())) > 4, "the roots of different contracts differ"


def test_each_proxy_names_its_beacon_in_the_slot_tools_look_at() -> None:
    slot = int.from_bytes(keccak256(b"eip1967.proxy.beacon"), "big") - 1
    for proxy, nonce in ((abi.LEDGER_ADDRESS, 1), (abi.INFERENCE_ADDRESS, 5)):
        word = genesis.load()[proxy]["storage"][f"0x{slot:064x}"]
        assert checksum_address(word[-40:]) == created_by(DEPLOYER, nonce)


@pytest.mark.parametrize(
    ("namespace", "base", "address"),
    [
        ("0g.serving.ledger", "0bb5d42557ea6926c17416c5b1c1c29c28d9006d6f713295a2d385f07156ed00", abi.LEDGER_ADDRESS),
        (
            "0g.serving.inference.v1.0",
            "dfd123095cdedb1cecbc229b30f7cf8745fb3d3951645ac4a8fa4c0895f89500",
            abi.INFERENCE_ADDRESS,
        ),
    ],
)
def test_state_is_in_the_namespaces_of_the_notes(namespace: str, base: str, address: str) -> None:
    """ERC-7201: keccak(keccak(namespace) - 1) with the last byte cleared."""
    inner = int.from_bytes(keccak256(namespace.encode()), "big") - 1
    slot = int.from_bytes(keccak256(inner.to_bytes(32, "big")), "big") & ~0xFF
    assert f"{slot:064x}" == base
    stored = [int(each, 16) for each in genesis.load()[address]["storage"]]
    assert [each for each in stored if slot <= each < slot + 16], "nothing is stored there"


# ---- the command ----


def test_check_accepts_the_committed_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert genesis.main(["--check"]) == 0
    assert "is what the artifacts deploy to" in capsys.readouterr().out


def test_check_names_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], built: dict[str, Any]
) -> None:
    spoiled = json.loads(json.dumps(built))
    spoiled[abi.LEDGER_ADDRESS]["storage"].popitem()
    del spoiled[DEPLOYER]
    spoiled["0x" + "ab" * 20] = {"balance": "0x1"}
    use_file(tmp_path, monkeypatch, genesis.render(spoiled))
    assert genesis.main(["--check"]) == 1
    complaint = capsys.readouterr().err
    assert f"{abi.LEDGER_ADDRESS}: storage differs" in complaint
    assert f"{DEPLOYER}: not in the committed file" in complaint
    assert f"{'0x' + 'ab' * 20}: only in the committed file" in complaint
    assert complaint.count(": ") == 3, complaint


def test_check_sees_formatting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], built: dict[str, Any]
) -> None:
    use_file(tmp_path, monkeypatch, json.dumps(built))
    assert genesis.main(["--check"]) == 1
    assert "only the formatting differs" in capsys.readouterr().err


def test_without_check_the_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: dict[str, Any]
) -> None:
    file = use_file(tmp_path, monkeypatch, "{}")
    assert genesis.main([]) == 0
    assert file.read_text(encoding="utf-8") == genesis.render(built)


def use_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    file = tmp_path / "genesis.json"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(genesis, "_FILE", file)
    monkeypatch.setattr(genesis, "_text", lambda: file.read_text(encoding="utf-8"))
    return file
