"""`ImageClient` and `AsyncImageClient`: images made from words, and edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, overload

from zg_core.calls.call import Slot
from zg_core.client import AsyncChatClient, ChatClient, options_of
from zg_core.errors import RequestError
from zg_core.http.transport import run
from zg_core.shown.tracebacks import forgetful
from zg_core.tasks.base import IMAGE_EDITS, IMAGES
from zg_core.tasks.images import edit_payload, generation_payload, images_of
from zg_core.tasks.pictures import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.calls.call import Call, Options, Reply
    from zg_core.calls.path import Calls
    from zg_core.http.timeouts import Patience
    from zg_core.receipts.model import Receipt

__all__ = ["AsyncImageClient", "ImageClient", "Images"]


class Images(Sequence[Image]):
    """The images of one answer, and its receipt.

    Attributes:
        receipt: The record of the call, verdict included.
        body: The answer as the provider sent it, parsed.

    Example:
        >>> Images([Image(b"GIF89a")], None, {})[0].content_type
        'image/gif'
    """

    def __init__(self, images: Sequence[Image], receipt: Receipt, body: Mapping[str, Any]) -> None:
        self._images = tuple(images)
        self.receipt = receipt
        self.body = body

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Image]: ...
    def __getitem__(self, index: int | slice) -> Image | Sequence[Image]:
        return self._images[index]

    def __len__(self) -> int:
        return len(self._images)

    def __repr__(self) -> str:
        return f"Images({len(self)}, verdict={str(self.receipt.verdict)!r})"

    def _repr_html_(self) -> str:
        shown = [f'<img src="data:{one.content_type};base64,{one.b64}">' for one in self._images]
        return "".join(shown) + self.receipt._repr_html_()


async def generated(calls: Calls, payload: Mapping[str, Any], path: str, options: Options | None) -> Images:
    """Ask for images; those that come as addresses are fetched."""
    slot = Slot()
    reply = await calls.create(payload, path, options, slot)
    assert slot.call is not None  # noqa: S101 - there was an answer
    return await collected(calls, reply, slot.call)


async def collected(calls: Calls, reply: Reply, call: Call) -> Images:
    """The images of an answer.

    Raises:
        RequestError: it holds none, or one cannot be fetched; the answer is paid, ``error.receipt`` is its receipt.
    """
    found = images_of(reply.body, reply.receipt)
    if any(isinstance(one, str) for one in found):
        await calls.fetch_images(call)
        if (error := call.heard.get("image_error")) is not None:
            error.receipt = reply.receipt
            raise error
        fetched = call.heard.get("images", [])
        if len(fetched) != len(found):
            message = "the answer holds images and addresses of images"
            raise RequestError(message, code="malformed_reply", receipt=reply.receipt)
        pairs = zip(found, fetched, reply.body["data"], strict=True)
        found = [Image(data, str(said.get("revised_prompt") or ""), str(url)) for url, data, said in pairs]
    return Images([one for one in found if isinstance(one, Image)], reply.receipt, reply.body)


@forgetful
class ImageClient(ChatClient):
    """Makes images; blocking. Settings are those of `ChatClient`, ``ZEROG_PROVIDER`` and ``ZEROG_MODEL`` left out.

    A client makes images or edits them, since other providers sell each: ``service_type="image-editing"`` is for edits.

    Example:
        >>> client = ImageClient(model="m", private_key="0x" + "22" * 32, environ={})
        >>> client.task.path
        '/images/generations'
        >>> client.close()
    """

    _service_type: ClassVar[str] = IMAGES.service_type

    def generate(
        self,
        prompt: str,
        *,
        model: str | None = None,
        n: int = 1,
        size: str | None = None,
        response_format: str = "b64_json",
        timeout: Patience = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Images:
        """Make images of a prompt. Each costs the output price of the service.

        Args:
            prompt: What to draw.
            model: Instead of the client's.
            n: How many, from 1 to 10. A provider may make fewer, and bills those that it made.
            size: ``"WIDTHxHEIGHT"`` in pixels; None leaves it to the model.
            response_format: ``"b64_json"``; or ``"url"``: the provider keeps the images for about half an hour, and
                they are fetched from its own address, from no other.
            timeout: Instead of the client's.
            headers: Beside the client's.
            more: Further parameters of the model, such as ``seed`` or ``negative_prompt``.

        Raises:
            ConfigError: nothing was sent; the count (code ``bad_count``), the size (``bad_size``) or the service
                (``wrong_service``) is not what can be asked for.
            RequestError: the provider refused; or an image cannot be fetched (``image_expired``,
                ``image_url_refused``), though it is paid.
            ZeroGError: as `ChatClient.create`.
        """
        payload = generation_payload(prompt, model=model, n=n, size=size, form=response_format, more=more)
        return run(generated(self.calls, payload, IMAGES.path, options_of(timeout, headers)))

    def edit(
        self,
        image: Any,
        prompt: str,
        *,
        model: str | None = None,
        n: int = 1,
        size: str | None = None,
        mask: Any = None,
        response_format: str = "b64_json",
        timeout: Patience = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Images:
        """Edit an image; the client is one with ``service_type="image-editing"``. All `n` are billed, delivered or not.

        Args:
            image: Bytes, a path, an `Image`, a file opened in binary mode, or a list of these.
            prompt: What to change.
            model: As of `generate`.
            n: As of `generate`.
            size: As of `generate`.
            mask: An image of the same size whose transparent parts show what may change.
            response_format: As of `generate`.
            timeout: Instead of the client's.
            headers: Beside the client's.
            more: Further parameters of the model.

        Raises:
            ConfigError: nothing was sent; an image is none (code ``bad_image``), is empty or too large; as `generate`.
            ZeroGError: as `generate`.
        """
        payload = edit_payload(image, prompt, model=model, n=n, size=size, form=response_format, mask=mask, more=more)
        return run(generated(self.calls, payload, IMAGE_EDITS.path, options_of(timeout, headers)))


@forgetful
class AsyncImageClient(AsyncChatClient):
    """Async twin of `ImageClient`."""

    _service_type: ClassVar[str] = IMAGES.service_type

    async def generate(
        self,
        prompt: str,
        *,
        model: str | None = None,
        n: int = 1,
        size: str | None = None,
        response_format: str = "b64_json",
        timeout: Patience = None,  # noqa: ASYNC109 - as of `ImageClient`
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Images:
        """See `ImageClient.generate`."""
        payload = generation_payload(prompt, model=model, n=n, size=size, form=response_format, more=more)
        return await generated(self.calls, payload, IMAGES.path, options_of(timeout, headers))

    async def edit(
        self,
        image: Any,
        prompt: str,
        *,
        model: str | None = None,
        n: int = 1,
        size: str | None = None,
        mask: Any = None,
        response_format: str = "b64_json",
        timeout: Patience = None,  # noqa: ASYNC109 - as of `ImageClient`
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Images:
        """See `ImageClient.edit`."""
        payload = edit_payload(image, prompt, model=model, n=n, size=size, form=response_format, mask=mask, more=more)
        return await generated(self.calls, payload, IMAGE_EDITS.path, options_of(timeout, headers))
