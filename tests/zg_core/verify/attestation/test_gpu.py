"""Level 4: the GPU's evidence is bound to the quote, and what NVIDIA's service says is checked before it counts.

NVIDIA's service is a server on loopback here, with keys of its own.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zg_core.raw_server import CLOSE, HEAD, Server, answer, chunk
from tests.zg_core.verify.attestation.conftest import NONCE, Made
from tests.zg_core.verify.scene import service
from zg_core.crypto import keccak256
from zg_core.localnet.base import keys
from zg_core.types import Kind
from zg_core.verify.attestation import AttestationOptions, Evidence, Outcome, examine, gpu

hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
pytest.importorskip("dcap_qvl")
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature  # noqa: E402

NOW = int(time.time())
MOMENT = datetime.fromtimestamp(NOW, UTC)
BOUND_TO = "ab" * 32


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Nvidia:
    """The keys of an attestation service, and what it signs with them."""

    def __init__(self, kid: str = "nv-1") -> None:
        self.kid = kid
        self.key = ec.generate_private_key(ec.SECP384R1())

    @property
    def public(self) -> dict[str, Any]:
        point = self.key.public_key().public_numbers()
        numbers = {"x": b64(point.x.to_bytes(48)), "y": b64(point.y.to_bytes(48))}
        return {"kty": "EC", "crv": "P-384", "alg": "ES384", "use": "sig", "kid": self.kid, **numbers}

    def keys(self, **changes: Any) -> bytes:
        return json.dumps({"keys": [{"kty": "RSA", "kid": "another"}, {**self.public, **changes}]}).encode()

    def raw_signature(self, signed: str) -> bytes:
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA384())))
        return r.to_bytes(48) + s.to_bytes(48)

    def token(self, nonce: str = BOUND_TO, *, head: Any = None, claims: Any = None) -> str:
        """A token as the service signs it; `head` and `claims` change or replace its parts."""
        first: Any = {"alg": "ES384", "typ": "JWT", "kid": self.kid}
        second: Any = {
            "sub": "NVIDIA-PLATFORM-ATTESTATION",
            "iss": "https://nras.attestation.nvidia.com",
            "iat": NOW,
            "exp": NOW + 3600,
            "eat_nonce": nonce,
            "x-nvidia-overall-att-result": True,
        }
        first = {**first, **(head or {})} if isinstance(head or {}, dict) else head
        second = {**second, **(claims or {})} if isinstance(claims or {}, dict) else claims
        signed = f"{b64(json.dumps(first).encode())}.{b64(json.dumps(second).encode())}"
        return f"{signed}.{b64(self.raw_signature(signed))}"

    def answer(self, nonce: str = BOUND_TO, **changes: Any) -> bytes:
        return json.dumps([["JWT", self.token(nonce, **changes)], {"GPU-0": "…"}]).encode()


NVIDIA = Nvidia()


def judged(body: bytes, published: bytes | None = None, nonce: str = BOUND_TO, now: datetime = MOMENT) -> gpu.Answer:
    return gpu.judge(body, NVIDIA.keys() if published is None else published, nonce, now)


def bearing(token: Any) -> bytes:
    return json.dumps([["JWT", token], {}]).encode()


# the answer


def test_a_signed_answer_about_this_evidence_vouches_for_the_gpu() -> None:
    found = judged(NVIDIA.answer())
    assert not found.problem
    assert found.claims["x-nvidia-overall-att-result"] is True
    assert found.claims["eat_nonce"] == BOUND_TO
    assert not judged(NVIDIA.answer(), nonce="0x" + BOUND_TO.upper()).problem


@pytest.mark.parametrize("result", [False, None, "true", 1, 0, "false", "True", [True], {}])
def test_only_true_is_a_yes_and_only_false_accuses(result: Any) -> None:
    found = judged(NVIDIA.answer(claims={"x-nvidia-overall-att-result": result}))
    assert found.counts is (result is False)
    no = "NVIDIA does not vouch for the GPU" if result is False else "NVIDIA's answer says neither yes nor no"
    assert found.problem == no


@pytest.mark.parametrize("spelled", [str, str.upper, "0x{}".format], ids=["plain", "capitals", "0x"])
def test_a_nonce_may_be_spelled_in_any_way(spelled: Any) -> None:
    assert not judged(NVIDIA.answer(claims={"eat_nonce": spelled(BOUND_TO)}), nonce=spelled(BOUND_TO)).problem


@pytest.mark.parametrize(
    "end",
    [NOW - 1, NOW, 0, None, "tomorrow", str(NOW + 60), [NOW + 60], True, float("nan")],
    ids=["past", "now", "zero", "none", "a word", "text", "a list", "yes", "no number"],
)
def test_an_answer_has_an_end_and_is_not_past_it(end: Any) -> None:
    assert judged(NVIDIA.answer(claims={"exp": end})).problem == "NVIDIA's answer has expired"


def test_an_answer_counts_until_its_end() -> None:
    assert not judged(NVIDIA.answer(), now=datetime.fromtimestamp(NOW + 3599, UTC)).problem
    assert judged(NVIDIA.answer(), now=datetime.fromtimestamp(NOW + 3600, UTC)).problem


@pytest.mark.parametrize("nonce", ["cd" * 32, "", None, 7, [BOUND_TO], BOUND_TO + "00", BOUND_TO[:-2]])
def test_an_answer_about_other_evidence_is_none_about_this(nonce: Any) -> None:
    found = judged(NVIDIA.answer(claims={"eat_nonce": nonce}))
    assert "another nonce" in found.problem


def test_keys_are_found_by_their_name() -> None:
    both = json.dumps({"keys": [Nvidia("nv-0").public, NVIDIA.public, Nvidia("nv-2").public]}).encode()
    assert not judged(NVIDIA.answer(), both).problem


def signature_of(token: str, change: Callable[[bytes], bytes]) -> str:
    signed, _, signature = token.rpartition(".")
    return f"{signed}.{b64(change(base64.urlsafe_b64decode(signature + '==')))}"


def forged_claims(token: str) -> str:
    head, claims, signature = token.split(".")
    changed = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"eat_nonce": "cd" * 32}
    return f"{head}.{b64(json.dumps(changed).encode())}.{signature}"


def der(signature: bytes) -> bytes:
    def integer(value: bytes) -> bytes:
        return b"\x02" + bytes([len(value) + 1]) + b"\0" + value

    pair = integer(signature[:48]) + integer(signature[48:])
    return b"\x30" + bytes([len(pair)]) + pair


UNSIGNED: dict[str, Callable[[], bytes]] = {
    "another key of that name": lambda: Nvidia().answer(),
    "a key nobody publishes": lambda: Nvidia("nv-9").answer(),
    "no algorithm": lambda: NVIDIA.answer(head={"alg": "none"}),
    "no algorithm, no signature": lambda: bearing(NVIDIA.token(head={"alg": "none"}).rpartition(".")[0] + "."),
    "a shared secret": lambda: NVIDIA.answer(head={"alg": "HS256"}),
    "a shorter curve": lambda: NVIDIA.answer(head={"alg": "ES256"}),
    "algorithm is a list": lambda: NVIDIA.answer(head={"alg": ["ES384"]}),
    "no key name": lambda: NVIDIA.answer(head={"kid": None}),
    "a header that is a list": lambda: NVIDIA.answer(head=["ES384"]),
    "claims that are a list": lambda: NVIDIA.answer(claims=[True]),
    "claims that are text": lambda: NVIDIA.answer(claims="yes"),
    "changed claims": lambda: bearing(forged_claims(NVIDIA.token())),
    "a zero signature": lambda: bearing(signature_of(NVIDIA.token(), lambda _: bytes(96))),
    "a signature too long": lambda: bearing(signature_of(NVIDIA.token(), lambda one: one + b"\0")),
    "a signature too short": lambda: bearing(signature_of(NVIDIA.token(), lambda one: one[:-1])),
    "a signature in DER": lambda: bearing(signature_of(NVIDIA.token(), der)),
    "two parts": lambda: bearing(NVIDIA.token().rpartition(".")[0]),
    "four parts": lambda: bearing(NVIDIA.token() + ".e30"),
    "no part": lambda: bearing("..."),
    "letters of no alphabet": lambda: bearing("ä.ö.ü"),
    "half a character": lambda: bearing("\ud800.\ud800.\ud800"),
    "a token that is a number": lambda: bearing(7),
    "a token that is an object": lambda: bearing({"JWT": NVIDIA.token()}),
    "no token": lambda: b"[]",
    "an object": lambda: b"{}",
    "null": lambda: b"null",
    "a list of text": lambda: b'["JWT"]',
    "a web page": lambda: b"<html>sign in to the network first</html>",
    "nothing": lambda: b"",
    "no UTF-8": lambda: b"\xff\xfe[",
    "deep": lambda: b"[" * 100_000,
    "deep claims": lambda: bearing(f"{b64(b'{}')}.{b64(b'[' * 5000)}.{b64(bytes(96))}"),
}


@pytest.mark.parametrize("name", UNSIGNED)
def test_what_nvidia_did_not_sign_counts_for_nothing(name: str, tally: Any) -> None:
    found = judged(UNSIGNED[name]())
    assert found.problem, "it counted"
    assert not found.counts, found
    assert json.dumps(found.claims)
    tally("GPU verdict that NVIDIA did not sign", tried=1, caught=1)


@pytest.mark.parametrize(
    "published",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b"{}",
        b'{"keys": null}',
        b'{"keys": {}}',
        b'{"keys": [null, 7, "nv-1", []]}',
        b'{"keys": [{"kid": "nv-1", "crv": "P-384"}]}',
        b"[" * 100_000,
        NVIDIA.keys(x="AAAA"),
        NVIDIA.keys(y=NVIDIA.public["x"]),
        NVIDIA.keys(x=b64(b"\xff" * 48)),
        NVIDIA.keys(x=b64(b"\xff" * 4096)),
        NVIDIA.keys(x=7),
        NVIDIA.keys(x="ä"),
        NVIDIA.keys(crv="P-256"),
        NVIDIA.keys(kid="NV-1"),
    ],
)
def test_without_the_key_that_signed_nothing_counts(published: bytes) -> None:
    found = judged(NVIDIA.answer(), published)
    assert found.problem
    assert not found.counts


@given(st.data())
def test_a_changed_token_counts_only_if_it_says_the_same(data: st.DataObject) -> None:
    token = NVIDIA.token()
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters(codec="ascii", exclude_categories=["Cc"]))
    changed = token[:place] + letter + token[place + 1 :]
    signed, _, signature = token.rpartition(".")
    other, _, other_signature = changed.rpartition(".")
    # 96 bytes are 128 letters with no spare bits; two letters of the alphabet have a second form.
    alike = signature == other_signature.replace("+", "-").replace("/", "_")
    assert bool(judged(bearing(changed)).problem) is not (signed == other and alike)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_any_json_is_an_answer_that_counts_for_nothing(value: Any) -> None:
    body = json.dumps(value).encode()
    assert judged(body).problem
    assert judged(bearing(value)).problem
    assert judged(NVIDIA.answer(), body).problem


# the nonce


def payload(nonce: Any) -> dict[str, Any]:
    evidence = [{"certificate": "Y2VydA==", "evidence": "ZXZpZGVuY2U=", "arch": "HOPPER"}]
    return {"nonce": nonce, "evidence_list": evidence, "arch": "HOPPER"}


def quote_data(body: dict[str, Any]) -> bytes:
    return bytes.fromhex(body["quote"])[568:632]


def right_nonce(body: dict[str, Any], layout: str) -> str:
    data = quote_data(body)
    if layout == "model":
        return NONCE.hex()
    return keys.keccak256(data[:42] if layout == "legacy" else data).hex()


LAYOUTS = ["legacy", "v1", "model"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gpus_nonce_follows_from_the_report_data(made: Made, layout: str) -> None:
    body = made.body(layout)
    right = right_nonce(body, layout)

    def bound(nonce: Any) -> bool:
        return gpu.bound(Evidence.parse(json.dumps({**body, "nvidia_payload": payload(nonce)}).encode()))

    assert bound(right)
    assert bound(right.upper())
    wrong = [right[:-2], right + "00", "00" * 32, "", None, 7, [right], {"nonce": right}, " " + right]
    wrong += [keys.keccak256(NONCE).hex(), keys.keccak256(quote_data(body).rstrip(b"\0") + b"\0").hex()]
    assert not [nonce for nonce in wrong if bound(nonce)]


def test_a_model_quote_without_a_nonce_binds_no_gpu(made: Made) -> None:
    body = made.enclave.model_report(keys.Key("0x" + "11" * 32), bytes(32))
    evidence = Evidence.parse(json.dumps({**body, "nvidia_payload": payload("00" * 32)}).encode())
    assert not gpu.bound(evidence)


@pytest.mark.parametrize("form", ["object", "text"])
def test_the_payload_comes_as_an_object_or_as_text(made: Made, form: str) -> None:
    body = made.body()
    value: Any = payload(right_nonce(body, "legacy"))
    given_as = value if form == "object" else json.dumps(value)
    assert gpu.bound(Evidence.parse(json.dumps({**body, "nvidia_payload": given_as}).encode()))


# over the wire


@pytest.fixture
def nras() -> Iterator[Server]:
    one = Server()
    yield one
    one.stop()


def asked(nras: Server) -> dict[str, str]:
    return {"nras_url": f"{nras.url}/v3/attest/gpu", "nras_keys_url": f"{nras.url}/.well-known/jwks.json"}


def with_gpu(made: Made, layout: str = "legacy") -> dict[str, Any]:
    body = made.body(layout)
    return {**body, "nvidia_payload": payload(right_nonce(body, layout))}


def fourth(report: Any) -> tuple[Outcome, str]:
    return report.outcome(4), next(result.explanation for result in report.results if result.level == 4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nvidia_is_shown_the_evidence_and_its_answer_ends_level_4(
    attested: Any, nras: Server, made: Made, layout: str
) -> None:
    body = with_gpu(made, layout)
    nras.script += [[answer(NVIDIA.answer(right_nonce(body, layout)))], [answer(NVIDIA.keys())]]
    report = attested(body, level=4, **asked(nras))
    assert report.satisfies(4), report.explain()
    assert report.find("nvidia")["x-nvidia-overall-att-result"] is True
    sent, fetched = nras.received
    assert sent.head.startswith(b"POST /v3/attest/gpu ")
    assert sent.headers["content-type"] == "application/json"
    assert json.loads(sent.body) == body["nvidia_payload"]
    assert fetched.head.startswith(b"GET /.well-known/jwks.json ")


def test_nvidia_s_no_is_a_failure(attested: Any, nras: Server, made: Made, tally: Any) -> None:
    body = with_gpu(made)
    refused = NVIDIA.answer(right_nonce(body, "legacy"), claims={"x-nvidia-overall-att-result": False})
    nras.script += [[answer(refused)], [answer(NVIDIA.keys())]]
    report = attested(body, level=4, **asked(nras))
    assert fourth(report) == (Outcome.FAIL, "NVIDIA does not vouch for the GPU")
    assert report.satisfies(3)
    tally("GPU that NVIDIA does not vouch for", tried=1, caught=1)


ENDLESS = HEAD + chunk(b" " * 2**20) * 9
# What the service does to the first and to the second request; none of it says anything about the provider.
AWAY: dict[str, tuple[list[Any], list[Any]]] = {
    "server error": ([answer(b"", "503 Service Unavailable")], [answer(NVIDIA.keys())]),
    "not for you": ([answer(b"", "401 Unauthorized")], [answer(NVIDIA.keys())]),
    "redirected": ([answer(b"", "302 Found", Location="http://127.0.0.1:9/")], [answer(NVIDIA.keys())]),
    "hung up": ([CLOSE], [answer(NVIDIA.keys())]),
    "cut": ([b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n[[", CLOSE], [answer(NVIDIA.keys())]),
    "endless": ([ENDLESS, CLOSE], [answer(NVIDIA.keys())]),
    "a page in between": ([answer(b"<html>sign in</html>")], [answer(NVIDIA.keys())]),
    "signed by another": ([answer(Nvidia().answer())], [answer(NVIDIA.keys())]),
    "about other evidence": ([answer(NVIDIA.answer("cd" * 32))], [answer(NVIDIA.keys())]),
    "an old answer": ([answer(NVIDIA.answer(claims={"exp": NOW - 9}))], [answer(NVIDIA.keys())]),
    "keys not found": ([answer(NVIDIA.answer())], [answer(b"", "404 Not Found")]),
    "keys are a page": ([answer(NVIDIA.answer())], [answer(b"<html>")]),
}


@pytest.mark.parametrize("name", AWAY)
def test_a_service_that_gives_no_answer_accuses_nobody(attested: Any, nras: Server, made: Made, name: str) -> None:
    first, second = AWAY[name]
    nras.script += [list(first), list(second)]
    report = attested(with_gpu(made), level=4, **asked(nras))
    assert fourth(report)[0] is Outcome.UNAVAILABLE, report.explain()
    assert not report.failed
    assert report.satisfies(3)
    assert not report.satisfies(4)


def test_a_service_that_is_not_there_leaves_level_4_open(attested: Any, made: Made) -> None:
    nowhere = {"nras_url": "http://127.0.0.1:9/", "nras_keys_url": "http://127.0.0.1:9/"}
    outcome, why = fourth(attested(with_gpu(made), level=4, **nowhere))
    assert outcome is Outcome.UNAVAILABLE
    assert "NVIDIA was not asked" in why


@pytest.mark.parametrize(
    ("change", "outcome", "words"),
    [
        ({"nvidia_payload": payload("cd" * 32)}, Outcome.FAIL, "its nonce is another"),
        ({"nvidia_payload": payload(None)}, Outcome.FAIL, "its nonce is another"),
        ({"nvidia_payload": None}, Outcome.UNAVAILABLE, "no evidence of a GPU"),
        ({"nvidia_payload": 7}, Outcome.UNAVAILABLE, "no evidence of a GPU"),
        ({"nvidia_payload": []}, Outcome.UNAVAILABLE, "no evidence of a GPU"),
        ({"nvidia_payload": "["}, Outcome.UNAVAILABLE, "no evidence of a GPU"),
    ],
)
def test_nvidia_is_not_asked_about_evidence_that_is_not_bound(
    attested: Any, nras: Server, made: Made, change: dict[str, Any], outcome: Outcome, words: str
) -> None:
    report = attested({**made.body(), **change}, level=4, **asked(nras))
    assert fourth(report)[0] is outcome
    assert words in fourth(report)[1]
    assert not nras.received


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_below_level_4_nvidia_hears_nothing(attested: Any, nras: Server, made: Made, level: int) -> None:
    attested(with_gpu(made), level=level, **asked(nras))
    assert not nras.received


def test_switched_off_it_says_so(attested: Any, made: Made) -> None:
    outcome, why = fourth(attested(with_gpu(made), level=4))
    assert outcome is Outcome.UNAVAILABLE
    assert "switched off" in why


def test_behind_teetls_there_is_no_gpu_to_ask_about(attested: Any, nras: Server, made: Made) -> None:
    report = attested(with_gpu(made), level=4, kind=Kind.TEE_TLS, **asked(nras))
    assert fourth(report) == (Outcome.NOT_APPLICABLE, "the model runs at a vendor, outside this enclave")
    assert not nras.received


@pytest.mark.requires("attestation")
def test_the_recorded_report_is_bound_and_an_answer_about_it_counts(attestation_data: Path) -> None:
    evidence = Evidence.parse((attestation_data / "llm_attestation_report.json").read_bytes())
    nonce = (evidence.nvidia or {})["nonce"]
    assert gpu.bound(evidence)

    def level_4(said: str) -> Outcome:
        report = examine(
            service(Kind.TEE_ML, tee_signer="0x8a4D4984CF370210dFEeFC773FAf9bb0edE97cC0"),
            {"broker": evidence},
            level=4,
            now=MOMENT,
            options=AttestationOptions(),
            nras={"broker": judged(NVIDIA.answer(said), nonce=nonce)},
        )
        return report.outcome(4)

    assert level_4(nonce) is Outcome.PASS
    assert level_4("cd" * 32) is Outcome.UNAVAILABLE


def test_both_sides_hash_alike() -> None:
    assert keccak256(b"zerog") == keys.keccak256(b"zerog")
