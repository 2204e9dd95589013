"""What each kind of request seals, leaves clear, and gets back (0g-router §10.4, services §7): the rules as one table.

A profile is not on the wire; the service type and path choose it. What has none is not sent at all: never in the clear.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PROFILES", "Profile", "check_clear", "profile_of", "split"]

ROUTERS_OWN = ("provider", "verify_tee", "plugins", "attachments")
"""Fields of a body that the Router takes for itself or strips: bound, they would break the seal (0g-router §10.4)."""
_CONTENT = frozenset(
    {
        "documents", "file", "function_call", "functions", "image", "images", "input", "instruction", "instructions",
        "mask", "messages", "negative_prompt", "prediction", "prompt", "suffix", "system", "tool_choice", "tools",
    }
)  # fmt: skip
"""Fields in which servers of models take what is asked: where a profile has no sealed place for one, it is refused."""
_BREAKS = ("\r", "\n", '"')


@dataclass(frozen=True, slots=True)
class Profile:
    """The rules of one kind of request.

    Attributes:
        name: Name of its task.
        required: The field that must be sealed.
        optional: Fields that must be sealed where they are present, even if they are empty.
        pinned: Clear fields that must be there and bound, with the values that they may have.
        answer: The field of an answer that must be sealed.
        beside: Further fields of an answer that must be sealed where they are present.
        counted: Whether a final answer's clear part counts what is billed.
        streams: Whether its answer may be a stream.
    """

    name: str
    required: str
    optional: tuple[str, ...] = ()
    pinned: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    answer: str = "choices"
    beside: tuple[str, ...] = ()
    counted: Callable[[Mapping[str, Any]], bool] = lambda _: True
    streams: bool = False

    @property
    def sealed(self) -> tuple[str, ...]:
        """All fields of a request that may not be seen in the clear."""
        return (self.required, *self.optional)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _usage(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    usage = answer.get("usage")
    return usage if isinstance(usage, dict) else {}


def _seconds(answer: Mapping[str, Any]) -> bool:
    """A number in ``usage.seconds`` or ``duration``; where both are there, the same."""
    if "usage" in answer and not isinstance(answer["usage"], dict):
        return False
    said = [each for each in (_usage(answer).get("seconds"), answer.get("duration")) if each is not None]
    numbers = [each for each in said if isinstance(each, int | float) and not isinstance(each, bool) and each >= 0]
    return bool(said) and numbers == said and len(set(numbers)) == 1


PROFILES: Mapping[str, Profile] = {
    "chat": Profile("chat", "messages", ("tools", "tool_choice"), streams=True),
    "embeddings": Profile(
        "embeddings", "input", answer="data", counted=lambda answer: _whole(_usage(answer).get("prompt_tokens"))
    ),
    "images": Profile(
        "images",
        "prompt",
        pinned={"response_format": ("b64_json",)},
        answer="data",
        counted=lambda answer: _whole(_usage(answer).get("output_images")),
    ),
    "transcription": Profile(
        "transcription",
        "file_base64",
        ("filename", "language", "prompt"),
        pinned={"response_format": ("verbose_json", "json")},
        answer="text",
        beside=("segments", "words", "language"),
        counted=_seconds,
    ),
}


def profile_of(task: str) -> Profile:
    """The profile of a task.

    Raises:
        ConfigError: it has none, so it cannot be sealed (code ``cannot_seal``).

    Example:
        >>> profile_of("chat").sealed
        ('messages', 'tools', 'tool_choice')
    """
    if (found := PROFILES.get(task)) is not None:
        return found
    raise _refused(
        f"nothing of {task!r} can be sealed: the protocol has no form for it",
        f"sealed=True covers {', '.join(PROFILES)}; leave it out for this request, which then goes in the clear",
    )


def split(payload: Mapping[str, Any], profile: Profile) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a request that are sealed, and those that stay clear.

    Raises:
        ConfigError: the rules forbid to send it (code ``cannot_seal``, ``bad_request_body``).
    """
    if profile.required not in payload:
        raise _refused(f"there is no {profile.required!r} in the request", code="bad_request_body")
    sealed = {name: value for name, value in payload.items() if name in profile.sealed}
    clear = {name: value for name, value in payload.items() if name not in profile.sealed}
    for name, values in profile.pinned.items():
        clear.setdefault(name, values[0])
    if own := [name for name in (*ROUTERS_OWN, "_e2ee") if name in clear]:
        raise _refused(f"{own[0]!r} cannot be part of a sealed request: the Router takes it out, and the seal breaks")
    if open_ones := sorted(_CONTENT & clear.keys()):
        said = f"{open_ones[0]!r} has no sealed form, and would go in the clear where everybody between reads it"
        raise _refused(said, f"say it in {' or '.join(profile.sealed)}, which are sealed")
    if problem := check_clear(clear, profile, sealed):
        raise _refused(problem)
    if profile.name == "transcription" and (problem := _unfit_form({**clear, **sealed})):
        raise _refused(problem)
    return sealed, clear


def check_clear(clear: Mapping[str, Any], profile: Profile, sealed: Any, unbound: Any = ("model",)) -> str:
    """Which rule the clear part of a sealed request breaks, in words; "" if it breaks none.

    Args:
        clear: The fields that everybody can read.
        profile: The rules.
        sealed: Names of the fields that are sealed.
        unbound: Names of the clear fields that the seal does not hold.
    """
    for name in profile.sealed:
        if name in clear:
            return f"{name} must be sealed when present"
    if profile.required not in sealed:
        return f"{profile.required} must be sealed"
    if stray := [name for name in sealed if name in clear]:
        return f"{stray[0]} is sealed and in the clear"
    if list(unbound) != ["model"]:
        return "only the model may be unbound"
    for name, values in profile.pinned.items():
        if clear.get(name) not in values:
            return f"{name} must be present, clear, bound and one of {'/'.join(map(str, values))}"
    if not profile.streams and clear.get("stream", False) is not False:
        return "stream must be false"
    return ""


def _unfit_form(fields: Mapping[str, Any]) -> str:
    """What the enclave cannot turn into the form that its model server takes (services §7)."""
    for name, value in fields.items():
        if any(sign in name for sign in _BREAKS):
            return "the name of a field holds a line break or a quotation mark"
        if name == "file":
            return "a sealed transcription has no field 'file'"
        if isinstance(value, dict):
            return f"{name} is an object, which a form cannot hold"
    filename = fields.get("filename", "x")
    if not isinstance(filename, str) or any(sign in filename for sign in _BREAKS) or "/" in filename:
        return "filename holds a line break, a quotation mark or a slash"
    return "filename names no file" if filename in (".", "..", "") else ""


def _refused(problem: str, hint: str = "change the request", code: str = "cannot_seal") -> ConfigError:
    return ConfigError(f"{problem}; nothing was sent", code=code, hint=hint)
