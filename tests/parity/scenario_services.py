"""Providers' services, their stakes and the owner's acknowledgement (0g-contracts A10, C5)."""

from __future__ import annotations

from .scenario_initialisation import NOT_OWNER
from .stage import OG, ZERO, Stage, service_params

STAKE = 100 * OG
LONG = "x" * 4097


def opening_a_service(stage: Stage) -> None:
    """The stake first, then the length of the text (C5.1)."""
    tee = stage.tee.address
    good, long = service_params(tee), service_params(tee, additionalInfo=LONG)
    for value in (0, STAKE - 1):
        expected = ("InsufficientStake", value, STAKE)
        stage.refused(f"{value} is too little", expected, stage.pat, "addOrUpdateService", good, value=value)
        stage.refused(f"{value} and too long", expected, stage.pat, "addOrUpdateService", long, value=value)
    stage.refused("too long", ("AdditionalInfoTooLong",), stage.pat, "addOrUpdateService", long, value=STAKE)
    done = stage.do("with more than the stake", stage.pat, "addOrUpdateService", good, value=150 * OG)
    assert done.names == ["ProviderStaked", "ServiceUpdated"]
    more = ("CannotAddStakeWhenUpdating",)
    stage.refused("more stake", more, stage.pat, "addOrUpdateService", good, value=1)
    stage.refused("more stake and too long", more, stage.pat, "addOrUpdateService", long, value=STAKE)
    stage.refused("updated, too long", ("AdditionalInfoTooLong",), stage.pat, "addOrUpdateService", long)
    stage.later(60)
    done = stage.do("updated without a change", stage.pat, "addOrUpdateService", good)
    assert done.names == ["ServiceUpdated"]
    stage.do("the longest text", stage.pat, "addOrUpdateService", service_params(tee, additionalInfo="x" * 4096))
    wide = dict.fromkeys(("url", "model", "serviceType", "verifiability"), "w" * 5000)
    stage.do("other texts of 5000", stage.pat, "addOrUpdateService", service_params(tee, **wide))
    empty = dict.fromkeys(("url", "model", "serviceType", "verifiability", "additionalInfo"), "")
    prices = {"inputPrice": 2**256 - 1, "outputPrice": 0}
    bare = service_params(ZERO, **empty, **prices)
    stage.do("nothing but a stake", stage.quinn, "addOrUpdateService", bare, value=STAKE)
    assert stage.read("pat's", "getService", stage.pat.address)["model"] == "w" * 5000
    assert stage.read("quinn's", "getService", stage.quinn.address)["inputPrice"] == 2**256 - 1
    stage.unreadable("ann's", ("ServiceNotExist", stage.ann.address), "getService", stage.ann.address)


def the_owners_acknowledgement(stage: Stage) -> None:
    """Lost by a change of one of five fields, by content; not come back by itself (C5.2, C5.3)."""
    pat, tee = stage.pat.address, stage.tee.address
    for function in ("acknowledgeTEESignerByOwner", "revokeTEESignerAcknowledgement"):
        stage.refused(f"{function}: not the owner", NOT_OWNER, stage.ann, function, pat)
        stage.refused(f"{function}: no service", ("ServiceNotExist", pat), stage.owner, function, pat)
    stage.serve(stage.pat, acknowledged=False)
    for number, (function, truth) in enumerate(
        [
            ("revokeTEESignerAcknowledgement", False),
            ("acknowledgeTEESignerByOwner", True),
            ("acknowledgeTEESignerByOwner", True),
        ]
    ):
        done = stage.do(f"{number}: {function}", stage.owner, function, pat)
        expected = {"provider": pat, "teeSignerAddress": tee, "acknowledged": truth}
        assert done.events == [("ProviderTEESignerAcknowledged", expected)]

    def known(after: str) -> bool:
        truth: bool = stage.read(f"known after {after}", "getService", pat)["teeSignerAcknowledged"]
        return truth

    for field, value in {"url": "http://127.0.0.1:2", "inputPrice": 11, "outputPrice": 31}.items():
        stage.do(f"another {field}", stage.pat, "addOrUpdateService", service_params(tee, **{field: value}))
        assert known(f"another {field}") is True
    others = {
        "serviceType": "other",
        "model": "other",
        "verifiability": "OpML",
        "additionalInfo": "{ }",
        "teeSignerAddress": stage.ann.address,
    }
    for field, value in others.items():
        stage.do(f"another {field}", stage.pat, "addOrUpdateService", service_params(tee, **{field: value}))
        assert known(f"another {field}") is False
        stage.do(f"the old {field}", stage.pat, "addOrUpdateService", service_params(tee))
        assert known(f"the old {field}") is False
        stage.do(f"acknowledged after {field}", stage.owner, "acknowledgeTEESignerByOwner", pat)
    stage.do("removed", stage.pat, "removeService")
    stage.do("opened again", stage.pat, "addOrUpdateService", service_params(tee), value=STAKE)
    assert known("opening again") is False
    stage.serve(stage.quinn, signer=ZERO)


def removing_a_service(stage: Stage) -> None:
    """ProviderStakeReturned, ServiceRemoved, then the coins; sub-accounts stay (C5.4)."""
    none = ("ServiceNotExist", stage.pat.address)
    stage.refused("none", none, stage.pat, "removeService")
    stage.do("opened with 150", stage.pat, "addOrUpdateService", service_params(stage.tee.address), value=150 * OG)
    stage.do("acknowledged", stage.owner, "acknowledgeTEESignerByOwner", stage.pat.address)
    stage.serve(stage.quinn)
    stage.serve(stage.dan)
    stage.fund(stage.ann, 10 * OG)
    stage.transfer("to pat", stage.ann, stage.pat, 2 * OG)
    done = stage.do("removed", stage.pat, "removeService")
    assert done.names == ["ProviderStakeReturned", "ServiceRemoved"]
    assert done.events[0][1]["amount"] == 150 * OG
    assert stage.read("it is gone", "serviceExists", stage.pat.address) is False
    stage.refused("twice", none, stage.pat, "removeService")
    stage.transfer("more to pat", stage.ann, stage.pat, OG)
    assert stage.settle("pat cannot settle", stage.pat, stage.item(stage.ann, stage.pat, OG, 1)) == [2]
    stage.retrieve("back from pat", stage.ann, stage.pat)
    stage.serve(stage.cat)
    stage.do("pat again", stage.pat, "addOrUpdateService", service_params(stage.tee.address), value=STAKE)
    services, total = stage.read("all", "getAllServices", 0, 0)
    wanted = [each.address for each in (stage.dan, stage.quinn, stage.cat, stage.pat)]
    assert ([each["provider"] for each in services], total) == (wanted, 4)
    for offset, limit in [(0, 1), (1, 2), (3, 50), (4, 0), (2**256 - 1, 50)]:
        stage.read(f"page from {offset} of {limit}", "getAllServices", offset, limit)
    stage.unreadable("51", ("LimitTooLarge", 51, 50), "getAllServices", 0, 51)
    stage.unreadable("51 past the end", ("LimitTooLarge", 51, 50), "getAllServices", 99, 51)


SCENARIOS = (opening_a_service, the_owners_acknowledgement, removing_a_service)
