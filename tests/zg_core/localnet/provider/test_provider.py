"""The Python face of a provider."""

import threading
from dataclasses import replace

import pytest

from zg_core.localnet import LocalNet, ProviderSettings, ProviderSpec
from zg_core.localnet.chain import abi


@pytest.fixture(scope="module")
def net():
    calm = replace(ProviderSettings.fast(), settle_interval=None)
    specs = [ProviderSpec(model="m"), ProviderSpec(model="p", kind="TeeML-separated")]
    with LocalNet(providers=specs, settings=calm) as running:
        yield running


def test_it_shows_what_it_is_and_no_key(net):
    one, other = net.providers
    assert repr(one) == f"LocalProvider('m', TeeML, {one.address})"
    assert (one.model, one.kind, one.spec.model) == ("m", "TeeML", "m")
    assert one.url.startswith("http://127.0.0.1:")
    assert one.response_signer == one.tee_signer
    assert other.response_signer != other.tee_signer
    assert one.prices == (one.spec.input_price, one.spec.output_price)
    for secret in (one._state.key, one._state.tee_key):
        assert secret.hex[2:] not in repr(vars(one._state)) + repr(one) + repr(one._state.save())


def test_what_an_answered_request_left_is_there_at_once(net, connect):
    """Reading the book waits for the server to finish what it was doing when the client got its last byte."""
    one = connect(net)
    for number in range(1, 30):
        one.chat(stream=bool(number % 2))
        mine = [entry for entry in one.provider.log if entry.user == one.wallet.address]
        assert len(mine) == number
        assert one.provider.unsettled(one.wallet.address) == sum(entry.fee for entry in mine)


def test_the_book_is_a_copy(net, connect):
    one = connect(net)
    one.chat()
    one.provider.log.clear()
    one.provider.requests.clear()
    assert one.provider.log
    assert one.provider.requests


def test_unsettled_takes_any_letter_case(net, connect):
    one = connect(net, 1)
    one.chat()
    fee = one.provider.unsettled(one.wallet.address)
    assert one.provider.unsettled(one.wallet.address.lower()) == fee > 0


def test_caches_can_be_dropped(connect):
    patient = replace(ProviderSettings.fast(), account_cache=3600)
    with LocalNet(settings=patient) as net:
        one = connect(net)
        assert one.chat().status_code == 200
        contract = abi.inference()
        net.chain.send(
            one.wallet.private_key,
            to=contract.address,
            data=contract.encode("revokeAllTokens", one.provider.address),
        )
        assert one.chat().status_code == 200
        one.provider.drop_caches()
        assert one.chat().status_code == 400


def test_many_threads_may_use_it(net, connect):
    callers = [connect(net) for _ in range(4)]
    failures = []

    def work(one):
        token = one.token()
        for _ in range(10):
            response = one.post(one.body(), token=token)
            if response.status_code != 200 or not one.signature(response.headers["zg-res-key"]).json()["text"]:
                failures.append(response.text)
            one.provider.settle()

    threads = [threading.Thread(target=work, args=(one,)) for one in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for one in callers:
        entries = [entry for entry in one.provider.log if entry.user == one.wallet.address]
        assert len(entries) == 10
        assert all(entry.settled == entry.fee for entry in entries)
