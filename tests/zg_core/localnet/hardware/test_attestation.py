"""The made-up evidence holds together wherever a reader looks."""

import base64
import hashlib
import json
import time

from cryptography import x509

from zg_core.localnet.base.keys import Key
from zg_core.localnet.hardware import attestation
from zg_core.localnet.hardware.attestation import ATTESTATION_FAULTS, AttestationFault, Enclave
from zg_core.localnet.hardware.platform import Maker

KEY = Key("0x" + "11" * 32)


MAKER = Maker(time.time())
ENCLAVE = Enclave(lambda: MAKER)


def body(legacy=True):
    return json.loads(ENCLAVE.quote_body(KEY, legacy=legacy))


def test_fields_are_where_a_tdx_quote_has_them():
    raw = bytes.fromhex(body()["quote"])
    assert int.from_bytes(raw[0:2], "little") == 4
    assert int.from_bytes(raw[2:4], "little") == 2
    assert int.from_bytes(raw[4:8], "little") == 0x81
    assert raw[168] & 1 == 0, "no debug enclave"
    assert raw[184:232].hex() == json.loads(body()["tcb_info"])["mrtd"]
    assert raw[232:265] == b"\x01" + attestation.compose_hash()
    assert raw[568:632] == base64.b64decode(body()["report_data"])
    assert int.from_bytes(raw[632:636], "little") == len(raw) - 636


def test_the_event_log_replays_to_the_registers():
    raw, log = bytes.fromhex(body()["quote"]), json.loads(body()["event_log"])
    for imr in range(4):
        value = bytes(48)
        for event in log:
            if event["imr"] == imr:
                value = hashlib.sha384(value + bytes.fromhex(event["digest"])).digest()
        assert raw[376 + 48 * imr : 424 + 48 * imr] == value
        assert json.loads(body()["tcb_info"])[f"rtmr{imr}"] == value.hex()


def test_runtime_events_have_the_digest_of_their_content():
    runtime = [event for event in json.loads(body()["event_log"]) if event["imr"] == 3]
    for event in runtime:
        content = b"\x01\x00\x00\x08:" + event["event"].encode() + b":" + bytes.fromhex(event["event_payload"])
        assert hashlib.sha384(content).hexdigest() == event["digest"]
    assert "compose-hash" in {event["event"] for event in runtime}


def test_a_model_enclave_writes_the_second_form_of_the_log():
    report = ENCLAVE.model_report(KEY, bytes(32))
    raw, log = bytes.fromhex(report["intel_quote"]), json.loads(report["event_log"])
    value = bytes(48)
    for event in log:
        if event["imr"] == 3:
            said = {"name": event["event"], "payload": event["event_payload"], "type": event["event_type"]}
            canonical = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
            assert (event["preimage"], event["version"]) == (canonical.hex(), 2)
            assert hashlib.sha384(canonical).hexdigest() == event["digest"]
            value = hashlib.sha384(value + bytes.fromhex(event["digest"])).digest()
    assert raw[520:568] == value


def test_the_os_image_is_what_its_quotes_measure():
    for report in (body(), ENCLAVE.model_report(KEY, bytes(32))):
        raw = bytes.fromhex(report["quote"])
        assert attestation.os_image() == (raw[184:232].hex(), raw[424:472].hex(), raw[472:520].hex())


def test_the_compose_hash_is_that_of_the_compose_text_everywhere():
    tcb = json.loads(body()["tcb_info"])
    expected = hashlib.sha256(tcb["app_compose"].encode()).hexdigest()
    assert tcb["compose_hash"] == expected
    event = next(e for e in json.loads(body()["event_log"]) if e["event"] == "compose-hash")
    assert event["event_payload"] == expected
    assert "@sha256:" in json.loads(tcb["app_compose"])["docker_compose_file"]


def test_report_data_names_the_signer_in_either_layout():
    assert base64.b64decode(body()["report_data"]) == KEY.address.encode() + bytes(22)
    data = base64.b64decode(body(legacy=False)["report_data"])
    assert (data[32:52].hex(), data[52:56], data[56:]) == (KEY.address[2:].lower(), b"\0\0\0\1", bytes(8))


def test_a_model_enclaves_report_binds_signer_and_nonce():
    nonce = bytes(range(32))
    report = ENCLAVE.model_report(KEY, nonce)
    raw = bytes.fromhex(report["intel_quote"])
    assert raw[568:588].hex() == KEY.address[2:].lower()
    assert raw[588:600] == bytes(12)
    assert raw[600:632].hex() == nonce.hex() == report["request_nonce"]
    assert report["info"]["tcb_info"]["compose_hash"] == attestation.compose_hash().hex()
    assert report["local_network"] == attestation.LABEL


def test_it_says_what_it_is():
    assert body()["local_network"] == attestation.LABEL
    assert "made-up hardware" in attestation.LABEL


def test_hardware_is_made_when_it_is_first_needed():
    made = []
    enclave = Enclave(lambda: made.append(1) or MAKER)
    assert not made
    enclave.quote_body(KEY, legacy=True)
    enclave.quote_body(KEY, legacy=False)
    assert made == [1]


def test_every_fault_has_a_meaning_and_changes_what_is_served_or_published():
    assert set(ATTESTATION_FAULTS) == set(AttestationFault)
    enclave = Enclave(lambda: MAKER)

    def revoked():
        return [entry.serial_number for entry in x509.load_der_x509_crl(MAKER.pck_revocations())]

    def seen():
        # without what is random in every quote: its signatures
        report = json.loads(enclave.quote_body(KEY, legacy=True))
        report["quote"] = (report["quote"][: 2 * 632], len(report["quote"]))
        return report, json.loads(enclave.platform.collateral)["tcb_info"], revoked()

    honest = seen()
    for fault in AttestationFault:
        enclave.fault = fault
        assert seen() != honest, fault
    enclave.fault = None
    assert seen() == honest
