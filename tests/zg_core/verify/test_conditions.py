"""Conditions: what each refuses before a prompt is sent, what each objects to afterwards, and how they compose."""

from __future__ import annotations

import copy
import itertools
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zg_core.verify.scene import INFO, service
from zg_core import ConfigError, Fee, Receipt, neuron
from zg_core.errors import AttestationError, VerificationUnavailable
from zg_core.types import Kind
from zg_core.verify import (
    AllOf,
    AnyOf,
    Attested,
    Claimed,
    Condition,
    Identity,
    Kinds,
    Policy,
    Reason,
    ResponseBound,
    SignerOnly,
    Status,
    Verdict,
    Verified,
)
from zg_core.verify.conditions import condition_from

SIGNER, OTHER = "0x" + "ab" * 20, "0x" + "cd" * 20


WAYS = [(mode, "after") for mode in ("off", "background", "warn", "require")] + [("warn", "hold"), ("require", "hold")]


@dataclass
class Report:
    """What a condition asks of an attestation report."""

    reached: int
    failed: bool = False

    def satisfies(self, level: int) -> bool:
        return not self.failed and self.reached >= level

    def explain(self) -> str:
        return "the debug bit is set" if self.failed else "the collateral could not be fetched"


def receipt(
    status: Status = Status.VERIFIED, *, kind: Kind = Kind.TEE_ML, attested: str = "", **verdict: Any
) -> Receipt:
    made = Receipt("direct", "local", 31337, OTHER, "m", kind, "00" * 32, 1, 1, Fee(neuron(1), exact=True))
    made.settle(Verdict(status, kind=kind, **verdict))
    made.attestation = {"signer": attested} if attested else None
    return made


leaves = st.one_of(
    st.sampled_from([Verified(), ResponseBound(), SignerOnly(), Claimed(), Identity("openai")]),
    st.sets(st.sampled_from([str(kind) for kind in Kind]), min_size=1).map(lambda kinds: Kinds(*kinds)),
    st.integers(0, 4).map(Attested),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.lists(inner, min_size=1, max_size=4).flatmap(
        lambda parts: st.sampled_from([AllOf(*parts), AnyOf(*parts)])
    ),
    max_leaves=12,
)


WORDS = {Verified: "verified", ResponseBound: "response_bound", SignerOnly: "signer_only", Claimed: "claimed"}
ORDER = list(WORDS.values())[::-1]


def oracle(condition: Condition) -> str:
    """The least verdict with which `condition` may be met, reckoned way by way."""
    return min((max(way, key=ORDER.index, default="verified") for way in ways(condition)), key=ORDER.index)


def ways(condition: Condition) -> list[list[str]]:
    """Every way to meet `condition`, as the verdicts that are named on it."""
    if isinstance(condition, AnyOf):
        return [way for part in condition.conditions for way in ways(part)]
    if isinstance(condition, AllOf):
        return [list(itertools.chain(*chosen)) for chosen in itertools.product(*map(ways, condition.conditions))]
    named = WORDS.get(type(condition))
    return [[named]] if named else [[]]


class TestMinimum:
    @pytest.mark.parametrize(
        ("condition", "least"),
        [(Verified(), 4), (ResponseBound(), 3), (SignerOnly(), 2), (Claimed(), 1)],
    )
    def test_objects_to_every_verdict_below(self, condition: Condition, least: int) -> None:
        rank = {Status.VERIFIED: 4, Status.RESPONSE_BOUND: 3, Status.SIGNER_ONLY: 2, Status.CLAIMED: 1}
        for status in Status:
            objection = condition.objects(receipt(status))
            assert (objection is None) is (rank.get(status, 0) >= least), status
            assert objection is None or objection.contradicted is (status is Status.FAILED)

    def test_refuses_a_service_that_signs_nothing_only_where_that_would_raise(self) -> None:
        silent = service(Kind.STANDARD, additional_info='{"ProviderType":"standard"}')
        assert Verified().refuses(silent, strict=False) is None
        assert Verified().refuses(silent, strict=True).code == "not_verifiable"
        assert Verified().refuses(service(Kind.TEE_ML), strict=True) is None


class TestKinds:
    def test_an_unknown_or_empty_set_is_an_error(self) -> None:
        for wrong in ((), ("teeml",), ("TeeML", "x")):
            with pytest.raises(ConfigError) as caught:
                Kinds(*wrong)
            assert caught.value.code == "bad_policy"

    def test_a_kind_that_changed_during_the_call_is_objected_to(self) -> None:
        condition = Kinds("TeeML")
        assert condition.refuses(service(Kind.TEE_ML), strict=False) is None
        assert condition.objects(receipt(kind=Kind.TEE_ML)) is None
        assert condition.objects(receipt(kind=Kind.TEE_TLS)).code == "kind_not_allowed"


class TestAttested:
    def test_says_nothing_before_the_report_is_there(self) -> None:
        assert Attested(3).refuses(service(Kind.TEE_ML), strict=True) is None

    @pytest.mark.parametrize(
        ("report", "code", "contradicted"),
        [
            (Report(2), None, False),
            (Report(4), None, False),
            (Report(1), "attestation_unavailable", False),
            (Report(1, failed=True), "attestation_failed", True),
        ],
    )
    def test_refuses_below_its_level(self, report: Any, code: str | None, contradicted: bool) -> None:
        objection = Attested(2).refuses(service(Kind.TEE_ML), report, strict=False)
        assert (objection and objection.code) == code
        assert objection is None or (objection.contradicted is contradicted and report.explain() in objection.sentence)

    @pytest.mark.parametrize("level", [-1, 5, True, "2", None])
    def test_an_unknown_level_is_an_error(self, level: Any) -> None:
        with pytest.raises(ConfigError, match="0, 1, 2, 3, 4"):
            Attested(level)

    @pytest.mark.parametrize(
        ("attested", "signed", "fine"),
        [
            (SIGNER, SIGNER.upper().replace("X", "x"), True),
            (SIGNER, OTHER, False),
            ("", SIGNER, False),
            ("", "", False),
        ],
    )
    def test_only_the_attested_key_may_sign(self, attested: str, signed: str, fine: bool) -> None:
        objection = Attested(1).objects(receipt(attested=attested, recovered_signer=signed))
        assert (objection is None) is fine
        assert objection is None or objection.code == "signer_not_attested"


class TestComposition:
    def test_all_of_objects_first_to_the_first(self) -> None:
        both = AllOf(ResponseBound(), Kinds("TeeML"))
        assert both.objects(receipt(Status.UNAVAILABLE, reason=Reason.NO_SIGNATURE)).code == "no_signature"
        assert both.objects(receipt(kind=Kind.TEE_TLS)).code == "kind_not_allowed"
        assert both.objects(receipt()) is None

    def test_any_of_needs_one_and_names_all_it_tried(self) -> None:
        either = AnyOf(Verified(), AllOf(ResponseBound(), Kinds("TeeTLS")))
        assert either.objects(receipt(Status.RESPONSE_BOUND, kind=Kind.TEE_TLS)) is None
        assert either.objects(receipt(Status.VERIFIED)) is None
        objection = either.objects(receipt(Status.RESPONSE_BOUND, reason=Reason.REQUEST_UNKNOWN))
        assert objection.code == "request_unknown"
        assert "nor: " in objection.sentence

    def test_any_of_lets_a_prompt_out_as_long_as_one_branch_can_still_be_met(self) -> None:
        either = AnyOf(Kinds("TeeTLS"), Attested(3))
        assert either.refuses(service(Kind.TEE_ML), strict=False) is None
        assert either.refuses(service(Kind.TEE_ML), Report(1), strict=False) is not None
        assert either.refuses(service(Kind.TEE_TLS), Report(1), strict=False) is None

    def test_the_level_is_the_highest_asked_for(self) -> None:
        assert AllOf(Verified(), AnyOf(Attested(1), Attested(3)), Attested(2)).level == 3
        assert AllOf(Verified()).level is None

    @pytest.mark.parametrize("group", [AllOf, AnyOf])
    @pytest.mark.parametrize("parts", [(), ("verified",), (Verified(), None)])
    def test_takes_conditions_only(self, group: Any, parts: Any) -> None:
        with pytest.raises(ConfigError, match="takes conditions"):
            group(*parts)

    @given(conditions)
    def test_is_plain_data_both_ways_and_a_value(self, condition: Condition) -> None:
        assert condition_from(condition.to_dict()) == condition
        for other in (pickle.loads(pickle.dumps(condition)), copy.deepcopy(condition)):
            assert other == condition
            assert hash(other) == hash(condition)
        assert eval(repr(condition)) == condition

    @given(conditions, st.sampled_from(list(Status)), st.sampled_from(list(Kind)))
    def test_groups_are_what_their_names_say(self, condition: Condition, status: Status, kind: Kind) -> None:
        if isinstance(condition, AllOf | AnyOf):
            met = [part.objects(receipt(status, kind=kind)) is None for part in condition.conditions]
            expected = all(met) if isinstance(condition, AllOf) else any(met)
            assert (condition.objects(receipt(status, kind=kind)) is None) is expected

    @pytest.mark.parametrize(
        "plain", [None, [], {}, {"x": 1}, {"kinds": 3}, {"attested": "2"}, {"all_of": [{}]}, {"all_of": 3}]
    )
    def test_anything_else_is_no_condition(self, plain: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            condition_from(plain)
        assert caught.value.code == "bad_policy"


class TestInAPolicy:
    @pytest.mark.parametrize(
        ("condition", "demand"),
        [
            (ResponseBound(), ResponseBound()),
            (Attested(2), AllOf(Verified(), Attested(2))),
            (Identity("openai"), AllOf(Verified(), Identity("openai"))),
            (AllOf(Attested(2), Kinds("TeeML")), AllOf(Verified(), Attested(2), Kinds("TeeML"))),
            (AnyOf(Verified(), Kinds("TeeML")), AnyOf(Verified(), AllOf(Verified(), Kinds("TeeML")))),
            (AnyOf(Claimed(), Kinds("standard")), AnyOf(Claimed(), AllOf(Verified(), Kinds("standard")))),
            (AllOf(ResponseBound(), AnyOf(Kinds("TeeML"), Identity("x"))), None),
            (
                AllOf(Kinds("TeeML"), AnyOf(ResponseBound(), Attested(1))),
                AllOf(Kinds("TeeML"), AnyOf(ResponseBound(), AllOf(Verified(), Attested(1)))),
            ),
        ],
    )
    def test_a_condition_alone_is_required_and_implies_verified_where_it_names_nothing(
        self, condition: Condition, demand: Condition | None
    ) -> None:
        policy = Policy.of(condition)
        assert (policy.mode, policy.demand) == ("require", demand or condition)

    def test_a_minimum_beside_it_is_the_one_that_is_asked_for(self) -> None:
        assert Policy("require", Status.SIGNER_ONLY, condition=Kinds("TeeML")).demand == AllOf(
            SignerOnly(), Kinds("TeeML")
        )

    @given(
        condition=st.none() | conditions,
        minimum=st.sampled_from([None, "verified", "response_bound", "signer_only", "claimed"]),
        parts=st.fixed_dictionaries(
            {},
            optional={
                "kinds": st.sets(st.sampled_from(list(Kind)), min_size=1),
                "identity": st.just("openai"),
                "attest": st.integers(0, 4),
            },
        ),
        found=st.builds(
            receipt,
            st.sampled_from(list(Status)),
            kind=st.sampled_from(list(Kind)),
            attested=st.sampled_from(["", SIGNER]),
            recovered_signer=st.sampled_from(["", SIGNER, OTHER]),
            provider_identity=st.sampled_from(["", "openai", "mistral"]),
        ),
    )
    def test_nothing_accepts_a_reply_below_the_minimum_it_implies(
        self, condition: Condition | None, minimum: Any, parts: dict[str, Any], found: Receipt
    ) -> None:
        policy = Policy("require", minimum, condition=condition, **parts)
        least = minimum or (oracle(condition) if condition is not None else "verified")
        if policy.demand.objects(found) is None:
            assert found.verdict.satisfies(least), policy
            assert found.verdict.satisfies("claimed"), "words that nobody vouches for"

    def test_the_short_forms_are_the_same_demand(self) -> None:
        policy = Policy.of("require", minimum="verified", kinds=["TeeML"], identity="openai", attest=2)
        assert policy.demand == AllOf(Verified(), Kinds("TeeML"), Identity("openai"), Attested(2))

    def test_both_together_are_all_asked_for(self) -> None:
        policy = Policy("warn", kinds=frozenset({Kind.TEE_ML}), condition=Verified())
        assert policy.demand == AllOf(Kinds("TeeML"), Verified())

    @pytest.mark.parametrize("mode", ["off", "background", "warn", "require"])
    def test_what_forbids_a_service_holds_in_every_mode(self, mode: str) -> None:
        policy = Policy.of(mode, attest=2)
        policy.admit(service(Kind.TEE_ML))
        policy.admit(service(Kind.TEE_ML), Report(2))  # type: ignore[arg-type]
        with pytest.raises(VerificationUnavailable):
            policy.admit(service(Kind.TEE_ML), Report(1))  # type: ignore[arg-type]
        with pytest.raises(AttestationError) as caught:
            policy.admit(service(Kind.TEE_ML), Report(2, failed=True))  # type: ignore[arg-type]
        assert caught.value.code == "attestation_failed"
        assert "zerog verify" in caught.value.hint

    @pytest.mark.parametrize("wrong", [{"attest": 7}, {"attest": True}, {"condition": "verified"}])
    def test_nonsense_is_refused_when_the_policy_is_made(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            Policy(**wrong)

    @given(conditions, st.sampled_from(WAYS))
    def test_is_plain_data_both_ways(self, condition: Condition, way: Any) -> None:
        mode, stream = way
        policy = Policy(mode, stream=stream, condition=condition)
        assert Policy.from_dict(policy.to_dict()) == policy

    def test_every_kind_has_a_record_to_test_with(self) -> None:
        assert set(INFO) == set(Kind)
