"""Session tokens: the known answers, round trips, and that no altered token is read as something else."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zg_core.backends.direct.session import EPHEMERAL_TOKEN_ID, LIFETIME_MS, TokenClaims, make_token, read_token
from zg_core.config import Secret
from zg_core.crypto import keccak256
from zg_core.errors import ConfigError
from zg_core.wallet import Wallet

KEY = "0x" + "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
PROVIDER = "0xa48f01287233509FD694a22Bf840225062E67836"
NOW = 1767225600000
NONCE = "00112233445566778899aabbccddeeff"
# 0g-direct §12.1
TOKEN = (
    "app-sk-eyJhZGRyZXNzIjoiMHgxOUU3RTM3NkU3QzIxM0I3RTdlN2U0NmNjNzBBNWREMDg2REFmZjJBIiwicHJvdmlkZXIiOiIweGE0OGYwMTI4"
    "NzIzMzUwOUZENjk0YTIyQmY4NDAyMjUwNjJFNjc4MzYiLCJ0aW1lc3RhbXAiOjE3NjcyMjU2MDAwMDAsImV4cGlyZXNBdCI6MTc2NzMxMjAwMDAw"
    "MCwibm9uY2UiOiIwMDExMjIzMzQ0NTU2Njc3ODg5OWFhYmJjY2RkZWVmZiIsImdlbmVyYXRpb24iOjAsInRva2VuSWQiOjI1NX18MHgwNTFkNDhj"
    "ZWM3MTE1Zjg0NTUyNDc1NDA4YzQ1YTNkMTQ5YmM3YzViM2E3MWUxYTM1MjRmYjBmNWE5NGRhN2FhMjA1YzlmYzE1MGE2ZThmNjEzMWEyZTMwODg0"
    "YmQ1Njk5MTFkODc2ODJiOTMwYjJhYzJlYmUyN2ZhYjUwODgxMjFj"
)
CLAIMS = TokenClaims(ADDRESS, PROVIDER, NOW, NOW + LIFETIME_MS, NONCE, 0, EPHEMERAL_TOKEN_ID)


def wallet() -> Wallet:
    return Wallet.from_key(KEY)


def token_of(message: str, signature: str | None = None) -> str:
    """A token over any message, rightly signed unless told otherwise."""
    signed = signature if signature is not None else wallet().sign_personal(keccak256(message.encode()))
    return "app-sk-" + base64.b64encode(f"{message}|{signed}".encode()).decode()


def token_with(**changes: Any) -> str:
    fields = json.loads(CLAIMS.message()) | changes
    return token_of(json.dumps({k: v for k, v in fields.items() if v is not ...}, separators=(",", ":")))


class TestKnownAnswers:
    def test_a_token_is_made_byte_for_byte(self) -> None:
        made = make_token(wallet(), PROVIDER, now_ms=NOW, generation=0, nonce=NONCE)
        assert made.reveal() == TOKEN

    def test_a_token_is_read(self) -> None:
        assert read_token(TOKEN) == CLAIMS
        assert read_token(Secret(TOKEN)) == CLAIMS

    @pytest.mark.parametrize("text", [f"Bearer {TOKEN}", f"  {TOKEN}\n", f"Bearer  {TOKEN} "])
    def test_what_is_pasted_around_it_does_not_matter(self, text: str) -> None:
        assert read_token(text) == CLAIMS

    def test_every_case_of_the_shared_vectors(self, shared: Path) -> None:
        vectors = json.loads((shared / "vectors" / "session_token.json").read_text())
        for name, case in vectors["cases"].items():
            fields = case["fields"]
            made = make_token(
                Wallet.from_key(vectors["private_key"]),
                fields["provider"],
                now_ms=fields["timestamp"],
                generation=fields["generation"],
                token_id=fields["tokenId"],
                expires_at=fields["expiresAt"],
                nonce=fields["nonce"],
            )
            assert f"Bearer {made.reveal()}" == case["authorization"], name
            claims = read_token(case["authorization"])
            assert claims.message() == case["message"], name
            assert "0x" + keccak256(case["message"].encode()).hex() == case["keccak256"], name


class TestMaking:
    def test_a_session_lasts_24_hours_and_has_a_nonce_of_its_own(self) -> None:
        one, two = (read_token(make_token(wallet(), PROVIDER, now_ms=NOW, generation=4)) for _ in range(2))
        assert (one.expires_at - one.timestamp, one.token_id, one.generation) == (24 * 3600 * 1000, 255, 4)
        assert one.nonce != two.nonce

    @given(
        now=st.integers(0, 2**50),
        generation=st.integers(0, 2**64),
        token_id=st.integers(0, 255),
        expires=st.integers(0, 2**53) | st.just(0),
        nonce=st.text(st.characters(codec="utf-8", exclude_characters="|"), min_size=1, max_size=20),
    )
    @settings(max_examples=40, deadline=None)
    def test_what_is_made_is_read_back(
        self, now: int, generation: int, token_id: int, expires: int, nonce: str
    ) -> None:
        made = make_token(
            wallet(), PROVIDER, now_ms=now, generation=generation, token_id=token_id, expires_at=expires, nonce=nonce
        )
        assert read_token(made) == TokenClaims(ADDRESS, PROVIDER, now, expires, nonce, generation, token_id)


class TestReading:
    ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_ |\u00e9\u0000"

    @given(position=st.integers(0, len(TOKEN) - 1), char=st.sampled_from(ALPHABET))
    @settings(max_examples=400, deadline=None)
    def test_a_changed_character_is_refused_or_changes_nothing(self, position: int, char: str) -> None:
        # A hex digit of the signature may change its case, and base64 has spare bits: neither changes what is claimed.
        changed = TOKEN[:position] + char + TOKEN[position + 1 :]
        try:
            claims = read_token(changed)
        except ConfigError:
            return
        assert claims == CLAIMS

    @given(cut=st.integers(0, len(TOKEN) - 1))
    @settings(max_examples=100, deadline=None)
    def test_a_cut_token_is_refused(self, cut: int) -> None:
        with pytest.raises(ConfigError):
            read_token(TOKEN[:cut])

    @given(text=st.text(max_size=80) | st.text(max_size=80).map("app-sk-".__add__))
    @settings(max_examples=200, deadline=None)
    def test_any_text_is_refused_with_one_class(self, text: str) -> None:
        with pytest.raises(ConfigError):
            read_token(text)

    @given(payload=st.binary(max_size=80))
    @settings(max_examples=100, deadline=None)
    def test_any_payload_is_refused_with_one_class(self, payload: bytes) -> None:
        with pytest.raises(ConfigError):
            read_token("app-sk-" + base64.b64encode(payload).decode())

    @pytest.mark.parametrize(
        ("token", "reason"),
        [
            ("", "does not begin"),
            ("sk-proj-abc", "does not begin"),
            ("app-sk-", "no signed message|does not decode"),
            ("app-sk-***", "does not decode"),
            (token_of("{}").replace("=", "").rstrip("A") + "!", "does not decode"),
            ("app-sk-" + base64.b64encode(CLAIMS.message().encode()).decode(), "no signed message"),
            (token_of("[1]"), "no signed message"),
            (token_of("null"), "no signed message"),
            (token_of("[" * 100_000), "does not decode"),
            (token_of('{"tokenId":' + "9" * 5000 + "}"), "does not decode"),
            (token_with(nonce=...), "nonce"),
            (token_with(tokenId=...), "tokenId"),
            (token_with(expiresAt="soon"), "number"),
            (token_with(expiresAt=1.5), "number"),
            (token_with(generation=True), "number"),
            (token_with(generation=-1), "number"),
            (token_with(tokenId=256), "number"),
            (token_with(provider="0x12"), "owner or provider"),
            (token_with(address=None), "owner or provider"),
            (token_with(address="0x" + "22" * 20), "not signed by"),
            (token_of(CLAIMS.message(), ""), "signature"),
            (token_of(CLAIMS.message(), "0x" + "00" * 65), "signature"),
            (token_of(CLAIMS.message(), "0x12|0x34"), "signature"),
            (token_of(CLAIMS.message(), wallet().sign_personal(CLAIMS.message().encode())), "not signed by"),
        ],
    )
    def test_says_what_is_wrong_without_repeating_the_token(self, token: str, reason: str) -> None:
        with pytest.raises(ConfigError, match=reason) as caught:
            read_token(token)
        assert caught.value.code == "bad_api_key"
        assert "zerog keys create" in caught.value.hint
        assert len(token) < 12 or token[7:] not in str(caught.value)

    def test_a_key_signed_by_another_wallet_is_refused(self) -> None:
        message = CLAIMS.message()
        other = Wallet.from_key("0x" + "22" * 32).sign_personal(keccak256(message.encode()))
        with pytest.raises(ConfigError, match="not signed by"):
            read_token(token_of(message, other))

    def test_owner_and_provider_come_out_in_one_spelling(self) -> None:
        claims = read_token(token_with(address=ADDRESS.lower(), provider=PROVIDER.lower()))
        assert (claims.address, claims.provider) == (ADDRESS, PROVIDER)
