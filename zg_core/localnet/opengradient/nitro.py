"""Attestation documents as a Nitro hypervisor makes them, under a root of this machine's own (opengradient §3.3)."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

from zg_core.localnet.base.keys import keccak256

if TYPE_CHECKING:
    from collections.abc import Mapping

_DER = serialization.Encoding.DER


class Hypervisor:
    """Makes documents for enclaves of one image.

    Args:
        now: Unix seconds around which its certificates are valid.
        image: Anything that names the image; its measurements follow from it.
    """

    def __init__(self, now: float, image: bytes = b"local gateway") -> None:
        self._now = dt.datetime.fromtimestamp(now, dt.UTC)
        self.pcrs: Mapping[int, bytes] = {
            index: hashlib.sha384(image + bytes([index])).digest() for index in range(3)
        } | {index: bytes(48) for index in range(3, 16)}
        self._root_key, root = self._issue("local Nitro root", None, None, authority=True)
        self._zone_key, zone = self._issue("local Nitro zone", self._root_key, root, authority=True)
        self._leaf_key, leaf = self._issue("local Nitro enclave", self._zone_key, zone, authority=False)
        self._bundle = [each.public_bytes(_DER) for each in (root, zone)]
        self._leaf = leaf.public_bytes(_DER)

    @property
    def root_sha256(self) -> str:
        """The fingerprint of its root, which a verifier has to be told: it is not AWS's."""
        return hashlib.sha256(self._bundle[0]).hexdigest()

    @property
    def pcr_hash(self) -> bytes:
        """The registry's name of the image."""
        return keccak256(self.pcrs[0] + self.pcrs[1] + self.pcrs[2])

    def document(self, certificate: bytes, public_key: bytes, asked: bytes, now: float, **changes: Any) -> bytes:
        """A document (CBOR).

        Args:
            certificate: The enclave's TLS certificate (DER).
            public_key: Its signing key (DER).
            asked: The nonce that it was asked for with.
            now: Unix seconds.
            changes: Fields of the payload to be others.
        """
        import cbor2

        named = b"".join(b"\x12\x20" + hashlib.sha256(each).digest() for each in (certificate, public_key))
        payload = cbor2.dumps(
            {
                "module_id": "i-local-enc",
                "digest": "SHA384",
                "timestamp": int(now * 1000),
                "pcrs": dict(self.pcrs),
                "certificate": self._leaf,
                "cabundle": self._bundle,
                "public_key": None,
                "user_data": named,
                "nonce": asked,
                **changes,
            }
        )
        protected = cbor2.dumps({1: -35})
        signed = cbor2.dumps(["Signature1", protected, b"", payload])
        r, s = utils.decode_dss_signature(self._leaf_key.sign(signed, ec.ECDSA(hashes.SHA384())))
        signature = r.to_bytes(48, "big") + s.to_bytes(48, "big")
        return bytes(cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature])))

    def _issue(
        self,
        name: str,
        issuer_key: ec.EllipticCurvePrivateKey | None,
        issuer: x509.Certificate | None,
        *,
        authority: bool,
    ) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP384R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - dt.timedelta(days=1))
            .not_valid_after(self._now + dt.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(issuer_key or key, hashes.SHA384())
        )
        return key, certificate
