"""The evidence that local providers serve: quotes, event logs and compose files in the form of real ones.

Quotes are signed by made-up hardware (`zg_core.localnet.hardware.platform`), so that a verifier that is handed that
root can go all the way. Each `AttestationFault` breaks one thing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.keys import Key
from zg_core.localnet.provider.onchain import IMAGE_DIGEST, IMAGE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zg_core.localnet.hardware.platform import Maker, Platform

LABEL = "local network: this quote is signed by made-up hardware"
_RUNTIME_EVENT = 0x08000001
_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")  # the only maker of quoting enclaves there is
_ATTRIBUTES, _DEBUG_ATTRIBUTES = bytes.fromhex("0000001000000000"), bytes.fromhex("0100001000000000")


class AttestationFault(StrEnum):
    """What can be wrong with a provider's evidence. `ATTESTATION_FAULTS` has one line on each."""

    WRONG_SIGNER = "wrong_signer"
    REPLAYED_QUOTE = "replayed_quote"
    DEBUG_TD = "debug_td"
    REVOKED_PCK = "revoked_pck"
    EXPIRED_COLLATERAL = "expired_collateral"
    OUTDATED_TCB = "outdated_tcb"
    OTHER_SYSTEM = "other_system"
    EDITED_EVENT_LOG = "edited_event_log"
    EDITED_COMPOSE = "edited_compose"
    WRONG_LAYOUT = "wrong_layout"
    TRUNCATED_QUOTE = "truncated_quote"


ATTESTATION_FAULTS: Mapping[AttestationFault, str] = MappingProxyType(
    {
        AttestationFault.WRONG_SIGNER: "the enclave attests another key than the one on chain",
        AttestationFault.REPLAYED_QUOTE: "the genuine report of another enclave, on another machine, is served",
        AttestationFault.DEBUG_TD: "the enclave is a debug one, whose memory its host can read",
        AttestationFault.REVOKED_PCK: "the maker of the hardware has revoked the machine",
        AttestationFault.EXPIRED_COLLATERAL: "what the maker published of the machine is past its end",
        AttestationFault.OUTDATED_TCB: "the machine lacks the newest versions of its components",
        AttestationFault.OTHER_SYSTEM: "the operating system is the operator's own, and measures what he likes",
        AttestationFault.EDITED_EVENT_LOG: "the event log names another compose file, with the digest of that",
        AttestationFault.EDITED_COMPOSE: "the compose file shown is not the one that was measured",
        AttestationFault.WRONG_LAYOUT: "the report data is a hash of the signer, a layout nobody knows",
        AttestationFault.TRUNCATED_QUOTE: "the quote ends in the middle",
    }
)


class Enclave:
    """The evidence of one provider's machine.

    Args:
        maker: makes the hardware; asked when a quote is first needed, since keys take time.
    """

    def __init__(self, maker: Callable[[], Maker]) -> None:
        self._maker = maker
        self._lock = threading.Lock()
        self._platform: Platform | None = None
        self._fault: AttestationFault | None = None

    @property
    def platform(self) -> Platform:
        """Its machine."""
        with self._lock:
            if self._platform is None:
                self._platform = self._maker().platform()
            return self._platform

    @property
    def fault(self) -> AttestationFault | None:
        """What is wrong with its evidence; None: nothing."""
        return self._fault

    @fault.setter
    def fault(self, fault: AttestationFault | str | None) -> None:
        self._fault = None if fault is None else AttestationFault(fault)
        machine = self.platform
        machine.revoked = self._fault is AttestationFault.REVOKED_PCK
        machine.expired = self._fault is AttestationFault.EXPIRED_COLLATERAL
        machine.outdated = self._fault is AttestationFault.OUTDATED_TCB

    def quote_body(self, key: Key, *, legacy: bool, encryption_key: bytes = b"") -> bytes:
        """The body of ``GET /v1/quote``.

        Args:
            key: the enclave's signing key, named in the report data.
            legacy: the ASCII layout of the report data, or the newer one with an encryption key.
            encryption_key: of the same enclave, for the newer layout.
        """
        machine = self.platform
        if self._fault is AttestationFault.REPLAYED_QUOTE:
            machine, key = self._maker().platform(), Key.random()
        address = Key.random().address if self._fault is AttestationFault.WRONG_SIGNER else key.address
        data = legacy_report_data(address) if legacy else report_data(address, encryption_key or bytes(32))
        quote, events, compose = self._evidence(machine, data)
        body = {
            "quote": quote.hex(),
            "event_log": json.dumps(events, separators=(",", ":")),
            "report_data": base64.b64encode(data).decode(),
            "vm_config": json.dumps({"cpu_count": 1, "memory_size": 0, "local": True}, separators=(",", ":")),
            "tcb_info": json.dumps(_tcb_info(events, compose), separators=(",", ":")),
            "local_network": LABEL,
        }
        return json.dumps(body, separators=(",", ":")).encode()

    def model_report(self, key: Key, nonce: bytes) -> dict[str, Any]:
        """The body of ``GET /v1/proxy/attestation/report``, which only a separate model enclave answers.

        Args:
            key: the model enclave's signing key.
            nonce: 32 bytes of the caller's, bound into the quote.
        """
        data = model_report_data(key.address, nonce)
        quote, events, compose = self._evidence(self.platform, data, form=2)
        return {
            "signing_address": key.address,
            "signing_algo": "ecdsa",
            "request_nonce": nonce.hex(),
            "intel_quote": quote.hex(),
            "quote": quote.hex(),
            "event_log": json.dumps(events, separators=(",", ":")),
            "vm_config": "{}",
            "info": {"app_id": compose_hash()[:20].hex(), "tcb_info": _tcb_info(events, compose)},
            "local_network": LABEL,
        }

    def _evidence(self, machine: Platform, data: bytes, form: int = 1) -> tuple[bytes, list[dict[str, Any]], str]:
        """Quote, event log in one of its forms, and compose text, with the fault that is set."""
        fault = self._fault
        if fault is AttestationFault.WRONG_LAYOUT:
            data = hashlib.sha512(data).digest()
        attributes = _DEBUG_ATTRIBUTES if fault is AttestationFault.DEBUG_TD else _ATTRIBUTES
        system = "another os" if fault is AttestationFault.OTHER_SYSTEM else "os"
        quote = machine.sign(signed_part(data, attributes, events=event_log(form=form), system=system))
        if fault is AttestationFault.TRUNCATED_QUOTE:
            quote = quote[: len(quote) // 2]
        compose = app_compose()
        if fault in (AttestationFault.EDITED_COMPOSE, AttestationFault.EDITED_EVENT_LOG):
            compose = compose.replace(IMAGE_NAME, f"{IMAGE_NAME}-with-a-back-door")
        measured = compose if fault is AttestationFault.EDITED_EVENT_LOG else app_compose()
        return quote, event_log(hashlib.sha256(measured.encode()).digest(), form), compose


def app_compose() -> str:
    """The text whose SHA-256 is the compose hash."""
    compose_file = f"services:\n  broker:\n    image: {IMAGE_NAME}@{IMAGE_DIGEST}\n"
    return json.dumps(
        {"name": "zerog-localnet-provider", "runner": "docker-compose", "docker_compose_file": compose_file},
        separators=(",", ":"),
    )


def compose_hash() -> bytes:
    """SHA-256 of `app_compose`."""
    return hashlib.sha256(app_compose().encode()).digest()


def os_image() -> tuple[str, str, str]:
    """What these enclaves' operating system is known by, in hex: MRTD, RTMR1 and RTMR2."""
    events = event_log()
    return _measurement("os").hex(), replay(events, 1).hex(), replay(events, 2).hex()


def _measurement(name: str) -> bytes:
    return hashlib.sha384(f"zerog-localnet {name}".encode()).digest()


def event_log(compose: bytes | None = None, form: int = 1) -> list[dict[str, Any]]:
    """Events whose replay gives the quote's RTMRs; with another compose hash, they no longer do.

    Args:
        compose: the compose hash; None: the right one.
        form: of dstack's own events: 1 hashes joined bytes, 2 canonical JSON, which is shown beside it.
    """
    compose = compose_hash() if compose is None else compose
    events = [
        {
            "imr": imr,
            "event_type": 1,
            "digest": _measurement(f"boot event {imr}").hex(),
            "event": "",
            "event_payload": "",
        }
        for imr in range(3)
    ]
    payloads = {
        "system-preparing": b"",
        "app-id": compose[:20],
        "compose-hash": compose,
        "instance-id": hashlib.sha256(b"local instance").digest()[:20],
        "boot-mr-done": b"",
        "os-image-hash": hashlib.sha256(b"local os image").digest(),
        "key-provider": b'{"name":"none","id":""}',
        "system-ready": b"",
    }
    for name, payload in payloads.items():
        preimage = struct.pack("<I", _RUNTIME_EVENT) + b":" + name.encode() + b":" + payload
        if form == 2:
            preimage = f'{{"name":"{name}","payload":"{payload.hex()}","type":{_RUNTIME_EVENT}}}'.encode()
        event = {
            "imr": 3,
            "event_type": _RUNTIME_EVENT,
            "digest": hashlib.sha384(preimage).hexdigest(),
            "event": name,
            "event_payload": payload.hex(),
        }
        events.append(event | ({"version": 2, "preimage": preimage.hex()} if form == 2 else {}))
    return events


def replay(events: list[dict[str, Any]], imr: int) -> bytes:
    """The value of an RTMR after its events."""
    value = bytes(48)
    for event in events:
        if event["imr"] == imr:
            value = hashlib.sha384(value + bytes.fromhex(event["digest"])).digest()
    return value


def legacy_report_data(signer: str) -> bytes:
    """The signer's address as ASCII, padded to 64 bytes."""
    return signer.encode().ljust(64, b"\0")


def report_data(signer: str, encryption_key: bytes) -> bytes:
    """The newer layout: 32-byte encryption key, 20-byte signer, version 1, 8 zero bytes."""
    return encryption_key + bytes.fromhex(signer[2:]) + struct.pack(">I", 1) + bytes(8)


def signed_part(
    data: bytes, attributes: bytes = _ATTRIBUTES, *, events: list[dict[str, Any]] | None = None, system: str = "os"
) -> bytes:
    """Header and report of a version 4 TDX quote around 64 bytes of report data."""
    events = event_log() if events is None else events
    header = struct.pack("<HHI", 4, 2, 0x81) + bytes(4) + _QE_VENDOR + bytes(20)
    body = b"".join(
        (
            bytes(16),  # tee_tcb_svn
            _measurement("seam"),
            bytes(48),  # signer of the seam module
            bytes(8),  # seam attributes
            attributes,
            bytes(8),  # xfam
            _measurement(system),  # MRTD
            (b"\x01" + compose_hash()).ljust(48, b"\0"),  # mr_config_id, version 1
            bytes(48),  # mr_owner
            bytes(48),  # mr_owner_config
            *(replay(events, imr) for imr in range(4)),
            data,
        )
    )
    return header + body


def model_report_data(signer: str, nonce: bytes) -> bytes:
    """The layout of a model enclave: 20-byte signer, 12 zero bytes, the caller's 32-byte nonce."""
    return bytes.fromhex(signer[2:]) + bytes(12) + nonce


def _tcb_info(events: list[dict[str, Any]], compose: str) -> dict[str, Any]:
    return {
        "mrtd": _measurement("os").hex(),
        **{f"rtmr{imr}": replay(events, imr).hex() for imr in range(4)},
        "os_image_hash": hashlib.sha256(b"local os image").hexdigest(),
        "compose_hash": hashlib.sha256(compose.encode()).hexdigest(),
        "app_compose": compose,
        "event_log": events,
    }
