"""The fields of our models in LangChain: whose errors they raise, what calls take, what they are serialised as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from langchain_zerog._bridge import Relay
from langchain_zerog._errors import as_model_error
from langchain_zerog._payload import Ask, payload_of
from zg_core.config import Network
from zg_core.errors import ZeroGError
from zg_core.frameworks.arguments import NOTHING
from zg_core.frameworks.fields import ClientFields
from zg_core.frameworks.requests import RequestFields, parameters_for
from zg_core.tasks.parameters import CHAT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import BaseMessage

    from zg_core.receipts.model import Receipt

__all__ = ["ChatFields", "LangChainFields", "plain_values"]

# What other chat models take, and what does the same here.
_ELSEWHERE = {
    "base_url": "the provider's URL is read from the chain; pass provider='0x…'",
    "openai_api_base": "the provider's URL is read from the chain; pass provider='0x…'",
    "openai_api_key": "pass private_key=… or api_key='app-sk-…'",
    "stream": "call .stream(), or pass streaming=True",
    "extra_headers": "pass headers={…}; extra_headers is of one call",
    "extra_query": "the provider's URL is read from the chain, and takes no query",
    "metadata": "extra_body={'metadata': …} for the provider, config={'metadata': …} for traces",
}


class LangChainFields(ClientFields):
    """Settings of the client, in LangChain's words."""

    _advice: ClassVar[str] = "other request parameters go into model_kwargs or extra_body"
    _elsewhere: ClassVar[Mapping[str, str]] = _ELSEWHERE

    @classmethod
    def _as_error(cls, error: ZeroGError) -> Exception:
        return as_model_error(error)

    def _relay(self) -> Callable[[Receipt], None]:
        return Relay(self.on_receipt)


class ChatFields(LangChainFields, RequestFields):
    """What a chat model is made with, beside LangChain's own."""

    parallel_tool_calls: bool | None = None
    """Whether one reply may hold several tool calls; sent only with tools."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further request parameters."""
    extra_body: dict[str, Any] | None = None
    """Further request parameters, for those a certain provider adds to OpenAI's."""

    # Streams always report their usage; the others are for LangChain's traces.
    _tolerated: ClassVar[frozenset[str]] = frozenset({"stream_usage"})
    _of_the_framework: ClassVar[frozenset[str]] = frozenset({"ls_structured_output_format", "structured_output_format"})
    _extra: ClassVar[tuple[str, ...]] = ("extra_body", "model_kwargs")
    _of_requests: ClassVar[frozenset[str]] = CHAT - {"metadata"}  # LangChain takes a call's for its traces

    def _parameters(self) -> dict[str, Any]:
        own = super()._parameters()
        if self.parallel_tool_calls is not None:
            own["parallel_tool_calls"] = self.parallel_tool_calls
        return own

    def _check_call(self, kwargs: Mapping[str, Any]) -> None:
        """Refuse arguments that a call does not take, before anything keeps or traces them.

        Raises:
            ArgumentError: there is one.
        """
        try:
            self._rules().split(kwargs, self._secrets)
        except ZeroGError as error:
            raise self._as_error(error) from None

    def _ask(self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]) -> Ask:
        """The request of one call, and its options.

        Raises:
            ArgumentError: an argument of the call is no parameter of a request.
            ConfigError: it cannot be sent.
        """
        call = self._rules().split(kwargs, self._secrets) if kwargs else NOTHING
        parameters = parameters_for(call, self._parameters(), self.model_kwargs, self.extra_body or {})
        if stop is not None:
            parameters["stop"] = stop
        return Ask(payload_of(messages, parameters, self.model), call.options)


def plain_values(model: ClientFields) -> dict[str, Any]:
    """The plain values that make the objects among the arguments of `model` again."""
    plain: dict[str, Any] = {}
    for name in ("limits", "timeout", "receipts"):
        if is_dataclass(value := getattr(model, name)) and not isinstance(value, type):
            plain[name] = asdict(value)
    if isinstance(model.network, Network):
        # Without its RPC URL, which may hold a key.
        plain |= {"network": model.network.name, "ledger": model.network.ledger, "inference": model.network.inference}
    if model.routing is not None:
        plain["routing"] = model.routing.to_dict()
    policy = model.verify
    if policy is None or isinstance(policy, str):
        return plain
    from zg_core.verify.conditions import Condition
    from zg_core.verify.policy import Policy

    if isinstance(policy, Condition) or (isinstance(policy, Policy) and (policy.condition or policy.accept_models)):
        plain["verify"] = Policy.of(policy).to_dict()
    elif isinstance(policy, Policy):
        plain |= {"verify": policy.mode, "minimum": str(policy.minimum), "stream_policy": policy.stream}
        plain |= {} if policy.kinds is None else {"kinds": sorted(map(str, policy.kinds))}
        plain |= {} if policy.identity is None else {"identity": policy.identity}
        plain |= {} if policy.attest is None else {"attest": policy.attest}
    return plain
