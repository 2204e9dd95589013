"""The outcome of an attestation: one result for each level, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zg_core.shown.escaping import line
from zg_core.types import Prompt

if TYPE_CHECKING:
    from datetime import datetime
    from typing import NoReturn

    from zg_core.types import Kind

__all__ = ["AttestationReport", "Level", "LevelResult", "Outcome"]


class Level(IntEnum):
    """What is checked (0g-direct §6.5); each level rests on those before it."""

    CHAIN = 0
    """The service is on chain, its signer acknowledged."""
    BINDING = 1
    """The quote names the key that signs replies, and is not of a debug enclave."""
    DCAP = 2
    """The quote is signed by genuine hardware whose security level is acceptable."""
    CONFIG = 3
    """The compose file shown is the one that was measured, by an operating system that the user named."""
    GPU = 4
    """The GPU attests itself, bound to the same enclave."""


class Outcome(StrEnum):
    """How a level ended; only `pass` proves something, only `fail` accuses."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    UNAVAILABLE = "unavailable"
    NOT_APPLICABLE = "not_applicable"


_HOW_OS = (
    "build it from its source, or let dstack-verifier (https://github.com/Dstack-TEE/dstack) look at the report "
    "(--report-dir keeps it)"
)
# A level with two enclaves is as good as the worse of them.
_WORST = (Outcome.FAIL, Outcome.UNAVAILABLE, Outcome.NOT_APPLICABLE, Outcome.PASS)


@dataclass(frozen=True, slots=True)
class LevelResult:
    """One level of one enclave.

    Attributes:
        level: Which.
        outcome: How it ended.
        explanation: Why, in one sentence.
        subject: ``"chain"``, ``"broker"`` or ``"model"``: whose evidence it is.
        evidence: What was seen, plain values.
    """

    level: Level
    outcome: Outcome
    explanation: str
    subject: str
    evidence: dict[str, Any] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "level": int(self.level),
            "name": self.level.name.lower(),
            "outcome": str(self.outcome),
            "subject": self.subject,
            "explanation": self.explanation,
            "evidence": self.evidence,
        }


@dataclass(frozen=True)
class AttestationReport:
    """What is attested of one provider.

    Attributes:
        provider: Its address.
        signer: The key on chain whose signature binds replies.
        kind: Kind of the service.
        checked_at: When (UTC).
        results: One for each level and enclave that was looked at.
        expires_at: When the collateral behind it ends; None if none was used.
        bodies: The reports as they were served, by subject.
    """

    provider: str
    signer: str
    kind: Kind
    checked_at: datetime
    results: tuple[LevelResult, ...]
    expires_at: datetime | None = None
    bodies: dict[str, bytes] = field(default_factory=dict, repr=False, hash=False, compare=False)

    def outcome(self, level: int) -> Outcome:
        """How a level ended, for all enclaves together; `unavailable` if it was not looked at."""
        found = {result.outcome for result in self.results if result.level == level}
        return next((outcome for outcome in _WORST if outcome in found), Outcome.UNAVAILABLE)

    def satisfies(self, level: int) -> bool:
        """Whether everything up to and including `level` passed."""
        return all(self.outcome(each) is Outcome.PASS for each in range(level + 1))

    @property
    def failed(self) -> bool:
        """Whether evidence contradicts what is claimed."""
        return self.failed_by(max(Level))

    def failed_by(self, level: int) -> bool:
        """Whether evidence contradicts what is claimed up to and including `level`."""
        return any(result.outcome is Outcome.FAIL and result.level <= level for result in self.results)

    @cached_property
    def reached(self) -> int:
        """The highest level that is satisfied, -1 if none is."""
        return next((int(level) for level in reversed(Level) if self.satisfies(level)), -1)

    def explain(self, level: int | None = None) -> str:
        """What went wrong first up to `level` (None: in all that was looked at), or how far it holds."""
        for wanted in (Outcome.FAIL, Outcome.UNAVAILABLE):
            for result in self.results:
                if result.outcome is wanted and (level is None or result.level <= level):
                    return line(f"level {int(result.level)} ({result.subject}): {result.explanation}")
        text = f"attested to level {self.reached}"
        return f"{text}; the vendor that answers is outside the enclave" if self.kind.prompt is Prompt.VENDOR else text

    def by_hand(self) -> list[dict[str, str]]:
        """What is left to be checked by hand, each with ``what`` and ``how``.

        No level shows who built an image from which source: a digest fixes bytes, not what they do.
        """
        left = {f"os image {':'.join(image)}": _HOW_OS for image in self.every("os_image")}
        for each in (image for images in self.every("images") for image in images):
            digest = each["image"].rpartition("@")[2] if each["pinned"] else ""
            how = f"who built it, from which source: https://search.sigstore.dev/?hash={digest}"
            left[f"image {each['image']}"] = how if digest else "nothing can be looked up: no digest fixes its bytes"
        return [{"what": what, "how": how} for what, how in left.items()]

    def every(self, name: str) -> list[Any]:
        """All evidence with this name, of one enclave after the other."""
        return [result.evidence[name] for result in self.results if name in result.evidence]

    def find(self, name: str) -> Any:
        """The first evidence with this name, None if there is none."""
        return next((result.evidence[name] for result in self.results if name in result.evidence), None)

    def summary(self) -> dict[str, Any]:
        """The few facts that a receipt keeps."""
        return {**self._summary, "advisories": [*self._summary["advisories"]]}

    @cached_property
    def _summary(self) -> dict[str, Any]:
        return {
            "signer": self.signer,
            "level": self.reached,
            "tcb_status": self.find("tcb_status"),
            "advisories": self.find("advisories") or [],
            "compose_hash": self.find("compose_hash"),
            "mr_td": self.find("mr_td"),
            "os_image": self.find("os_image"),
            "checked_at": self.checked_at.isoformat(),
            "expires_at": None if self.expires_at is None else self.expires_at.isoformat(),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data, evidence included."""
        return {
            "provider": self.provider,
            "signer": self.signer,
            "kind": str(self.kind),
            "prompt": str(self.kind.prompt),
            "checked_at": self.checked_at.isoformat(),
            "expires_at": None if self.expires_at is None else self.expires_at.isoformat(),
            "reached": self.reached,
            "results": [result.to_dict() for result in self.results],
            "explanation": self.explain(),
        }

    def __bool__(self) -> NoReturn:
        raise TypeError("a report is not true or false; use report.satisfies(level)")

    def __repr__(self) -> str:
        levels = ", ".join(f"L{int(level)} {self.outcome(level)}" for level in Level if self._has(level))
        return f"AttestationReport({self.provider}, {levels})"

    def _has(self, level: Level) -> bool:
        return any(result.level == level for result in self.results)

    def rows(self) -> list[dict[str, Any]]:
        """The levels as a table: one row for each result."""
        return [
            {
                "level": f"{int(result.level)} {result.level.name.lower()}",
                "of": result.subject,
                "outcome": str(result.outcome),
                "why": result.explanation,
            }
            for result in self.results
        ]

    def _repr_html_(self) -> str:
        from zg_core.display import table

        return table(f"Attestation of {self.provider}", self.rows())

    def to_pandas(self) -> Any:
        """The levels as a pandas DataFrame.

        Raises:
            ImportError: pandas is not installed; the extra ``notebooks`` brings it.
        """
        from zg_core.display import frame

        return frame(self.rows())
