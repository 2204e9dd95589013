"""A local network for LangChain's standard suites, the media they would download, cassettes recorded on the spot."""

from __future__ import annotations

import base64
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_tests.conftest import base_vcr_config
from vcr import VCR

from zg_core.localnet import LocalNet, ProviderSettings

SETTINGS = ("OPENAI_", "LANGSMITH_", "LANGCHAIN_", "PRIVATE_KEY", "ZG_", "LC_")
OURS = ("NETWORK", "RPC_URL", "LEDGER", "INFERENCE", "PRIVATE_KEY", "API_KEY", "PROVIDER", "MODEL", "VERIFY", "STORE")


@pytest.fixture(scope="session")
def net() -> Iterator[LocalNet]:
    """One provider, and a wallet with a sub-account there."""
    settings = replace(ProviderSettings.fast(), settle_interval=None)
    with LocalNet(settings=settings) as running:
        running.open_account(running.wallet, running.providers[0], 100 * 10**18)
        yield running


@pytest.fixture(scope="module", autouse=True)
def environment(net: LocalNet) -> Iterator[pytest.MonkeyPatch]:
    """The network's settings and nothing else that a model could read."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(SETTINGS) or name.removeprefix("ZEROG_") in OURS:
                patch.delenv(name)
        for name, value in net.env().items():
            if name.startswith("ZEROG_"):
                patch.setenv(name, value)
        patch.setenv("LANGCHAIN_TESTS_USER_AGENT", "nothing is downloaded")
        yield patch


# media


def png() -> bytes:
    """A picture of one dot."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0abc")) + chunk(b"IEND", b"")


def wav() -> bytes:
    """A moment of silence."""
    data = b"\0\0" * 80
    form = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    return (
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + form + b"data" + struct.pack("<I", len(data)) + data
    )


MEDIA = {".png": png(), ".wav": wav(), ".pdf": base64.b64decode("JVBERi0xLjQKJSVFT0YK")}


@pytest.fixture(autouse=True)
def downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite downloads a picture, a recording and a document to send; here they are made."""

    def get(url: str, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(content=MEDIA[Path(url).suffix])

    monkeypatch.setattr("langchain_tests.integration_tests.chat_models.httpx.get", get)


# cassettes


@pytest.fixture
def vcr_config() -> dict[str, Any]:
    """How cassettes are recorded and played: the suite's own settings."""
    config = base_vcr_config()
    del config["cassette_library_dir"]
    return config


@pytest.fixture
def vcr_cassette_dir(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the test's cassette is, recorded just now: the providers of the local network have new ports each time."""
    if request.node.get_closest_marker("vcr") is not None:
        model = request.getfixturevalue("model")
        name = request.getfixturevalue("default_cassette_name")
        config = request.getfixturevalue("vcr_config")
        with VCR().use_cassette(str(tmp_path / f"{name}.yaml"), **config) as cassette:
            list(model.stream("Write a story about a cat."))
        assert cassette.responses
    return str(tmp_path)
