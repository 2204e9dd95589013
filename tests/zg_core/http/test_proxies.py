"""Which proxy the environment names for a request, and which requests need none."""

from __future__ import annotations

import pytest

from zg_core.errors import ConfigError
from zg_core.http.proxies import Proxies, Proxy
from zg_core.http.urls import target_of

PROXY = "http://proxy:3128"


def goes_through(url: str, **environ: str) -> str | None:
    proxy = Proxies(environ).of(target_of(url))
    return None if proxy is None else proxy.url


@pytest.mark.parametrize(
    ("environ", "http", "https"),
    [
        ({}, None, None),
        ({"http_proxy": PROXY}, PROXY, None),
        ({"HTTPS_PROXY": PROXY}, None, PROXY),
        ({"ALL_PROXY": PROXY}, PROXY, PROXY),
        ({"ALL_PROXY": "http://other", "https_proxy": PROXY}, "http://other", PROXY),
        ({"HTTP_PROXY": "http://other", "http_proxy": PROXY}, PROXY, None),
        ({"HTTP_PROXY": PROXY, "http_proxy": ""}, None, None),
        ({"http_proxy": "proxy:3128"}, PROXY, None),
        ({"http_proxy": f" {PROXY} "}, PROXY, None),
        ({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, None, None),  # CGI: the header `Proxy` of whoever called it
        ({"all_proxy": "socks5h://proxy:1080"}, "socks5h://proxy:1080", "socks5h://proxy:1080"),
    ],
)
def test_the_scheme_decides(environ: dict[str, str], http: str | None, https: str | None) -> None:
    assert goes_through("http://provider.example/", **environ) == http
    assert goes_through("https://provider.example/", **environ) == https


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "http://127.8.9.1/", "http://localhost/", "http://localhost.:80/", "http://[::1]:8545/"],
)
def test_this_machine_needs_none(url: str) -> None:
    assert goes_through(url, all_proxy=PROXY) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("provider.example", "http://provider.example/"),
        ("provider.example", "http://a.b.provider.example/"),
        (".provider.example", "http://provider.example/"),
        ("*.provider.example", "http://a.provider.example/"),
        ("Provider.Example.", "http://provider.example/"),
        ("provider.example", "http://provider.example./"),
        ("a, b ,provider.example", "http://provider.example/"),
        ("a b;provider.example", "http://provider.example/"),
        ("provider.example:8080", "http://provider.example:8080/"),
        ("http://provider.example", "http://provider.example/"),
        ("https://provider.example/path", "http://provider.example/"),
        ("*", "http://provider.example/"),
        ("10.0.0.0/8", "http://10.200.1.1/"),
        ("10.1.2.3", "http://10.1.2.3/"),
        ("10.1.2.3/8", "http://10.200.1.1/"),
        ("[fd00::1]", "http://[fd00::1]/"),
        ("fd00::1", "http://[fd00::1]:8080/"),
        ("[fd00::1]:8080", "http://[fd00::1]:8080/"),
        ("fd00::/8", "http://[fd12::1]/"),
        ("[fd00::]/8", "http://[fd12::1]/"),
    ],
)
def test_every_form_of_an_exemption_is_understood(no_proxy: str, url: str) -> None:
    assert goes_through(url, http_proxy=PROXY, no_proxy=no_proxy) is None
    assert goes_through(url, http_proxy=PROXY, NO_PROXY=no_proxy) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("", "http://provider.example/"),
        ("example.org", "http://provider.example/"),
        ("provider.example", "http://otherprovider.example/"),
        ("provider.example:8080", "http://provider.example/"),
        ("10.0.0.0/8", "http://provider.example/"),
        ("10.0.0.0/8", "http://11.0.0.1/"),
        ("fe11::/16,localhost", "http://provider.example/"),
        (",,[,],[]:,:8080,/,*x?,//,10.0.0.0/99,[::1]]", "http://provider.example/"),
    ],
)
def test_junk_and_others_exempt_nobody(no_proxy: str, url: str) -> None:
    assert goes_through(url, http_proxy=PROXY, no_proxy=no_proxy) == PROXY


@pytest.mark.parametrize(
    "url",
    ["http://", "http://proxy corp:3128", "http://proxy:31x8", "http://proxy:0", "http://proxy:99999", "http://[::1"],
)
def test_what_is_no_url_is_refused_and_its_password_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        Proxy(url.replace("http://", "http://me:geheim@"), "HTTPS_PROXY").checked()
    assert caught.value.code == "bad_proxy"
    assert "geheim" not in f"{caught.value} {caught.value.hint} {Proxy('http://me:geheim@x', 'HTTPS_PROXY')}"


def test_a_missing_package_is_named_for_socks() -> None:
    error = Proxy("socks5://me:geheim@proxy:1080", "ALL_PROXY").refused("no socksio")
    assert "socksio" in error.hint
    assert "ALL_PROXY='socks5://proxy:1080'" in error.message
