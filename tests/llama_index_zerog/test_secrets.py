"""No key, token or URL with a key in it, wherever LlamaIndex shows or keeps an object."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler

from llama_index_zerog import ZeroG, ZeroGEmbedding
from zg_core.localnet import LocalNet

KEY, TOKEN, URL = "5e" * 32, "app-sk-" + "c2VjcmV0" * 8, "http://127.0.0.1:9/key-in-url"


def shapes(thing: Any) -> dict[str, str]:
    """Everything LlamaIndex or a reader may make of an object, as text."""
    return {
        "repr": repr(thing),
        "str": str(thing),
        "to_dict": json.dumps(thing.to_dict(), default=str),
        "to_json": thing.to_json(),
        "model_dump": json.dumps(thing.model_dump(), default=str),
        "pickle": pickle.dumps(thing).decode("latin-1"),
        "copy": repr(copy.copy(thing)),
        "to_payload": json.dumps(thing.to_payload(), default=str) if isinstance(thing, ZeroG) else "",
    }


@pytest.mark.parametrize("kind", [ZeroG, ZeroGEmbedding])
@pytest.mark.parametrize("secret", [{"private_key": "0x" + KEY}, {"api_key": TOKEN}])
def test_no_shape_of_an_object_holds_a_secret(kind: Any, secret: dict[str, str]) -> None:
    thing = kind(provider="0x" + "11" * 20, rpc_url=URL, **secret)
    if kind is ZeroG:  # else a payload is asked for from the provider
        thing.model, thing.context_window, thing.num_output = "m", 1000, 100
    for name, text in shapes(thing).items():
        for hidden in (KEY, TOKEN, "key-in-url"):
            assert hidden not in text, f"{name} shows a secret"


def test_no_event_holds_one(net: LocalNet, llm: ZeroG) -> None:
    seen: list[str] = []

    class Watch(BaseEventHandler):
        @classmethod
        def class_name(cls) -> str:
            return "Watch"

        def handle(self, event: Any, **_: Any) -> None:
            seen.append(event.model_dump_json(fallback=str) + repr(event))

    dispatcher = get_dispatcher("root")
    watch = Watch()
    dispatcher.add_event_handler(watch)
    try:
        llm.complete("hi")
        list(llm.stream_complete("hi"))
    finally:
        dispatcher.event_handlers.remove(watch)
    assert seen
    key = net.wallet.private_key.removeprefix("0x")
    assert not [text for text in seen if key in text or "app-sk-" in text]


def test_a_pickled_one_works_with_the_environments_key(llm: ZeroG) -> None:
    again = pickle.loads(pickle.dumps(llm))
    assert again.complete("What is the capital of France?").text == "The capital of France is Paris."
    again.close()


def test_an_error_of_a_constructor_repeats_no_argument() -> None:
    with pytest.raises(ValueError, match="max_retries") as caught:
        ZeroG(private_key="0x" + KEY, max_retries="many")
    assert KEY not in str(caught.value)
