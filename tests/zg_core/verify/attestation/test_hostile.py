"""Providers that mean harm, asked for their attestation: bounded, an outcome, and never a traceback."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adversarial.exhibits import made_up
from tests.zg_core.raw_server import CLOSE, HEAD, RESET, STALL, Drip, Server, answer, chunk
from tests.zg_core.verify.attestation.conftest import KEY, Made, synchronous
from tests.zg_core.verify.scene import service
from zg_core.localnet.hardware import attestation as local
from zg_core.types import Kind
from zg_core.verify.attestation import Evidence, Outcome, examine
from zg_core.verify.attestation.compose import composition_of
from zg_core.verify.attestation.events import parse_events
from zg_core.verify.attestation.quote import MalformedEvidence

pytest.importorskip("dcap_qvl")

MEGABYTE = 2**20
PADDED = b'{"quote":"' + b"0" * (9 * MEGABYTE) + b'"}'

# What a server does instead of showing evidence, and what is said of it.
NOTHING: dict[str, tuple[list[Any], str]] = {
    "larger than 8 MB": ([answer(PADDED)], "larger than"),
    "endless": ([HEAD + chunk(b"0" * MEGABYTE) * 9, STALL], "larger than"),
    "a small gzip of much": ([answer(gzip.compress(PADDED), Content_Encoding="gzip")], "larger than"),
    "broken gzip": ([answer(b"\x1f\x8b\x08junk", Content_Encoding="gzip")], "decompress"),
    "an encoding nobody asked for": ([answer(b"??", Content_Encoding="br")], "not asked for"),
    "cut in the middle": ([b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"quote":"', CLOSE], "broke"),
    "reset": ([RESET], ""),
    "hung up": ([CLOSE], ""),
    "no HTTP": ([b"SSH-2.0-OpenSSH_9.2\r\n", CLOSE], ""),
    "no content": ([answer(b"", "204 No Content")], "204"),
    "moved": ([answer(b"", "301 Moved", Location="http://127.0.0.1:9/v1/quote")], "301"),
    "unauthorised": ([answer(b"{}", "401 Unauthorized")], "401"),
    "not found": ([answer(b"{}", "404 Not Found")], "404"),
    "not here": ([answer(b"{}", "501 Not Implemented")], "501"),
    "server error": ([answer(b"<html>", "500 Oops")], "500"),
}


def explanation(report: Any, level: int) -> str:
    return next(result.explanation for result in report.results if result.level == level)


@pytest.mark.parametrize("name", NOTHING)
def test_a_server_that_shows_nothing_is_accused_of_nothing(attested: Any, tally: Any, name: str) -> None:
    steps, words = NOTHING[name]
    report = attested(list(steps))
    assert [report.outcome(level) for level in (1, 2, 3)] == [Outcome.UNAVAILABLE] * 3
    assert not report.failed
    assert words in explanation(report, 1)
    assert len(explanation(report, 1)) < 400
    assert not report.bodies
    tally("attestation withheld or endless", tried=1, caught=1)


def test_a_server_that_never_answers_is_given_up(attested: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["zg_core.verify.attestation.attesting"]
    monkeypatch.setattr(module, "_READ_SECONDS", 0.1)
    assert attested([STALL]).outcome(1) is Outcome.UNAVAILABLE


def test_a_server_that_drips_is_given_up(attested: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the time between two reads, but without an end: here the first piece is already late."""
    module = sys.modules["zg_core.verify.attestation.attesting"]
    assert 0 < module.MAX_SECONDS <= 120
    monkeypatch.setattr(module, "MAX_SECONDS", 0.2)
    monkeypatch.setattr(module, "_READ_SECONDS", 30.0)
    report = attested([HEAD, Drip([chunk(b"0")] * 1000)])
    assert report.outcome(1) is Outcome.UNAVAILABLE
    assert "takes longer" in explanation(report, 1) or "stalled" in explanation(report, 1)


# What a gateway says in place of a report, with 200, and what it says when it is busy.
NO_REPORT: dict[str, bytes] = {
    "a page": answer(b"<html>sign in</html>"),
    "nothing": answer(b""),
    "null": answer(b"null"),
    "half of it": answer(b'{"quote":"04000200'),
    "an error": answer(b'{"error":{"message":"upstream timed out","code":504}}'),
    "an empty quote": answer(b'{"quote":""}'),
    "no quote": answer(b'{"quote":null,"message":"not ready"}'),
    "a list": answer(b"[]"),
    "many values": answer(b'{"quote":[' + b"[]," * 250_000 + b"[]]}"),
    "busy": answer(b"{}", "429 Too Many Requests", Retry_After="1"),
    "away": answer(b"<html>", "503 Service Unavailable"),
    "a gateway in front of nothing": answer(b"", "502 Bad Gateway"),
}


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time between two attempts."""
    monkeypatch.setattr(sys.modules["zg_core.verify.attestation.attesting"], "_DELAYS", (0.0, 0.0))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", NO_REPORT)
def test_an_answer_that_is_no_report_accuses_nobody_and_is_asked_for_again(
    attested: Any, server: Server, made: Made, name: str
) -> None:
    server.script += [[NO_REPORT[name]]] * 2
    report = attested([NO_REPORT[name]])
    assert [report.outcome(level) for level in (1, 2, 3)] == [Outcome.UNAVAILABLE] * 3
    assert not report.failed
    assert len(server.received) == 3
    assert len(explanation(report, 1)) < 400
    server.script += [[NO_REPORT[name]]]
    assert attested(made.body()).satisfies(3), "once is no matter"
    assert len(server.received) == 5


def test_a_quote_that_is_none_is_not_asked_for_again(attested: Any, server: Server) -> None:
    report = attested({"quote": "04000200"})
    assert report.outcome(1) is Outcome.FAIL
    assert len(server.received) == 1


def test_a_log_that_is_in_no_known_form_takes_nothing_from_the_levels_before(attested: Any, made: Made) -> None:
    for change in ({"event_log": "{"}, {"event_log": [1]}, {"tcb_info": "["}, {"event_log": [{}] * 20_000}):
        report = attested({**made.body(), **change})
        assert report.satisfies(2)
        assert report.outcome(3) is Outcome.UNAVAILABLE
        assert "no form that is known here" in report.explain()


def test_a_redirect_is_not_followed(attested: Any, server: Server) -> None:
    report = attested([answer(b"", "302 Found", Location=f"{server.url}/elsewhere")])
    assert report.outcome(1) is Outcome.UNAVAILABLE
    assert len(server.received) == 1


@pytest.mark.parametrize("url", ["http://provider.example", "ftp://provider.example", "javascript:alert(1)", "", "//"])
def test_an_address_that_may_not_be_asked_fails_level_0_and_is_not_asked(made: Made, url: str) -> None:
    record = service(Kind.TEE_ML, tee_signer=KEY.address, url=url)
    report = synchronous(record, {"level": 3, "now": made.now, "options": made.options()})
    assert (report.outcome(0), report.outcome(1)) == (Outcome.FAIL, Outcome.UNAVAILABLE)


MODELS = ["m", "a/b:c", "a&nonce=00", "a#b", "../../quote", "ü 😀", "\r\nX-Injected: 1", "half \ud800"]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_name_is_data_in_the_address(server: Server, made: Made, model: str) -> None:
    separated = service(
        Kind.TEE_ML_SEPARATED,
        tee_signer=KEY.address,
        url=server.url,
        private=True,
        additional_info=json.dumps({"TargetSeparated": True, "TargetTeeAddress": KEY.address}),
    )
    nonces = []
    for _ in range(2):
        server.script += [[answer(json.dumps(made.body()).encode())], [answer(json.dumps(made.body("model")).encode())]]
        settings = {"level": 3, "now": made.now, "options": made.options(), "model": model}
        report = synchronous(separated, settings)
        assert report.satisfies(3), report.explain()
        target = server.received[-1].head.decode().split("\r\n")[0].split(" ")[1]
        assert urlsplit(target).path == "/v1/proxy/attestation/report"
        query = parse_qs(urlsplit(target).query)
        assert query["model"] == [model.encode(errors="replace").decode()]
        nonces += query["nonce"]
        assert set(server.received[-1].headers) <= {"host", "user-agent", "accept", "accept-encoding", "connection"}
    assert len(set(nonces)) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", nonce) for nonce in nonces)


def test_a_quote_is_fresh_only_with_the_nonce_of_this_request(made: Made) -> None:
    evidence = Evidence.parse(json.dumps(made.body("model")).encode())
    settings: dict[str, Any] = {"level": 1, "now": made.now, "options": made.options()}
    record = service(Kind.TEE_ML, tee_signer=KEY.address)

    def said(**more: Any) -> tuple[bool, str]:
        report = examine(record, {"broker": evidence}, **settings, **more)
        assert report.satisfies(1)
        return report.find("fresh"), explanation(report, 1)

    assert said(nonces={"broker": bytes(range(32)).hex()}) == (
        True,
        "the quote names the key on chain; it was made for this request",
    )
    for other in ({}, {"nonces": {"broker": "00" * 32}}, {"nonces": {"model": bytes(range(32)).hex()}}):
        fresh, why = said(**other)
        assert not fresh
        assert "as fresh as the key" in why


# evidence of the wrong form

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary().map(bytes.hex)
ANYTHING = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)


def whole(layout: str) -> dict[str, Any]:
    """A report with everything unfolded, so that each of its values can be replaced."""
    value: dict[str, Any] = json.loads(made_up(layout).body)
    value["event_log"] = json.loads(value["event_log"])
    value["tcb_info"] = json.loads(value["tcb_info"])
    value["nvidia_payload"] = {"nonce": "00" * 32, "evidence_list": [{"arch": "HOPPER"}], "arch": "HOPPER"}
    value["request_nonce"] = "00" * 32
    return value


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in keys for place in places(inner, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@given(st.data())
@pytest.mark.parametrize("layout", ["legacy", "model"])
def test_any_value_may_be_anything(layout: str, data: st.DataObject) -> None:
    honest = made_up(layout)
    value = whole(layout)
    path = data.draw(st.sampled_from(places(value)))
    body = json.dumps(replaced(value, path, data.draw(ANYTHING))).encode()
    report = honest.examined(body)
    assert json.loads(json.dumps(report.to_dict()))
    assert report._repr_html_()
    assert report.explain()
    # a value outside of these three says nothing that is attested
    if path[:1] in (("quote",), ("event_log",), ("tcb_info",)) and report.satisfies(3):
        kept = Evidence.parse(body)
        true = Evidence.parse(json.dumps(value).encode())
        assert (kept.quote, kept.app_compose) == (true.quote, true.app_compose)


@pytest.mark.parametrize(
    "log",
    [
        [{"imr": 10**30, "event_type": 1, "digest": "00" * 48}],
        [{"imr": 1.0, "event_type": 1, "digest": "00" * 48}],
        [{"imr": "1", "event_type": 1, "digest": "00" * 48}],
        [{"imr": 1, "event_type": 2**32, "digest": "00" * 48}],
        [{"imr": 1, "event_type": -1, "digest": "00" * 48}],
        [{"imr": 1, "event_type": 1, "digest": "00" * 47}],
        [{"imr": 1, "event_type": 1, "digest": "00" * 4_000_000}],
        [{"imr": 1, "event_type": 1, "digest": ["00"] * 48}],
        [{"imr": 1, "event_type": 1, "digest": "\u0660\u0660" * 48}],
        [{"imr": 1, "event_type": 1, "digest": "00" * 48, "event": 7}],
        [{"imr": 1, "event_type": 1, "digest": "00" * 48, "event": ["a"]}],
        [{"imr": 1, "event_type": 1, "digest": "00" * 48, "event_payload": {"a": 1}}],
        [{"imr": 1, "event_type": 1, "digest": "00" * 48, "event_payload": "0"}],
        [{"event_type": 1, "digest": "00" * 48}],
        [[]],
        [None],
        {},
        "",
        0,
        True,
        [{"imr": 0, "event_type": 1, "digest": "00" * 48}] * 10_001,
    ],
    ids=lambda log: json.dumps(log)[:60],
)
def test_a_log_of_the_wrong_form_is_malformed(log: Any) -> None:
    with pytest.raises(MalformedEvidence):
        parse_events(log)


def test_ten_thousand_events_are_the_most() -> None:
    assert len(parse_events([{"imr": 0, "event_type": 1, "digest": "00" * 48}] * 10_000)) == 10_000


@pytest.mark.parametrize("digits", [4301, 100_000])
def test_a_number_of_many_digits_is_no_json(made: Made, digits: int) -> None:
    body = json.dumps(made.body())[:-1] + ',"event_log":[{"imr":' + "9" * digits + "}]}"
    with pytest.raises(MalformedEvidence):
        Evidence.parse(body.encode())


def test_of_two_values_with_one_name_one_counts_everywhere(made: Made) -> None:
    """A reader that signs off one of them and shows the other would be fooled."""
    honest, other = made.body(), made.body("v1")
    text = json.dumps(honest)[:-1] + ',"quote":' + json.dumps(other["quote"]) + "}"
    assert Evidence.parse(text.encode()).quote.raw.hex() == other["quote"]


COMPOSES = {
    "empty": "",
    "an object": "{}",
    "a list": "[]",
    "null": "null",
    "a number": "7",
    "deep": "[" * 100_000,
    "file is a number": '{"docker_compose_file": 7}',
    "file is a list": '{"docker_compose_file": ["image: a"]}',
    "images without a name": '{"docker_compose_file": "' + "image: " * 50_000 + '"}',
    "a name that never comes": '{"docker_compose_file": "image' + " " * 200_000 + '"}',
    "half a character": "\ud800",
}


@pytest.mark.parametrize("compose", COMPOSES.values(), ids=COMPOSES)
def test_what_is_no_compose_file_names_no_image_and_pins_nothing(compose: str) -> None:
    found = composition_of(compose)
    assert not found.images
    assert found.loose
    assert not found.pinned


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_compose_file_of_any_text_has_images_or_none(before: str, after: str) -> None:
    for text in (before, json.dumps({"docker_compose_file": f"{before}\nimage: a\n{after}"})):
        assert all(isinstance(image.name, str) for image in composition_of(text).images)
        assert not composition_of(text).pinned


ALICLOUD = [
    {"evidence": ""},
    {"evidence": 7},
    {"evidence": None},
    {"evidence": ["e30="]},
    {"evidence": "e30"},
    {"evidence": base64.b64encode(b"[]").decode()},
    {"evidence": base64.b64encode(b"[" * 100_000).decode()},
    {"evidence": base64.b64encode(b'{"quote": 7}').decode()},
    {"evidence": base64.b64encode(b'{"quote": "BAAC"}').decode()},
    {"evidence": base64.b64encode(b'{"quote": "\xff"}').decode()},
]


@pytest.mark.parametrize("body", ALICLOUD, ids=lambda body: str(body)[:50])
def test_an_alicloud_report_of_the_wrong_form_is_malformed(body: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvidence):
        Evidence.parse(json.dumps(body).encode())


# text that an enclave really measured

EVIL = "evil\x1b[2J\u202e<script>alert(1)</script>\ud800"


def test_a_measured_compose_file_may_hold_any_text(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    service_text = f"services:\n  a:\n    image: {json.dumps(EVIL)}\n"
    compose = json.dumps({"runner": "docker-compose", "docker_compose_file": service_text})
    monkeypatch.setattr(local, "app_compose", lambda: compose)
    evidence = Evidence.parse(json.dumps(made.body()).encode())
    assert hashlib.sha256(compose.encode()).digest() == evidence.quote.mr_config_id[1:33]
    for pinned in (False, True):
        options = made.options(require_pinned=pinned)
        report = examine(
            service(Kind.TEE_ML, tee_signer=KEY.address),
            {"broker": evidence},
            level=3,
            now=made.now,
            options=options,
            collateral={"broker": made.collateral},
        )
        assert report.outcome(3) is (Outcome.FAIL if pinned else Outcome.PASS)
        assert json.dumps(report.to_dict()).isascii()
        assert "<script>" not in report._repr_html_()
        report._repr_html_().encode(errors="replace")
    assert report.find("images") == [{"image": EVIL, "pinned": False}]
