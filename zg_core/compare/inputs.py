"""What is compared: targets, as people name them and as the chain lists them, and the prompts all of them get."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zg_core.config import check_url
from zg_core.crypto import is_address, same_address, typed_address
from zg_core.errors import ConfigError
from zg_core.tasks.base import CHAT
from zg_core.types import ServiceRecord

__all__ = ["Choice", "Prompt", "Target", "choose", "read_prompts"]

_ADDRESS = 42  # characters of an address


@dataclass(frozen=True, slots=True)
class Target:
    """A provider, a model, or a model of a provider.

    Attributes:
        provider: Address; "" stands for every provider that lists `model` on chain.
        model: Name; "" stands for the model that the provider lists on chain.

    Example:
        >>> Target.of("0x" + "ab" * 20 + "/qwen/qwen-2.5").model
        'qwen/qwen-2.5'
    """

    provider: str = ""
    model: str = ""

    @classmethod
    def of(cls, value: str | Target | ServiceRecord) -> Target:
        """A target from a model's name, an address, ``"ADDRESS/model"`` or a service.

        Raises:
            ConfigError: something else.
        """
        if isinstance(value, Target):
            return value
        if isinstance(value, ServiceRecord):
            return cls(value.provider, value.model)
        if not isinstance(value, str) or not value.strip():
            message = f"a target is a model, a provider or both, not {value!r}"
            raise ConfigError(message, code="bad_target", hint='"model", "0x…", "0x…/model" or a Service')
        text = value.strip()
        if is_address(text[:_ADDRESS]) and text[_ADDRESS : _ADDRESS + 1] in ("", "/"):
            try:
                typed_address(text[:_ADDRESS])
            except ValueError as error:
                raise ConfigError(str(error), code="bad_target", hint="copy the address again") from None
            return cls(text[:_ADDRESS], text[_ADDRESS + 1 :])
        return cls(model=text)

    def __str__(self) -> str:
        return "/".join(part for part in (self.provider, self.model) if part)


@dataclass(frozen=True, slots=True)
class Choice:
    """One service that takes part, and the model it is asked for; `name` is short and differs from all others'."""

    name: str
    service: ServiceRecord
    model: str

    @property
    def by_name(self) -> bool:
        """Whether a backend is asked that chooses itself who answers, so that no price is known before the call."""
        return not self.service.provider


@dataclass(frozen=True, slots=True)
class Prompt:
    """What every target is asked.

    Attributes:
        messages: OpenAI-shaped messages.
        id: Short name, by default its number.
        expected: What a right answer contains, for graders; None if that is not said.

    Example:
        >>> Prompt.of({"prompt": "What is 6 times 7?", "expected": "42"}, 3).id
        '3'
    """

    messages: tuple[Mapping[str, Any], ...]
    id: str = ""
    expected: str | None = None

    @classmethod
    def of(cls, value: str | Prompt | Mapping[str, Any] | Sequence[Mapping[str, Any]], number: int = 1) -> Prompt:
        """A prompt from text, messages, or a mapping with ``prompt`` or ``messages``, ``id`` and ``expected``.

        Raises:
            ConfigError: something else, or an empty text.
        """
        if isinstance(value, Prompt):
            return value if value.id else cls(value.messages, str(number), value.expected)
        name, expected, content = str(number), None, value
        if isinstance(value, Mapping):
            unknown = set(value) - {"prompt", "messages", "id", "expected"}
            if unknown or ("prompt" in value) == ("messages" in value):
                raise _bad_prompt(number, "it takes prompt or messages, and id and expected")
            name = str(value.get("id") or number)
            expected = None if value.get("expected") is None else str(value["expected"])
            content = value["prompt"] if "prompt" in value else value["messages"]
        if isinstance(content, str):
            if not content.strip():
                raise _bad_prompt(number, "it is empty")
            return cls(({"role": "user", "content": content},), name, expected)
        if not isinstance(content, list | tuple) or not content or not all(isinstance(one, Mapping) for one in content):
            raise _bad_prompt(number, "it is neither text nor a list of messages")
        return cls(tuple(dict(one) for one in content), name, expected)


def _bad_prompt(number: int, why: str) -> ConfigError:
    return ConfigError(
        f"prompt {number} cannot be sent: {why}",
        code="bad_prompt",
        hint='a text, a list of messages, or {"prompt": "…", "expected": "…"}',
    )


def read_prompts(path: str | Path) -> list[Prompt]:
    """The prompts of a file: JSON lines or a JSON list (texts, or objects as `Prompt.of` takes), else one a line.

    Raises:
        ConfigError: the file cannot be read or holds no prompt.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the prompts in {path} cannot be read: {reason}", code="bad_prompts") from None
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    found: list[tuple[int, Any]] = list(numbered)
    if Path(path).suffix == ".json":
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"the prompts in {path} are no JSON: {error}", code="bad_prompts") from None
        found = list(enumerate(values, start=1)) if isinstance(values, list) else []
    elif Path(path).suffix in (".jsonl", ".ndjson") or (numbered and numbered[0][1].lstrip().startswith("{")):
        found = [(number, _parsed(line, number, path)) for number, line in numbered]
    if not found:
        raise ConfigError(f"{path} holds no prompts", code="bad_prompts", hint="one a line, or JSON lines")
    prompts = []
    for number, (line, value) in enumerate(found, start=1):
        try:
            prompts.append(Prompt.of(value, number))
        except ConfigError as error:
            where = f"line {line} of {path}" if Path(path).suffix != ".json" else str(path)
            raise ConfigError(f"{where}: {error.message}", code=error.code, hint=error.hint) from None
    return prompts


def _parsed(line: str, number: int, path: str | Path) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "it nests too deeply"
        raise ConfigError(
            f"line {number} of {path} is no JSON: {reason}",
            code="bad_prompts",
            hint='every line is a text in quotes, or an object: {"prompt": "…", "expected": "…"}',
        ) from None


def by_name(targets: Any) -> list[Choice]:
    """Models of a backend that chooses itself who answers, each by its name.

    Raises:
        ConfigError: none is named, or one is no name (code ``no_match``).
    """
    named = [targets] if isinstance(targets, str) else list(targets or ())
    if not named or not all(isinstance(each, str) and each for each in named):
        hint = 'targets=["openai/gpt-5", "anthropic/claude-opus-5"]'
        raise ConfigError("nothing to compare: name models", code="no_match", hint=hint)
    models = list(dict.fromkeys(map(str, named)))
    return [
        Choice(model, ServiceRecord("", CHAT.service_type, "", 0, 0, 0, model, "", "", "", True), model)
        for model in models
    ]


def choose(
    targets: Iterable[str | Target | ServiceRecord] | str | Target | ServiceRecord | None,
    services: Sequence[ServiceRecord],
) -> list[Choice]:
    """The services that `targets` name, each once, in the order they are named; None takes every chat service.

    Raises:
        ConfigError: a target that no service matches (code ``no_match``), or one whose URL is none that may be used.
    """
    chats = [service for service in services if service.service_type == CHAT.service_type]
    found: list[tuple[ServiceRecord, str]] = []
    if targets is None:
        found = [(service, service.model) for service in chats if service.acknowledged and _usable(service)]
        if not found:
            raise _no_match("any chat service", chats)
    else:
        named = [targets] if isinstance(targets, str | Target | ServiceRecord) else list(targets)
        for target in map(Target.of, named):
            matches = [(service, target.model or service.model) for service in chats if _matches(target, service)]
            if not matches:
                raise _no_match(str(target), chats)
            found += [match for match in matches if match not in found]
    if not found:
        raise ConfigError("nothing to compare: no target is given", code="no_match", hint="targets=None takes all")
    for service, _ in found:
        _check(service)
    counts = Counter(model for _, model in found)
    return [Choice(model if counts[model] == 1 else _long(model, service), service, model) for service, model in found]


def _matches(target: Target, service: ServiceRecord) -> bool:
    if target.provider:
        return same_address(target.provider, service.provider)
    return service.model == target.model and service.acknowledged


def _check(service: ServiceRecord) -> None:
    check_url(service.url, f"the URL of provider {service.provider}", private=service.private)


def _usable(service: ServiceRecord) -> bool:
    """Whether it has a URL that may be used; one record with another must not end a comparison of all."""
    try:
        _check(service)
    except ConfigError:
        return False
    return True


def _no_match(what: str, chats: Sequence[ServiceRecord]) -> ConfigError:
    models = sorted({service.model for service in chats if service.acknowledged})
    shown = ", ".join(models[:8]) + (", …" if len(models) > 8 else "") if models else "none at all"
    return ConfigError(
        f"no provider matches {what}",
        code="no_match",
        hint=f"chat models on this network: {shown}; `zerog providers` lists them",
    )


def _long(model: str, service: ServiceRecord) -> str:
    return f"{model} @ {service.provider[:6]}…{service.provider[-4:]}"
