"""Collateral: what Intel signs about platforms, needed to judge a quote. Fetched, kept until its end, or given."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zg_core.errors import ConfigError
from zg_core.jsontext import parse_json

__all__ = ["Collateral", "CollateralUnavailable", "fetch", "forget"]

_FETCH_SECONDS = 30.0


class CollateralUnavailable(Exception):
    """There is no collateral to be had now."""


@dataclass(frozen=True)
class Collateral:
    """One platform's collateral in the JSON form of dcap-qvl (0g-direct §6.6).

    Attributes:
        text: The JSON.
        expires_at: When the first of its parts must be replaced (UTC).
    """

    text: str
    expires_at: datetime

    @classmethod
    def parse(cls, text: str) -> Collateral:
        """Read the JSON text.

        Raises:
            ConfigError: it is none.
        """
        try:
            value = parse_json(text)
            ends = [_moment(parse_json(value[part])["nextUpdate"]) for part in ("tcb_info", "qe_identity")]
            ends += [end for part in ("root_ca_crl", "pck_crl") if (end := _crl_end(value[part])) is not None]
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise ConfigError(
                f"not collateral: {str(error)[:200]}",
                code="bad_collateral",
                hint="dcap-qvl's JSON form of QuoteCollateralV3",
            ) from None
        return cls(text, min(ends))

    @classmethod
    def read(cls, source: str | Path) -> Collateral:
        """From a file, or from JSON text.

        Raises:
            ConfigError: the file cannot be read, or holds something else.
        """
        if isinstance(source, str) and source.lstrip().startswith("{"):
            return cls.parse(source)
        try:
            return cls.parse(Path(source).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:  # the second: no UTF-8, or no name of a file
            raise ConfigError(f"collateral {source}: {error}", code="bad_collateral", hint="check the path") from None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _crl_end(der_hex: str) -> datetime | None:
    try:
        from cryptography import x509
        from cryptography.exceptions import UnsupportedAlgorithm
    except ModuleNotFoundError:  # then the end of the JSON parts counts
        return None
    try:
        return x509.load_der_x509_crl(bytes.fromhex(der_hex)).next_update_utc
    except (x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from None


_kept: dict[tuple[str, str, str], Collateral] = {}
_guard = threading.Lock()


def fetch(quote: bytes, pccs_url: str, now: datetime) -> Collateral:
    """The collateral for `quote` from a PCCS; kept for its platform until it ends. Blocks.

    Raises:
        CollateralUnavailable: the service cannot be reached, or does not know the platform.
    """
    key = _place(quote, pccs_url)
    with _guard:
        kept = _kept.get(key)
    if kept is not None and now < kept.expires_at:
        return kept
    collateral = _fetch_in_thread(quote, pccs_url)
    with _guard:
        _kept[key] = collateral
    return collateral


def forget(quote: bytes, pccs_url: str) -> None:
    """Keep the collateral for `quote` no longer: with it, the quote did not verify, and either may be to blame."""
    with suppress(CollateralUnavailable), _guard:
        _kept.pop(_place(quote, pccs_url), None)


def _place(quote: bytes, pccs_url: str) -> tuple[str, str, str]:
    import dcap_qvl

    try:
        parsed = dcap_qvl.parse_quote(quote)
        return pccs_url, parsed.fmspc(), parsed.ca()
    except ValueError as error:
        raise CollateralUnavailable(f"the quote names no platform: {str(error)[:200]}") from None


def _fetch_in_thread(quote: bytes, pccs_url: str) -> Collateral:
    """In a thread of its own: the fetch needs an event loop, and this thread may already run one."""
    found: list[Collateral] = []
    problem: list[str] = []

    async def get() -> Any:
        import asyncio

        import dcap_qvl

        return await asyncio.wait_for(dcap_qvl.get_collateral(pccs_url, quote), _FETCH_SECONDS)

    def work() -> None:
        import asyncio

        try:
            found.append(Collateral.parse(asyncio.run(get()).to_json()))
        except TimeoutError:
            problem.append(f"{pccs_url} did not answer in {_FETCH_SECONDS:.0f} s")
        except (ValueError, ConfigError) as error:
            problem.append(str(error))

    thread = threading.Thread(target=work, name="zerog-collateral")
    thread.start()
    thread.join()
    if not found:
        raise CollateralUnavailable((problem or ["the fetch ended without a result"])[0][:300])
    return found[0]
