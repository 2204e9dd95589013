"""The registry of enclaves (opengradient §2.1): what it says, and how it is read. Decoding is pure."""

from __future__ import annotations

import base64
import logging
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.chain.failures import RpcFailure
from zg_core.chain.rpc import JsonRpc, data_of, quantity, rpc_junk
from zg_core.crypto import checksum_address, keccak256
from zg_core.errors import ChainError, ConfigError, WrongChain
from zg_core.verify.schemes.rsa_pss import tee_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.http.transport import Transport

__all__ = [
    "HEARTBEAT_SECONDS",
    "Enclave",
    "Registry",
    "Validity",
    "active_call",
    "enclave_of",
    "enclaves_of",
    "one_call",
]

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1800
"""How old an enclave's last heartbeat may be."""
_LLM = 0  # of the registry's types of enclave: the one that answers
_OHTTP = "(uint8,uint16,uint16,uint16,bytes,bytes,uint256)"
# The URL is a string; what its owner wrote there need be none, and must not make the others unreadable.
_FIELDS = "address,address,bytes,bytes,bytes,bytes32,uint8,bool,uint256,uint256"
_NEWER, _OLDER = f"({_FIELDS},{_OHTTP})", f"({_FIELDS})"
_MOST_BYTES = 16 * 1024 * 1024
_WORD = 32


@dataclass(frozen=True, slots=True)
class Enclave:
    """One entry.

    Attributes:
        payment_address: Who is paid for its answers.
        endpoint: Its URL.
        public_key: The RSA key that signs (DER).
        certificate: The certificate of its connection (DER).
        pcr_hash: The image that runs, ``0x`` and 64 hex digits.
        enabled: Whether its owner lets it answer.
        heartbeat: When it was heard last, unix seconds.
    """

    payment_address: str
    endpoint: str
    public_key: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    pcr_hash: str
    enabled: bool
    heartbeat: int

    @property
    def tee_id(self) -> str:
        """Its id: the hash of its signing key."""
        return tee_id_of(self.public_key)

    def record(self) -> dict[str, Any]:
        """It as plain data, for receipts."""
        return {
            "payment_address": self.payment_address,
            "endpoint": self.endpoint,
            "public_key": base64.b64encode(self.public_key).decode(),
            "certificate": base64.b64encode(self.certificate).decode(),
            "pcr_hash": self.pcr_hash,
            "enabled": self.enabled,
            "heartbeat": self.heartbeat,
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Enclave:
        """The way back.

        Raises:
            KeyError, ValueError: it is no such record.
        """
        return cls(
            str(record["payment_address"]),
            str(record["endpoint"]),
            base64.b64decode(record["public_key"]),
            base64.b64decode(record["certificate"]),
            str(record["pcr_hash"]),
            bool(record["enabled"]),
            int(record["heartbeat"]),
        )


@dataclass(frozen=True, slots=True)
class Validity:
    """Between which two times (unix seconds) a certificate holds."""

    begins: float
    ends: float

    @classmethod
    def of(cls, certificate: bytes) -> Validity:
        """What a certificate (DER) says.

        Raises:
            ValueError: it cannot be read.
        """
        from cryptography import x509

        try:
            read = x509.load_der_x509_certificate(certificate)
            return cls(read.not_valid_before_utc.timestamp(), read.not_valid_after_utc.timestamp())
        except Exception:  # noqa: BLE001 - cryptography raises many kinds for what a stranger made
            raise ValueError("its certificate cannot be read") from None

    def problem(self, now: float) -> str | None:
        """Why it does not hold `now`; None where it does."""
        if self.ends < now:
            return "its certificate has ended"
        return "its certificate has not begun" if self.begins > now else None


def active_call() -> bytes:
    """The data of the call ``getActiveTEEs(0)``."""
    return keccak256(b"getActiveTEEs(uint8)")[:4] + _LLM.to_bytes(_WORD)


def one_call(tee_id: str) -> bytes:
    """The data of the call ``getTEE(tee_id)``."""
    return keccak256(b"getTEE(bytes32)")[:4] + bytes.fromhex(tee_id.removeprefix("0x"))


def enclaves_of(data: bytes) -> list[Enclave]:
    """What ``getActiveTEEs`` answered, in the form with ten fields or that with eleven.

    Raises:
        ValueError: it is neither.
    """
    from eth_abi.abi import decode

    if len(data) > _MOST_BYTES:
        raise ValueError("too large")
    # The first place of each entry's dynamic data tells how many fields it has: they come right before it.
    count = int.from_bytes(data[_WORD : 2 * _WORD])
    if not count:
        return []
    start = 2 * _WORD + int.from_bytes(data[2 * _WORD : 3 * _WORD])
    kind = _NEWER if int.from_bytes(data[start + 2 * _WORD : start + 3 * _WORD]) == 11 * _WORD else _OLDER
    try:
        (rows,) = decode([f"{kind}[]"], data)
    except Exception as error:  # the decoder has many, all of which say the same
        raise ValueError("not a list of enclaves") from error
    return [_enclave(row) for row in rows]


def enclave_of(data: bytes) -> Enclave | None:
    """What ``getTEE`` answered; None for an entry that is empty.

    Raises:
        ValueError: it is no entry.
    """
    padded = (_WORD).to_bytes(_WORD) + (1).to_bytes(_WORD) + data
    found = enclaves_of(padded)[0]
    return found if found.public_key else None


def _enclave(row: Any) -> Enclave:
    _, payment, endpoint, public_key, certificate, pcr_hash, _, enabled, _, heartbeat = row[:10]
    return Enclave(
        checksum_address(payment),
        endpoint.decode("utf-8", "replace").rstrip("/"),
        public_key,
        certificate,
        "0x" + pcr_hash.hex(),
        enabled,
        heartbeat,
    )


class Registry:
    """Reads the registry; what was read is shared by all calls of a client.

    Args:
        url: JSON-RPC endpoint of its chain.
        address: The contract.
        chain_id: What the endpoint must answer for.
        transport: HTTP.
        age: Seconds for which what was read is used as it is.
    """

    def __init__(self, url: str, address: str, chain_id: int, transport: Transport, age: float = 60.0) -> None:
        self.rpc = JsonRpc(url, transport)
        self._address = address
        self._chain_id = chain_id
        self._transport = transport
        self._age = age
        self._read_at = -math.inf
        self._active: dict[str, Enclave] = {}
        self._refreshing = False

    @property
    def read_at(self) -> float:
        """When the last read began (``time.monotonic``)."""
        return self._read_at

    async def active(self, *, since: float | None = None) -> dict[str, Enclave]:
        """The enclaves that answer, by id.

        Args:
            since: Use only what was read at this moment (``time.monotonic``) or later. By default what is younger than
                `age`; what is somewhat older is used, too, and read again beside the call.

        Raises:
            ChainError: it cannot be read.
        """
        now = time.monotonic()
        if since is None and now - self._read_at < self._age:
            return self._active
        if since is None and now - self._read_at < 2 * self._age:
            if not self._refreshing:
                self._refreshing = True
                self._transport.spawn(self._refresh)
            return self._active
        wanted = now - self._age if since is None else since
        async with self._transport.lock("registry"):
            if self._read_at < wanted:
                await self._read()
        return self._active

    async def _refresh(self) -> None:
        try:
            await self._read()
        except ChainError:
            return  # who needs it reads it again, and is told
        finally:
            self._refreshing = False

    async def _read(self) -> None:
        began = time.monotonic()
        answer = await self._ask(active_call())
        try:
            found = enclaves_of(answer)
        except ValueError as error:
            raise rpc_junk(f"the registry's answer is {error}") from None
        listed = [each for each in found if each.public_key]
        keys = Counter(each.tee_id for each in listed)
        if doubled := [tee_id for tee_id, count in keys.items() if count > 1]:  # a contract cannot list a key twice
            logger.warning("the registry lists keys more than once, and they are not used: %s", ", ".join(doubled))
        self._active, self._read_at = {each.tee_id: each for each in listed if keys[each.tee_id] == 1}, began

    async def one(self, tee_id: str) -> Enclave:
        """The entry of an enclave that may not be active.

        Raises:
            ConfigError: there is none (code ``unknown_provider``).
            ChainError: it cannot be read.
        """
        unknown = ConfigError(
            f"no enclave {tee_id[:80]} is registered",
            code="unknown_provider",
            hint="`zerog opengradient doctor` lists those that are",
        )
        if len(tee_id) != 66 or set(tee_id[2:].lower()) - set("0123456789abcdef"):
            raise unknown
        answer = await self._ask(one_call(tee_id), reverts=True)
        try:
            found = enclave_of(answer) if answer else None
        except ValueError as error:
            raise rpc_junk(f"the registry's answer is {error}") from None
        if found is None:
            raise unknown
        return found

    async def _ask(self, data: bytes, *, reverts: bool = False) -> bytes:
        call = {"to": self._address, "data": "0x" + data.hex()}
        chain_id, answer = await self.rpc.batch([("eth_chainId", []), ("eth_call", [call, "latest"])])
        for each in (chain_id, answer):
            if isinstance(each, RpcFailure):
                if reverts and each is answer:
                    return b""
                raise ChainError(f"the registry cannot be read: {each.message}", code="rpc_refused", hint=_HINT)
        if (found := quantity(chain_id, "eth_chainId")) != self._chain_id:
            message = f"the registry's RPC answers for chain {found}, not {self._chain_id}"
            raise WrongChain(message, hint="check ZEROG_OPENGRADIENT_RPC_URL (OpenGradient(registry_rpc_url=…))")
        read = data_of(answer, "eth_call")
        if not read and not reverts:
            raise ChainError(
                f"there is no registry at {self._address}", code="no_contract", hint="check OpenGradient(registry=…)"
            )
        return read


_HINT = "check ZEROG_OPENGRADIENT_RPC_URL (OpenGradient(registry_rpc_url=…)), or try again"
