"""What is passed to a model object and with its calls: parameters of requests go to the provider, and nothing else."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.calls.extra_headers import extra_headers
from zg_core.config import Secret
from zg_core.errors import ArgumentError
from zg_core.tasks.parameters import REQUEST_OPTIONS, refuse_settings, setting_named

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from zg_core.http.timeouts import Patience

__all__ = ["NOTHING", "CallArguments", "CallRules", "refuse_secrets", "reject_unknown"]

_SENT = ("identity", "model", "reasoning_effort", "stop", "user")
"""Fields that are texts and go out, or into errors."""
_LONGEST_NAME = 40  # a key has 64 digits


def reject_unknown(
    owner: str,
    given: Iterable[object],
    known: Collection[str],
    *,
    advice: str,
    elsewhere: Mapping[str, str] | None = None,
) -> None:
    """Refuse arguments that nobody reads: the frameworks' base classes would drop them without a word.

    Args:
        owner: Name of the class, for the message.
        given: Names of the arguments.
        known: Names that it takes.
        advice: Where other parameters go.
        elsewhere: For names that mean something in other packages, what does the same here.

    Raises:
        TypeError: as for any function; pydantic would wrap a ValueError and repeat all arguments, keys included.
    """
    for name in given:
        if name not in known:
            raise TypeError(
                f"{owner} got an unexpected argument {_shown(name)}: "
                f"{_advice(str(name), known, advice, elsewhere or {})}"
            )


def _shown(name: object) -> str:
    """The name of an argument, if it can be one: a text that slipped into its place may be a secret."""
    text = str(name)
    return repr(text) if len(text) <= _LONGEST_NAME else f"whose name is a text of {len(text)} characters"


def _advice(name: str, known: Iterable[str], advice: str, elsewhere: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    general = f"did you mean {close[0]!r}? ({advice})" if close else advice
    return elsewhere.get(name, general)


@dataclass(frozen=True, slots=True)
class CallArguments:
    """What was passed with one call.

    Attributes:
        parameters: Of the request, by the names they go under.
        extra: Further ones, which win over all others.
        timeout: Instead of the client's.
        headers: Beside the client's.
    """

    parameters: dict[str, Any]
    extra: dict[str, Any]
    timeout: Patience = None
    headers: Mapping[str, str] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What the client takes beside the payload."""
        given = {} if self.timeout is None else {"timeout": self.timeout}
        return given if self.headers is None else {**given, "headers": self.headers}


NOTHING = CallArguments({}, {})
"""Of a call that nothing was passed with but what it says."""


@dataclass(frozen=True)
class CallRules:
    """Which arguments a model's calls take.

    Attributes:
        owner: Name of the class, for messages.
        parameters: Names that go into a request.
        settings: Names of the client's settings, which do not.
        fields: Names of everything that the model is made with, for messages.
        aliases: Other names of parameters.
        tolerated: The framework's own arguments, which mean nothing to a provider.
        extra: Arguments that hold further parameters by name; the first is the one to recommend.
        elsewhere: For names that mean something in other packages, what does the same here.
    """

    owner: str
    parameters: frozenset[str]
    settings: frozenset[str]
    fields: frozenset[str]
    aliases: Mapping[str, str]
    tolerated: frozenset[str]
    extra: tuple[str, ...]
    elsewhere: Mapping[str, str]

    def split(self, given: Mapping[str, Any], secrets: Callable[[], Iterable[str]] = tuple) -> CallArguments:
        """Tell what is for whom.

        Args:
            given: The arguments of a call.
            secrets: Tells the texts that may leave in no parameter.

        Raises:
            ArgumentError: an argument is none of a call; the message says where it belongs. Values are not repeated.
        """
        parameters: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        timeout, headers = None, None
        hidden = secrets() if given else ()
        for name, value in given.items():
            if name in self.tolerated:
                continue
            if name in ("timeout", "request_timeout"):
                timeout = value
            elif name == "extra_headers":
                headers = value
            elif name in self.extra:
                self.check_extra(name, value, hidden)
                extra |= value or {}
            elif name in self.aliases:
                parameters[self.aliases[name]] = value
            elif name in self.parameters and setting_named(name, value, self.settings - {"timeout"}) is None:
                parameters[name] = value
            else:
                raise self._refused(name, value)
        for name, value in parameters.items():
            refuse_secrets(value, name, hidden)
        if headers is not None:
            refuse_secrets(headers, "extra_headers", hidden)
            headers = extra_headers(headers, "extra_headers")
        return CallArguments(parameters, extra, timeout, headers)

    def check_extra(self, place: str, value: object, secrets: Iterable[str] = ()) -> None:
        """Refuse parameters in `place` among which there is a setting, or what only a call itself says.

        Raises:
            ArgumentError: there is one.
        """
        if value is None:
            return
        if not isinstance(value, Mapping):
            message = f"{place} is a {type(value).__name__}, not a dictionary of request parameters"
            raise ArgumentError(message, hint=f'{place}={{"top_k": 40}}')
        refuse_settings(value, self.settings, place)
        for name in ("messages", "input"):
            if name in value:
                raise ArgumentError(f"{place} holds {name!r}, which is what a call is made with", hint="take it out")
        if value.get("stream"):
            raise ArgumentError(
                f"{place} holds 'stream'", hint=self.elsewhere.get("stream", "call the streaming method")
            )
        refuse_secrets(value, place, secrets)

    def check_fields(self, fields: Mapping[str, Any], secrets: Callable[[], Iterable[str]]) -> None:
        """Refuse a model whose every request would hold a setting or a secret.

        Args:
            fields: What it was made with.
            secrets: Tells the texts that may leave in no parameter and no header.

        Raises:
            ArgumentError: one of the fields does.
        """
        hidden = secrets()
        for place in self.extra:
            if extra := fields.get(place):
                self.check_extra(place, extra, hidden)
        for name in (*_SENT, "headers"):
            if (value := fields.get(name)) is not None:
                refuse_secrets(value, name, hidden)

    def _refused(self, name: str, value: object) -> ArgumentError:
        setting = setting_named(name, value, self.settings | self.fields)
        if setting is not None and setting not in REQUEST_OPTIONS and name not in self.elsewhere:
            return ArgumentError(
                f"{name} is a setting of {self.owner}, not of a call",
                code="setting_in_request",
                hint=f"{self.owner}({setting}=…)",
            )
        known = {*self.parameters, *self.aliases, *self.tolerated, *self.extra, "timeout", "extra_headers"}
        place = "" if len(name) > _LONGEST_NAME else f"={{{name!r}: …}}"
        advice = f"other request parameters go into {self.extra[0]}{place}"
        return ArgumentError(
            f"a call of {self.owner} got an unexpected argument {_shown(name)}: "
            f"{_advice(name, sorted(known), advice, self.elsewhere)}"
        )


def refuse_secrets(value: object, place: str, secrets: Iterable[str]) -> None:
    """Refuse a parameter that is or holds a secret: a key of ours, a token, or an object that hides one.

    Args:
        value: The parameter.
        place: Its name.
        secrets: Texts to look for, in lower case.

    Raises:
        ArgumentError: it does (code ``secret_in_request``).
    """
    if _holds_secret(value, secrets):
        raise ArgumentError(
            f"{place} holds a key or token, which the provider would read; nothing was sent",
            code="secret_in_request",
            hint="keys are given where the model is made, or in the environment",
        )


_HARMLESS = frozenset({int, float, bool, type(None)})


def _holds_secret(value: object, secrets: Iterable[str]) -> bool:
    """Whether a secret is in it. All its texts are looked through at once: a hundred tools have thousands of them."""
    texts: list[str] = []
    left, seen = [value], {}  # what was looked into is kept, so that nothing else takes its id
    while left:
        each = left.pop()
        if isinstance(each, str):
            texts.append(each)
        elif type(each) in _HARMLESS:
            continue
        elif isinstance(each, (dict, list, Mapping, tuple, set, frozenset)):  # the first two need no further look
            if id(each) not in seen:
                seen[id(each)] = each
                left += each
                if isinstance(each, (dict, Mapping)):
                    left += each.values()
        elif isinstance(each, bytes):
            texts.append(each.decode("latin-1"))
        elif isinstance(each, Secret) or hasattr(each, "get_secret_value") or type(each).__name__ == "Wallet":
            return True
    lower = "\0".join(texts).lower()  # no secret holds a zero, so none begins in one text and ends in the next
    return "app-sk-" in lower or any(secret in lower for secret in secrets)
