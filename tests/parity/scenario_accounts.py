"""Sub-accounts: the user's consent, tokens, and every list they are read in (0g-contracts A6, B7, B8, C4)."""

from __future__ import annotations

from zg_core.localnet.chain.genesis import SERVICE_NAME

from .stage import LEDGER, OG, SERVING, ZERO, Stage


def consent(stage: Stage) -> None:
    """acknowledgeTEESigner emits nothing; it is withdrawn only from an empty account (A6)."""
    ann, pat = stage.ann.address, stage.pat.address
    missing = ("AccountNotExists", ann, pat)
    for truth in (True, False):
        stage.refused(f"{truth} without an account", missing, stage.ann, "acknowledgeTEESigner", pat, truth)
    stage.serve(stage.pat)
    stage.fund(stage.ann, 6 * OG)
    stage.transfer("to pat", stage.ann, stage.pat, 2 * OG)
    assert stage.do("given again", stage.ann, "acknowledgeTEESigner", pat, True).events == []
    held = ("CannotRevokeWithNonZeroBalance", ann, pat, 2 * OG)
    stage.refused("withdrawn with coins", held, stage.ann, "acknowledgeTEESigner", pat, False)
    stage.retrieve("ask for all", stage.ann, stage.pat)
    stage.refused("withdrawn with coins that are pending", held, stage.ann, "acknowledgeTEESigner", pat, False)
    stage.later(86_400)
    stage.retrieve("take all", stage.ann, stage.pat)
    assert stage.do("withdrawn", stage.ann, "acknowledgeTEESigner", pat, False).events == []
    assert stage.account(stage.ann, stage.pat)["acknowledged"] is False
    stage.do("withdrawn twice", stage.ann, "acknowledgeTEESigner", pat, False)
    stage.settle("no fee without consent", stage.pat, stage.item(stage.ann, stage.pat, 0, 1))
    stage.transfer("a transfer of nothing consents", stage.ann, stage.pat, 0)
    assert stage.account(stage.ann, stage.pat)["acknowledged"] is True
    stage.do("withdrawn a third time", stage.ann, "acknowledgeTEESigner", pat, False)
    stage.do("given by word", stage.ann, "acknowledgeTEESigner", pat, True)
    stage.settle("a fee with consent", stage.pat, stage.item(stage.ann, stage.pat, 0, 1))


def tokens(stage: Stage) -> None:
    ann, pat = stage.ann.address, stage.pat.address
    missing = ("AccountNotExists", ann, pat)
    stage.refused("revoke one of no account", missing, stage.ann, "revokeToken", pat, 1)
    stage.refused("revoke none of no account", missing, stage.ann, "revokeTokens", pat, [])
    stage.refused("revoke all of no account", missing, stage.ann, "revokeAllTokens", pat)
    stage.unreadable("no account to ask about", missing, "isTokenRevoked", ann, pat, 1)
    stage.fund(stage.ann, 6 * OG)
    stage.transfer("to pat", stage.ann, stage.pat, 2 * OG)
    for number in (0, 7, 254, 255):
        done = stage.do(f"revoke {number}", stage.ann, "revokeToken", pat, number)
        assert done.events == [("TokenRevoked", {"user": ann, "provider": pat, "tokenId": number})]
        assert stage.read(f"{number} is revoked", "isTokenRevoked", ann, pat, number) is True
    assert stage.read("1 is not", "isTokenRevoked", ann, pat, 1) is False
    stage.do("revoke 7 again", stage.ann, "revokeToken", pat, 7)
    stage.do("revoke none", stage.ann, "revokeTokens", pat, [])
    done = stage.do("revoke several, some twice", stage.ann, "revokeTokens", pat, [3, 3, 255, 9, 0])
    assert done.names == ["TokensRevoked"]
    stage.do("revoke 300", stage.ann, "revokeTokens", pat, [number % 256 for number in range(300)])
    assert stage.account(stage.ann, stage.pat)["revokedBitmap"] == 2**256 - 1
    for generation in (1, 2):
        done = stage.do(f"revoke all {generation}", stage.ann, "revokeAllTokens", pat)
        assert done.events == [("AllTokensRevoked", {"user": ann, "provider": pat, "newGeneration": generation})]
    assert stage.read("255 is free again", "isTokenRevoked", ann, pat, 255) is False
    stage.do("revoke in the new generation", stage.ann, "revokeToken", pat, 128)
    other = ("AccountNotExists", stage.bob.address, pat)
    stage.unreadable("of another user", other, "isTokenRevoked", stage.bob.address, pat, 0)


def lists_of_accounts(stage: Stage) -> None:
    """Three lists, each in insertion order with the last moved into a gap (B8); what is missing (B7)."""
    ann, pat = stage.ann.address, stage.pat.address
    missing = ("AccountNotExists", ann, pat)
    for function in ("getAccount", "getPendingRefund"):
        stage.unreadable(f"{function} of none", missing, function, ann, pat)
    stage.serve(stage.pat)
    users = [stage.ann, stage.bob, stage.eve, stage.cat]
    for user in users:
        stage.fund(user, 6 * OG)
        for provider in (stage.pat, stage.quinn, stage.dan):
            name = f"{stage.label(user.address)} to {stage.label(provider.address)}"
            stage.transfer(name, user, provider, 2 * OG)
    stage.settle("bob spends some", stage.pat, stage.item(stage.bob, stage.pat, OG, 5))
    for provider in (stage.pat, stage.quinn, stage.dan):
        stage.retrieve(f"bob asks {stage.label(provider.address)}", stage.bob, provider)
    stage.later(86_400)
    stage.retrieve("bob takes all", stage.bob, stage.pat, stage.quinn, stage.dan)
    stage.do("bob leaves", stage.bob, "refund", 5 * OG)
    stage.compare_lists()
    stage.fund(stage.bob, 5 * OG, "bob comes back")
    stage.transfer("bob comes back to quinn", stage.bob, stage.quinn, 5 * OG)
    for function, args in [("getAllAccounts", ()), ("getAccountsByUser", (ann,)), ("getAccountsByProvider", (pat,))]:
        for offset, limit in [(0, 0), (0, 2), (1, 1), (2, 50), (1, 49), (99, 0), (2**256 - 1, 50)]:
            stage.read(f"{function} from {offset} of {limit}", function, *args, offset, limit)
        large = ("LimitTooLarge", 51, 50)
        stage.unreadable(f"{function} of 51", large, function, *args, 0, 51)
        large = ("LimitTooLarge", 2**256 - 1, 50)
        stage.unreadable(f"{function} of 51 past the end", large, function, *args, 99, 2**256 - 1)
    asked = [stage.cat.address, ZERO, ann, ann, stage.bob.address]
    found = stage.read("a provider's users", "getBatchAccountsByUsers", asked, sender=stage.pat)
    assert [each["user"] for each in found] == [asked[0], ZERO, ann, ann, ZERO]
    stage.read("a stranger's users", "getBatchAccountsByUsers", asked, sender=stage.eve)
    assert stage.read("no users", "getBatchAccountsByUsers", [], sender=stage.pat) == []
    stage.read("500 users", "getBatchAccountsByUsers", [ZERO] * 499 + [ann], sender=stage.pat)
    size = ("BatchSizeTooLarge", 501, 500)
    stage.unreadable("501 users", size, "getBatchAccountsByUsers", [ann] * 501, sender=stage.pat)
    assert stage.read("it exists", "accountExists", ann, pat) is True
    assert stage.read("it does not", "accountExists", pat, ann) is False
    assert stage.read("nothing is pending", "getPendingRefund", ann, pat) == 0
    stage.read("no ledger's providers", "getLedgerProviders", stage.dan.address, SERVICE_NAME)
    none = ("ServiceNotFound", ZERO)
    stage.unreadable("no service's providers", none, "getLedgerProviders", ann, "nope")


def constants(stage: Stage) -> None:
    for name, value in [
        ("MAX_ADDITIONAL_INFO_LENGTH", 4096),
        ("MAX_PROVIDERS_PER_BATCH", 20),
        ("MAX_PROVIDERS_PER_USER_PER_SERVICE", 50),
        ("MAX_SERVICES", 500),
        ("MIN_ACCOUNT_BALANCE", 3 * OG),
        ("MIN_TRANSFER_AMOUNT", OG),
        ("MAX_LOCKTIME", 604_800),
        ("MIN_LOCKTIME", 3600),
        ("MIN_PROVIDER_STAKE", 100 * OG),
        ("lockTime", 86_400),
        ("ledgerAddress", LEDGER.address),
    ]:
        assert stage.read(name, name) == value
    for contract in (LEDGER, SERVING):
        assert stage.read(f"{contract.name} is initialised", "initialized", to=contract) is True
        assert stage.read(f"{contract.name}'s owner", "owner", to=contract) == stage.owner.address
    for interface in ("160841b1", "01ffc9a7", "ffffffff", "00000000", "160841b0"):
        wanted = interface in {"160841b1", "01ffc9a7"}
        assert stage.read(f"interface {interface}", "supportsInterface", bytes.fromhex(interface)) is wanted
    stage.unreadable("the ledger of nobody", ("LedgerNotExists", ZERO), "getLedger", ZERO)


SCENARIOS = (consent, tokens, lists_of_accounts, constants)
