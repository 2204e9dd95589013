"""``zerog keys``."""

from __future__ import annotations

import pytest

from zg_core import ChatClient
from zg_core.chain.transactions import Sender
from zg_core.errors import ChainError

HELLO = {"messages": [{"role": "user", "content": "hi"}]}


def ask(zerog, key):
    """One call with an API key and without the wallet."""
    environ = {name: value for name, value in zerog.environ.items() if name != "ZEROG_PRIVATE_KEY"}
    with ChatClient(api_key=key, environ=environ) as client:
        return client.create(HELLO)


def test_a_key_is_printed_alone_called_a_secret_and_works(rich, provider):
    ran = rich("keys", "create", provider, "--name", "bot")
    assert "this is a secret, shown this once" in ran.err
    assert f"zerog keys revoke {provider} 0" in ran.err
    assert ask(rich, ran.out.strip()).receipt.verdict.satisfies("verified")


def test_two_keys_have_two_ids_and_the_list_knows_both(rich, provider):
    first = rich.json("keys", "create", provider, "--name", "one")
    second = rich.json("keys", "create", "--expires", "12h", ZEROG_PROVIDER=provider)
    assert (first["id"], second["id"]) == (0, 1)
    assert first["base_url"].endswith("/v1/proxy")
    listed = rich.json("keys", "list")["keys"]
    assert [(each["id"], each["name"], each["status"]) for each in listed] == [(0, "one", "live"), (1, "", "live")]
    assert [each["fingerprint"] for each in listed] == [first["fingerprint"], second["fingerprint"]]
    ran = rich("keys", "list", provider)
    assert "one" in ran.out
    assert first["fingerprint"][:12] in ran.out


def test_never_must_be_said(rich, provider):
    assert rich.json("keys", "create", provider)["expires_at"] is not None
    assert rich.json("keys", "create", provider, "--expires", "never")["expires_at"] is None
    assert "it never expires" in rich("keys", "create", provider, "--expires", "never").err


def test_revoking_one_leaves_the_other(rich, market, provider):
    keys = [rich.json("keys", "create", provider)["api_key"] for _ in range(2)]
    document = rich.json("keys", "revoke", provider, "0", "--yes")
    assert len(document["transactions"]) == 1
    with pytest.raises(Exception, match="revoked"):
        ask(rich, keys[0])
    assert ask(rich, keys[1]).text
    assert [each["status"] for each in rich.json("keys", "list")["keys"]] == ["revoked", "live"]
    error = rich.fails("keys", "revoke", provider, "0", "--yes", code=1)
    assert error["code"] == "already_revoked"
    assert "revoked key 1" in rich("keys", "revoke", provider, "1", "--yes").out


def test_revoking_all_ends_all(rich, provider):
    rich.json("keys", "create", provider)
    rich.json("keys", "create", provider)
    ran = rich("keys", "revoke-all", provider, "--yes")
    assert "2 live keys made here" in ran.err
    assert {each["status"] for each in rich.json("keys", "list")["keys"]} == {"revoked"}
    assert rich.json("keys", "revoke-all", provider, "--yes")["live_keys_ended"] == 0


def test_rotating_gives_a_new_key_and_ends_the_old_one(rich, provider):
    rich.json("keys", "create", provider, "--name", "bot")
    document = rich.json("keys", "rotate", provider, "0", "--yes")
    assert document["revoked"] == 0
    assert document["id"] == 1
    assert document["name"] == "bot"
    assert ask(rich, document["api_key"]).text
    ran = rich("keys", "rotate", provider, "1", "--yes")
    assert ask(rich, ran.out.strip()).text
    assert "key 1 is revoked by transaction 0x" in ran.err


@pytest.mark.parametrize("as_json", [False, True], ids=["human", "json"])
def test_a_rotation_that_stops_half_way_does_not_lose_the_new_key(rich, provider, monkeypatch, as_json):
    rich.json("keys", "create", provider)

    async def down(*_args, **_options):
        raise ChainError("the chain is gone", code="rpc_unavailable", hint="try again")

    monkeypatch.setattr(Sender, "send", down)
    ran = rich("keys", "rotate", provider, "0", "--yes", *(["--json"] if as_json else []), ok=False)
    assert ran.code == 1
    assert f"zerog keys revoke {provider} 0" in ran.err
    assert "was not revoked" in ran.err.replace("not\nrevoked", "not revoked") or "not revoked" in ran.err
    key = ran.document["api_key"] if as_json else ran.out.strip()
    assert ask(rich, key).text


def test_no_keys_are_none(rich):
    assert "no keys were made here" in rich("keys", "list").out


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (["create"], 2, "usage"),
        (["create", "PROVIDER", "--expires", "soon"], 2, "usage"),
        (["create", "PROVIDER", "--expires", "0d"], 2, "usage"),
        (["revoke", "PROVIDER", "255", "--yes"], 2, "usage"),
        (["revoke", "PROVIDER", "first", "--yes"], 2, "usage"),
        (["create", "STRANGER"], 1, "unknown_provider"),
        (["create", "OTHER"], 1, "no_account"),
        (["revoke", "OTHER", "0", "--yes"], 1, "no_account"),
        (["revoke-all", "OTHER", "--yes"], 1, "no_account"),
        (["rotate", "PROVIDER", "9", "--yes"], 1, "unknown_key"),
        (["create", "PROVIDER", "--name", "x" * 201], 1, "bad_name"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else str(value),
)
def test_a_refusal_has_a_code_and_a_hint(steady, market, provider, words, code, name):
    named = {"PROVIDER": provider, "OTHER": market.providers[1].address, "STRANGER": "0x" + "77" * 20}
    error = steady.fails("keys", *(named.get(word, word) for word in words), code=code)
    assert error["code"] == name


def test_all_keys_commands_need_a_wallet(nobody, provider):
    for words in (["create", provider], ["list"]):
        assert nobody.fails("keys", *words, code=1)["code"] == "no_wallet"
