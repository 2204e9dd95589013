"""The event log behind the run-time registers (0g-direct §6.2): replayed, it must give what the quote signs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from zg_core.verify.attestation.quote import MalformedEvidence

__all__ = ["Event", "compose_hash_of", "parse_events", "replay", "wrong_digests"]

_RUNTIME_EVENT = 0x08000001  # dstack's own events, in register 3
_MOST_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """One extension of a register."""

    register: int
    kind: int
    digest: bytes
    name: str
    payload: bytes


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
        digest, payload = bytes.fromhex(entry["digest"]), bytes.fromhex(entry.get("event_payload") or "")
        numbers = all(isinstance(number, int) and not isinstance(number, bool) for number in (register, kind))
        if not numbers or not 0 <= register <= 3 or not 0 <= kind < 2**32 or len(digest) != 48:
            raise ValueError
        name.encode()
    except (TypeError, ValueError, KeyError, AttributeError):
        raise MalformedEvidence("an entry of the event log is no event") from None
    return Event(register, kind, digest, name, payload)


def replay(events: tuple[Event, ...], register: int) -> bytes:
    """The value of a register after its events, from 48 zero bytes."""
    value = bytes(48)
    for event in events:
        if event.register == register:
            value = hashlib.sha384(value + event.digest).digest()
    return value


def wrong_digests(events: tuple[Event, ...]) -> list[str]:
    """Names of the events in register 3 whose digest is not that of what they say."""
    return [event.name or "an event without a name" for event in events if event.register == 3 and not _fits(event)]


def _fits(event: Event) -> bool:
    content = event.kind.to_bytes(4, "little") + b":" + event.name.encode() + b":" + event.payload
    return event.kind == _RUNTIME_EVENT and hashlib.sha384(content).digest() == event.digest


def compose_hash_of(events: tuple[Event, ...]) -> bytes:
    """The compose hash that register 3 was extended with.

    Raises:
        MalformedEvidence: there is none, or more than one.
    """
    found = [event.payload for event in events if event.register == 3 and event.name == "compose-hash"]
    if len(found) != 1 or len(found[0]) != 32:
        raise MalformedEvidence(f"the event log names {len(found)} compose hashes, where there must be one")
    return found[0]
