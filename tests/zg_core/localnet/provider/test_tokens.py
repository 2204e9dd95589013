"""Token checks: the provider's reasons one by one, in its order (0g-direct §3.2)."""

import base64
import json
from dataclasses import dataclass, replace

import pytest

from zg_core.localnet.provider.settings import ProviderSettings
from zg_core.localnet.provider.tokens import SessionRejectedError, TokenChecker, parse_message, split_header

KEY = "0x" + "11" * 32
USER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
PROVIDER = "0xa48f01287233509FD694a22Bf840225062E67836"
NOW = 1767225600  # the vectors' timestamp
SESSION = (  # 0g-direct §12.1
    "Bearer app-sk-eyJhZGRyZXNzIjoiMHgxOUU3RTM3NkU3QzIxM0I3RTdlN2U0NmNjNzBBNWREMDg2REFmZjJBIiwicHJvdmlkZXIiOiIweGE0OG"
    "YwMTI4NzIzMzUwOUZENjk0YTIyQmY4NDAyMjUwNjJFNjc4MzYiLCJ0aW1lc3RhbXAiOjE3NjcyMjU2MDAwMDAsImV4cGlyZXNBdCI6MTc2NzMxMjAw"
    "MDAwMCwibm9uY2UiOiIwMDExMjIzMzQ0NTU2Njc3ODg5OWFhYmJjY2RkZWVmZiIsImdlbmVyYXRpb24iOjAsInRva2VuSWQiOjI1NX18MHgwNTFkND"
    "hjZWM3MTE1Zjg0NTUyNDc1NDA4YzQ1YTNkMTQ5YmM3YzViM2E3MWUxYTM1MjRmYjBmNWE5NGRhN2FhMjA1YzlmYzE1MGE2ZThmNjEzMWEyZTMwODg0"
    "YmQ1Njk5MTFkODc2ODJiOTMwYjJhYzJlYmUyN2ZhYjUwODgxMjFj"
)
API_KEY = (  # vectors/session_token.json: token id 7, generation 3, never expires
    "Bearer app-sk-eyJhZGRyZXNzIjoiMHgxOUU3RTM3NkU3QzIxM0I3RTdlN2U0NmNjNzBBNWREMDg2REFmZjJBIiwicHJvdmlkZXIiOiIweGE0OG"
    "YwMTI4NzIzMzUwOUZENjk0YTIyQmY4NDAyMjUwNjJFNjc4MzYiLCJ0aW1lc3RhbXAiOjE3NjcyMjU2MDAwMDAsImV4cGlyZXNBdCI6MCwibm9uY2Ui"
    "OiIwMDExMjIzMzQ0NTU2Njc3ODg5OWFhYmJjY2RkZWVmZiIsImdlbmVyYXRpb24iOjMsInRva2VuSWQiOjd9fDB4M2U3ZGFhNTFlNmFkMGVkYTA3NG"
    "NmY2UyNmQ4NDhhNTlkOTZhYTNmNDUzN2M5YmUzZDEzODI4NTZlOTNjY2NjMzMyMWMzMjcwODVlNGQ2MzNjZDA2M2NlYjcyYzU4NzU1NzllMGE2ZjJh"
    "NDdmNzVmYTA4ZmNlNWU0YzA3ZjY1N2QxYg=="
)


@dataclass
class FakeAccount:
    generation: int = 0
    revoked_bitmap: int = 0


class World:
    """A checker with a settable time and account; counts account reads."""

    def __init__(self, settings=None):
        self.now = float(NOW)
        self.account = FakeAccount()
        self.reads = 0
        self.checker = TokenChecker(
            PROVIDER, settings or ProviderSettings.production(), now=lambda: self.now, account=self.read
        )

    def read(self, user):
        assert user.lower() == USER.lower()
        self.reads += 1
        return self.account

    def reason(self, header):
        with pytest.raises(SessionRejectedError) as refused:
            self.checker.check(header)
        return str(refused.value)


@pytest.fixture
def world():
    return World()


def message(**changes):
    fields = {
        "address": USER,
        "provider": PROVIDER,
        "timestamp": NOW * 1000,
        "expiresAt": (NOW + 86_400) * 1000,
        "nonce": "n",
        "generation": 0,
        "tokenId": 255,
    }
    return json.dumps(fields | changes, separators=(",", ":"))


@pytest.fixture
def header(tools):
    def make(**changes):
        return tools.sign_token(message(**changes), KEY)

    return make


def raw(payload):
    return "Bearer app-sk-" + base64.b64encode(payload.encode()).decode()


def test_the_known_session_token_passes(world):
    token = world.checker.check(SESSION)
    assert (token.address, token.token_id, token.generation) == (USER, 255, 0)


def test_the_known_api_key_passes_for_its_generation(world):
    world.account.generation = 3
    world.now += 10 * 365 * 86_400
    assert world.checker.check(API_KEY).token_id == 7


@pytest.mark.parametrize("header", [None, "", "Bearer sk-123", "app-sk-abc", "bearer app-sk-abc"])
def test_1_a_missing_or_foreign_header(world, header):
    assert world.reason(header) == (
        "missing or invalid Authorization header, must be Bearer app-sk-<base64(rawMessage:signature)>"
    )


@pytest.mark.parametrize("tail", ["%%%", "YQ", "Y Q==", "-_-_"])
def test_2_what_is_not_base64(world, tail):
    assert world.reason("Bearer app-sk-" + tail).startswith("invalid base64 in Authorization header")


def test_3_a_payload_without_separator(world):
    assert world.reason(raw("{}")) == "invalid Authorization payload, expect base64(rawMessage:signature)"


def test_the_first_separator_counts(world):
    assert split_header(raw("a|b|c")) == ("a", "b|c")


@pytest.mark.parametrize(
    "bad",
    ["", "nope", "[]", '"x"', message(tokenId=256), message(generation=-1), message(expiresAt=1.5), message(nonce=1)],
)
def test_4_what_is_not_a_token_object(world, bad):
    assert world.reason(raw(bad + "|0x")).startswith("invalid session token format in Authorization")


def test_missing_fields_are_zero_as_in_go():
    token = parse_message('{"provider":null}')
    assert (token.address, token.expires_at, token.token_id) == ("", 0, 0)


def test_5_another_provider(world, header):
    assert world.reason(header(provider=USER)) == "session token is for different provider"


def test_the_provider_is_compared_without_letter_case(world, header):
    assert world.checker.check(header(provider=PROVIDER.lower())).address == USER


def test_6_a_session_needs_an_end(world, header):
    assert world.reason(header(expiresAt=0)) == "ephemeral token must have an expiration time"


def test_7_a_session_lasts_at_most_a_day(world, header):
    assert world.reason(header(expiresAt=(NOW + 86_401) * 1000)) == "ephemeral token duration cannot exceed 24 hours"
    assert world.checker.check(header(expiresAt=(NOW + 86_400) * 1000, tokenId=255)).token_id == 255


def test_an_api_key_may_last_longer_or_for_ever(world, header):
    assert world.checker.check(header(tokenId=3, expiresAt=(NOW + 10**7) * 1000)).token_id == 3
    assert world.checker.check(header(tokenId=3, expiresAt=0)).token_id == 3


def test_8_an_expired_token(world, header):
    token = header(expiresAt=(NOW + 60) * 1000)
    world.now = NOW + 60.9  # the whole second still counts
    world.checker.check(token)
    world.now = NOW + 61
    assert world.reason(token) == "session token expired"


def test_9_generations_must_be_equal(world, header):
    world.account.generation = 2
    assert world.reason(header(generation=1)) == "session token has been revoked (generation expired)"
    assert world.reason(header(generation=3)) == "invalid session token (future generation)"
    assert world.checker.check(header(generation=2)).generation == 2


def test_10_a_revoked_id(world, header):
    world.account.revoked_bitmap = 1 << 7
    assert world.reason(header(tokenId=7, expiresAt=0)) == "session token has been revoked"
    assert world.checker.check(header(tokenId=8, expiresAt=0)).token_id == 8


def test_the_bitmap_does_not_touch_sessions(world, header):
    world.account.revoked_bitmap = 1 << 255
    assert world.checker.check(header()).token_id == 255


def test_without_an_account_nothing_is_revoked(world, header):
    world.account = None
    assert world.checker.check(header(generation=5)).generation == 5


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        ("", "invalid signature format: empty hex string"),
        ("ab" * 65, "invalid signature format: hex string without 0x prefix"),
        ("0xabc", "invalid signature format: hex string of odd length"),
        ("0xzz", "invalid signature format: invalid hex string"),
        ("0x a b", "invalid signature format: invalid hex string"),
        ("0x", "invalid signature length"),
        ("0x" + "ab" * 64, "invalid signature length"),
        ("0x" + "ab" * 64 + "00", "failed to recover public key from signature: invalid signature recovery id"),
        ("0x" + "00" * 64 + "1b", "failed to recover public key from signature: recovery failed"),
    ],
)
def test_11_unusable_signatures(world, signature, reason):
    assert world.reason(raw(message() + "|" + signature)) == reason


def test_11_a_signature_by_somebody_else(world, tools):
    assert world.reason(tools.sign_token(message(), "0x" + "22" * 32)) == (
        "signature verification failed: address mismatch"
    )


def test_the_raw_text_is_what_is_signed(world, tools):
    spaced = message().replace(",", ", ")
    assert world.checker.check(tools.sign_token(spaced, KEY)).address == USER
    signature = split_header(tools.sign_token(spaced, KEY))[1]
    assert world.reason(raw(message() + "|" + signature)) == "signature verification failed: address mismatch"


def test_checks_come_in_the_providers_order(world, tools):
    """Each refusal is found although everything after it is wrong too."""
    wrong = {"provider": USER, "expiresAt": 0, "generation": 9}
    order = ["provider", "expiresAt", "generation"]
    reasons = [
        "session token is for different provider",
        "ephemeral token must have an expiration time",
        "invalid session token (future generation)",
        "signature verification failed: address mismatch",
    ]
    for step, reason in enumerate(reasons):
        bad = {name: wrong[name] for name in order[step:]}
        assert world.reason(tools.sign_token(message(**bad), "0x" + "22" * 32)) == reason


def test_a_checked_signature_is_remembered_but_revocation_is_not_skipped(header, monkeypatch):
    world = World(replace(ProviderSettings.production(), session_cache=300))
    recovered = []
    from zg_core.localnet.provider import tokens

    real = tokens.recover_address
    monkeypatch.setattr(tokens, "recover_address", lambda *args: recovered.append(1) or real(*args))
    token = header()
    world.checker.check(token)
    world.now += 299
    world.checker.check(token)
    assert len(recovered) == 1
    world.now += 2
    world.checker.check(token)
    assert len(recovered) == 2
    world.checker.forget()
    world.checker.check(token)
    assert len(recovered) == 3
    world.account.generation = 1
    assert "generation expired" in world.reason(token)
    assert world.reads == 5
