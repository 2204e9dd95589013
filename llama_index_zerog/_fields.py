"""The fields that `ZeroG` and `ZeroGEmbedding` share: who pays, who answers, what has to be proven."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from llama_index.core.bridge.pydantic import BaseModel, Field

from llama_index_zerog.instrumentation import Relay
from zg_core.frameworks.fields import ClientFields
from zg_core.shown.tracebacks import clears_locals

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.receipts.model import Receipt

__all__ = ["LlamaIndexFields", "checked"]


_OWN = ("chat_history", "messages", "prompt", "tools", "user_msg")  # what a method asks with


def checked(model: type, name: str) -> Any:
    """The method `name` of `model`; arguments that a call does not take are refused before LlamaIndex hears of them.

    Raises:
        TypeError: there is one (`zg_core.ArgumentError`).
    """
    # As it stands in the class: one that was taken from it comes to LlamaIndex's spans as a partial function.
    method: Any = inspect.getattr_static(model, name)
    inner = getattr(method, "__wrapped__", None)
    if name in vars(model) and inspect.isfunction(inner):
        inner.__signature__ = inspect.signature(inner)  # type: ignore[attr-defined] # spans look at it in every call

    own = {"tools", *(name for name in inspect.signature(method).parameters if name in _OWN)}

    def check(self: LlamaIndexFields, kwargs: Mapping[str, Any]) -> None:
        passed = {name: value for name, value in kwargs.items() if name not in own}
        if passed:
            self._rules().split(passed, self._secrets)

    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def later(self: LlamaIndexFields, *args: Any, **kwargs: Any) -> Any:
            if kwargs:
                check(self, kwargs)
            return await method.__get__(self, type(self))(*args, **kwargs)

        return later

    @functools.wraps(method)
    def now(self: LlamaIndexFields, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            check(self, kwargs)
        return method.__get__(self, type(self))(*args, **kwargs)

    return now


class LlamaIndexFields(ClientFields):
    """Settings of the client, in LlamaIndex's words."""

    additional_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further request parameters."""

    _advice: ClassVar[str] = "other request parameters go into additional_kwargs"
    _elsewhere: ClassVar[Mapping[str, str]] = {
        "api_base": "the provider's URL is read from the chain; pass provider='0x…'",
        "base_url": "the provider's URL is read from the chain; pass provider='0x…'",
        "extra_headers": "pass headers={…}; extra_headers is of one call",
        "extra_query": "the provider's URL is read from the chain, and takes no query",
        "stream": "call stream_chat() or stream_complete()",
    }
    # A model that was written down says what it is.
    _tolerated: ClassVar[frozenset[str]] = frozenset({"class_name"})
    _extra: ClassVar[tuple[str, ...]] = ("additional_kwargs", "extra_body")

    @clears_locals
    def __init__(self, *model: str, **values: Any) -> None:
        """The model's name may come first, without a name of its own."""
        if len(model) == 1 and "model" not in values:
            values["model"] = model[0]
            model = ()
        super().__init__(*model, **values)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As it was pickled; what could not be pickled is as in a new one.

        LlamaIndex makes a new one of all values instead: then nobody could tell which of them had been passed.
        """
        BaseModel.__setstate__(self, state)
        for name, field in type(self).model_fields.items():
            if name not in self.__dict__:
                self.__dict__[name] = field.get_default(call_default_factory=True)

    def _relay(self) -> Callable[[Receipt], None]:
        return Relay(self.on_receipt)
