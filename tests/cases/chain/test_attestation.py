"""Attestation in the field: wrong clocks, the forms of event logs, and platforms that are not up to date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.adversarial.exhibits import RECORDED_IMAGE
from zg_core.errors import ConfigError
from zg_core.types import ServiceRecord
from zg_core.verify.attestation import AttestationOptions, Collateral, Evidence, Outcome, TdxQuote, examine
from zg_core.verify.attestation.examining import config

pytestmark = pytest.mark.requires("attestation")

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BROKER, MODEL = "0xDC1A4da6BdCD90c20d7FF53a6cDc11fBf0E2303C", "0x8a4D4984CF370210dFEeFC773FAf9bb0edE97cC0"
RUNTIME = 0x08000001
Log = list[dict[str, Any]]


def record(signer: str) -> ServiceRecord:
    return ServiceRecord(
        "0x" + "11" * 20, "chatbot", "https://p.example", 1, 1, 0, "m", "TeeML", "", signer, acknowledged=True
    )  # fmt: skip


@pytest.fixture(scope="module")
def collateral(attestation_data: Path) -> Collateral:
    return Collateral.read(attestation_data / "tdx_collateral_90C06F000000_2026-03.json")


@pytest.fixture(scope="module")
def served(attestation_data: Path) -> dict[str, Any]:
    """The broker's report, its log unfolded."""
    value: dict[str, Any] = json.loads((attestation_data / "broker_attestation_report.json").read_bytes())
    return value | {"event_log": json.loads(value["event_log"])}


class TestTheVerifiersClock:
    """A wrong clock (no battery, days ahead, seconds slow) accuses nobody, and the words are about time."""

    OFF: ClassVar[dict[str, Callable[[datetime, datetime], datetime]]] = {
        "unix zero": lambda _issued, _end: datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        "2000": lambda _issued, _end: datetime(2000, 1, 1, tzinfo=UTC),
        "2017": lambda _issued, _end: datetime(2017, 1, 1, tzinfo=UTC),
        "2020": lambda _issued, _end: datetime(2020, 1, 1, tzinfo=UTC),
        "2023": lambda _issued, _end: datetime(2023, 6, 1, tzinfo=UTC),
        "2025": lambda _issued, _end: datetime(2025, 1, 1, tzinfo=UTC),
        "a day before it was issued": lambda issued, _end: issued - timedelta(days=1),
        "5 seconds before it was issued": lambda issued, _end: issued - timedelta(seconds=5),
        "in the window": lambda _issued, _end: NOW,
        "a second before the end": lambda _issued, end: end - timedelta(seconds=1),
        "at the end": lambda _issued, end: end,
        "three days after the end": lambda _issued, end: end + timedelta(days=3),
        "2030": lambda _issued, _end: datetime(2030, 1, 1, tzinfo=UTC),
        "2060": lambda _issued, _end: datetime(2060, 1, 1, tzinfo=UTC),
        "2106": lambda _issued, _end: datetime(2106, 2, 8, tzinfo=UTC),
        "9999": lambda _issued, _end: datetime(9999, 1, 1, tzinfo=UTC),
    }

    @pytest.mark.parametrize("name", OFF)
    def test_it_accuses_nobody(self, served: dict[str, Any], collateral: Collateral, name: str) -> None:
        said = json.loads(collateral.text)
        issued = max(
            datetime.fromisoformat(json.loads(said[part])["issueDate"]) for part in ("tcb_info", "qe_identity")
        )
        when = self.OFF[name](issued, collateral.expires_at)
        report = examine(
            record(BROKER),
            {"broker": Evidence.parse(json.dumps(served).encode())},
            level=2,
            now=when,
            options=AttestationOptions(),
            collateral={"broker": collateral},
        )
        found = next(result for result in report.results if result.level == 2)
        good = issued <= when < collateral.expires_at
        assert found.outcome is (Outcome.PASS if good else Outcome.UNAVAILABLE), found.explanation
        if when < issued:
            words = ("clock", "time", "future", "not yet")
            assert any(word in found.explanation.lower() for word in words), found.explanation


def canonical(event: dict[str, Any]) -> bytes:
    """What dstack's second form hashes."""
    said = {"name": event["event"], "payload": event["event_payload"], "type": event["event_type"]}
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def second_form(log: Log) -> None:
    for event in log:
        if event["imr"] == 3:
            preimage = canonical(event)
            event |= {"digest": hashlib.sha384(preimage).hexdigest(), "preimage": preimage.hex(), "version": 2}


def lying(log: Log) -> None:
    second_form(log)
    for event in log:
        if event["imr"] == 3 and event["event"] == "compose-hash":
            event["event_payload"] = "00" * 32


def without_payloads(value: str | None) -> Callable[[Log], None]:
    def change(log: Log) -> None:
        for event in log:
            if event["imr"] != 3:
                event["event_payload"] = value

    return change


def mixed(log: Log) -> None:
    """A guest that was updated while it ran."""
    second_form(log[-1:])


def stripped(log: Log) -> None:
    """What goes into certificates: a digest that follows from the rest is left out."""
    second_form(log)
    for number, event in enumerate(log):
        if event["imr"] == 3:
            event["digest"] = "" if number % 2 else event["digest"]


def swapped(log: Log) -> None:
    first, second = [place for place, event in enumerate(log) if event["imr"] == 3][-2:]
    log[first], log[second] = log[second], log[first]


def of_the_app(log: Log) -> None:
    digest = hashlib.sha384(RUNTIME.to_bytes(4, "little") + b":app-started:").hexdigest()
    log.append({"imr": 3, "event_type": RUNTIME, "event": "app-started", "event_payload": "", "digest": digest})


def twice(log: Log) -> None:
    log.append(dict(next(event for event in log if event["imr"] == 3 and event["event"] == "compose-hash")))


def respelled(spell: Callable[[str], str]) -> Callable[[Log], None]:
    def change(log: Log) -> None:
        for event in log:
            event["digest"] = spell(event["digest"])

    return change


def spelled_0x(log: Log) -> None:
    for event in log:
        event |= {"digest": "0x" + event["digest"], "event_payload": "0x" + (event["event_payload"] or "")}


def of_the_firmware(log: Log) -> None:
    log.append({"imr": 3, "event_type": 4, "event": "EV_SEPARATOR", "event_payload": "", "digest": "11" * 48})


class TestFormsOfEventLogs:
    """Honest logs in the forms that dstack writes; register 3 is what the honest log gives."""

    FORMS: ClassVar[dict[str, tuple[Callable[[Log], None], set[Outcome]]]] = {
        "as recorded": (lambda _log: None, {Outcome.PASS}),
        "payloads of registers 0 to 2 stripped": (without_payloads(""), {Outcome.PASS}),
        "payloads of registers 0 to 2 null": (without_payloads(None), {Outcome.PASS}),
        "the second form, preimage shown": (second_form, {Outcome.PASS}),
        "the second form, whose payload lies": (lying, {Outcome.FAIL}),
        "both forms": (mixed, {Outcome.PASS}),
        "digests left out where they follow": (stripped, {Outcome.PASS}),
        "a further event of the app": (of_the_app, {Outcome.PASS}),
        "the app says a compose hash itself": (twice, {Outcome.FAIL}),
        "digests in capitals": (respelled(str.upper), {Outcome.PASS}),
        "digests and payloads with 0x": (spelled_0x, {Outcome.PASS}),
        "an event of the firmware in register 3": (of_the_firmware, {Outcome.UNAVAILABLE}),
    }

    @pytest.mark.parametrize("name", FORMS)
    def test_level_3_says(self, served: dict[str, Any], name: str) -> None:
        change, wanted = self.FORMS[name]
        log = [dict(event) for event in served["event_log"]]
        change(log)
        register = bytes(48)
        for event in log:
            if event["imr"] == 3:
                digest = event["digest"] or hashlib.sha384(canonical(event)).hexdigest()
                register = hashlib.sha384(register + bytes.fromhex(digest.removeprefix("0x"))).digest()
        quote = bytearray(bytes.fromhex(served["quote"].removeprefix("0x")))
        quote[520:568] = register
        self.expect(wanted, served | {"quote": quote.hex(), "event_log": json.dumps(log)})

    def test_events_in_another_order_than_the_register_was_extended(self, served: dict[str, Any]) -> None:
        log = [dict(event) for event in served["event_log"]]
        swapped(log)
        self.expect({Outcome.FAIL, Outcome.UNAVAILABLE}, served | {"event_log": json.dumps(log)})

    @pytest.mark.parametrize("spell", [str, str.upper, "0x{}".format], ids=["plain", "capitals", "0x"])
    def test_os_images_are_recognised_in_any_spelling(self, served: dict[str, Any], spell: Any) -> None:
        quote = TdxQuote.parse(bytes.fromhex(served["quote"].removeprefix("0x")))
        image = tuple(spell(part.hex()) for part in (quote.mr_td, quote.rtmrs[1], quote.rtmrs[2]))
        self.expect({Outcome.PASS}, served, os_images=[image])

    def expect(self, wanted: set[Outcome], body: dict[str, Any], **options: Any) -> None:
        given = AttestationOptions(**{"os_images": [RECORDED_IMAGE], **options})
        result = config(Evidence.parse(json.dumps(body).encode()), given, "broker")
        assert result.outcome in wanted, result.explanation


class TestPlatforms:
    """A platform that is not up to date is told with its status and advisories, and lists are lists."""

    def second(self, name: str, signer: str, data: Path, collateral: Collateral, **options: Any) -> Any:
        report = examine(
            record(signer),
            {"broker": Evidence.parse((data / f"{name}.json").read_bytes())},
            level=2,
            now=NOW,
            options=AttestationOptions(**options),
            collateral={"broker": collateral},
        )
        return next(result for result in report.results if result.level == 2)

    def test_out_of_date_fails_with_status_and_advisories(self, attestation_data: Path, collateral: Collateral) -> None:
        found = self.second("llm_attestation_report", MODEL, attestation_data, collateral)
        assert found.outcome is Outcome.FAIL
        assert "OutOfDate" in found.explanation
        assert "INTEL-SA" in found.explanation

    def test_and_can_be_allowed(self, attestation_data: Path, collateral: Collateral) -> None:
        allowed = {"statuses": ("UpToDate", "OutOfDate")}
        found = self.second("llm_attestation_report", MODEL, attestation_data, collateral, **allowed)
        assert found.outcome is Outcome.PASS
        assert found.evidence["advisories"]
        alone = self.second("broker_attestation_report", BROKER, attestation_data, collateral, statuses=("UpToDate",))
        assert alone.outcome is Outcome.PASS

    @pytest.mark.parametrize("status", ["uptodate", "UPTODATE", "Revoked", "", "RelaunchAdvised"])
    def test_an_unknown_status_is_refused_with_the_list(self, status: str) -> None:
        with pytest.raises(ConfigError) as caught:
            AttestationOptions(statuses=(status,))
        assert "UpToDate" in str(caught.value)

    def test_a_text_in_place_of_a_tuple_is_told_as_such(self) -> None:
        with pytest.raises(ConfigError, match="tuple"):
            AttestationOptions(statuses="UpToDate")  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["compose_hashes", "os_images"])
    def test_a_text_in_place_of_a_list_is_refused(self, name: str) -> None:
        """Its letters would be the list, and everything would fail."""
        text: Any = "37bf800efc7228d56aaa270d051bb6bf8206ba28f92d5a1940c30d1255c2cd23"
        with pytest.raises(ConfigError):
            AttestationOptions(**{name: text})

    def test_young_collateral_can_be_asked_for(self, attestation_data: Path, collateral: Collateral) -> None:
        assert any("max_age" in name for name in AttestationOptions.__dataclass_fields__)
        for age, wanted in ((timedelta(days=11), Outcome.PASS), (timedelta(days=1), Outcome.UNAVAILABLE)):
            found = self.second(
                "broker_attestation_report", BROKER, attestation_data, collateral, collateral_max_age=age
            )
            assert found.outcome is wanted, found.explanation
