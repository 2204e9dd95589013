"""Starting, stopping, saving, and what a network offers."""

import json
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

import zg_core.localnet
from zg_core.localnet import Chain, Clock, LocalNet, LocalWallet, ProviderSettings, ProviderSpec
from zg_core.localnet.chain import abi
from zg_core.localnet.chain.chain import Reverted

OG = 10**18


@pytest.fixture(scope="module")
def net():
    with LocalNet(providers=3, settings=replace(ProviderSettings.fast(), settle_interval=None)) as running:
        yield running


def ledger_of(net, wallet):
    contract = abi.ledger()
    data = net.chain.call(to=contract.address, data=contract.encode("getLedger", wallet.address))
    return contract.decode("getLedger", data)


def account_of(net, wallet, provider):
    contract = abi.inference()
    data = net.chain.call(to=contract.address, data=contract.encode("getAccount", wallet.address, provider.address))
    return contract.decode("getAccount", data)


def test_it_has_the_addresses_clients_know(net, http):
    assert (net.chain_id, net.ledger, net.inference) == (
        31337,
        "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0",
        "0x0165878A594ca255338adfa4d48449f69242Eb8F",
    )
    answer = http.post(net.rpc_url, json={"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []})
    assert answer.json()["result"] == "0x7a69"


def test_all_providers_are_registered_with_stake_and_confirmed(net):
    contract = abi.inference()
    data = net.chain.call(to=contract.address, data=contract.encode("getAllServices", 0, 0))
    services, total = contract.decode("getAllServices", data)
    assert total == 3
    assert [s["provider"] for s in services] == [p.address for p in net.providers]
    assert all(s["teeSignerAcknowledged"] for s in services)
    assert net.chain.balance(net.inference) == 300 * OG


def test_everything_listens_on_loopback_only(net):
    for url in [net.rpc_url, net.status_url, *(p.url for p in net.providers)]:
        assert url.startswith("http://127.0.0.1:")
        port = int(url.rsplit(":", 1)[1])
        with socket.socket(socket.AF_INET6) as other, pytest.raises(OSError):
            other.connect(("::1", port))


def test_the_wallet_holds_a_thousand_and_has_no_ledger(net):
    wallet = net.wallet
    assert net.wallet is wallet
    assert net.chain.balance(wallet.address) == 1000 * OG
    with pytest.raises(Reverted) as refused:
        ledger_of(net, wallet)
    assert abi.ledger().decode_error(refused.value.data)[0] == "LedgerNotExists"


def test_wallets_differ_and_hide_their_key(net):
    one, other = net.new_wallet(), net.new_wallet(7)
    assert one.address != other.address
    assert net.chain.balance(other.address) == 7
    assert one.private_key[2:] not in repr(one)
    assert isinstance(one, LocalWallet)


def test_opening_accounts_moves_exactly_the_amount(net):
    wallet, (first, second, _) = net.new_wallet(), net.providers
    net.open_account(wallet, first)
    assert account_of(net, wallet, first)["balance"] == 3 * OG
    assert account_of(net, wallet, first)["acknowledged"]
    assert ledger_of(net, wallet) == {
        "user": wallet.address,
        "availableBalance": 0,
        "totalBalance": 3 * OG,
        "additionalInfo": "",
    }
    net.open_account(wallet, second.address, OG)
    assert account_of(net, wallet, second)["balance"] == OG
    net.open_account(wallet, second, 5)
    assert account_of(net, wallet, second)["balance"] == OG + 5
    assert ledger_of(net, wallet)["totalBalance"] == 4 * OG + 5


def test_a_small_first_account_leaves_the_rest_in_the_ledger(net):
    wallet = net.new_wallet()
    net.open_account(wallet, net.providers[0], OG)
    assert ledger_of(net, wallet)["availableBalance"] == 2 * OG


def test_what_the_contract_refuses_is_raised(net):
    with pytest.raises(Reverted) as refused:
        net.open_account(net.new_wallet(), net.providers[0], OG - 1)
    assert abi.ledger().decode_error(refused.value.data)[0] == "MinimumDepositRequired"
    with pytest.raises(ValueError, match="insufficient funds"):
        net.open_account(net.new_wallet(OG), net.providers[0])


def test_providers_are_found_by_address_and_model(net):
    second = net.providers[1]
    assert net.provider(second.address) is second
    assert net.provider(second.model) is second
    with pytest.raises(KeyError):
        net.provider("nobody")


def test_providers_that_are_spelled_out_say_themselves_what_they_serve():
    with pytest.raises(ValueError, match="service_type"):
        LocalNet(providers=[ProviderSpec()], services=["embedding"])


def test_the_environment_points_a_program_at_the_network(net):
    env = net.env()
    assert env == {
        "RPC_URL": net.rpc_url,
        "LEDGER": net.ledger,
        "INFERENCE": net.inference,
        "PROVIDER": net.providers[0].address,
        "PROVIDERS": ",".join(p.address for p in net.providers),
        "PROVIDER_URL": net.providers[0].url,
        "PRIVATE_KEY": net.wallet.private_key,
        "CHAIN_ID": "31337",
        "ZEROG_NETWORK": "local",
        "ZEROG_RPC_URL": net.rpc_url,
        "ZEROG_LEDGER": net.ledger,
        "ZEROG_INFERENCE": net.inference,
        "ZEROG_PRIVATE_KEY": net.wallet.private_key,
        "ZEROG_PROVIDER": net.providers[0].address,
    }


def test_a_snapshot_brings_back_chain_and_providers_together(net, connect):
    one = connect(net)
    one.chat()
    one.provider.settle()
    key = one.chat().headers["zg-res-key"]
    one.signature(key)
    before = (
        one.provider.log,
        one.provider.prices,
        one.provider.tee_signer,
        one.provider.settlements,
        net.chain.balance(one.wallet.address),
        account_of(net, one.wallet, one.provider)["balance"],
        one.provider.unsettled(one.wallet.address),
        len(one.provider.requests),
    )
    snapshot = net.snapshot()
    for _ in range(2):  # a snapshot can be used again
        later = one.chat().headers["zg-res-key"]
        one.provider.settle()
        one.provider.set_price(1, 1)
        one.provider.rotate_signer()
        one.provider.fault("unavailable", times=None)
        net.open_account(one.wallet, one.provider, 1)
        net.revert(snapshot)
        assert before == (
            one.provider.log,
            one.provider.prices,
            one.provider.tee_signer,
            one.provider.settlements,
            net.chain.balance(one.wallet.address),
            account_of(net, one.wallet, one.provider)["balance"],
            one.provider.unsettled(one.wallet.address),
            len(one.provider.requests),
        )
        assert one.signature(later).status_code == 400
        assert one.signature(key).status_code == 200
        response = one.chat()
        assert response.status_code == 200
        assert one.provider.settle()[0].users[0].status == "SUCCESS"
        net.revert(snapshot)


def test_snapshots_nest(net):
    wallet = net.new_wallet(5)
    outer = net.snapshot()
    net.chain.set_balance(wallet.address, 6)
    inner = net.snapshot()
    net.chain.set_balance(wallet.address, 7)
    net.revert(inner)
    assert net.chain.balance(wallet.address) == 6
    net.revert(outer)
    assert net.chain.balance(wallet.address) == 5
    with pytest.raises(KeyError):
        net.revert(inner)


def test_providers_start_with_their_own_settings():
    strict = ProviderSettings.production()
    with LocalNet(providers=[ProviderSpec(model="a", settings=strict), ProviderSpec(model="b")]) as net:
        assert net.providers[0].settings == strict
        assert net.providers[1].settings == ProviderSettings.fast()
        assert "a" in repr(net.providers[0])


def test_a_given_chain_is_used_and_left_running(connect):
    chain = Chain(clock=Clock())
    with LocalNet(chain=chain) as net:
        assert net.chain is chain
        connect(net).chat()
    assert chain.block_number > 0
    chain.mine()


def test_starting_twice_is_refused_and_stopping_twice_is_not():
    net = LocalNet(providers=0)
    assert "not started" in repr(net)
    net.start()
    with pytest.raises(RuntimeError, match="running already"):
        net.start()
    assert "rpc http" in repr(net)
    net.stop()
    net.stop()


def test_a_network_that_was_never_started_stops():
    LocalNet().stop()


def test_nothing_is_left_behind(connect):
    before = set(threading.enumerate())
    net = LocalNet(providers=3, tls=True)
    net.start()
    directory = net.ca_file.parent
    ports = [int(url.rsplit(":", 1)[1]) for url in [net.status_url, net.rpc_url, *(p.url for p in net.providers)]]
    assert len(set(threading.enumerate()) - before) >= 2
    net.stop()
    assert set(threading.enumerate()) <= before
    assert not directory.exists()
    for port in ports:
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), 1)


def test_a_running_answer_does_not_keep_it_from_stopping(connect):
    net = LocalNet(providers=[ProviderSpec(model="slow", token_delay=5)])
    net.start()
    try:
        one = connect(net)
        stream = one.http.stream(
            "POST",
            one.provider.url + "/v1/proxy/chat/completions",
            content=one.body(stream=True),
            headers={"authorization": one.token()},
        )
        response = stream.__enter__()
        next(response.iter_raw())
    finally:
        before = threading.active_count()
        net.stop()
    response.close()
    assert threading.active_count() < before


def test_a_taken_rpc_port_leaves_nothing_behind():
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError):
        LocalNet(rpc_port=taken.getsockname()[1]).start()
    assert not set(threading.enumerate()) - before  # others may end meanwhile


def test_a_local_network_answers_instead_of_the_rule_engine(net, connect, tools):
    """Any OpenAI-compatible server can stand behind it: here a second one, without sessions."""
    from zg_core.localnet.base.server import ServerThread, bind

    async def app(scope, receive, send):
        body = b'{"object":"list","data":[{"id":"real-model"},{"id":"other"}]}'
        if scope["method"] == "POST":
            asked = json.loads((await receive())["body"])
            body = json.dumps(
                {"id": "x", "model": asked["model"], "choices": [{"message": {"content": "real"}}]}
            ).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    server, sock = ServerThread(), bind()
    server.add(app, sock)
    server.start()
    try:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
        with LocalNet(providers=3, upstream=url) as forwarding:
            assert [p.model for p in forwarding.providers] == ["real-model", "other", "real-model"]
            one = connect(forwarding)
            response = one.chat()
            assert tools.text_of(response) == "real"
            assert one.signed(response)["text"].split(":")[1] == tools.sha256(response.content)
    finally:
        server.stop()
    with pytest.raises(ValueError, match="cannot be reached or lists no models"):
        LocalNet(upstream=url).start()


def test_the_package_lists_its_names_and_loads_them_late():
    assert set(zg_core.localnet.__all__) <= set(dir(zg_core.localnet))
    for name in zg_core.localnet.__all__:
        assert getattr(zg_core.localnet, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = zg_core.localnet.nothing
    heavy = (
        "import sys, zg_core.localnet, zg_core.localnet.pytest_plugin\n"
        "print([name for name in ('eth', 'starlette', 'uvicorn', 'web3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("missing", ["eth", "starlette", "uvicorn"])
def test_without_the_extra_it_says_what_to_install(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "class Finder:\n"
        "    def find_spec(self, name, *a):\n"
        f"        if name.split('.')[0] == {missing!r}: raise ModuleNotFoundError('no', name=name)\n"
        f"del sys.modules[{missing!r}]; sys.meta_path.insert(0, Finder())\n"
        "from zg_core.localnet import LocalNet\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'zerog-integrations[localnet]'" in done.stderr


def test_a_killed_provider_refuses_connections_until_it_is_started_again():
    import httpx2

    with LocalNet(providers=2) as net, httpx2.Client() as client:
        one, other = net.providers
        url = f"{one.url}/v1/models"
        assert client.get(url).status_code == 200
        for _ in range(2):
            one.kill()
            one.kill()
            with pytest.raises(httpx2.ConnectError):
                client.get(url)
            assert client.get(f"{other.url}/v1/models").status_code == 200
            one.restart()
            one.restart()
            assert client.get(url).status_code == 200
        one.kill()


def test_a_chain_outage_ends_when_its_time_has_passed():
    import httpx2

    asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    with LocalNet(providers=1) as net, httpx2.Client() as client:
        assert client.post(net.rpc_url, json=asked).status_code == 200
        net.chain_outage(30)
        for _ in range(2):
            with pytest.raises(httpx2.RemoteProtocolError):
                client.post(net.rpc_url, json=asked)
            net.clock.advance(14)
        net.open_account(net.wallet, net.providers[0])
        net.clock.advance(3)
        assert client.post(net.rpc_url, json=asked).status_code == 200
        net.chain_outage(30)
        net.chain_outage(0)
        assert client.post(net.rpc_url, json=asked).status_code == 200
