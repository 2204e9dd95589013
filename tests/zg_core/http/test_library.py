"""The HTTP library beside us, and whose authorities count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.driving import fetch
from tests.zg_core.raw_server import Server, certificate
from zg_core.errors import ConfigError
from zg_core.http import library as module


class TestLibrary:
    def test_without_any_library_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(name: str) -> Any:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        monkeypatch.setattr(module.importlib, "import_module", missing)
        module.library.cache_clear()
        try:
            with pytest.raises(ModuleNotFoundError, match="pip install httpx2"):
                module.library()
        finally:
            module.library.cache_clear()


class TestAuthorities:
    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            monkeypatch.delenv(name, raising=False)
        module.ssl_context.cache_clear()
        yield
        module.ssl_context.cache_clear()

    @pytest.fixture
    def secure(self, tmp_path: Path) -> Iterator[Any]:
        context, pem, _ = certificate(tmp_path)
        made = Server(context)
        yield made, pem
        made.stop()

    def test_a_variable_names_them(self, secure: Any, drive: Any, monkeypatch: Any) -> None:
        server, pem = secure
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert drive(fetch(server.url))[2] == b"ok"

    @pytest.mark.parametrize("kind", ["missing", "junk", "a directory", "no directory"])
    def test_a_variable_that_names_none_is_named(
        self, secure: Any, drive: Any, kind: str, tmp_path: Path, monkeypatch: Any
    ) -> None:
        server, _ = secure
        name = "SSL_CERT_DIR" if kind == "no directory" else "SSL_CERT_FILE"
        path = tmp_path / "named"
        if kind == "junk":
            path.write_bytes(b"hello world")
        if kind == "a directory":
            path.mkdir()
        monkeypatch.setenv(name, str(path))
        with pytest.raises(ConfigError, match=f"{name}='{path}'") as caught:
            drive(fetch(server.url))
        assert caught.value.code == "bad_ca_file"
        assert "variable" in caught.value.hint

    def test_it_is_asked_for_only_where_it_is_needed(
        self, server: Any, secure: Any, drive: Any, tmp_path: Path, monkeypatch: Any
    ) -> None:
        """A machine with a broken setting can still be asked over plain http, and with an authority that is given."""
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
        assert drive(fetch(server.url))[2] == b"ok"
        protected, pem = secure
        assert drive(fetch(protected.url), str(pem))[2] == b"ok"

    def test_a_certificate_that_is_not_trusted_is_no_reason_to_try_again(self, secure: Any, drive: Any) -> None:
        server, _ = secure
        for client in ("own", "library"):
            with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED") as caught:
                drive(fetch(server.url), client=client)
            assert (caught.value.code, caught.value.retryable) == ("connect_failed", False)
            assert "ca_file" in caught.value.hint
