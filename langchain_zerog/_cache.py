"""LangChain's caches hold answers for ever; only those are served that the model's policy accepts as they stand now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.caches import BaseCache
from langchain_core.globals import get_llm_cache
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration

from langchain_zerog._convert import PROVIDER
from langchain_zerog._receipts import is_what_was_said, receipt_of
from zg_core.errors import ZeroGError
from zg_core.verify.conditions import floor, implied
from zg_core.verify.verdict import Status, rank

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.outputs import Generation

    from zg_core.receipts.model import Receipt
    from zg_core.verify.policy import Policy

__all__ = ["JudgedCache", "judged"]

_Model = TypeVar("_Model", bound="BaseChatModel")
_Cached = Sequence["Generation"]
PATIENCE = 5.0
"""Seconds to wait for the verdict of an answer in the cache, before it is asked for anew."""
_NEVER = (str(Status.FAILED), str(Status.PENDING))
_PROVEN = frozenset(str(status) for status in Status if rank(status))


class JudgedCache(BaseCache):
    """Stands before the user's cache.

    An answer that failed its check, whose check does not end in time, or that is not what the reply of its receipt
    said, is not there: the provider is asked again, and the new answer takes its place. So it is with one that the
    policy would refuse now, because a later look at the chain took its proof back; where the policy only warns, it
    warns. Of an answer that another process put in, only what it says about itself is known.
    """

    def __init__(self, inner: BaseCache, policy: Policy) -> None:
        self._inner = inner
        self._policy = policy

    def lookup(self, prompt: str, llm_string: str) -> _Cached | None:
        """What is cached, if it may be served."""
        found = self._inner.lookup(prompt, llm_string)
        for receipt in _pending(found):
            receipt.resolve(PATIENCE)
        return _served(found, self._policy)

    async def alookup(self, prompt: str, llm_string: str) -> _Cached | None:
        """Async twin of `lookup`."""
        found = await self._inner.alookup(prompt, llm_string)
        for receipt in _pending(found):
            await receipt.aresolve(PATIENCE)
        return _served(found, self._policy)

    def update(self, prompt: str, llm_string: str, return_val: _Cached) -> None:
        """Keep an answer, one that is still being checked, too: `lookup` looks at its verdict."""
        self._inner.update(prompt, llm_string, return_val)

    async def aupdate(self, prompt: str, llm_string: str, return_val: _Cached) -> None:
        """Async twin of `update`."""
        await self._inner.aupdate(prompt, llm_string, return_val)

    def clear(self, **kwargs: Any) -> None:
        """Empty the user's cache."""
        self._inner.clear(**kwargs)


def judged(model: _Model, policy: Callable[[], Policy]) -> _Model:
    """`model` with a `JudgedCache` before the cache that it uses; itself where it uses none.

    It is the same model for one call: it shares everything, connections included.
    """
    own = model.cache
    cache = own if own is not None and isinstance(own, BaseCache) else get_llm_cache()
    if cache is None or own is False:
        return model
    view = model.__class__.__new__(model.__class__)
    put = object.__setattr__
    put(view, "__dict__", {**model.__dict__, "cache": JudgedCache(cache, policy())})
    for shared in ("__pydantic_extra__", "__pydantic_fields_set__", "__pydantic_private__"):
        put(view, shared, getattr(model, shared))
    return view


def _messages(found: _Cached | None) -> list[AIMessage | None]:
    messages = (one.message if isinstance(one, ChatGeneration) else None for one in found or ())
    return [message if isinstance(message, AIMessage) else None for message in messages]


def _pending(found: _Cached | None) -> list[Receipt]:
    receipts = (receipt_of(message) for message in _messages(found) if message is not None)
    return [each for each in receipts if each is not None and each.verdict.status is Status.PENDING]


def _served(found: _Cached | None, policy: Policy) -> _Cached | None:
    served: list[Generation] = []
    for generation, message in zip(found or (), _messages(found), strict=True):
        if message is None or (facts := _facts(message, policy)) is None:
            return None
        copy = message.model_copy(update={"response_metadata": {**message.response_metadata, PROVIDER: facts}})
        served.append(generation.model_copy(update={"message": copy}))
    return served or None


def _facts(message: AIMessage, policy: Policy) -> dict[str, Any] | None:
    """What is known of a cached message now; None where it may not be served."""
    receipt = receipt_of(message)
    if receipt is None:  # another process's, or long ago
        facts = message.response_metadata.get(PROVIDER)
        return facts if isinstance(facts, dict) and _claims_enough(facts.get("status"), policy) else None
    if receipt.verdict.status in (Status.FAILED, Status.PENDING) or not is_what_was_said(message, receipt):
        return None
    try:
        policy.enforce(receipt, message.text)
    except ZeroGError:
        return None
    return receipt.metadata()


def _claims_enough(status: Any, policy: Policy) -> bool:
    if policy.mode == "require":
        return isinstance(status, str) and status in _PROVEN and rank(Status(status)) >= rank(_least(policy))
    return status not in _NEVER


def _least(policy: Policy) -> Status:
    return floor(implied(policy.demand)) or Status.VERIFIED
