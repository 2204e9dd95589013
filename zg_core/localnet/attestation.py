"""A quote in the form of a real provider's, consistent in itself and signed by no hardware (0g-direct §6.1-6.2).

The bytes have the layout of a TDX quote, its RTMRs replay from the event log, and its compose hash is that of the
compose file shown, so code that reads quotes can be run on the local network. There is no hardware signature in it, and
it says so.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any

from zg_core.localnet.onchain import IMAGE_DIGEST, IMAGE_NAME

if TYPE_CHECKING:
    from zg_core.localnet.keys import Key

LABEL = "local network: this quote is made up and signed by no hardware"
_RUNTIME_EVENT = 0x08000001


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


def _measurement(name: str) -> bytes:
    return hashlib.sha384(f"zerog-localnet {name}".encode()).digest()


def event_log() -> list[dict[str, Any]]:
    """Events whose replay gives the quote's RTMRs."""
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
        "app-id": compose_hash()[:20],
        "compose-hash": compose_hash(),
        "instance-id": hashlib.sha256(b"local instance").digest()[:20],
        "boot-mr-done": b"",
        "os-image-hash": hashlib.sha256(b"local os image").digest(),
        "key-provider": b'{"name":"none","id":""}',
        "system-ready": b"",
    }
    for name, payload in payloads.items():
        digest = hashlib.sha384(struct.pack("<I", _RUNTIME_EVENT) + b":" + name.encode() + b":" + payload).digest()
        events.append(
            {
                "imr": 3,
                "event_type": _RUNTIME_EVENT,
                "digest": digest.hex(),
                "event": name,
                "event_payload": payload.hex(),
            }
        )
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


def quote_bytes(data: bytes) -> bytes:
    """A version 4 TDX quote around 64 bytes of report data, with an empty signature section."""
    events = event_log()
    header = struct.pack("<HHI", 4, 2, 0x81) + bytes(4) + hashlib.sha256(b"local vendor").digest()[:16] + bytes(20)
    body = b"".join(
        (
            bytes(16),  # tee_tcb_svn
            _measurement("seam"),
            bytes(48),  # signer of the seam module
            bytes(8),  # seam attributes
            bytes.fromhex("0000001000000000"),  # td attributes: not a debug enclave
            bytes(8),  # xfam
            _measurement("os"),  # MRTD
            (b"\x01" + compose_hash()).ljust(48, b"\0"),  # mr_config_id, version 1
            bytes(48),  # mr_owner
            bytes(48),  # mr_owner_config
            *(replay(events, imr) for imr in range(4)),
            data,
        )
    )
    return header + body + struct.pack("<I", 0)


def model_report_data(signer: str, nonce: bytes) -> bytes:
    """The layout of a model enclave: 20-byte signer, 12 zero bytes, the caller's 32-byte nonce."""
    return bytes.fromhex(signer[2:]) + bytes(12) + nonce


def model_report(key: Key, nonce: bytes) -> dict[str, Any]:
    """The body of ``GET /v1/proxy/attestation/report``, which only a separate model enclave answers.

    Args:
        key: the model enclave's signing key.
        nonce: 32 bytes of the caller's, bound into the quote.
    """
    events = event_log()
    quote = quote_bytes(model_report_data(key.address, nonce)).hex()
    return {
        "signing_address": key.address,
        "signing_algo": "ecdsa",
        "request_nonce": nonce.hex(),
        "intel_quote": quote,
        "quote": quote,
        "event_log": json.dumps(events, separators=(",", ":")),
        "vm_config": "{}",
        "info": {"app_id": compose_hash()[:20].hex(), "tcb_info": _tcb_info(events)},
        "local_network": LABEL,
    }


def _tcb_info(events: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "mrtd": _measurement("os").hex(),
        **{f"rtmr{imr}": replay(events, imr).hex() for imr in range(4)},
        "os_image_hash": hashlib.sha256(b"local os image").hexdigest(),
        "compose_hash": compose_hash().hex(),
        "app_compose": app_compose(),
        "event_log": events,
    }


def quote_body(key: Key, *, legacy: bool) -> bytes:
    """The body of ``GET /v1/quote``.

    Args:
        key: the enclave's signing key, named in the report data.
        legacy: the ASCII layout of the report data, or the newer one with an encryption key.
    """
    encryption_key = hashlib.sha256(b"local encryption key of " + key.address.encode()).digest()
    data = legacy_report_data(key.address) if legacy else report_data(key.address, encryption_key)
    events = event_log()
    body = {
        "quote": quote_bytes(data).hex(),
        "event_log": json.dumps(events, separators=(",", ":")),
        "report_data": base64.b64encode(data).decode(),
        "vm_config": json.dumps({"cpu_count": 1, "memory_size": 0, "local": True}, separators=(",", ":")),
        "tcb_info": json.dumps(_tcb_info(events), separators=(",", ":")),
        "local_network": LABEL,
    }
    return json.dumps(body, separators=(",", ":")).encode()
