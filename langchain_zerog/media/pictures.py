"""Pictures in LangChain's messages: whoever's blocks they are, one form on the wire; and how answers go back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.prompt_values import ChatPromptValue

from zg_core.errors import ConfigError
from zg_core.frameworks.images import data_url, image_part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.prompt_values import PromptValue

__all__ = ["IN_CONTENT", "picture", "said_images", "typed"]

IN_CONTENT = "images_in_content"
"""Said in the metadata of an answer whose images stood among the parts of its content."""


def typed(prompt: PromptValue) -> PromptValue:
    """`prompt`, with a type for each picture that is given as base64 without one: LangChain's traces need it.

    Raises:
        ConfigError: its first bytes tell none (code ``bad_image``).
    """
    if not isinstance(prompt, ChatPromptValue) or not any(map(_lacks_type, prompt.messages)):
        return prompt
    messages = []
    for index, message in enumerate(prompt.messages):
        blocks: list[Any] = [*message.content] if _lacks_type(message) else []
        for number, block in enumerate(blocks):
            if _untyped(block):
                part = picture(block, f"messages[{index}].content[{number}]")
                kind = "" if part is None else part["image_url"]["url"][len("data:") :].partition(";")[0]
                blocks[number] = {**block, "mime_type": kind}
        messages.append(message.model_copy(update={"content": blocks}) if blocks else message)
    return ChatPromptValue(messages=messages)


def _lacks_type(message: BaseMessage) -> bool:
    return isinstance(message.content, list) and any(map(_untyped, message.content))


def _untyped(block: Any) -> bool:
    data = block.get("base64", block.get("data")) if isinstance(block, dict) and block.get("type") == "image" else None
    return data is not None and "mime_type" not in block and "url" not in block


def picture(block: Mapping[str, Any], place: str) -> dict[str, Any] | None:
    """The part for a block that shows a picture; None for any other block.

    LangChain's standard blocks (both versions), and those of OpenAI, Anthropic, Bedrock and Vertex.

    Raises:
        ConfigError: there is no picture to be had (code ``bad_image``).
    """
    kind = block.get("type")
    extras = block.get("extras")
    detail = block.get("detail") or (extras.get("detail") if isinstance(extras, dict) else None)
    if kind in ("image_url", "input_image") or (kind is None and "image_url" in block):
        said = block.get("image_url")
        if isinstance(said, dict):
            return image_part(said.get("url"), place, said.get("detail") or detail)
        if said is None and block.get("file_id"):
            raise _stored(place)
        return image_part(said, place, detail)
    if kind == "media" and str(block.get("mime_type")).startswith("image/"):
        return image_part(data_url(block.get("data"), block["mime_type"], place), place, detail)
    if kind == "image":
        return _standard(block, place, detail)
    image = block.get("image")
    source = image.get("source") if kind is None and isinstance(image, dict) else None
    if isinstance(image, dict) and isinstance(source, dict) and "bytes" in source:
        form = image.get("format")
        known = f"image/{form}" if isinstance(form, str) and form else None
        return image_part(data_url(source["bytes"], known, place), place, detail)
    return None


def _standard(block: Mapping[str, Any], place: str, detail: Any) -> dict[str, Any] | None:
    mime = block.get("mime_type")
    source = block.get("source")
    if isinstance(source, dict):  # Anthropic's
        if source.get("type") == "url" or ("url" in source and "data" not in source):
            return image_part(source.get("url"), place, detail)
        if "data" in source:
            return image_part(data_url(source["data"], source.get("media_type"), place), place, detail)
        raise _stored(place)
    for name in ("base64", "data"):
        if block.get(name) is not None:
            return image_part(data_url(block[name], mime, place), place, detail)
    if "url" in block:
        return image_part(block["url"], place, detail)
    if block.get("file_id") or block.get("source_type") == "id":
        raise _stored(place)
    return None


def _stored(place: str) -> ConfigError:
    return ConfigError(
        f"the image at {place} is the id of a file, and providers store none",
        code="bad_image",
        hint="send the picture itself: base64 with its mime_type, or an https address",
    )


def said_images(message: AIMessage) -> list[Any]:
    """The images of an answer of ours as its server sent them: it takes them back so."""
    images = message.additional_kwargs.get("images")
    return images if isinstance(images, list) else []
