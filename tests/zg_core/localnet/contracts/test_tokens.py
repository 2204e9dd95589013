"""Revoking session tokens (0g-contracts C4)."""

from __future__ import annotations

from typing import Any

import pytest

OG = 10**18

WITHOUT_ACCOUNT = {"revokeToken": (1,), "revokeTokens": ([],), "revokeAllTokens": ()}


@pytest.mark.parametrize(("function", "rest"), WITHOUT_ACCOUNT.items(), ids=list(WITHOUT_ACCOUNT))
def test_revoking_needs_the_account(stage: Any, function: str, rest: tuple[Any, ...]) -> None:
    answer = stage.refused(stage.ann, function, stage.pat.address, *rest)
    assert answer == ("AccountNotExists", stage.ann.address, stage.pat.address)


def test_asking_needs_the_account(stage: Any) -> None:
    parties = (stage.ann.address, stage.pat.address)
    assert stage.unreadable("isTokenRevoked", *parties, 0) == ("AccountNotExists", *parties)


@pytest.fixture
def opened(stage: Any) -> Any:
    stage.open_account(stage.ann, stage.pat, OG)
    return stage


@pytest.mark.parametrize("token", [0, 1, 128, 255])
def test_one_token_is_revoked_any_number_of_times(opened: Any, token: int) -> None:
    parties = {"user": opened.ann.address, "provider": opened.pat.address}
    for _ in range(2):
        events = opened.do(opened.ann, "revokeToken", opened.pat.address, token)
        assert events == [("TokenRevoked", parties | {"tokenId": token})]
    assert opened.account(opened.ann, opened.pat)["revokedBitmap"] == 1 << token
    assert opened.read("isTokenRevoked", *parties.values(), token) is True
    assert opened.read("isTokenRevoked", *parties.values(), (token + 1) % 256) is False


@pytest.mark.parametrize("tokens", [[], [3], [255, 0, 3, 3], list(range(256)) * 2], ids=len)
def test_several_tokens_are_one_event_with_the_list_as_given(opened: Any, tokens: list[int]) -> None:
    parties = {"user": opened.ann.address, "provider": opened.pat.address}
    opened.do(opened.ann, "revokeToken", opened.pat.address, 9)
    events = opened.do(opened.ann, "revokeTokens", opened.pat.address, tokens)
    assert [(name, arguments | {"tokenIds": list(arguments["tokenIds"])}) for name, arguments in events] == [
        ("TokensRevoked", parties | {"tokenIds": tokens})
    ]
    assert opened.account(opened.ann, opened.pat)["revokedBitmap"] == sum(1 << token for token in {9, *tokens})


def test_revoking_all_starts_a_generation_and_frees_every_id(opened: Any) -> None:
    parties = {"user": opened.ann.address, "provider": opened.pat.address}
    opened.do(opened.ann, "revokeTokens", opened.pat.address, [0, 255])
    for generation in (1, 2):
        events = opened.do(opened.ann, "revokeAllTokens", opened.pat.address)
        assert events == [("AllTokensRevoked", parties | {"newGeneration": generation})]
    account = opened.account(opened.ann, opened.pat)
    assert (account["generation"], account["revokedBitmap"]) == (2, 0)


def test_one_users_tokens_are_not_anothers(opened: Any) -> None:
    opened.open_account(opened.bob, opened.pat, OG)
    opened.do(opened.ann, "revokeToken", opened.pat.address, 4)
    assert opened.read("isTokenRevoked", opened.bob.address, opened.pat.address, 4) is False
