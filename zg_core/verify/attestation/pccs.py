"""Fetches collateral from a PCCS (Intel's provisioning certificate caching service), and keeps it for a while.

Four questions, each bounded in size and all together in time (Intel's PCS API v4; 0g-direct §6.6).
"""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from zg_core.config import check_url
from zg_core.errors import ConfigError, RequestError
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import Request, read_all
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import parse_json
from zg_core.verify.attestation.collateral import Collateral

if TYPE_CHECKING:
    from datetime import datetime

    from zg_core.http.transport import Transport

__all__ = ["CollateralUnavailable", "fetch", "forget"]

FETCH_SECONDS = 30.0
_MOST_BYTES = 1024 * 1024  # of one answer; the largest, a platform's TCB levels, has some 20 kB
_KEPT_FOR = timedelta(hours=24)
_SPACE = re.compile(r"[ \t\r\n]*")
_INTEL = "https://api.trustedservices.intel.com"
_INTELS_ROOT_LIST = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"


class CollateralUnavailable(Exception):
    """There is no collateral to be had now."""


_kept: dict[tuple[str, str, str], tuple[datetime, Collateral]] = {}
_guard = threading.Lock()


async def fetch(
    transport: Transport, quote: bytes, pccs_url: str, now: datetime, max_age: timedelta | None = None
) -> Collateral:
    """The collateral for `quote`; kept for its platform until it ends, for a day at most.

    Args:
        transport: HTTP.
        quote: The quote.
        pccs_url: The service.
        now: The time (UTC).
        max_age: Collateral that was kept and is older is fetched again.

    Raises:
        CollateralUnavailable: the service cannot be reached, or does not know the platform.
    """
    fmspc, ca = _platform(quote)
    key = pccs_url, fmspc, ca
    with _guard:
        until, kept = _kept.get(key, (None, None))
    if until is not None and kept is not None and now < until and (max_age is None or now - kept.issued_at <= max_age):
        return kept
    collateral = await _ask(transport, pccs_url, fmspc, ca)
    with _guard:
        _kept[key] = min(collateral.expires_at, now + _KEPT_FOR), collateral
    return collateral


def forget(quote: bytes, pccs_url: str) -> None:
    """Keep the collateral for `quote` no longer: with it, the quote did not verify, and either may be to blame."""
    with suppress(CollateralUnavailable), _guard:
        _kept.pop((pccs_url, *_platform(quote)), None)


def _platform(quote: bytes) -> tuple[str, str]:
    """The family of the platform and the authority of its certificate, as the quote names them."""
    import dcap_qvl

    try:
        parsed = dcap_qvl.parse_quote(quote)
        return parsed.fmspc(), parsed.ca()
    except ValueError as error:
        raise CollateralUnavailable(f"the quote names no platform: {str(error)[:200]}") from None


async def _ask(transport: Transport, pccs_url: str, fmspc: str, ca: str) -> Collateral:
    try:
        base = check_url(pccs_url, "the collateral service's URL", secure=False)
    except ConfigError as error:
        raise CollateralUnavailable(str(error)) from None
    service = _Service(transport, base)
    try:
        chain, revoked = await service.get(f"/sgx/certification/v4/pckcrl?ca={ca}&encoding=der", "SGX-PCK-CRL")
        tcb_chain, tcb = await service.get(f"/tdx/certification/v4/tcb?fmspc={fmspc}", "SGX-TCB-Info", "TCB-Info")
        enclave_chain, enclave = await service.get("/tdx/certification/v4/qe/identity", "SGX-Enclave-Identity")
        root_list = await service.root_list()
        info, identity = _members(tcb), _members(enclave)
        text = json.dumps(
            {
                "pck_crl_issuer_chain": chain,
                "root_ca_crl": root_list.hex(),
                "pck_crl": _der(revoked).hex(),
                "tcb_info_issuer_chain": tcb_chain,
                "tcb_info": info["tcbInfo"],
                "tcb_info_signature": parse_json(info["signature"]),
                "qe_identity_issuer_chain": enclave_chain,
                "qe_identity": identity["enclaveIdentity"],
                "qe_identity_signature": parse_json(identity["signature"]),
            }
        )
        return Collateral.parse(text)
    except (ValueError, KeyError, TypeError, RecursionError, ConfigError) as error:
        reason = f"{base} answers with something that is no collateral: {error}"
        raise CollateralUnavailable(reason[:300]) from None


class _Service:
    """One look-up: all its questions share one deadline."""

    def __init__(self, transport: Transport, base: str) -> None:
        self._transport = transport
        self._base = base
        self._deadline = time.monotonic() + FETCH_SECONDS

    async def get(self, path: str, *chains: str) -> tuple[str, bytes]:
        """Certificate chain and body of an answer.

        Args:
            path: What follows the service's address.
            chains: Under which names the chain may stand in the head.
        """
        headers, body = await self._send(self._base + path)
        found = (headers.get(f"{name}-Issuer-Chain".lower()) for name in chains)
        chain = next((each for each in found if each), None)
        if chain is None:
            raise ValueError(f"there is no certificate chain with {path.partition('?')[0]}")
        return unquote(chain, errors="strict"), body

    async def root_list(self) -> bytes:
        """What the root has revoked. Intel's own service has it elsewhere, where its certificate says."""
        try:
            _, body = await self._send(self._base + "/sgx/certification/v4/rootcacrl")
        except CollateralUnavailable:
            if not self._base.startswith(_INTEL):
                raise
            _, body = await self._send(_INTELS_ROOT_LIST)
        return _der(body)

    async def _send(self, url: str) -> tuple[Any, bytes]:
        left = self._deadline - time.monotonic()
        place = url.partition("?")[0]
        if left <= 0:
            raise CollateralUnavailable(f"{self._base} did not answer in {FETCH_SECONDS:.0f} s")
        try:
            times = Timeouts(connect=min(10.0, left), read=left, whole=left)
            answer = await self._transport.send(Request("GET", url, timeouts=times, public=False))
            body = await read_all(answer, _MOST_BYTES, left)
        except (RequestError, BodyBroken) as error:
            if time.monotonic() >= self._deadline:
                raise CollateralUnavailable(f"{self._base} did not answer in {FETCH_SECONDS:.0f} s") from None
            raise CollateralUnavailable(f"{place}: {error}"[:300]) from None
        if answer.status != 200:
            raise CollateralUnavailable(f"{place} answered {answer.status}"[:300])
        return answer.headers, body


def _der(body: bytes) -> bytes:
    """A revocation list as bytes; services give it so, or in hex."""
    if body[:1] == b"\x30":  # DER's word for a sequence; hex digits of it begin with a three
        return body
    return bytes.fromhex(body.decode("ascii").strip())


def _members(body: bytes) -> dict[str, str]:
    """The texts of an object's members as they stand there: what is signed are these very characters."""
    parse_json(body)  # bounded in depth
    text = body.decode()
    decoder, members = json.JSONDecoder(), {}

    def skip(place: int, sign: str) -> int:
        place = _after(text, place)
        if text[place : place + 1] != sign:
            raise ValueError(f"{sign!r} is missing")
        return _after(text, place + 1)

    place = skip(0, "{")
    while text[place : place + 1] != "}":
        name, place = decoder.raw_decode(text, place)
        start = skip(place, ":")
        _, end = decoder.raw_decode(text, start)
        members[name] = text[start:end]
        place = _after(text, end)
        if text[place : place + 1] != "}":
            place = skip(place, ",")
    return members


def _after(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place
