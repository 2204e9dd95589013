"""Attestation documents of AWS Nitro enclaves (opengradient §3.2, §3.3), decided from bytes that are given. No I/O.

A document is a COSE_Sign1 (RFC 9052) over a CBOR map. Its certificates lead to a root that is known by its fingerprint,
so that no certificate has to be shipped.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from zg_core.crypto import keccak256
from zg_core.errors import ConfigError
from zg_core.verify.attestation.report import Level, LevelResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.x509 import Certificate

__all__ = ["AWS_ROOT_SHA256", "MalformedDocument", "NitroDocument", "examine", "pcr_hash", "user_data_of"]

AWS_ROOT_SHA256 = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"
"""SHA-256 of the certificate (DER) that AWS signs its enclaves' certificates with."""

_MOST_BYTES = 64 * 1024
_MOST_CERTIFICATES = 10
_COSE_SIGN1 = 18  # the tag
_COSE_ES384 = -35
_ES384_BYTES = 96
_PCR_BYTES = 48
_SHA256_MULTIHASH = b"\x12\x20"
_OLD = timedelta(minutes=5)  # how old a document may be, as the registry has it (opengradient §3.2)
_AHEAD = timedelta(minutes=5)


class MalformedDocument(ValueError):
    """Bytes are no attestation document of a Nitro enclave."""


def user_data_of(certificate: bytes, public_key: bytes) -> bytes:
    """What an enclave of OpenGradient puts into its document: the hashes of its TLS certificate and signing key (DER).

    Example:
        >>> len(user_data_of(b"certificate", b"key"))
        68
    """
    return b"".join(_SHA256_MULTIHASH + hashlib.sha256(each).digest() for each in (certificate, public_key))


def pcr_hash(pcrs: dict[int, bytes]) -> str:
    """The registry's name of an image: the Keccak hash of its first three measurements, "" where one is missing."""
    if any(len(pcrs.get(index, b"")) != _PCR_BYTES for index in range(3)):
        return ""
    return "0x" + keccak256(b"".join(pcrs[index] for index in range(3))).hex()


@dataclass(frozen=True, slots=True)
class NitroDocument:
    """An attestation document, taken apart and not believed yet.

    Attributes:
        protected: The signed header, as it came.
        payload: The signed bytes.
        signature: r‖s, 96 bytes.
        time: When the hypervisor made it.
        pcrs: Measurements by index.
        certificate: The leaf's certificate (DER).
        bundle: The certificates from the root (DER) to the leaf's issuer.
        nonce: What it was asked for with.
        user_data: What the enclave put in.
    """

    protected: bytes
    payload: bytes
    signature: bytes
    time: datetime
    pcrs: dict[int, bytes] = field(hash=False)
    certificate: bytes
    bundle: tuple[bytes, ...]
    nonce: bytes
    user_data: bytes

    @classmethod
    def parse(cls, data: bytes) -> NitroDocument:
        """Read a document as a gateway serves it: CBOR, or the same in Base64.

        Raises:
            MalformedDocument: it is none, or larger than any is.
            ConfigError: the extra ``opengradient`` is not installed (code ``missing_extra``).
        """
        if len(data) > _MOST_BYTES:
            raise MalformedDocument(f"larger than {_MOST_BYTES} bytes")
        text = data.strip()
        if text.isascii():
            try:
                data = base64.b64decode(text, validate=True)
            except binascii.Error:
                raise MalformedDocument("neither CBOR nor Base64") from None
        outer = _cbor(data)
        if getattr(outer, "tag", None) == _COSE_SIGN1:  # it may say what it is, or not
            outer = outer.value
        if not isinstance(outer, list | tuple) or len(outer) != 4:
            raise MalformedDocument("no COSE_Sign1")
        protected, _, payload, signature = outer
        if not all(isinstance(each, bytes) for each in (protected, payload, signature)):
            raise MalformedDocument("no COSE_Sign1")
        header = _cbor(protected)
        if not _is_map(header) or header.get(1) != _COSE_ES384 or len(signature) != _ES384_BYTES:
            raise MalformedDocument("not signed by ES384")
        return cls._of(protected, payload, signature, _cbor(payload))

    @classmethod
    def _of(cls, protected: bytes, payload: bytes, signature: bytes, said: Any) -> NitroDocument:
        if not _is_map(said):
            raise MalformedDocument("the payload is no map")
        pcrs, bundle, milliseconds = said.get("pcrs"), said.get("cabundle"), said.get("timestamp")
        if not _is_map(pcrs) or not all(type(i) is int and isinstance(value, bytes) for i, value in pcrs.items()):
            raise MalformedDocument("no measurements")
        certificate = said.get("certificate")
        if not isinstance(bundle, list | tuple) or not 0 < len(bundle) <= _MOST_CERTIFICATES:
            raise MalformedDocument("no certificates")
        if not all(isinstance(each, bytes) for each in (certificate, *bundle)):
            raise MalformedDocument("no certificates")
        if said.get("digest") != "SHA384" or type(milliseconds) is not int or not 0 < milliseconds < 2**45:
            raise MalformedDocument("no time, or another digest")
        beside = [said.get(name) or b"" for name in ("nonce", "user_data")]
        if not all(isinstance(each, bytes) for each in beside):
            raise MalformedDocument("nonce or user_data is no byte string")
        time = datetime.fromtimestamp(milliseconds / 1000, UTC)
        return cls(protected, payload, signature, time, dict(pcrs), certificate, tuple(bundle), *beside)

    @property
    def image(self) -> str:
        """The registry's name of the image that runs (`pcr_hash`), "" where it is not measured."""
        return pcr_hash(self.pcrs)

    @property
    def debug(self) -> bool:
        """Whether the enclave can be looked into: then its measurements are nought."""
        return not any(any(self.pcrs.get(index, b"")) for index in range(3))

    def distrust(self, now: datetime, root_sha256: str = AWS_ROOT_SHA256) -> str:
        """Why its signature is not that of a Nitro hypervisor at `now`; "" where it is.

        Args:
            now: The time (UTC).
            root_sha256: The fingerprint of the root to trust: another than AWS's for a local network.
        """
        if hashlib.sha256(self.bundle[0]).hexdigest() != root_sha256.lower():
            return "its certificates do not lead to AWS's root"
        try:
            return self._broken_link([_certificate(each) for each in (*self.bundle, self.certificate)], now)
        except Exception:  # noqa: BLE001 - cryptography raises many kinds for what a stranger made
            return "one of its certificates cannot be read"

    def _broken_link(self, chain: list[Certificate], now: datetime) -> str:
        for number, certificate in enumerate(chain):
            if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
                return "one of its certificates has ended, or has not begun"
            issuer = chain[max(number - 1, 0)]
            if not _issued(certificate, issuer) or (number < len(chain) - 1 and not _is_authority(certificate)):
                return "its certificates do not sign one another"
        return "" if self._signed_by(chain[-1]) else "its signature is not by its certificate"

    def _signed_by(self, certificate: Certificate) -> bool:
        import cbor2
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec, utils
        from cryptography.hazmat.primitives.hashes import SHA384

        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp384r1":
            return False
        signed = cbor2.dumps(["Signature1", self.protected, b"", self.payload])
        r, s = (int.from_bytes(half) for half in (self.signature[:48], self.signature[48:]))
        try:
            key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(SHA384()))
        except (InvalidSignature, ValueError):
            return False
        return True


def examine(
    document: NitroDocument,
    *,
    now: datetime,
    nonce: bytes | None,
    certificate: bytes,
    public_key: bytes,
    pcr_hashes: Iterable[str],
    root_sha256: str = AWS_ROOT_SHA256,
    subject: str = "gateway",
) -> list[LevelResult]:
    """The levels that a document shows: who signed it, whose keys it names, what runs.

    Args:
        document: The document.
        now: The time (UTC).
        nonce: What it was asked for with; None where it was not asked for by us, and may be old.
        certificate: The certificate (DER) that the connection is pinned to.
        public_key: The key (DER) that signs answers.
        pcr_hashes: The images that are accepted (`pcr_hash`).
        root_sha256: As in `NitroDocument.distrust`.
        subject: Whose evidence it is.
    """
    facts = {"module": "nitro", "made_at": document.time.isoformat(), "pcr_hash": document.image}
    found: list[tuple[Level, str]] = [
        (Level.BINDING, _unbound(document, now, nonce, certificate, public_key)),
        (Level.DCAP, document.distrust(now, root_sha256)),
        (Level.CONFIG, _unknown(document, list(pcr_hashes))),
    ]
    words = {
        Level.BINDING: "the document names the key that signs answers and the certificate of the connection",
        Level.DCAP: "the document is signed by a genuine Nitro hypervisor",
        Level.CONFIG: f"the image that runs is {document.image}",
    }
    return [
        LevelResult(level, Outcome.FAIL if why else Outcome.PASS, why or words[level], subject, dict(facts))
        for level, why in found
    ]


def _unbound(document: NitroDocument, now: datetime, nonce: bytes | None, certificate: bytes, public_key: bytes) -> str:
    if document.debug:
        return "the enclave runs in debug mode: its owner can look into it"
    if document.user_data != user_data_of(certificate, public_key):
        return "the document names another key or certificate"
    if nonce is not None and document.nonce != nonce:
        return "the document does not hold the nonce that it was asked for with"
    if nonce is not None and not now - _OLD <= document.time <= now + _AHEAD:
        return "the document was made at another time than it was asked for"
    return ""


def _unknown(document: NitroDocument, accepted: Sequence[str]) -> str:
    if not document.image:
        return "the document holds no measurements of an image"
    if document.image.lower() not in {each.lower() for each in accepted}:
        return f"the image that runs is {document.image}, which is not accepted"
    return ""


def _is_map(value: Any) -> bool:
    return hasattr(value, "get") and hasattr(value, "items")


def _cbor(data: bytes) -> Any:
    try:
        import cbor2
    except ImportError:
        raise ConfigError(
            "attestation documents of Nitro enclaves need the package cbor2",
            code="missing_extra",
            hint='pip install "zerog-integrations[opengradient]"',
        ) from None
    stream = io.BytesIO(data)
    try:
        said = cbor2.load(stream)
    except Exception as error:  # cbor2 raises many kinds for what a stranger sends
        raise MalformedDocument("not CBOR") from error
    if stream.read(1):
        raise MalformedDocument("more than one CBOR item")
    return said


def _certificate(data: bytes) -> Certificate:
    from cryptography import x509

    return x509.load_der_x509_certificate(data)


def _issued(certificate: Certificate, issuer: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_authority(certificate: Certificate) -> bool:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
