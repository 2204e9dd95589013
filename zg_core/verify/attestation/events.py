"""The event log behind the run-time registers (0g-direct §6.2): replayed, it must give what the quote signs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from zg_core.verify.attestation.quote import MalformedEvidence, unhex

__all__ = ["Event", "compose_hash_of", "foreign_events", "parse_events", "replay", "wrong_digests"]

_RUNTIME_EVENT = 0x08000001  # dstack's own events, in register 3
_MOST_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """One extension of a register.

    Attributes:
        register: 0 to 3.
        kind: Its type, as TCG numbers them; dstack's own events in register 3 have one of their own.
        digest: What the register was extended with, 48 bytes.
        name: dstack's name of it, "" for events of the firmware.
        payload: What it says; left out of events of the firmware by newer versions.
    """

    register: int
    kind: int
    digest: bytes
    name: str
    payload: bytes

    @property
    def ours(self) -> bool:
        """Whether this is one of dstack's own, whose digest follows from its name and payload."""
        return self.kind == _RUNTIME_EVENT


def parse_events(value: Any) -> tuple[Event, ...]:
    """The events of a parsed log.

    Raises:
        MalformedEvidence: not a list of events, or too many.
    """
    if not isinstance(value, list) or len(value) > _MOST_EVENTS:
        raise MalformedEvidence("the event log is no list of events")
    return tuple(map(_event, value))


def _event(entry: Any) -> Event:
    try:
        register, kind, name = entry["imr"], entry["event_type"], entry.get("event") or ""
        digest, payload = unhex(entry.get("digest") or ""), unhex(entry.get("event_payload") or "")
        numbers = all(isinstance(number, int) and not isinstance(number, bool) for number in (register, kind))
        if not numbers or not 0 <= register <= 3 or not 0 <= kind < 2**32:
            raise ValueError
        name.encode()
        if not digest and kind == _RUNTIME_EVENT:  # stripped where it follows from the rest
            digest = _digests(kind, name, payload)[entry.get("version") == 2]
        if len(digest) != 48:
            raise ValueError
    except (TypeError, ValueError, KeyError, AttributeError):
        raise MalformedEvidence("an entry of the event log is no event") from None
    return Event(register, kind, digest, name, payload)


def _digests(kind: int, name: str, payload: bytes) -> tuple[bytes, bytes]:
    """The digest of one of dstack's events in both of its forms: of joined bytes, and of canonical JSON (RFC 8785).

    The second is newer, and asked for by ``event_log_version: 2`` in dstack's app-compose.json. No bytes are both: the
    first begins with the type as a number, the second with a brace.
    """
    joined = kind.to_bytes(4, "little") + b":" + name.encode() + b":" + payload
    said = {"name": name, "payload": payload.hex(), "type": kind}
    canonical = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.sha384(joined).digest(), hashlib.sha384(canonical).digest()


def replay(events: tuple[Event, ...], register: int) -> bytes:
    """The value of a register after its events, from 48 zero bytes."""
    value = bytes(48)
    for event in events:
        if event.register == register:
            value = hashlib.sha384(value + event.digest).digest()
    return value


def foreign_events(events: tuple[Event, ...]) -> list[str]:
    """Names of the events in register 3 that are none of dstack's own, so that nothing is known of what they mean."""
    return [_named(event) for event in events if event.register == 3 and not event.ours]


def wrong_digests(events: tuple[Event, ...]) -> list[str]:
    """Names of dstack's events in register 3 whose digest is not that of what they say, in either form."""
    return [_named(event) for event in events if event.register == 3 and event.ours and not _fits(event)]


def _fits(event: Event) -> bool:
    return event.digest in _digests(event.kind, event.name, event.payload)


def _named(event: Event) -> str:
    return event.name or "an event without a name"


def compose_hash_of(events: tuple[Event, ...]) -> bytes:
    """The compose hash that register 3 was extended with.

    Raises:
        MalformedEvidence: there is none, or more than one.
    """
    found = [event.payload for event in events if event.register == 3 and event.name == "compose-hash"]
    if len(found) != 1 or len(found[0]) != 32:
        raise MalformedEvidence(f"the event log names {len(found)} compose hashes, where there must be one")
    return found[0]
