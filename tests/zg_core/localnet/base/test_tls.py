"""https with a throw-away CA."""

import ssl

import httpx2
import pytest

from zg_core.localnet import LocalNet, ProviderSpec


@pytest.fixture(scope="module")
def net():
    with LocalNet(
        providers=[ProviderSpec(model="m"), ProviderSpec(model="w", tls_host="other.example")], tls=True
    ) as n:
        yield n


@pytest.fixture(scope="module")
def https(net):
    with httpx2.Client(verify=ssl.create_default_context(cafile=net.ca_file), trust_env=False) as client:
        yield client


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_ca_file_makes_providers_trusted(net, https, connect, tools, host):
    one = connect(net)
    one.http = https
    assert one.provider.url.startswith("https://127.0.0.1:")
    response = https.post(
        one.provider.url.replace("127.0.0.1", host) + "/v1/proxy/chat/completions",
        content=one.body(stream=True),
        headers={"authorization": one.token()},
    )
    assert response.status_code == 200
    assert one.signed(response)["text"].split(":")[1] == tools.sha256(response.content)


def test_without_it_they_are_not(net):
    with (
        httpx2.Client(trust_env=False) as client,
        pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get(net.providers[0].url + "/v1/models")


def test_a_certificate_for_another_host_is_refused(net, https):
    with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
        https.get(net.providers[1].url + "/v1/models")


@pytest.mark.parametrize("fault", ["cut_before_first_byte", "cut_after_first_byte"])
def test_connections_are_cut_under_tls_too(net, https, connect, fault):
    one = connect(net)
    one.http = https
    one.provider.fault(fault)
    with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
        one.chat(stream=True)
    assert one.chat().status_code == 200


def test_the_key_file_is_private(net):
    directory = net.ca_file.parent
    keys = list(directory.glob("*.key"))
    assert len(keys) == 2
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
    assert directory.stat().st_mode & 0o777 == 0o700
