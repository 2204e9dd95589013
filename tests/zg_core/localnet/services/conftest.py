"""A network with a provider of every service type, and requests for them made by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zg_core.localnet import LocalNet, ProviderSpec, speak
from zg_core.localnet.media.png import draw

PICTURE = draw("a picture to edit", 16, 16)
RECORDING = speak("one two three", seconds=2.5)


def spec(service: str, kind: str = "TeeML", **more: Any) -> ProviderSpec:
    """A provider of a service, named after both; a picture costs 3000, a second 7, a token said 5."""
    prices = {"speech-to-text": (7, 5)}.get(service, (0, 3000))
    name = more.pop("model", f"{service}/{kind}")
    return ProviderSpec(
        model=name,
        service_type=service,  # type: ignore[arg-type]
        kind=kind,  # type: ignore[arg-type]
        input_price=prices[0],
        output_price=prices[1],
        lora=False,
        **more,
    )


@pytest.fixture(scope="module")
def net() -> Any:
    kinds = ("TeeML", "TeeTLS", "TeeML-separated", "standard")
    with LocalNet(
        providers=[
            *(spec("text-to-image", kind) for kind in kinds),
            *(spec("speech-to-text", kind) for kind in kinds),
            spec("image-editing"),
            spec("text-to-image", model="few", most_images=2, image_store=False, async_jobs=False),
            spec("speech-to-text", "TeeTLS", model="old relay", signs_relayed_speech=False),
            spec("speech-to-text", model="events", speech_sse=True),
            ProviderSpec(model="chat", adapters=(("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "offloaded"),)),
        ]
    ) as running:
        yield running


@pytest.fixture
def caller(net: Any, connect: Any) -> Any:
    """``caller(model)``: somebody with an account there."""
    return lambda model: connect(net, net.provider(model))


def image_body(model: str, prompt: str = "a fox", **more: Any) -> bytes:
    """A request for images."""
    return json.dumps({"model": model, "prompt": prompt, "size": "64x64", **more}, separators=(",", ":")).encode()


def form_body(parts: dict[str, Any]) -> bytes:
    """A multipart body with the boundary ``edge``; bytes are files."""
    body = b""
    for name, values in parts.items():
        for value in values if isinstance(values, list) else [values]:
            head = f'--edge\r\nContent-Disposition: form-data; name="{name}"'
            if isinstance(value, bytes):
                head += '; filename="f"\r\nContent-Type: application/octet-stream'
            body += head.encode() + b"\r\n\r\n" + (value if isinstance(value, bytes) else str(value).encode()) + b"\r\n"
    return body + b"--edge--\r\n"


FORM = {"content-type": "multipart/form-data; boundary=edge"}


class Ask:
    """Requests for media, sent by a caller."""

    image_body = staticmethod(image_body)
    form_body = staticmethod(form_body)
    picture, recording = PICTURE, RECORDING

    @staticmethod
    def images(one: Any, **more: Any) -> Any:
        return one.post(image_body(one.provider.model, **more), path="/v1/proxy/images/generations")

    @staticmethod
    def edit(one: Any, **more: Any) -> Any:
        parts = {"model": one.provider.model, "prompt": "more fox", "image": PICTURE, "size": "32x32", **more}
        return one.post(form_body(parts), path="/v1/proxy/images/edits", headers=FORM)

    @staticmethod
    def speech(one: Any, **more: Any) -> Any:
        parts = {"model": one.provider.model, "file": RECORDING, **more}
        return one.post(form_body(parts), path="/v1/proxy/audio/transcriptions", headers=FORM)


@pytest.fixture(scope="session")
def ask() -> type[Ask]:
    return Ask
