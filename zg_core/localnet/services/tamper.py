"""How faults change pictures and transcripts, before they are signed or after."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from zg_core.localnet.media.png import draw, size_of
from zg_core.localnet.provider.alter import map_json
from zg_core.localnet.provider.faults import Fault
from zg_core.localnet.provider.gojson import NumberText

if TYPE_CHECKING:
    from zg_core.localnet.provider.faults import FaultSet


def meant(piece: bytes, faults: FaultSet) -> bytes:
    """What the provider answers in an honest piece's place, and signs."""
    if Fault.DURATION_INFLATED in faults:
        factor = faults.option(Fault.DURATION_INFLATED, "factor")
        piece = map_json(piece, lambda document: _longer(document, factor))
    if Fault.IMAGES_OVERBILLED in faults:
        piece = map_json(piece, lambda document: _fewer(document, 1))
    return piece


def altered(piece: bytes, faults: FaultSet) -> bytes:
    """What is sent in place of a signed piece."""
    if Fault.IMAGE_SWAPPED in faults:
        piece = map_json(piece, _swap)
    if Fault.IMAGES_MISSING in faults:
        piece = map_json(piece, lambda document: _fewer(document, faults.option(Fault.IMAGES_MISSING, "count")))
    return piece


def _longer(document: dict[str, Any], factor: int) -> bool:
    """Multiply every duration a transcript states. True if there was one."""
    changed = False
    usage = document.get("usage")
    for place, name in ((document, "duration"), (usage, "seconds")):
        if isinstance(place, dict) and isinstance(place.get(name), NumberText):
            place[name] = NumberText(f"{float(place[name]) * factor:.3f}")
            changed = True
    return changed


def _fewer(document: dict[str, Any], count: int) -> bool:
    entries = document.get("data")
    if not isinstance(entries, list) or not entries:
        return False
    del entries[-count:]
    return True


def _swap(document: dict[str, Any]) -> bool:
    if isinstance(choices := document.get("choices"), list):
        return _swap_said(choices)
    entries = document.get("data")
    if not isinstance(entries, list) or not entries or "b64_json" not in entries[0]:
        return False
    try:
        width, height = size_of(base64.b64decode(entries[0]["b64_json"]))
    except ValueError:
        width = height = 64
    entries[0]["b64_json"] = base64.b64encode(draw("somebody else's picture", width, height)).decode()
    return True


def swapped_file(image: bytes) -> bytes:
    """Another picture of the same size, for one that is fetched."""
    width, height = size_of(image)
    return draw("somebody else's picture", width, height)


def _swap_said(choices: list[Any]) -> bool:
    """The same for the first picture of a chat's answer, wherever it stands."""
    for choice in choices:
        said = choice.get("message") or choice.get("delta") or {}
        content = said.get("content")
        for part in [*(said.get("images") or ()), *(content if isinstance(content, list) else ())]:
            if part.get("type") == "image_url":
                head, _, data = part["image_url"]["url"].partition(",")
                other = base64.b64encode(swapped_file(base64.b64decode(data))).decode()
                part["image_url"]["url"] = f"{head},{other}"
                return True
    return False
