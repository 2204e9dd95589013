"""The bytes of a TDX quote: measurements and report data (0g-direct §6.2). Whether they are signed is `dcap`'s."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zg_core.crypto import checksum_address

__all__ = ["Bound", "MalformedEvidence", "NoReport", "TdxQuote", "read_report_data", "unhex"]

_TEE_TDX = 0x81
_HEADER, _REPORT = 48, 584  # bytes; a version 5 report may be longer, and begins 6 bytes later, after its type and size
_TDX_REPORTS = (2, 3, 4)  # version 5: TDX 1.0, 1.5 and 1.5 extended
_LEGACY = re.compile(rb"(0x[0-9a-fA-F]{40})\0{22}")


class MalformedEvidence(ValueError):
    """Evidence that does not have the form it must have."""


class NoReport(MalformedEvidence):
    """An answer without any quote: a page, an error, nothing. It accuses nobody: whatever is between may say so."""


def unhex(text: str) -> bytes:
    """The bytes that `text` writes in hex, with or without ``0x``.

    Raises:
        ValueError: it writes none.
        TypeError, AttributeError: it is no text.
    """
    return bytes.fromhex(text[2:] if text[:2] in ("0x", "0X") else text)


@dataclass(frozen=True, slots=True)
class TdxQuote:
    """What a TDX quote of version 4 or 5 says, all of it inside the signed part.

    Attributes:
        raw: The whole quote.
        td_attributes: 8 bytes; bit 0 of the first is set for a debug enclave.
        mr_seam: Measurement of the TDX module, 48 bytes as the following.
        mr_td: Measurement of the firmware.
        mr_config_id: What the host was told to run, as dstack sets it.
        rtmrs: The four run-time registers.
        report_data: The 64 bytes that the enclave chose.

    Example:
        >>> TdxQuote.parse(bytes(700))
        Traceback (most recent call last):
        ...
        zg_core.verify.attestation.quote.MalformedEvidence: not a TDX quote of version 4 or 5
    """

    raw: bytes
    td_attributes: bytes
    mr_seam: bytes
    mr_td: bytes
    mr_config_id: bytes
    rtmrs: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes

    @classmethod
    def parse(cls, raw: bytes) -> TdxQuote:
        """Read the fields at their offsets.

        Raises:
            MalformedEvidence: too short, another version or technology, or a signature section that is cut.
        """
        if len(raw) < _HEADER + _REPORT:
            raise MalformedEvidence(f"a quote of {len(raw)} bytes is cut short")
        version, technology = _number(raw[0:2]), _number(raw[4:8])
        begin, size = _HEADER, _REPORT
        if version == 5:
            kind, size = _number(raw[48:50]), _number(raw[50:54])
            begin = _HEADER + 6
        if version not in (4, 5) or technology != _TEE_TDX or (version == 5 and kind not in _TDX_REPORTS):
            raise MalformedEvidence("not a TDX quote of version 4 or 5")
        end = begin + size
        if size < _REPORT or len(raw) < end + 4 or len(raw) < end + 4 + _number(raw[end : end + 4]):
            raise MalformedEvidence("the quote is cut short")

        def field(offset: int, length: int = 48) -> bytes:
            return raw[begin + offset : begin + offset + length]

        return cls(
            raw=raw,
            td_attributes=field(120, 8),
            mr_seam=field(16),
            mr_td=field(136),
            mr_config_id=field(184),
            rtmrs=(field(328), field(376), field(424), field(472)),
            report_data=field(520, 64),
        )

    @property
    def debug(self) -> bool:
        """Whether the host can read the enclave's memory."""
        return bool(self.td_attributes[0] & 1)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


@dataclass(frozen=True, slots=True)
class Bound:
    """What report data binds to the enclave.

    Attributes:
        layout: ``"legacy"``, ``"v1"`` or ``"model"``.
        signer: Address of the signing key.
        encryption_key: v1: the key to which prompts can be sealed, hex.
        nonce: model: the caller's nonce, hex; "" when there is none.
    """

    layout: str
    signer: str
    encryption_key: str = ""
    nonce: str = ""


def read_report_data(data: bytes) -> Bound:
    """Read the 64 bytes in one of their three layouts.

    Raises:
        MalformedEvidence: another layout.

    Example:
        >>> read_report_data(b"0x" + b"ab" * 20 + bytes(22)).layout
        'legacy'
    """
    if len(data) != 64:
        raise MalformedEvidence(f"report data has 64 bytes, not {len(data)}")
    if (legacy := _LEGACY.fullmatch(data)) is not None:
        return Bound("legacy", checksum_address(legacy[1].decode()))
    if data[20:32] == bytes(12) and data[:20] != bytes(20):
        nonce = data[32:]
        return Bound("model", checksum_address("0x" + data[:20].hex()), nonce=nonce.hex() if any(nonce) else "")
    if data[52:56] == b"\0\0\0\1" and data[56:] == bytes(8) and data[32:52] != bytes(20):
        return Bound("v1", checksum_address("0x" + data[32:52].hex()), encryption_key=data[:32].hex())
    raise MalformedEvidence("the report data has none of the known layouts")
