"""Commands that move money, and their refusals."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.zg_core.cli.running import zerog_of
from tests.zg_core.conftest import CALM
from zg_core import Broker, ChainError, Sending, og
from zg_core.localnet import LocalNet

OG = 10**18
DAY = 86_400


def neuron(value):
    return int(value["neuron"])


def test_money_goes_in_and_comes_back(tmp_path):
    """Deposit, transfer, acknowledge, retrieve, wait, retrieve, refund: for people and as documents."""
    with LocalNet(providers=2, settings=CALM) as net:
        zerog = zerog_of(net, tmp_path, net.new_wallet())
        first, second = (each.address for each in net.providers)

        document = zerog.json("deposit", "4", "--yes")
        assert document["action"] == "deposit"
        assert neuron(document["amount"]) == neuron(document["ledger"]["available"]) == 4 * OG
        (sent,) = document["transactions"]
        assert neuron(sent["fee"]) == sent["gas_used"] * neuron(sent["fee"]) // sent["gas_used"] > 0

        ran = zerog("deposit", str(OG), "--neuron", "--yes")
        assert "deposited 1 0G" in ran.out
        assert "5 0G available" in ran.out
        assert "on its way" in ran.err

        ran = zerog("transfer", first.lower(), "1.5", "-y")
        assert f"transferred 1.5 0G to {first}" in ran.out
        assert "a new sub-account" in ran.err
        assert "warning" not in ran.err
        document = zerog.json("transfer", second, "2", "--yes")
        assert neuron(document["account"]["usable"]) == 2 * OG
        assert document["account"]["acknowledged"] is True
        assert document["warnings"] == []

        assert "acknowledged already; nothing was sent" in zerog("acknowledge", first, "--yes").out
        assert zerog.json("acknowledge", first, "--yes")["transactions"] == []

        ran = zerog("retrieve", first, "--yes")
        assert f"ask back   1.5 0G at {first}" in ran.err, str(ran)
        assert "free after 24 hours" in ran.err
        assert "1.5 0G pending refund" in ran.out
        (account,) = [each for each in zerog.json("account")["accounts"] if each["provider"] == first]
        free = account["refunds"][0]["free_at"][:16].replace("T", " ")
        assert f"free at       {free} UTC; the same command collects it then" in ran.out
        document = zerog.json("retrieve", "--yes")
        assert [neuron(each["usable"]) for each in document["accounts"]] == [0, 0]
        assert document["lock_seconds"] == DAY
        assert all(each["refunds"][0]["free_at"] > each["refunds"][0]["requested_at"] for each in document["accounts"])
        assert "all free at" in zerog("account").out
        nothing = zerog("retrieve", "--yes").out
        assert "nothing to retrieve now" in nothing
        assert f"free at       {free} UTC, the first of what was asked back" in nothing
        assert zerog.json("retrieve", "--yes")["transactions"] == []

        net.clock.advance(DAY + 1)
        net.chain.mine()
        ran = zerog("retrieve", "--yes")
        assert f"collect    2 0G at {second}" in ran.err, str(ran)
        assert "5 0G available, 0 0G in sub-accounts" in ran.out

        ran = zerog("refund", "2", "--yes")
        assert "refunded 2 0G" in ran.out
        assert "deleted" not in ran.out + ran.err
        document = zerog.json("refund", "all", "--yes")
        assert neuron(document["amount"]) == 3 * OG
        assert document["ledger"] is None


def test_a_refund_of_everything_says_that_the_ledger_goes(poor):
    poor("deposit", "3", "--yes")
    ran = poor("refund", "all", "--yes")
    assert "the empty ledger is deleted" in ran.err
    assert "deleted" in ran.out


def test_a_refund_without_an_amount_names_the_command(poor):
    assert "`zerog refund all`" in poor.fails("refund", "--yes", code=2)["hint"]


def test_an_acknowledgement_is_sent_where_one_is_missing(rich, market, provider):
    market.providers[0].rotate_signer()
    document = rich.json("acknowledge", provider, "--yes")
    assert document["acknowledged"] is True
    assert document["tee_signer"] == market.providers[0].tee_signer


@pytest.mark.parametrize("amount", ["1", "1.09"])
def test_a_transfer_that_can_hardly_serve_warns(poor, provider, amount):
    poor("deposit", "3", "--yes")
    ran = poor("transfer", provider, amount, "--yes")
    assert f"warning: with {amount} 0G this sub-account will hardly be served" in ran.err
    assert "1.1 0G" in ran.err


def test_the_warning_of_a_transfer_is_in_the_document(poor, provider):
    poor("deposit", "3", "--yes")
    (warning,) = poor.json("transfer", provider, "1", "--yes")["warnings"]
    assert "1.1 0G" in warning


def test_a_small_top_up_of_a_full_account_does_not_warn(poor, provider):
    poor("deposit", "4", "--yes")
    assert poor.json("transfer", provider, "1.1", "--yes")["warnings"] == []
    assert poor.json("transfer", provider, "0.05", "--yes")["warnings"] == []


SPENDING = [
    ["deposit", "3"],
    ["transfer", "PROVIDER", "1.1"],
    ["retrieve"],
    ["retrieve", "PROVIDER"],
    ["refund", "all"],
    ["acknowledge", "PROVIDER"],
    ["keys", "revoke", "PROVIDER", "0"],
    ["keys", "revoke-all", "PROVIDER"],
    ["keys", "rotate", "PROVIDER", "0"],
]


@pytest.mark.parametrize("words", SPENDING, ids=" ".join)
def test_without_a_terminal_and_without_yes_nothing_is_sent(steady, market, provider, words):
    before = market.chain.block_number
    words = [provider if word == "PROVIDER" else word for word in words]
    error = steady.fails(*words, code=2, stdin="y\n")
    assert error["code"] == "not_confirmed"
    assert "--yes" in error["hint"]
    sent = [tx for number in range(before + 1, market.chain.block_number + 1) for tx in transactions(market, number)]
    assert sent == []


def transactions(market, number):
    owners = {each.address for each in market.providers}
    return [each for each in market.chain.block(number).transactions if each.receipt.sender not in owners]


@pytest.mark.parametrize("words", SPENDING, ids=" ".join)
def test_without_a_wallet_every_spending_command_says_so(nobody, provider, words):
    words = [provider if word == "PROVIDER" else word for word in words]
    error = nobody.fails(*words, "--yes", code=1)
    assert error["code"] == "no_wallet"


@pytest.mark.parametrize(
    "amount",
    ["", "0", "0.0", "-1", "1,5", "1e3", "1_000", "three", "0x10", "NaN", "٣", "1.0000000000000000001", "9" * 61],
)
@pytest.mark.parametrize("command", ["deposit", "transfer", "refund"])
def test_a_bad_amount_is_a_usage_error(poor, provider, command, amount):
    words = [command, *([provider] if command == "transfer" else []), "--yes", "--", amount]
    ran = poor(*words, ok=False)
    assert ran.code == 2, str(ran)
    assert ran.err.startswith("error: "), str(ran)


@pytest.mark.parametrize("amount", ["1.5", "0", "1e18", "0x1"])
def test_neuron_are_whole_numbers(poor, amount):
    assert poor.fails("deposit", amount, "--neuron", "--yes", code=2)["code"] == "usage"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["deposit", "2.9"], "below_minimum"),
        (["deposit", "5000"], "wallet_too_small"),
        (["transfer", "PROVIDER", "1.1"], "no_ledger"),
        (["retrieve"], "no_ledger"),
        (["refund", "1"], "no_ledger"),
        (["acknowledge", "PROVIDER"], "no_account"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_refusal_of_a_wallet_without_ledger_has_a_code_and_a_hint(poor, provider, words, code):
    words = [provider if word == "PROVIDER" else word for word in words]
    error = poor.fails(*words, "--yes", code=1)
    assert error["code"] == code
    assert error["hint"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["transfer", "PROVIDER", "0.1"], "ledger_too_small"),
        (["transfer", "STRANGER", "1.1"], "unknown_provider"),
        (["acknowledge", "STRANGER"], "unknown_provider"),
        (["retrieve", "STRANGER"], "no_account"),
        (["refund", "1"], "ledger_too_small"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_refusal_of_a_funded_wallet_has_a_code_and_a_hint(steady, provider, words, code):
    named = {"PROVIDER": provider, "STRANGER": "0x" + "77" * 20}
    error = steady.fails(*(named.get(word, word) for word in words), "--yes", code=1)
    assert error["code"] == code
    assert error["hint"]


def test_a_provider_that_is_no_address_is_a_usage_error(poor):
    assert poor.fails("transfer", "0x1234", "1.1", "--yes", code=2)["code"] == "usage"


def test_a_private_key_in_the_place_of_an_address_is_not_repeated(poor):
    """The sweep of every run looks for it."""
    key = poor.environ["ZEROG_PRIVATE_KEY"]
    poor.fails("transfer", key, "1.1", "--yes", code=2)
    poor.fails("account", key, code=2)
    poor.fails("account", "--network", key, code=2)
    poor.fails("deposit", key, "--yes", code=2)


def test_neither_is_a_key_of_another_wallet(poor, market):
    key = market.new_wallet().private_key
    for words in (
        ["account", key],
        ["account", "--network", key],
        ["transfer", key, "1", "--yes"],
        ["chat", "hi", key],
    ):
        assert key.removeprefix("0x") not in poor.fails(*words, code=2)["message"]


def test_nonces_are_kept_in_a_file_for_the_owner_alone(poor):
    poor("deposit", "3", "--yes")
    file = Path(poor.environ["ZEROG_HOME"]) / "store.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_file_is_made_in_a_directory_for_the_owner_alone(poor, tmp_path):
    home = tmp_path / "deeper" / "home"
    poor("deposit", "3", "--yes", ZEROG_HOME=str(home))
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert (home / "store.db").is_file()


def test_another_store_can_be_named(poor, tmp_path):
    poor("deposit", "3", "--yes", ZEROG_STORE=f"sqlite:///{tmp_path / 'mine.db'}")
    assert (tmp_path / "mine.db").is_file()
    assert not (tmp_path / "store.db").exists()
    assert poor.fails("deposit", "3", "--yes", code=1, ZEROG_STORE="redis://x")["code"] == "bad_store"


class TestWhatHasNoClearEnd:
    """A deposit whose node has taken it, forgotten it, and shows nothing of it."""

    @pytest.fixture
    def lost(self, poor, market):
        """Its id and hash."""
        home, key = poor.environ["ZEROG_HOME"], poor.environ["ZEROG_PRIVATE_KEY"]
        where = {"network": "local", "rpc_url": market.rpc_url, "ledger": market.ledger, "inference": market.inference}
        hasty = Sending(timeout=0.2, heal_after=60)
        market.node_fault("dropped")
        with (
            Broker(**where, private_key=key, store=f"sqlite:///{home}/store.db", sending=hasty, environ={}) as broker,
            pytest.raises(ChainError) as caught,
        ):
            broker.deposit(og("4"))
        assert caught.value.code == "transaction_pending"
        return caught.value.details["intention"], caught.value.details["transaction"]

    def test_is_listed_and_waited_for(self, poor, lost):
        (told,) = poor.json("pending")["pending"]
        assert (told["id"], told["transactions"], told["state"]) == (lost[0], [lost[1]], "unclear")
        assert (told["call"], neuron(told["value"])) == ("depositFund", 4 * OG)
        ran = poor("pending")
        assert lost[1] in ran.out
        document = poor.json("pending", "--resume", lost[0])
        assert [each["hash"] for each in document["transactions"]] == [lost[1]]
        assert neuron(poor.json("account")["ledger"]["total"]) == 4 * OG
        assert "no transaction is without a clear end" in poor("pending").out

    def test_is_told_to_who_asks_for_the_same_again(self, poor, lost):
        error = poor.fails("deposit", "4", "--yes", code=1)
        assert (error["code"], error["details"]["transaction"]) == ("transaction_pending", lost[1])
        assert f"zerog pending --resume {lost[0]}" in error["hint"]
        assert "--again" in error["hint"]
        poor("deposit", "4", "--yes", "--again")
        assert neuron(poor.json("account")["ledger"]["total"]) == 4 * OG, "the second has the nonce of the first"

    def test_another_id_is_none(self, poor):
        assert poor.fails("pending", "--resume", "no-such", code=1)["code"] == "unknown_intention"


class TestGas:
    def test_is_capped_before_anything_is_signed(self, poor, market):
        market.node_fault("price_raised", times=None)
        try:
            error = poor.fails("deposit", "4", "--yes", code=1)
            assert error["code"] == "gas_too_expensive"
            assert "--max-gas" in error["hint"]
            assert market.chain.pending_nonce(poor.json("account")["wallet"]) == 0
            poor("deposit", "4", "--yes", "--max-gas", "400")
        finally:
            market.clear_node_faults()

    def test_a_cap_is_an_amount(self, poor):
        assert poor("deposit", "4", "--yes", "--max-gas", "x", ok=False).code == 2
