"""Policies: what each does with each verdict, and what it refuses before anything is sent."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from dataclasses import replace
from typing import Any

import pytest

from zg_core.errors import ConfigError, VerificationFailed, VerificationUnavailable, VerificationWarning
from zg_core.money import Fee, neuron
from zg_core.receipts.model import Receipt
from zg_core.types import Kind, ServiceRecord
from zg_core.verify.policy import Policy, renames_in, suffices
from zg_core.verify.reach import reach_of
from zg_core.verify.verdict import Reason, Status, Verdict

PROVIDER = "0x" + "ab" * 20
RANK = {Status.VERIFIED: 4, Status.RESPONSE_BOUND: 3, Status.SIGNER_ONLY: 2, Status.CLAIMED: 1}


def receipt(verdict: Verdict, provider: str = PROVIDER) -> Receipt:
    made = Receipt("direct", "local", 31337, provider, "m", Kind.TEE_ML, "00" * 32, 1, 1, Fee(neuron(1), exact=True))
    made.settle(verdict)
    return made


def service(kind: Kind) -> ServiceRecord:
    info = {
        Kind.TEE_ML: "{}",
        Kind.TEE_ML_SEPARATED: '{"TargetSeparated": true}',
        Kind.TEE_TLS: '{"ProviderType": "centralized"}',
        Kind.STANDARD: '{"ProviderType": "standard"}',
    }[kind]
    return ServiceRecord(PROVIDER, "chatbot", "https://p", 1, 1, 0, "m", "TeeML", info, PROVIDER, True)


def enforced(policy: Policy, verdict: Verdict, provider: str = PROVIDER) -> str:
    """What `policy` does: "raises" with the code, "warns", or "passes"."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            policy.enforce(receipt(verdict, provider), "the text")
        except (VerificationFailed, VerificationUnavailable) as error:
            complete = error.text == "the text" and error.receipt and error.hint and not caught
            return f"raises {type(error).__name__} {error.code}" if complete else "raises too little"
    return "warns" if [w for w in caught if w.category is VerificationWarning] else "passes"


class TestForms:
    def test_the_defaults(self) -> None:
        assert Policy.of() == Policy() == Policy("warn", Status.VERIFIED, None, "after", None)

    @pytest.mark.parametrize("mode", ["off", "background", "warn", "require"])
    def test_a_word_is_a_mode(self, mode: str) -> None:
        assert Policy.of(mode).mode == mode

    def test_takes_everything(self) -> None:
        policy = Policy.of(
            "require", minimum="verified", kinds=["TeeML", Kind.TEE_TLS], stream="hold", identity="openai"
        )
        assert policy == Policy(
            "require", Status.VERIFIED, frozenset({Kind.TEE_ML, Kind.TEE_TLS}), "hold", "openai"
        )  # fmt: skip

    @pytest.mark.parametrize("kinds", ["TeeML", ["TeeML"], iter(["TeeML"]), {"TeeML"}, (Kind.TEE_ML,)])
    def test_kinds_may_be_one_or_many(self, kinds: Any) -> None:
        assert Policy.of(kinds=kinds).kinds == frozenset({Kind.TEE_ML})

    def test_a_whole_policy_stays_itself(self) -> None:
        policy = Policy("require")
        assert Policy.of(policy) is policy

    @pytest.mark.parametrize(
        "more", [{"minimum": "verified"}, {"kinds": ["TeeML"]}, {"stream": "hold"}, {"identity": "x"}]
    )
    def test_a_whole_policy_and_parts_contradict(self, more: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="whole policy"):
            Policy.of(Policy(), **more)

    @pytest.mark.parametrize(
        ("wrong", "names"),
        [
            ({"verify": "strict"}, "off, background, warn, require"),
            ({"minimum": "failed"}, "verified, response_bound"),
            ({"minimum": "pending"}, "verified, response_bound"),
            ({"stream": "before"}, "after, hold"),
            ({"verify": "off", "stream": "hold"}, "verify='require' or 'warn'"),
            ({"verify": "background", "stream": "hold"}, "verify='require' or 'warn'"),
            ({"kinds": ["teeml"]}, "TeeML, TeeML-separated, TeeTLS, standard"),
            ({"kinds": "TEE"}, "TeeML"),
        ],
    )
    def test_an_unknown_word_is_an_error_that_names_the_known(self, wrong: dict[str, Any], names: str) -> None:
        with pytest.raises(ConfigError, match=names) as caught:
            Policy.of(**wrong)
        assert caught.value.code == "bad_policy"
        direct = {"mode" if k == "verify" else k: v for k, v in wrong.items()}
        with pytest.raises(ConfigError, match=names):
            Policy(**direct)

    def test_can_be_copied_pickled_compared_and_hashed(self) -> None:
        policy = Policy.of("require", kinds=["TeeML"])
        for other in (pickle.loads(pickle.dumps(policy)), copy.copy(policy), copy.deepcopy(policy)):
            assert other == policy
            assert hash(other) == hash(policy)


class TestAdmit:
    @pytest.mark.parametrize("kind", Kind)
    @pytest.mark.parametrize("mode", ["off", "background", "warn", "require"])
    def test_only_require_refuses_a_service_that_signs_nothing(self, mode: str, kind: Kind) -> None:
        policy = Policy.of(mode)
        if mode == "require" and kind is Kind.STANDARD:
            with pytest.raises(VerificationUnavailable, match="signs nothing") as caught:
                policy.admit(service(kind))
            assert caught.value.code == "not_verifiable"
        else:
            policy.admit(service(kind))

    @pytest.mark.parametrize("kind", Kind)
    def test_only_the_kinds_named_may_see_a_prompt(self, kind: Kind) -> None:
        policy = Policy.of("off", kinds=["TeeML", "TeeML-separated"])
        if kind.prompt == "declared":
            policy.admit(service(kind))
        else:
            with pytest.raises(VerificationUnavailable, match="the policy allows TeeML, TeeML-separated") as caught:
                policy.admit(service(kind))
            assert caught.value.code == "kind_not_allowed"


class TestEnforce:
    @pytest.mark.parametrize("mode", ["off", "background", "warn", "require"])
    @pytest.mark.parametrize("minimum", ["claimed", "signer_only", "response_bound", "verified"])
    def test_every_mode_with_every_verdict(self, mode: str, minimum: str) -> None:
        for status in Status:
            reason = Reason.CONTENT_MISMATCH if status is Status.FAILED else Reason.NO_SIGNATURE
            found = enforced(Policy.of(mode, minimum=minimum), Verdict(status, reason))
            if mode in ("off", "background"):
                assert found == "passes", status
            elif status is Status.FAILED:
                assert found == "raises VerificationFailed content_mismatch"
            elif RANK.get(status, 0) >= RANK[Status(minimum)]:
                assert found == "passes", status
            else:
                assert found == ("warns" if mode == "warn" else "raises VerificationUnavailable no_signature"), status

    def test_warns_once_for_each_provider_and_reason(self) -> None:
        policy = Policy()
        none, incomplete = (Verdict(Status.UNAVAILABLE, reason) for reason in (Reason.NO_SIGNATURE, Reason.INCOMPLETE))
        assert [enforced(policy, none) for _ in range(3)] == ["warns", "passes", "passes"]
        assert enforced(policy, incomplete) == "warns"
        assert enforced(policy, none, "0x" + "cd" * 20) == "warns"
        assert enforced(Policy(), none) == "warns"

    def test_python_shows_the_warning_of_every_policy_and_where_the_call_was_made(self) -> None:
        unproven = receipt(Verdict(Status.UNAVAILABLE, Reason.NO_SIGNATURE))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")  # a warning of one place and text is shown once
            for _ in range(2):
                policy = Policy()
                for _ in range(3):
                    policy.enforce(unproven)
        assert len(caught) == 2
        assert {warning.filename for warning in caught} == {__file__}

    def test_threads_warn_once_together(self) -> None:
        policy = Policy()
        barrier = threading.Barrier(8)

        def enforce() -> None:
            barrier.wait()
            policy.enforce(receipt(Verdict(Status.UNAVAILABLE, Reason.NO_SIGNATURE)))

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            threads = [threading.Thread(target=enforce) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(caught) == 1

    @pytest.mark.parametrize(
        ("wanted", "found", "mode", "outcome"),
        [
            ("openai", "openai", "require", "passes"),
            ("openai", "mistral", "require", "raises VerificationUnavailable identity_mismatch"),
            ("openai", "mistral", "warn", "warns"),
            ("openai", "mistral", "off", "passes"),
            ("openai", "", "require", "raises VerificationUnavailable identity_mismatch"),
            (None, "mistral", "require", "passes"),
        ],
    )
    def test_the_vendor_behind_teetls_can_be_demanded(
        self, wanted: str | None, found: str, mode: str, outcome: str
    ) -> None:
        verdict = Verdict(Status.VERIFIED, kind=Kind.TEE_TLS, provider_identity=found)
        assert enforced(Policy.of(mode, identity=wanted), verdict) == outcome


class TestRenames:
    """Names of models that the user takes for one another."""

    def test_are_part_of_the_policy_and_of_its_plain_form(self) -> None:
        policy = Policy.of("require", accept_models={"asked": "forwarded"})
        assert policy.accept_models == {"asked": "forwarded"}
        assert policy.to_dict()["accept_models"] == {"asked": "forwarded"}
        assert Policy.from_dict(policy.to_dict()).accept_models == policy.accept_models
        assert "accept_models" not in Policy().to_dict()
        assert hash(policy) == hash(pickle.loads(pickle.dumps(policy)))
        assert policy != Policy.of("require")

    def test_are_a_copy(self) -> None:
        given = {"asked": "forwarded"}
        policy = Policy(accept_models=given)
        given["other"] = "x"
        assert policy.accept_models == {"asked": "forwarded"}

    def test_none_are_none(self) -> None:
        assert Policy(accept_models={}).accept_models is None
        assert Policy(accept_models={}) == Policy()

    @pytest.mark.parametrize(
        "wrong",
        ["asked=forwarded", ["asked"], {"asked": 7}, {7: "forwarded"}, {"": "x"}, {"x": ""}, {"x": "y" * 257}, 5],
    )
    def test_anything_else_is_refused(self, wrong: Any) -> None:
        with pytest.raises(ConfigError, match="accept_models") as caught:
            Policy(accept_models=wrong)
        assert caught.value.code == "bad_policy"

    @pytest.mark.parametrize("wrong", [None, {}, {"accept_models": 5}, {"accept_models": {"a": 1}}])
    def test_a_strangers_receipt_names_none_where_they_cannot_be_read(self, wrong: Any) -> None:
        assert renames_in(wrong) is None


class TestSuffices:
    """The one rule for whoever has a verdict and no policy."""

    @pytest.mark.parametrize("minimum", [None, *RANK])
    def test_verified_is_what_is_asked_for_unless_less_is_named(self, minimum: Any) -> None:
        for status in Status:
            wanted = RANK[minimum or Status.VERIFIED]
            assert suffices(Verdict(status), minimum) is (RANK.get(status, 0) >= wanted), status

    @pytest.mark.parametrize("minimum", ["", "failed", "pending", "none", 3])
    def test_another_word_is_an_error(self, minimum: Any) -> None:
        with pytest.raises(ConfigError):
            suffices(Verdict(Status.VERIFIED), minimum)


class TestReach:
    """What is known before a prompt leaves."""

    @pytest.mark.parametrize(
        ("kind", "model", "accepted", "status"),
        [
            *((kind, None, None, Status.VERIFIED) for kind in Kind if kind is not Kind.STANDARD),
            *((kind, "m", None, Status.VERIFIED) for kind in Kind if kind is not Kind.STANDARD),
            (Kind.STANDARD, "m", {"m": "x"}, Status.NOT_VERIFIABLE),
            (Kind.TEE_TLS, "alias", None, Status.RESPONSE_BOUND),
            (Kind.TEE_ML_SEPARATED, "alias", None, Status.RESPONSE_BOUND),
            (Kind.TEE_ML, "alias", None, Status.VERIFIED),  # its own server may have several names
            (Kind.TEE_ML, "ft-m-1", None, Status.RESPONSE_BOUND),
            (Kind.TEE_ML, "ft-m-1", {"ft-m-1": "m"}, Status.VERIFIED),
            (Kind.TEE_TLS, "alias", {"alias": "m"}, Status.VERIFIED),
            (Kind.TEE_TLS, "alias", {"other": "m"}, Status.RESPONSE_BOUND),
        ],
    )
    def test_is_told_from_the_chain_alone(self, kind: Kind, model: Any, accepted: Any, status: Status) -> None:
        found = reach_of(service(kind), model, accepted)
        assert found.status is status
        assert (found.objection is None) is (status is Status.VERIFIED)

    def test_of_many_models_each_is_served_under_its_own_name(self) -> None:
        many = replace(service(Kind.TEE_TLS), additional_info='{"ProviderType": "centralized", "MultiModel": true}')
        assert reach_of(many, "another").status is Status.VERIFIED

    @pytest.mark.parametrize(
        ("mode", "minimum", "refused"),
        [
            ("require", None, True),
            ("require", "response_bound", False),
            ("warn", None, False),
            ("background", None, False),
            ("off", None, False),
        ],
    )
    def test_only_require_refuses_and_only_what_is_asked_for(self, mode: str, minimum: Any, refused: bool) -> None:
        policy = Policy.of(mode, minimum=minimum)
        if not refused:
            policy.admit(service(Kind.TEE_TLS), model="alias")
            return
        with pytest.raises(VerificationUnavailable) as caught:
            policy.admit(service(Kind.TEE_TLS), model="alias")
        assert caught.value.code == "model_renamed"
        for way in ("model='m'", "accept_models={'alias': 'm'}", "minimum='response_bound'"):
            assert way in caught.value.hint

    def test_a_long_name_is_not_repeated_whole(self) -> None:
        assert len(reach_of(service(Kind.TEE_TLS), "x" * 5000).objection.hint) < 1000


class TestWayOut:
    """What the error says where less was proven than is asked for."""

    def hint(self, verdict: Verdict, model: str = "m", on_chain: str = "m") -> str:
        made = receipt(verdict)
        made.model, made.service = model, replace(service(Kind.TEE_TLS), model=on_chain)
        with pytest.raises(VerificationUnavailable) as caught:
            Policy("require").enforce(made)
        return caught.value.hint

    def test_a_name_that_is_not_on_chain_is_the_likely_reason(self) -> None:
        hint = self.hint(Verdict(Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN), "alias")
        assert "may have renamed 'alias'" in hint
        assert "model='m'" in hint

    def test_where_the_name_is_right_it_is_a_configuration_or_a_lie(self) -> None:
        hint = self.hint(Verdict(Status.RESPONSE_BOUND, Reason.REQUEST_UNKNOWN))
        for words in ("somebody else's answer", "another model name", "reasoning", "minimum='response_bound'"):
            assert words in hint

    def test_other_verdicts_have_other_hints(self) -> None:
        assert "retry" in self.hint(Verdict(Status.UNAVAILABLE, Reason.NO_SIGNATURE))
