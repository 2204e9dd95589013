"""Settlement and its preview (0g-contracts A7, A8, C6)."""

from __future__ import annotations

from typing import Any

from zg_core.localnet.base.keys import SECP256K1_ORDER, Key

from .stage import LEDGER, OG, ZERO, Stage

SUCCESS, PARTIAL, MISMATCH, NO_SIGNER, BAD_NONCE, BAD_SIGNATURE = range(6)
ORDINARY = ["FundSpent", "BalanceUpdated", "TEESettlementResult"]


def _open(stage: Stage, *users: Key, amount: int = 5 * OG) -> None:
    stage.serve(stage.pat)
    for user in users or (stage.ann,):
        stage.fund(user, 20 * OG)
        stage.transfer(f"{stage.label(user.address)} to pat", user, stage.pat, amount)


def sizes_of_a_settlement(stage: Stage) -> None:
    _open(stage)
    one = stage.item(stage.ann, stage.pat, 1, 1)
    many = ("TooManySettlements", 51, 50)
    stage.refused("none", ("NoSettlementsProvided",), stage.pat, "settleFeesWithTEE", [])
    stage.refused("51", many, stage.pat, "settleFeesWithTEE", [one] * 51)
    stage.unreadable("none previewed", ("NoSettlementsProvided",), "previewSettlementResults", [], sender=stage.pat)
    stage.unreadable("51 previewed", many, "previewSettlementResults", [one] * 51, sender=stage.pat)
    stage.settle("fifty", stage.pat, *(stage.item(stage.ann, stage.pat, OG // 100, number) for number in range(50)))
    stage.read("fifty previewed", "previewSettlementResults", [one] * 50, sender=stage.pat)


def paying(stage: Stage) -> None:
    _open(stage)
    done = stage.do("one fee", stage.pat, "settleFeesWithTEE", [stage.item(stage.ann, stage.pat, OG, 1)])
    assert (list(done.returned), done.names) == ([SUCCESS], ORDINARY)
    done = stage.do("no fee", stage.pat, "settleFeesWithTEE", [stage.item(stage.ann, stage.pat, 0, 2)])
    assert (list(done.returned), done.names) == ([SUCCESS], ["TEESettlementResult"])
    assert stage.account(stage.ann, stage.pat)["nonce"] == 2
    assert stage.settle("a gap in the nonces", stage.pat, stage.item(stage.ann, stage.pat, 1, 1000)) == [SUCCESS]
    exact = stage.account(stage.ann, stage.pat)["balance"]
    done = stage.do("one too much", stage.pat, "settleFeesWithTEE", [stage.item(stage.ann, stage.pat, exact + 1, 1001)])
    assert (list(done.returned), done.names) == ([PARTIAL], ORDINARY)
    done = stage.do("of an empty account", stage.pat, "settleFeesWithTEE", [stage.item(stage.ann, stage.pat, 7, 1002)])
    assert (list(done.returned), done.names) == ([PARTIAL], ["TEESettlementResult"])
    stage.transfer("two more", stage.ann, stage.pat, 2 * OG)
    most = stage.item(stage.ann, stage.pat, 2**256 - 1, 2**256 - 1)
    assert stage.settle("all the money there is", stage.pat, most) == [PARTIAL]
    late = stage.item(stage.ann, stage.pat, 0, 2**256 - 1)
    assert stage.settle("no nonce is left", stage.pat, late) == [BAD_NONCE]


def the_order_of_checks(stage: Stage) -> None:
    """Each item has two faults or more; the first check decides (C6.2)."""
    _open(stage)
    ann, bob, pat, quinn = stage.ann, stage.bob, stage.pat, stage.quinn
    junk = {"signature": b""}
    stage.transfer("ann to quinn, who has no service", ann, quinn, OG)

    def status(name: str, provider: Key, item: dict[str, Any]) -> int:
        """Settled alone, and previewed before."""
        failed, reasons, _, _ = stage.read(f"{name}, previewed", "previewSettlementResults", [item], sender=provider)
        (found,) = stage.settle(name, provider, item)
        assert list(reasons) == ([found] if found > PARTIAL else []), f"{name}: the preview says {reasons}"
        assert len(failed) == len(reasons)
        return found

    mismatch = stage.item(bob, quinn, 1, 0, **junk)
    assert status("another provider, no account, nonce 0, no signature", pat, mismatch) == MISMATCH
    assert status("no account, no service", stage.dan, stage.item(bob, stage.dan, 1, 1, **junk)) == BAD_SIGNATURE
    assert status("no account", pat, stage.item(bob, pat, 1, 0, **junk)) == BAD_SIGNATURE
    assert status("no service", quinn, stage.item(ann, quinn, 1, 0, **junk)) == MISMATCH
    stage.serve(quinn, acknowledged=False)
    assert status("not acknowledged by the owner", quinn, stage.item(ann, quinn, 1, 0, **junk)) == NO_SIGNER
    stage.serve(stage.dan, signer=ZERO)
    stage.transfer("ann to dan, whose signer is zero", ann, stage.dan, OG)
    assert status("a zero signer", stage.dan, stage.item(ann, stage.dan, 1, 0, **junk)) == NO_SIGNER
    assert status("a zero signer, signed", stage.dan, stage.item(ann, stage.dan, 1, 1)) == NO_SIGNER
    assert status("nonce 0, no signature", pat, stage.item(ann, pat, 1, 0, **junk)) == BAD_NONCE
    assert status("nonce 0", pat, stage.item(ann, pat, 1, 0)) == BAD_NONCE
    assert status("good", pat, stage.item(ann, pat, 1, 5)) == SUCCESS
    assert status("the same nonce, no signature", pat, stage.item(ann, pat, 1, 5, **junk)) == BAD_NONCE
    assert status("a lower nonce", pat, stage.item(ann, pat, 1, 4)) == BAD_NONCE
    assert status("too much, no signature", pat, stage.item(ann, pat, 99 * OG, 6, **junk)) == BAD_SIGNATURE
    stage.do("acknowledgement taken back", stage.owner, "revokeTEESignerAcknowledgement", pat.address)
    assert status("taken back", pat, stage.item(ann, pat, 1, 7)) == NO_SIGNER


def signatures(stage: Stage) -> None:
    _open(stage)
    good = stage.item(stage.ann, stage.pat, OG, 1)
    r, s, v = good["signature"][:32], good["signature"][32:64], good["signature"][64]
    high = (SECP256K1_ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    changed = {
        "empty": b"",
        "64 bytes": r + s,
        "66 bytes": r + s + bytes([v, 0]),
        "130 bytes": good["signature"] * 2,
        "v 0 or 1": r + s + bytes([v - 27]),
        "the other v": r + s + bytes([55 - v]),
        "v 29": r + s + bytes([29]),
        "v 255": r + s + bytes([255]),
        "high s": r + high + bytes([55 - v]),
        "r of zero": bytes(32) + s + bytes([v]),
        "s of zero": r + bytes(32) + bytes([v]),
        "r past the order": b"\xff" * 32 + s + bytes([v]),
        "all zero": bytes(65),
    }
    items = {name: good | {"signature": signature} for name, signature in changed.items()}
    items |= {
        "another signer": stage.item(stage.ann, stage.pat, OG, 1, signer=stage.pat),
        "another chain": stage.item(stage.ann, stage.pat, OG, 1, chain_id=16661),
        "another contract": stage.item(stage.ann, stage.pat, OG, 1, contract=LEDGER.address),
        "another fee": good | {"totalFee": OG + 1},
        "another nonce": good | {"nonce": 2},
        "another hash": good | {"requestsHash": bytes(32)},
    }
    for name, item in items.items():
        assert stage.settle(name, stage.pat, item) == [BAD_SIGNATURE]
    assert stage.settle("the good one", stage.pat, good) == [SUCCESS]


def several_items(stage: Stage) -> None:
    """Later items see what earlier ones left; one payment at the end (C6.1, C6.5)."""
    _open(stage, stage.ann, stage.bob)
    ann, bob, pat = stage.ann, stage.bob, stage.pat
    items = [
        stage.item(ann, pat, 2 * OG, 1),
        stage.item(bob, pat, OG, 1),
        stage.item(ann, pat, OG, 1),
        stage.item(ann, pat, 2 * OG, 2),
        stage.item(stage.eve, pat, OG, 1),
        stage.item(ann, pat, 2 * OG, 3),
        stage.item(bob, pat, OG, 2, signature=b"x" * 65),
        stage.item(ann, pat, OG, 4),
        stage.item(bob, stage.quinn, OG, 3),
        stage.item(bob, pat, 0, 4),
    ]
    preview = stage.read("previewed, each against the present", "previewSettlementResults", items, sender=pat)
    assert [list(part) for part in preview][1] == [BAD_SIGNATURE, BAD_SIGNATURE, MISMATCH]
    stage.read("previewed by another", "previewSettlementResults", items, sender=bob)
    stage.read("previewed by nobody", "previewSettlementResults", items)
    statuses = stage.settle("settled", pat, *items)
    assert statuses == [0, 0, BAD_NONCE, 0, BAD_SIGNATURE, PARTIAL, BAD_SIGNATURE, PARTIAL, MISMATCH, 0]
    partial = [stage.item(ann, pat, 3 * OG, 9), stage.item(bob, pat, 99 * OG, 9)]
    _, _, users, amounts = stage.read("partial previewed", "previewSettlementResults", partial, sender=pat)
    assert (list(users), list(amounts)) == ([ann.address, bob.address], [3 * OG, 95 * OG])
    assert stage.settle("only failures pay nothing", pat, items[2], items[4]) == [BAD_NONCE, BAD_SIGNATURE]


def taking_out_of_refunds(stage: Stage) -> None:
    """Only what is above the free part comes out of the refunds, newest first (C6.3)."""
    _open(stage, amount=8 * OG)
    ann, pat = stage.ann, stage.pat
    stage.retrieve("ask for eight", ann, pat)
    stage.later(50)
    stage.transfer("four back", ann, pat, 4 * OG)
    stage.retrieve("ask for four", ann, pat)
    stage.transfer("two back", ann, pat, 2 * OG)
    assert stage.live(ann, pat) == [4 * OG, 2 * OG]
    stage.settle("one out of the free two", pat, stage.item(ann, pat, OG, 1))
    stage.settle("the other one and one neuron", pat, stage.item(ann, pat, OG + 1, 2))
    assert stage.live(ann, pat) == [4 * OG, 2 * OG - 1]
    stage.settle("the newest entry, exactly", pat, stage.item(ann, pat, 2 * OG - 1, 3))
    assert stage.live(ann, pat) == [4 * OG]
    stage.settle("the first entry and more", pat, stage.item(ann, pat, 5 * OG, 4))
    assert stage.live(ann, pat) == []
    stage.later(86_400)
    stage.retrieve("nothing is left to mature", ann, pat)


SCENARIOS = (sizes_of_a_settlement, paying, the_order_of_checks, signatures, several_items, taking_out_of_refunds)
