"""Where a URL leads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zg_core.http.library import library
from zg_core.http.urls import target_of
from zg_core.http.wires import Unsendable


class TestTargets:
    @pytest.mark.parametrize(
        ("url", "origin", "authority", "path"),
        [
            ("http://localhost", ("http", "localhost", 80), b"localhost", b"/"),
            (
                "https://provider.example/v1/proxy",
                ("https", "provider.example", 443),
                b"provider.example",
                b"/v1/proxy",
            ),
            ("https://provider.example:443/a", ("https", "provider.example", 443), b"provider.example", b"/a"),
            ("http://[::1]:8545/", ("http", "::1", 8545), b"[::1]:8545", b"/"),
            ("https://b\u00fccher.example/x", ("https", "xn--bcher-kva.example", 443), b"xn--bcher-kva.example", b"/x"),
            ("http://h/a b?q=\u00e4#fragment", ("http", "h", 80), b"h", b"/a%20b?q=%C3%A4"),
            ("HTTP://Host.Example/P", ("http", "host.example", 80), b"host.example", b"/P"),
        ],
    )
    def test_a_url_is_taken_apart(self, url: str, origin: Any, authority: bytes, path: bytes) -> None:
        target = target_of(url)
        assert (target.origin, target.authority, target.path) == (origin, authority, path)

    @pytest.mark.parametrize("url", ["", "x", "ftp://h/", "http://", "http:///x", "http://h:x/", "//h/"])
    def test_what_is_none_is_refused(self, url: str) -> None:
        with pytest.raises(Unsendable):
            target_of(url)

    @given(st.text("abcXYZ019-._~!$&'()*+,;=:@/%?#\u00e4 ", max_size=30))
    def test_paths_are_those_of_the_library(self, path: str) -> None:
        url = f"http://h.example/{path}"
        try:
            expected = library().URL(url).raw_path
        except library().InvalidURL:
            return
        assert library().URL("http://h.example" + target_of(url).path.decode()).raw_path == expected
