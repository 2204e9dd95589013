"""Made-up hardware that signs quotes: a test root, platforms under it, and what their maker would publish of them.

All of it has the form of the real thing (certificates with the SGX extension, revocation lists, TCB info, identity of
the quoting enclave, quotes with their signature section), so that a verifier that is handed this root, and only such a
one, takes it for genuine.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import struct
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable

ADVISORY: Final = "LOCAL-SA-00001"
"""The advisory that applies to a platform that is out of date."""

_PEM = serialization.Encoding.PEM
_DAY = dt.timedelta(days=1)
_SVN, _PCE_SVN, _QE_SVN = 2, 11, 4
_QE_ATTRIBUTES = bytes.fromhex("11000000000000000000000000000000")
_QE_SIGNER = hashlib.sha256(b"local quoting enclave").digest()
_SGX = "1.2.840.113741.1.13.1"  # the extension of PCK certificates
_PPID = bytes(16)


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 0x80 else b"\x82" + struct.pack(">H", size)
    return bytes([tag]) + length + content


def _oid(dotted: str) -> bytes:
    numbers = [int(part) for part in dotted.split(".")]
    encoded = [40 * numbers[0] + numbers[1]]
    for number in numbers[2:]:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.insert(0, 0x80 | number & 0x7F)
        encoded += digits
    return _der(6, bytes(encoded))


def _integer(value: int) -> bytes:
    return _der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _sgx_extension(fmspc: bytes) -> bytes:
    """What a PCK certificate says of its platform: ids, and the version of every component."""

    def entry(number: str, value: bytes) -> bytes:
        return _der(0x30, _oid(f"{_SGX}.{number}") + value)

    versions = b"".join(entry(f"2.{n}", _integer(_SVN)) for n in range(1, 17))
    versions += entry("2.17", _integer(_PCE_SVN)) + entry("2.18", _der(4, bytes([_SVN] * 16)))
    return _der(
        0x30,
        entry("1", _der(4, _PPID))
        + entry("2", _der(0x30, versions))
        + entry("3", _der(4, bytes(2)))
        + entry("4", _der(4, fmspc))
        + entry("5", _der(0x0A, b"\0")),
    )


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """64 bytes r‖s."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


class _Authority:
    """A certificate and its key."""

    def __init__(self, name: str, issuer: _Authority | None, now: dt.datetime, extension: bytes | None = None) -> None:
        self.key = _new_key()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.issuer = issuer or self
        is_ca = extension is None and "TCB" not in name
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.issuer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + 365 * _DAY)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if extension is not None:
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier(_SGX), extension), critical=False
            )
        self.certificate = builder.sign(self.issuer.key, hashes.SHA256())

    @property
    def chain(self) -> str:
        """PEM, up to the root."""
        own = self.certificate.public_bytes(_PEM).decode()
        return own if self.issuer is self else own + self.issuer.chain

    def revocations(self, serials: Iterable[int], now: dt.datetime) -> bytes:
        """Its revocation list (DER)."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(now - _DAY).next_update(now + 30 * _DAY)
        builder = builder.add_extension(x509.CRLNumber(1), critical=False).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - _DAY).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Maker:
    """The maker of a local network's hardware: root, certificates, and the service that publishes collateral.

    Args:
        now: unix time from which its certificates are dated.
    """

    def __init__(self, now: float) -> None:
        self._now = dt.datetime.fromtimestamp(int(now), dt.UTC)
        self._lock = threading.Lock()
        self._root = _Authority("Local Test SGX Root CA", None, self._now)
        self.pck_ca = _Authority("Local Test SGX PCK Platform CA", self._root, self._now)
        self._tcb = _Authority("Local Test SGX TCB Signing", self._root, self._now)
        self._platforms: dict[str, Platform] = {}

    @property
    def root(self) -> bytes:
        """The root certificate (DER): what a verifier has to be handed to believe in these quotes."""
        return self._root.certificate.public_bytes(serialization.Encoding.DER)

    def platform(self) -> Platform:
        """A new machine."""
        with self._lock:
            found = Platform(self, 0x10CA_1000_0000 + len(self._platforms), self._now)
            self._platforms[found.fmspc] = found
        return found

    def tcb_info(self, fmspc: str) -> tuple[str, bytes] | None:
        """What is current for machines of this kind: JSON and signature; None for an unknown kind."""
        platform = self._platforms.get(fmspc.upper())
        if platform is None:
            return None
        ends = self._now - _DAY if platform.expired else self._now + 30 * _DAY
        info = {
            **_dated("TDX", 3, ends - 31 * _DAY, ends),
            "fmspc": platform.fmspc,
            "pceId": "0000",
            "tcbType": 0,
            "tcbEvaluationDataNumber": 1,
            "tdxModule": {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8},
            "tdxModuleIdentities": [],
            "tcbLevels": [
                _tcb_level(_SVN + platform.outdated, "UpToDate"),
                *([_tcb_level(_SVN, "OutOfDate", [ADVISORY])] if platform.outdated else []),
            ],
        }
        return self._published(info)

    def qe_identity(self) -> tuple[str, bytes]:
        """What a genuine quoting enclave looks like: JSON and signature."""
        ends = self._now + 30 * _DAY
        identity = {
            **_dated("TD_QE", 2, self._now - _DAY, ends),
            "tcbEvaluationDataNumber": 1,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": _QE_ATTRIBUTES.hex().upper(),
            "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": _QE_SIGNER.hex().upper(),
            "isvprodid": 2,
            "tcbLevels": [{"tcb": {"isvsvn": _QE_SVN}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "UpToDate"}],
        }
        return self._published(identity)

    def pck_revocations(self) -> bytes:
        """The list of revoked machines (DER)."""
        serials = [p.certificate.serial_number for p in self._platforms.values() if p.revoked]
        return self.pck_ca.revocations(serials, self._now)

    def root_revocations(self) -> bytes:
        """The root's revocation list (DER)."""
        return self._root.revocations((), self._now)

    @property
    def signing_chain(self) -> str:
        """Certificates of the key that signs TCB info and identity (PEM)."""
        return self._tcb.chain

    def collateral(self, platform: Platform) -> str:
        """Everything that is needed to judge a quote of `platform`, in dcap-qvl's JSON form."""
        tcb_info, identity = self.tcb_info(platform.fmspc), self.qe_identity()
        assert tcb_info is not None  # noqa: S101 - its maker knows it
        return json.dumps(
            {
                "pck_crl_issuer_chain": self.pck_ca.chain,
                "root_ca_crl": self.root_revocations().hex(),
                "pck_crl": self.pck_revocations().hex(),
                "tcb_info_issuer_chain": self.signing_chain,
                "tcb_info": tcb_info[0],
                "tcb_info_signature": tcb_info[1].hex(),
                "qe_identity_issuer_chain": self.signing_chain,
                "qe_identity": identity[0],
                "qe_identity_signature": identity[1].hex(),
            }
        )

    def _published(self, value: dict[str, Any]) -> tuple[str, bytes]:
        text = json.dumps(value, separators=(",", ":"))
        return text, _sign(self._tcb.key, text.encode())


def _dated(identity: str, version: int, issued: dt.datetime, ends: dt.datetime) -> dict[str, Any]:
    form = "%Y-%m-%dT%H:%M:%SZ"
    return {
        "id": identity,
        "version": version,
        "issueDate": issued.strftime(form),
        "nextUpdate": ends.strftime(form),
    }


def _tcb_level(svn: int, status: str, advisories: list[str] | None = None) -> dict[str, Any]:
    level: dict[str, Any] = {
        "tcb": {
            "sgxtcbcomponents": [{"svn": svn}] * 16,
            "pcesvn": _PCE_SVN,
            "tdxtcbcomponents": [{"svn": 0}] * 16,
        },
        "tcbDate": "2026-01-01T00:00:00Z",
        "tcbStatus": status,
    }
    return level if advisories is None else {**level, "advisoryIDs": advisories}


class Platform:
    """One machine: it certifies its own attestation key, which signs quotes.

    Attributes:
        revoked: its maker has revoked it.
        expired: its maker has published nothing new about it in time.
        outdated: newer versions of its components are out, which it does not have.
    """

    def __init__(self, maker: Maker, number: int, now: dt.datetime) -> None:
        self.fmspc = f"{number:012X}"
        self.maker = maker
        self.revoked = self.expired = self.outdated = False
        self._now = now
        self._attestation_key = _new_key()

    @cached_property
    def _pck(self) -> _Authority:
        extension = _sgx_extension(bytes.fromhex(self.fmspc))
        return _Authority("Local Test SGX PCK Certificate", self.maker.pck_ca, self._now, extension)

    @property
    def certificate(self) -> x509.Certificate:
        """The machine's certificate."""
        return self._pck.certificate

    @property
    def collateral(self) -> str:
        """See `Maker.collateral`."""
        return self.maker.collateral(self)

    def sign(self, signed: bytes) -> bytes:
        """The whole quote around its signed part (header and report)."""
        public = _point(self._attestation_key)
        authentication = bytes(32)
        report = self._quoting_enclave(hashlib.sha256(public + authentication).digest())
        chain = self._pck.chain.encode()
        certification = struct.pack("<HI", 5, len(chain)) + chain
        inner = report + _sign(self._pck.key, report) + struct.pack("<H", 32) + authentication + certification
        section = _sign(self._attestation_key, signed) + public + struct.pack("<HI", 6, len(inner)) + inner
        return signed + struct.pack("<I", len(section)) + section

    @staticmethod
    def _quoting_enclave(bound: bytes) -> bytes:
        """The report of the enclave that vouches for the attestation key, 384 bytes."""
        return b"".join(
            (
                bytes([_SVN] * 16),
                bytes(4 + 28),
                _QE_ATTRIBUTES,
                hashlib.sha256(b"local quoting enclave, measurement").digest(),
                bytes(32),
                _QE_SIGNER,
                bytes(96),
                struct.pack("<HH", 2, _QE_SVN),
                bytes(60),
                bound.ljust(64, b"\0"),
            )
        )
