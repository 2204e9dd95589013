"""The official OpenAI client asks for images, edits and transcripts through the one path."""

from __future__ import annotations

import base64
import io
from typing import Any

from tests.zg_core.media.conftest import PICTURE, RECORDING
from zg_core import openai_client


def test_images_edits_and_transcripts_are_asked_for_with_the_official_client(settings: dict[str, Any]) -> None:
    seen: list[Any] = []
    common = {**settings, "verify": "require", "on_receipt": seen.append}
    with openai_client(**common, model="text-to-image/TeeML", service_type="text-to-image") as client:
        made = client.images.generate(prompt="a fox", n=2, size="256x256", model="text-to-image/TeeML")
        assert [base64.b64decode(one.b64_json or "")[:4] for one in made.data or []] == [b"\x89PNG"] * 2
    with openai_client(**common, model="image-editing/TeeML", service_type="image-editing") as client:
        edited = client.images.edit(image=("a.png", PICTURE), prompt="more fox", model="image-editing/TeeML")
        assert len(edited.data or []) == 1
    with openai_client(**common, model="speech-to-text/TeeML", service_type="speech-to-text") as client:
        ask = client.audio.transcriptions.create
        said = ask(file=io.BytesIO(RECORDING), model="speech-to-text/TeeML")
        assert said.text == "one two three"
        srt = ask(file=("a.wav", RECORDING), model="speech-to-text/TeeML", response_format="srt")
        assert "--> 00:00:02,500" in str(srt)
    assert [(one.task, str(one.verdict)) for one in seen] == [
        ("images", "verified"),
        ("image_edits", "verified"),
        ("transcription", "verified"),
        ("transcription", "verified"),
    ]
    assert all(one.fee.exact for one in seen)
