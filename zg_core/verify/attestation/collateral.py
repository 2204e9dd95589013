"""Collateral: what Intel signs about platforms, needed to judge a quote. Given, or fetched and kept for a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from zg_core.errors import ConfigError
from zg_core.jsontext import parse_json

__all__ = ["Collateral"]


@dataclass(frozen=True)
class Collateral:
    """One platform's collateral in the JSON form of dcap-qvl (0g-direct §6.6).

    Attributes:
        text: The JSON.
        expires_at: When the first of its parts must be replaced (UTC).
        issued_at: When the older of the two parts that say how secure the platform is was signed (UTC).
    """

    text: str
    expires_at: datetime
    issued_at: datetime

    @classmethod
    def parse(cls, text: str) -> Collateral:
        """Read the JSON text.

        Raises:
            ConfigError: it is none.
        """
        try:
            value = parse_json(text)
            signed = [parse_json(value[part]) for part in ("tcb_info", "qe_identity")]
            ends = [_moment(each["nextUpdate"]) for each in signed]
            ends += [end for part in ("root_ca_crl", "pck_crl") if (end := _crl_end(value[part])) is not None]
            issued = min(_moment(each["issueDate"]) for each in signed)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise ConfigError(
                f"not collateral: {str(error)[:200]}",
                code="bad_collateral",
                hint="dcap-qvl's JSON form of QuoteCollateralV3",
            ) from None
        return cls(text, min(ends), issued)

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
