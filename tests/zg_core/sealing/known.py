"""The published known answers of the sealing protocol."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from zg_core.sealing.envelopes import EnclaveKey, Opener, SealedRequest
from zg_core.sealing.hpke import PrivateKey
from zg_core.sealing.profiles import PROFILES, Profile

PROFILE_NAMES = {"image": "images", "speech": "transcription", "embedding": "embeddings", "chat": "chat"}


@cache
def vectors(name: str) -> dict[str, Any]:
    """One of the two files."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / f"e2ee_{name}.json").read_text())
    return found


def private(text: str) -> PrivateKey:
    """A key of the vectors."""
    return PrivateKey(bytes.fromhex(text))


def enclave() -> EnclaveKey:
    """The recipient of every request in them."""
    chat = vectors("chat")
    return EnclaveKey(bytes.fromhex(chat["recipient"]["enc_pub"]), chat["signer"])


def client() -> PrivateKey:
    """To which every answer in them is sealed."""
    return private(vectors("chat")["client"]["eph_priv"])


def profile(name: str) -> Profile:
    """By the vectors' own name."""
    return PROFILES[PROFILE_NAMES[name]]


def opener(name: str = "chat") -> Opener:
    """One that opens the answers in them."""
    return Opener(client(), profile(name))


def sealed(payload: dict[str, Any], name: str = "chat") -> SealedRequest:
    """A request to their enclave."""
    return SealedRequest.seal(payload, profile(name), enclave(), answers=client())
