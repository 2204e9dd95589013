"""What a provider changes in a request before it forwards and hashes it (0g-direct §4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.localnet.provider import gojson

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class NotPreparedError(Exception):
    """A request that cannot be forwarded; the text is the provider's reason."""


@dataclass(frozen=True)
class Prepared:
    """A request ready to be forwarded."""

    body: bytes
    """What counts as forwarded: this is hashed and signed."""
    asked: str | None = None
    """The name that was asked for, where `body` names another model: an adapter, an alias, or an upstream's name."""
    model: str | None = None
    """What the model is called by what answers here, where `body` has another name for it."""

    @property
    def for_model(self) -> bytes:
        """What the model gets: `body` under its own name, without that of an adapter, which only LoRA servers know."""
        if self.asked is None:
            return self.body
        document = gojson.loads_keeping_numbers(self.body)
        document.pop("lora_adapter_name", None)
        if self.model is not None:
            document["model"] = self.model
        return gojson.dumps(document)


def go_quote(text: str) -> str:
    """Go's ``%q``, for the characters a model name has."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def prepare(
    body: bytes,
    document: Any,
    *,
    model: str,
    adapter: str | None,
    remarshal: bool,
    on_mismatch: Callable[[], None],
    aliases: Sequence[str] = (),
    upstream_model: str | None = None,
) -> Prepared:
    """Apply the rewrites in the provider's order: stream options, adapter name, model.

    Args:
        body: the client's bytes, forwarded as they are unless a rewrite is needed.
        document: the same, decoded with `gojson.loads`; None if it is not JSON.
        model: the one model served.
        adapter: the fine-tuned adapter served next to it.
        remarshal: whether the body is re-marshalled even when nothing had to change.
        on_mismatch: called when another model is asked for.
        aliases: other names that stand for `model`.
        upstream_model: the name that is forwarded in place of `model` and its aliases.

    Raises:
        NotPreparedError: another model, or not a JSON object.
    """
    if not isinstance(document, dict):
        raise NotPreparedError("enforce configured model: failed to parse JSON body")
    changed = _ensure_stream_options(document)
    requested = document.get("model")
    asked = None
    if adapter is not None and requested == adapter:
        document["model"] = model
        document["lora_adapter_name"] = adapter
        asked = adapter
    elif isinstance(requested, str) and requested in aliases:
        document["model"] = model
        asked = requested
    elif requested is None:
        if remarshal or upstream_model is not None:
            document["model"] = model
    elif not isinstance(requested, str):
        raise NotPreparedError(
            f"enforce configured model: invalid model type in request (expected string), configured model is: {model}"
        )
    elif requested != model:
        on_mismatch()
        raise NotPreparedError(
            f"enforce configured model: model not supported: requested {go_quote(requested)}, "
            f"accepted: [{go_quote(model)}]"
        )
    if upstream_model is not None:
        document["model"] = upstream_model
        return Prepared(gojson.dumps(document), asked or model, model)
    if not changed and asked is None and not remarshal:
        return Prepared(body)
    return Prepared(gojson.dumps(document), asked)


def _ensure_stream_options(document: dict[str, Any]) -> bool:
    """Ask for usage in a stream unless the client has said anything about it. True if the document changed."""
    if document.get("stream") is not True:
        return False
    options = document.get("stream_options")
    if isinstance(options, dict):
        if "include_usage" in options:
            return False
        options["include_usage"] = True
    else:
        document["stream_options"] = {"include_usage": True}
    return True
