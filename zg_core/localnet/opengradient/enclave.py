"""One enclave: the key that signs answers, the certificate of its connection, and its entry in the registry."""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from zg_core.localnet.base.keys import keccak256
from zg_core.localnet.opengradient.hashing import signature_over

if TYPE_CHECKING:
    from pathlib import Path

_DER, _PEM = serialization.Encoding.DER, serialization.Encoding.PEM


class Certificate:
    """A certificate for TLS and its key.

    Args:
        days: How long it is valid; negative for one that has ended.
        issuer: Whose key signs it, None for its own.
    """

    def __init__(self, days: int = 30, issuer: Certificate | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        title = "local gateway" if issuer is None else "another gateway"
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
        self.x509: x509.Certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name if issuer is None else issuer.x509.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=60))
            .not_valid_after(now + dt.timedelta(days=days))
            # As in production, where clients trust exactly this one: it can sign others, which must not pass.
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign((issuer or self).key, hashes.SHA256())
        )

    @property
    def der(self) -> bytes:
        """The certificate (DER)."""
        return self.x509.public_bytes(_DER)

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write certificate and key where a server reads them."""
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        certificate.write_bytes(self.x509.public_bytes(_PEM))
        key.touch(mode=0o600)
        key.write_bytes(self.key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return certificate, key


class Enclave:
    """Keys of one enclave, made when it boots."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.public_key = self.key.public_key().public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.certificate = Certificate()

    @property
    def tee_id(self) -> str:
        """Its id: the hash of its signing key."""
        return "0x" + keccak256(self.public_key).hex()

    def sign(self, request: bytes, output: bytes, timestamp: int) -> dict[str, Any]:
        """The fields that a signed answer carries."""
        return {
            "tee_signature": signature_over(self.key, request, output, timestamp),
            "tee_request_hash": request.hex(),
            "tee_output_hash": output.hex(),
            "tee_timestamp": timestamp,
            "tee_id": self.tee_id,
        }

    def entry(self, *, endpoint: str, owner: str, payment: str, pcr_hash: bytes, now: int) -> dict[str, Any]:
        """Its entry in the registry."""
        ohttp = {"keyId": 0, "kemId": 0, "kdfId": 0, "aeadId": 0, "publicKey": b"", "keyConfig": b"", "registeredAt": 0}
        return {
            "owner": owner,
            "paymentAddress": payment,
            "endpoint": endpoint,
            "publicKey": self.public_key,
            "tlsCertificate": self.certificate.der,
            "pcrHash": pcr_hash,
            "teeType": 0,
            "enabled": True,
            "registeredAt": now,
            "lastHeartbeatAt": now,
            "ohttpConfig": ohttp,
        }
