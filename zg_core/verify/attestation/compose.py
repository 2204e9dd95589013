"""What runs in the enclave, by its authenticated compose file: the images, and whether each is pinned."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from zg_core.jsontext import parse_json

__all__ = ["Image", "images_of"]

# Block and flow style; a file that names images in a way this misses only lists fewer of them.
_IMAGE = re.compile(r"""(?m)(?:^|[\s{,])["']?image["']?\s*:\s*["']?([^\s"',}#]+)""")
_BUILD = re.compile(r"""(?m)(?:^|[\s{,])["']?build["']?\s*:""")
_PINNED = re.compile(r"@sha256:[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Image:
    """One container image."""

    name: str

    @property
    def pinned(self) -> bool:
        """Whether the name fixes the bytes: without a digest, whoever owns the name decides what runs."""
        return _PINNED.search(self.name) is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"image": self.name, "pinned": self.pinned}


def images_of(app_compose: str) -> tuple[Image, ...]:
    r"""The images of the compose file inside dstack's ``app_compose`` JSON, in order, each once.

    Something that is built in place counts as an image that nothing pins.

    Example:
        >>> images_of('{"docker_compose_file": "services:\\n  a:\\n    image: vendor/a:1\\n"}')
        (Image(name='vendor/a:1'),)
    """
    try:
        outer = parse_json(app_compose)
    except (ValueError, RecursionError):
        return ()
    text = outer.get("docker_compose_file") if isinstance(outer, dict) else None
    if not isinstance(text, str):
        return ()
    names = list(dict.fromkeys(_IMAGE.findall(text)))
    if _BUILD.search(text):
        names.append("(built in place)")
    return tuple(map(Image, names))
