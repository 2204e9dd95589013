"""Collateral: read, fetched from a service on loopback, kept until it ends, and never to a provider's charge."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote as url_quote
from urllib.parse import urlsplit

import pytest

from tests.patience import PATIENCE
from tests.zg_core.raw_server import HEAD, Drip, answer, chunk
from tests.zg_core.verify.attestation.conftest import KEY, Made, synchronous
from tests.zg_core.verify.scene import service
from zg_core.errors import ConfigError
from zg_core.http.transport import SyncTransport, run
from zg_core.types import Kind
from zg_core.verify.attestation import AttestationOptions, Collateral, Evidence, Outcome, dcap, examine
from zg_core.verify.attestation import pccs as pccs_module
from zg_core.verify.attestation.pccs import CollateralUnavailable, forget

pytest.importorskip("dcap_qvl")

IN_WINDOW = datetime(2026, 3, 1, tzinfo=UTC)
RECORDED = "tdx_collateral_90C06F000000_2026-03.json"
Change = Callable[[str, bytes, dict[str, str]], tuple[int, bytes, dict[str, str]]]
PARTS = ("pckcrl", "tcb", "identity", "rootcacrl")


def fetch(quote: bytes, url: str, now: datetime, max_age: timedelta | None = None) -> Collateral:
    """`pccs.fetch` over a transport of its own."""
    transport = SyncTransport()
    try:
        return run(pccs_module.fetch(transport, quote, url, now, max_age))
    finally:
        transport.close()


class Pccs:
    """A collateral service that serves what it is given in dcap-qvl's JSON form, and counts what it is asked.

    Attributes:
        text: The collateral.
        asked: The last part of each path.
        change: What it does to an answer; None: nothing.
        arrived: There was a question.
        gate: Answers wait for it.
    """

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.asked: list[str] = []
        self.change: Change | None = None
        self.arrived = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        pccs = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                part = urlsplit(self.path).path.rpartition("/")[2]
                pccs.asked.append(part)
                pccs.arrived.set()
                pccs.gate.wait(PATIENCE)
                status, body, headers = pccs.answer(part)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, part: str) -> tuple[int, bytes, dict[str, str]]:
        said = json.loads(self.text)
        signed = {
            "tcb": ("tcbInfo", "tcb_info", "TCB-Info-Issuer-Chain"),
            "identity": ("enclaveIdentity", "qe_identity", "SGX-Enclave-Identity-Issuer-Chain"),
        }
        if part in signed:
            name, ours, header = signed[part]
            body = f'{{"{name}":{said[ours]},"signature":"{said[f"{ours}_signature"]}"}}'.encode()
            headers = {header: url_quote(said[f"{ours}_issuer_chain"])}
        elif part == "pckcrl":
            body, headers = (
                bytes.fromhex(said["pck_crl"]),
                {"SGX-PCK-CRL-Issuer-Chain": url_quote(said["pck_crl_issuer_chain"])},
            )
        else:
            body, headers = said["root_ca_crl"].encode(), {}
        return (200, body, headers) if self.change is None else self.change(part, body, headers)

    def stop(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


@pytest.fixture
def pccs(made: Made, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pccs]:
    """The service of the made-up hardware's maker; nothing has been fetched yet."""
    monkeypatch.setattr(pccs_module, "_kept", {})
    one = Pccs(made.enclave.platform.collateral)
    yield one
    made.enclave.fault = None
    one.stop()


@pytest.fixture
def quote(made: Made) -> bytes:
    return bytes.fromhex(made.body()["quote"])


# reading


@pytest.fixture
def parts(made: Made) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(made.enclave.platform.collateral)
    return value


def test_it_ends_with_the_first_of_its_parts(made: Made, parts: dict[str, Any]) -> None:
    end = made.now + timedelta(days=30)
    assert Collateral.parse(json.dumps(parts)).expires_at == end
    for part in ("tcb_info", "qe_identity"):
        sooner = {**json.loads(parts[part]), "nextUpdate": (made.now + timedelta(days=3)).isoformat()}
        text = json.dumps({**parts, part: json.dumps(sooner)})
        assert Collateral.parse(text).expires_at == made.now + timedelta(days=3)
    for part in ("root_ca_crl", "pck_crl"):
        sooner_crl = made.maker.pck_ca.revocations((), made.now - timedelta(days=25)).hex()
        text = json.dumps({**parts, part: sooner_crl})
        assert Collateral.parse(text).expires_at == made.now + timedelta(days=5)


@pytest.mark.requires("attestation")
def test_the_recorded_one_ends_with_its_qe_identity(attestation_data: Path) -> None:
    assert Collateral.read(attestation_data / RECORDED).expires_at == datetime(2026, 3, 20, 10, 41, 15, tzinfo=UTC)


def test_without_cryptography_the_end_of_the_signed_json_counts(
    parts: dict[str, Any], made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert Collateral.parse(json.dumps(parts)).expires_at == made.now + timedelta(days=30)


@pytest.mark.parametrize("offset", ["", "Z", "+00:00"])
def test_a_time_without_a_zone_is_utc(parts: dict[str, Any], offset: str) -> None:
    info = {**json.loads(parts["tcb_info"]), "nextUpdate": f"2026-12-01T06:00:00{offset}"}
    found = Collateral.parse(json.dumps({**parts, "tcb_info": json.dumps(info)}))
    assert found.expires_at == datetime(2026, 12, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize("form", [str, Path, None], ids=["path as text", "path", "JSON text"])
def test_it_is_given_as_a_path_or_as_its_text(made: Made, parts: dict[str, Any], tmp_path: Path, form: Any) -> None:
    file = tmp_path / "collateral.json"
    file.write_text(json.dumps(parts))
    source = file.read_text() if form is None else form(file)
    given = AttestationOptions(collateral=source).collateral
    assert given == Collateral.parse(json.dumps(parts))
    assert "BEGIN CERTIFICATE" not in repr(AttestationOptions(collateral=source))


WRONG_PARTS: dict[str, dict[str, Any]] = {
    "TCB info is a number": {"tcb_info": 7},
    "TCB info is an object": {"tcb_info": {"nextUpdate": "2026-12-01T00:00:00Z"}},
    "TCB info is null": {"tcb_info": None},
    "TCB info is a list": {"tcb_info": "[]"},
    "TCB info is deep": {"tcb_info": "[" * 100_000},
    "no end": {"tcb_info": "{}"},
    "the end is a number": {"tcb_info": '{"nextUpdate": 7}'},
    "the end is no time": {"tcb_info": '{"nextUpdate": "soon"}'},
    "the end is before the first day": {"tcb_info": '{"nextUpdate": "0001-01-01T00:00:00+23:59"}'},
    "the end is after the last day": {"tcb_info": '{"nextUpdate": "9999-12-31T23:59:59-23:59"}'},
    "a list that is no hex": {"pck_crl": "zz"},
    "a list that is no DER": {"pck_crl": "3000"},
    "a list that is a number": {"pck_crl": 7},
    "a list that is null": {"root_ca_crl": None},
}


@pytest.mark.parametrize("name", WRONG_PARTS)
def test_a_part_of_the_wrong_form_is_refused(parts: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Collateral.parse(json.dumps({**parts, **WRONG_PARTS[name]}))
    assert caught.value.code == "bad_collateral"
    assert len(str(caught.value)) < 400


def test_a_list_of_a_version_nobody_knows_is_refused(parts: dict[str, Any]) -> None:
    unknown = bytes.fromhex(parts["pck_crl"]).replace(b"\x02\x01\x01", b"\x02\x01\x21", 1).hex()
    assert unknown != parts["pck_crl"]
    with pytest.raises(ConfigError, match="version"):
        Collateral.parse(json.dumps({**parts, "pck_crl": unknown}))


@pytest.mark.parametrize("text", ["", "null", "7", "[]", '"text"', "{}", "{", "[" * 100_000, "\ud800"])
def test_text_that_is_no_collateral_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Collateral.parse(text)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["no\0name", "missing.json", ".", "x" * 5000])
def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Collateral.read(tmp_path / name)
    assert (caught.value.code, caught.value.hint) == ("bad_collateral", "check the path")


def test_a_file_that_is_no_text_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ConfigError, match="binary"):
        Collateral.read(tmp_path / "binary")


# fetching and keeping


def test_it_is_fetched_once_and_kept_until_it_ends(pccs: Pccs, quote: bytes, made: Made) -> None:
    first = fetch(quote, pccs.url, made.now)
    assert sorted(pccs.asked) == sorted(PARTS)
    assert dcap.check(quote, first, made.now, made.maker.root).status == "UpToDate"
    day = timedelta(hours=24)
    assert fetch(quote, pccs.url, made.now + day - timedelta(seconds=1)) is first
    assert len(pccs.asked) == 4
    assert fetch(quote, pccs.url, made.now + day) is not first, "after a day it is fetched again"
    assert len(pccs.asked) == 8


def test_it_is_not_kept_beyond_its_end(pccs: Pccs, quote: bytes, made: Made) -> None:
    made.enclave.fault = "expired_collateral"
    pccs.text = made.enclave.platform.collateral
    first = fetch(quote, pccs.url, made.now)
    assert first.expires_at < made.now
    assert fetch(quote, pccs.url, made.now) is not first


def test_what_is_kept_and_older_than_it_may_be_is_fetched_again(pccs: Pccs, quote: bytes, made: Made) -> None:
    first = fetch(quote, pccs.url, made.now)
    assert made.now - first.issued_at == timedelta(days=1)
    assert fetch(quote, pccs.url, made.now, timedelta(days=1)) is first
    assert fetch(quote, pccs.url, made.now, timedelta(hours=23)) is not first


def test_every_machine_and_every_service_has_its_own(pccs: Pccs, quote: bytes, made: Made) -> None:
    fetch(quote, pccs.url, made.now)
    other = made.maker.platform()
    pccs.text = other.collateral
    fetched = fetch(other.sign(quote[:632]), pccs.url, made.now)
    assert json.loads(json.loads(fetched.text)["tcb_info"])["fmspc"] == other.fmspc
    fetch(quote, pccs.url + "/", made.now)
    assert len(pccs.asked) == 12


def test_forgotten_it_is_fetched_again(pccs: Pccs, quote: bytes, made: Made) -> None:
    fetch(quote, pccs.url, made.now)
    forget(quote, "http://127.0.0.1:9")
    forget(b"no quote", pccs.url)
    fetch(quote, pccs.url, made.now)
    assert len(pccs.asked) == 4
    forget(quote, pccs.url)
    fetch(quote, pccs.url, made.now)
    assert len(pccs.asked) == 8


@pytest.mark.parametrize("raw", [b"", b"no quote", bytes(5000)])
def test_bytes_that_are_no_quote_ask_nobody(pccs: Pccs, made: Made, raw: bytes) -> None:
    with pytest.raises(CollateralUnavailable, match="names no platform"):
        fetch(raw, pccs.url, made.now)
    assert not pccs.asked


def test_many_threads_get_the_same(pccs: Pccs, quote: bytes, made: Made) -> None:
    found: list[Collateral] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(quote, pccs.url, made.now))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(found) == 8
    assert {each.expires_at for each in found} == {made.now + timedelta(days=30)}


def failing(part: str, status: int = 200, body: bytes = b"", **headers: str) -> Change:
    """An answer to one of the four questions that is not what was asked."""

    def change(asked: str, honest: bytes, given: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        return (status, body, headers) if asked == part else (200, honest, given)

    return change


AWAY = {
    "unknown machine": failing("tcb", 404),
    "server error": failing("pckcrl", 503),
    "a page in between": failing("tcb", 200, b"<html>sign in</html>"),
    "an empty list": failing("pckcrl", 200),
    "no chain": failing("tcb", 200, b'{"tcbInfo":{},"signature":""}'),
    "deep": failing("identity", 200, b"[" * 100_000, SGX_Enclave_Identity_Issuer_Chain="x"),
    "a list that is none": failing("rootcacrl", 200, b"zz"),
    "sent elsewhere": failing("tcb", 302, Location="http://127.0.0.1:9/"),
    "not UTF-8": failing("tcb", 200, b"\xff\xfe"),
}


@pytest.mark.parametrize("name", AWAY)
def test_a_service_that_fails_is_named_and_nothing_is_kept(pccs: Pccs, quote: bytes, made: Made, name: str) -> None:
    pccs.change = AWAY[name]
    with pytest.raises(CollateralUnavailable) as caught:
        fetch(quote, pccs.url, made.now)
    assert 0 < len(str(caught.value)) <= 300
    pccs.change = None
    assert fetch(quote, pccs.url, made.now)


@pytest.mark.parametrize("part", PARTS)
def test_a_service_that_never_ends_is_bounded_in_size(pccs: Pccs, quote: bytes, made: Made, part: str) -> None:
    pccs.change = failing(part, 200, b"0" * (2**20 + 1))
    with pytest.raises(CollateralUnavailable, match="larger than 1048576 bytes"):
        fetch(quote, pccs.url, made.now)


def test_all_four_questions_share_one_deadline(
    server: Any, quote: bytes, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece comes in time for every bound but the one on the whole."""
    monkeypatch.setattr(pccs_module, "FETCH_SECONDS", 0.3)
    monkeypatch.setattr(pccs_module, "_kept", {})
    server.script.append([HEAD, Drip([chunk(b"0")] * 15_000)])  # for five minutes
    with pytest.raises(CollateralUnavailable, match="did not answer in 0 s"):
        fetch(quote, server.url, made.now)
    assert len(server.received) <= 1, "the other three were asked for all the same"


def test_intels_own_service_has_the_roots_list_elsewhere(
    pccs: Pccs, quote: bytes, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(part: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        if part == "IntelSGXRootCA.der":
            return 200, bytes.fromhex(body.decode()), headers
        return (404 if part == "rootcacrl" else 200), body, headers

    pccs.change = change
    with pytest.raises(CollateralUnavailable, match="rootcacrl answered 404"):
        fetch(quote, pccs.url, made.now)
    monkeypatch.setattr(pccs_module, "_INTEL", pccs.url)
    monkeypatch.setattr(pccs_module, "_INTELS_ROOT_LIST", f"{pccs.url}/IntelSGXRootCA.der")
    found = fetch(quote, pccs.url, made.now)
    assert dcap.check(quote, found, made.now, made.maker.root).status == "UpToDate"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "", "nonsense", "ftp://127.0.0.1", "http://[::", "\ud800"])
def test_a_service_that_is_not_there_is_unavailable(quote: bytes, made: Made, url: str) -> None:
    with pytest.raises(CollateralUnavailable):
        fetch(quote, url, made.now)


def test_a_service_that_never_answers_is_given_up(
    pccs: Pccs, quote: bytes, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pccs_module, "FETCH_SECONDS", 0.2)
    pccs.gate.clear()
    with pytest.raises(CollateralUnavailable, match="did not answer"):
        fetch(quote, pccs.url, made.now)
    assert not pccs_module._kept


# in an attestation


def second(report: Any) -> tuple[Outcome, str]:
    return report.outcome(2), next(result.explanation for result in report.results if result.level == 2)


def test_it_is_fetched_for_an_attestation_and_kept_for_the_next(attested: Any, pccs: Pccs, made: Made) -> None:
    for _ in range(3):
        report = attested(made.body(), collateral=None, pccs_url=pccs.url)
        assert report.satisfies(3), report.explain()
        assert report.expires_at == made.now + timedelta(days=30)
    assert len(pccs.asked) == 4


@pytest.mark.parametrize("level", [0, 1])
def test_below_level_2_nobody_is_asked(attested: Any, pccs: Pccs, made: Made, level: int) -> None:
    assert attested(made.body(), level=level, collateral=None, pccs_url=pccs.url).satisfies(level)
    assert not pccs.asked


def test_given_collateral_is_used_and_nobody_is_asked(attested: Any, pccs: Pccs, made: Made) -> None:
    assert attested(made.body(), pccs_url=pccs.url).satisfies(3)
    assert not pccs.asked


@pytest.mark.parametrize("name", AWAY)
def test_a_service_that_fails_accuses_no_provider(attested: Any, pccs: Pccs, made: Made, name: str) -> None:
    pccs.change = AWAY[name]
    report = attested(made.body(), collateral=None, pccs_url=pccs.url)
    assert second(report)[0] is Outcome.UNAVAILABLE
    assert second(report)[1].startswith("no collateral: ")
    assert not report.failed
    assert report.outcome(3) is Outcome.PASS


def lying(part: str, old: bytes, new: bytes) -> Change:
    def change(asked: str, honest: bytes, given: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        if asked == part:
            assert old in honest
            honest = honest.replace(old, new, 1)
        return 200, honest, given

    return change


LIES = {
    "a better status": lying("tcb", b'"OutOfDate"', b'"UpToDate"'),
    "another machine": lying("tcb", b'"fmspc":"10CA', b'"fmspc":"10CB'),
    "a later end": lying("tcb", b'"nextUpdate":"20', b'"nextUpdate":"30'),
    "another enclave": lying("identity", b'"isvprodid":2', b'"isvprodid":3'),
}


@pytest.mark.parametrize("name", LIES)
def test_what_the_maker_did_not_sign_is_not_believed_and_not_kept(
    attested: Any, pccs: Pccs, made: Made, tally: Any, name: str
) -> None:
    made.enclave.fault = "outdated_tcb"
    pccs.text = made.enclave.platform.collateral
    pccs.change = LIES[name]
    report = attested(made.body(), collateral=None, pccs_url=pccs.url)
    assert second(report)[0] is Outcome.UNAVAILABLE, second(report)
    assert not report.satisfies(2)
    pccs.change = None
    report = attested(made.body(), collateral=None, pccs_url=pccs.url)
    assert second(report)[0] is Outcome.FAIL
    assert report.find("tcb_status") == "OutOfDate"
    tally("collateral that its maker did not sign", tried=1, caught=1)


@pytest.mark.parametrize("kept", [False, True], ids=["fetched", "given"])
def test_collateral_may_be_asked_to_be_young(attested: Any, pccs: Pccs, made: Made, kept: bool) -> None:
    given = {} if kept else {"collateral": None, "pccs_url": pccs.url}
    assert attested(made.body(), collateral_max_age=timedelta(days=1), **given).satisfies(3)
    report = attested(made.body(), collateral_max_age=timedelta(hours=23), **given)
    outcome, why = second(report)
    assert outcome is Outcome.UNAVAILABLE, "an old list accuses nobody"
    assert "older than collateral_max_age" in why


@pytest.mark.parametrize("age", [0, 7, "7 days", timedelta(0), timedelta(days=-1)])
def test_an_age_is_a_time_that_is_past(age: Any) -> None:
    with pytest.raises(ConfigError, match="collateral_max_age"):
        AttestationOptions(collateral_max_age=age)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [("revoked_pck", Outcome.FAIL), ("outdated_tcb", Outcome.FAIL), ("expired_collateral", Outcome.UNAVAILABLE)],
)
def test_what_the_maker_says_of_a_machine_counts(
    attested: Any, pccs: Pccs, made: Made, fault: str, outcome: Outcome
) -> None:
    made.enclave.fault = fault
    pccs.text = made.enclave.platform.collateral
    report = attested(made.body(), collateral=None, pccs_url=pccs.url)
    assert second(report)[0] is outcome, second(report)
    assert report.outcome(3) is Outcome.PASS


def test_collateral_of_a_later_day_shows_nothing_today(made: Made) -> None:
    before = made.now - timedelta(days=400)
    report = examine(
        service(Kind.TEE_ML, tee_signer=KEY.address),
        {"broker": Evidence.parse(json.dumps(made.body()).encode())},
        level=2,
        now=before,
        options=made.options(),
        collateral={"broker": made.collateral},
    )
    assert second(report)[0] is Outcome.UNAVAILABLE


def test_while_it_is_fetched_the_event_loop_goes_on(pccs: Pccs, made: Made, server: Any) -> None:
    from zg_core.http.transport import AsyncTransport
    from zg_core.verify.attestation import attest

    server.script.append([answer(json.dumps(made.body()).encode())])
    pccs.gate.clear()

    async def work() -> Any:
        transport = AsyncTransport()
        record = service(Kind.TEE_ML, tee_signer=KEY.address, url=server.url, private=True)
        options = made.options(collateral=None, pccs_url=pccs.url)
        try:
            running = asyncio.ensure_future(attest(record, transport, level=3, now=made.now, options=options))
            assert await asyncio.to_thread(pccs.arrived.wait, PATIENCE)
            pccs.gate.set()  # only a loop that goes on gets here while the service waits
            return await running
        finally:
            await transport.close()

    assert asyncio.run(work()).satisfies(3)


def test_without_an_event_loop_of_its_own_it_works_inside_one(pccs: Pccs, made: Made, server: Any) -> None:
    """As in a notebook: the synchronous client, called while a loop runs in this thread."""
    server.script.append([answer(json.dumps(made.body()).encode())])
    record = service(Kind.TEE_ML, tee_signer=KEY.address, url=server.url, private=True)
    settings = {"level": 3, "now": made.now, "options": made.options(collateral=None, pccs_url=pccs.url)}

    async def cell() -> Any:
        return synchronous(record, settings)

    assert asyncio.run(cell()).satisfies(3)


def test_without_dcap_qvl_level_2_says_what_to_install(
    attested: Any, pccs: Pccs, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dcap, "installed", lambda: False)
    report = attested(made.body(), collateral=None, pccs_url=pccs.url)
    outcome, why = second(report)
    assert outcome is Outcome.UNAVAILABLE
    assert "pip install 'zerog-integrations[attestation]'" in why
    assert (report.outcome(1), report.outcome(3)) == (Outcome.PASS, Outcome.PASS)
    assert not pccs.asked


# the root


@pytest.mark.requires("attestation")
def test_a_recorded_quote_verifies_with_recorded_collateral_from_a_service(
    attested: Any, pccs: Pccs, made: Made, attestation_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pccs.text = (attestation_data / RECORDED).read_text()
    body = (attestation_data / "broker_attestation_report.json").read_bytes()
    monkeypatch.setattr(made, "now", IN_WINDOW)
    report = attested(answer(body), collateral=None, pccs_url=pccs.url, root=None)
    assert report.outcome(1) is Outcome.FAIL, "the record here names another key"
    assert second(report) == (Outcome.PASS, "signed by genuine hardware, TCB status UpToDate")
    assert report.find("root") == "Intel's"
    assert sorted(pccs.asked) == sorted(PARTS)


def test_intels_root_is_the_default_and_no_environment_replaces_it(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZEROG_ATTESTATION_ROOT", "ZEROG_ROOT", "SSL_CERT_FILE", "DCAP_ROOT_CA", "PCCS_URL"):
        monkeypatch.setenv(name, made.maker.root.hex())
    options = AttestationOptions()
    assert options.root is None
    assert replace(options, statuses=("UpToDate",)).root is None
    quote = bytes.fromhex(made.body()["quote"])
    with pytest.raises(dcap.NotGenuine):
        dcap.check(quote, made.collateral, made.now)
    assert dcap.check(quote, made.collateral, made.now, made.maker.root).status == "UpToDate"


@pytest.mark.parametrize("root", [b"", b"no certificate", bytes(1000)])
def test_a_root_that_is_no_certificate_makes_nothing_genuine(made: Made, root: bytes) -> None:
    with pytest.raises(dcap.NotGenuine):
        dcap.check(bytes.fromhex(made.body()["quote"]), made.collateral, made.now, root)
