"""Signed texts with known answers, and the forms in which a request may have been forwarded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.zg_core.verify.scene import FINGERPRINT, Scene, service, sha
from zg_core.exchange import Exchange
from zg_core.types import Kind, ServiceRecord
from zg_core.verify.schemes.signed_hashes import (
    MalformedSignature,
    SignatureDocument,
    examine,
    parse_signed_text,
    rewrites,
)
from zg_core.verify.verdict import Binding, Reason, Status, Verdict


class TestKnownAnswers:
    # 0g-direct §12.2: the key is 32 bytes of 0x11
    SIGNER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
    SENT = b'{"messages":[{"role":"user","content":"hi"}],"model":"m"}'
    RECEIVED = b'{"id":"chatcmpl-x","choices":[]}'
    PAIR = (
        "a78282f7d97732ac040c8f5a489aee23953d19eda5d24b05e257cd1a12354cf7"
        ":432d11ef6b628d6cd701d132f3e54bd1f30f8a602c21084f72026e704de4e4a1"
    )
    DOCUMENTS: ClassVar = {
        Kind.TEE_ML: {
            "text": PAIR,
            "signature": "0xc4b0d4ed275ae60b781883dc67e0a53284a63ab6daa52e27e74d3a1a4871ddac"
            "00dc163c051a75bc92a088f01cb773b2eafce7bf7ed8466c75de1c62ad879c171c",
        },
        Kind.TEE_TLS: {
            "text": f"{PAIR}:centralized:openrouter:{FINGERPRINT}",
            "signature": "0x62c423402e020f48c6111b84a55195111d36b31f7e1deb9af1d66fe794edf6b0"
            "6e63fa27ce54518a96f80f951dd832f95f3560dc97f928f8fdde6e8e53b72a311c",
            "provider_type": "centralized",
            "provider_identity": "openrouter",
            "tls_cert_fingerprint": FINGERPRINT,
        },
    }

    def judge(self, kind: Kind, sent: bytes, received: bytes, document: dict[str, Any]) -> Verdict:
        exchange = Exchange(sent)
        exchange.feed(received)
        exchange.complete = True
        record = service(kind, tee_signer=self.SIGNER)
        return examine(exchange, record, SignatureDocument.parse(json.dumps(document).encode()))

    @pytest.mark.parametrize("kind", DOCUMENTS)
    def test_a_published_signature_verifies(self, kind: Kind) -> None:
        verdict = self.judge(kind, self.SENT, self.RECEIVED, self.DOCUMENTS[kind])
        assert (verdict.status, verdict.binding) == (Status.VERIFIED, Binding.EXACT)
        assert verdict.recovered_signer == self.SIGNER
        if kind is Kind.TEE_TLS:
            assert (verdict.provider_identity, verdict.tls_fingerprint) == ("openrouter", FINGERPRINT)

    def test_every_case_of_the_shared_vectors(self, shared: Path) -> None:
        vectors = json.loads((shared / "vectors" / "response_signature.json").read_text())
        for name, case in vectors["cases"].items():
            if "request_body" not in case:
                continue
            kind = Kind.TEE_TLS if "provider_type" in case else Kind.TEE_ML
            sent, received = case["request_body"].encode(), case["response_body"].encode()
            assert self.judge(kind, sent, received, case).status is Status.VERIFIED, name
            assert self.judge(kind, sent, received + b" ", case).reason is Reason.CONTENT_MISMATCH, name

    def test_a_sealed_text_is_not_taken_for_a_pair(self, shared: Path) -> None:
        case = json.loads((shared / "vectors" / "response_signature.json").read_text())["cases"]["sealed"]
        with pytest.raises(MalformedSignature):
            parse_signed_text(SignatureDocument(case["text"], case["signature"]), Kind.TEE_ML)


class TestRewrites:
    def hashes(self, request: bytes, record: ServiceRecord | None = None) -> set[str]:
        """Hashes of the forms in which the request keeps its meaning."""
        forms = rewrites(request, record or service(Kind.TEE_ML))
        return {sha(form.body) for form in forms if not form.signed}

    def renamed(
        self, request: bytes, record: ServiceRecord, accepted: dict[str, str] | None = None
    ) -> set[tuple[str, str]]:
        """The names asked for and signed of the forms in which the model is another."""
        return {(form.asked, form.signed) for form in rewrites(request, record, accepted) if form.signed}

    @pytest.mark.parametrize(
        ("request_body", "forwarded"),
        [
            (b'{"b":1,"a":2.0}', b'{"a":2,"b":1}'),
            (b'{"n":1}', b'{"model":"m","n":1}'),
            (b'{"model":["odd"],"n":1}', b'{"model":["odd"],"n":1}'),
            (b'{"n":-0}', b'{"n":-0}'),
            (b'{"max_tokens":5}', b'{"max_completion_tokens":5}'),
            (b'{"max_completion_tokens":5}', b'{"max_tokens":5}'),
            (b'{"stream":true}', b'{"stream":true,"stream_options":{"include_usage":true}}'),
            (b'{"stream":true,"stream_options":7}', b'{"stream":true,"stream_options":{"include_usage":true}}'),
            (
                b'{"stream":true,"stream_options":{"x":1}}',
                b'{"stream":true,"stream_options":{"include_usage":true,"x":1}}',
            ),
            (
                b'{"stream":true,"model":"m","max_tokens":5}',
                b'{"max_completion_tokens":5,"model":"m","stream":true,"stream_options":{"include_usage":true}}',
            ),
        ],
    )
    def test_a_documented_rewrite_is_among_them(self, request_body: bytes, forwarded: bytes) -> None:
        assert sha(forwarded) in self.hashes(request_body)

    @pytest.mark.parametrize(
        ("request_body", "forwarded"),
        [
            (b'{"a":1}', b'{"a":2}'),
            (b'{"stream":false}', b'{"stream":false,"stream_options":{"include_usage":true}}'),
            (b'{"max_tokens":5}', b'{"max_completion_tokens":6}'),
            (b'{"model":"alias"}', b'{"model":"third"}'),
            (b'{"model":"alias"}', b'{"model":"m"}'),
            (b'{"model":["odd"]}', b'{"model":"m"}'),
            (b'{"messages":["a"]}', b'{"messages":["b"]}'),
            (b'{"n":1}', b'{"model":"m","n":1,"x":1}'),
            (
                b'{"stream":true,"stream_options":{"include_usage":false}}',
                b'{"stream":true,"stream_options":{"include_usage":true}}',
            ),
        ],
    )
    def test_anything_else_is_not(self, request_body: bytes, forwarded: bytes) -> None:
        assert sha(forwarded) not in self.hashes(request_body)

    @pytest.mark.parametrize(
        ("info", "asked", "signed"),
        [
            ("{}", "alias", {"m"}),
            ("{}", "m", set()),
            ('{"CanonicalID": "vendor/m-1"}', "alias", {"m", "vendor/m-1"}),
            ('{"canonicalId": "vendor/m-1"}', "m", {"vendor/m-1"}),
            ('{"CanonicalID": 7}', "m", set()),
            ('{"CanonicalID": ""}', "m", set()),
            ('{"MultiModel": true}', "large", {"m"}),
            ("{}", "ft-m-1", {"m"}),
        ],
    )
    def test_only_names_on_chain_are_tried_as_other_names(self, info: str, asked: str, signed: set[str]) -> None:
        record = service(Kind.TEE_ML, additional_info=info)
        assert self.renamed(b'{"model":"%s"}' % asked.encode(), record) == {(asked, name) for name in signed}

    def test_a_name_that_the_user_accepts_is_tried_for_the_model_it_is_for(self) -> None:
        accepted = {"alias": "secret/name", "other": "third"}
        assert self.renamed(b'{"model":"alias"}', service(Kind.TEE_ML), accepted) == {
            ("alias", "m"), ("alias", "secret/name"),
        }  # fmt: skip

    def test_an_adapter_is_named_beside_its_base_or_is_not(self) -> None:
        forms = [form for form in rewrites(b'{"model":"ft-m-1"}', service(Kind.TEE_ML)) if form.signed]
        assert [(form.signed, form.adapter, form.body) for form in forms] == [
            ("m", "", b'{"model":"m"}'),
            ("m", "ft-m-1", b'{"lora_adapter_name":"ft-m-1","model":"m"}'),
        ]

    @pytest.mark.parametrize("body", [b"", b"nonsense", b"[1]", b"null", b'{"n":1e999}', b'{"n":' + b"9" * 400 + b"}"])
    def test_a_body_that_go_could_not_read_has_none(self, body: bytes) -> None:
        assert self.hashes(body) == set()

    def test_a_request_with_a_number_beyond_float64_is_judged_all_the_same(self) -> None:
        sent = b'{"seed":' + b"9" * 400 + b"}"
        assert Scene(Kind.TEE_ML, sent=sent, signed_request=sha(sent)).verdict().status is Status.VERIFIED
        assert Scene(Kind.TEE_ML, sent=sent).verdict().status is Status.RESPONSE_BOUND
