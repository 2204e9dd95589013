"""`ImageClient` and `AsyncImageClient`: images made from words, and edited."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, overload

from zg_core.backends.service import Body
from zg_core.calls.aside import done, failed, lost, submitted
from zg_core.calls.call import Ask, Options, Slot
from zg_core.client import AsyncChatClient, ChatClient, options_of
from zg_core.errors import ConfigError, ProviderUnavailable, RequestError
from zg_core.http.transport import run
from zg_core.pricing import Asked
from zg_core.progress import tell
from zg_core.routing.target import named
from zg_core.shown.tracebacks import forgetful
from zg_core.tasks.base import IMAGE_EDITS, IMAGES, task_selling
from zg_core.tasks.images import edit_payload, generation_payload, images_of
from zg_core.tasks.pictures import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.calls.call import Call, Reply
    from zg_core.calls.path import Calls
    from zg_core.http.timeouts import Patience
    from zg_core.progress import Listener
    from zg_core.receipts.model import Receipt

__all__ = ["AsyncImageClient", "ImageClient", "ImageJob", "Images"]

_POLL = 2.0


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

    def __str__(self) -> str:
        """One sentence for a model that has asked for them: it gets no pixels."""
        sizes = ", ".join("unknown size" if one.size is None else "{}x{}".format(*one.size) for one in self._images)
        made = "1 image was made" if len(self) == 1 else f"{len(self)} images were made"
        return f"{made} ({sizes}); verdict: {self.receipt.verdict}"

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


@dataclass(frozen=True, slots=True)
class ImageJob:
    """Images that are made aside. It can be kept (`to_dict`), and waited for by another process of the same wallet.

    Attributes:
        job_id: The provider's id.
        provider: Who makes them.
        model: The model.
        task: ``"images"`` or ``"image_edits"``.
        n: How many.
        request_sha256: Hash of the request, which the signature covers.
        request_bytes: Its size.
        receipt_id: Id of the receipt, which is open until the images are there.
    """

    job_id: str
    provider: str
    model: str
    task: str
    n: int
    request_sha256: str
    request_bytes: int
    receipt_id: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ImageJob:
        """The way back.

        Raises:
            ConfigError: it is none (code ``bad_job``).
        """
        try:
            job = cls(**{each.name: value[each.name] for each in fields(cls)})
        except (KeyError, TypeError):
            raise ConfigError("this is no job", code="bad_job", hint="keep all of ImageJob.to_dict()") from None
        counts = (job.n, job.request_bytes)
        if not all(isinstance(n, int) for n in counts) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(job.job_id)):
            raise ConfigError("this is no job", code="bad_job", hint="keep all of ImageJob.to_dict()")
        return job


async def handed_in(calls: Calls, payload: Mapping[str, Any], path: str, options: Options | None) -> ImageJob:
    """Hand images in as a job."""
    call, job_id = await submitted(calls, Ask(payload, path, options=options or Options()))
    receipt = call.receipt
    return ImageJob(
        job_id,
        receipt.provider,
        receipt.model,
        call.task.name,
        call.asked.images,
        receipt.request_sha256,
        receipt.request_bytes,
        receipt.id,
    )


async def waited_for(calls: Calls, job: ImageJob, timeout: float, listener: Listener | None) -> Images:  # noqa: ASYNC109
    """The images of a job, once they are there."""
    call = await _resumed(calls, job)
    end, seen = time.monotonic() + timeout, ""
    while True:
        wait = _POLL
        try:
            status, headers, said = await calls.backend.look_at(call, job.job_id)  # type: ignore[attr-defined]
        except ProviderUnavailable:  # the job goes on; it is never handed in again
            status, headers, said = 0, {}, {}
        if status == 404:
            raise lost(calls, call, job.job_id)
        if status == 403:
            message = f"job {job.job_id} belongs to another wallet"
            raise ConfigError(message, code="bad_job", hint="wait with the wallet that has handed it in")
        state = str(said.get("status", ""))
        if state and state != seen:
            seen = state
            tell(listener, f"job_{state}", f"job {job.job_id} is {state}", job=job.job_id, provider=job.provider)
        if state == "completed":
            data = said.get("data")
            reply = await done(calls, call, data if isinstance(data, dict) else {}, headers)
            return await collected(calls, reply, call)
        if state == "failed":
            raise await failed(calls, call, said.get("errorMessage"))
        if (pause := _seconds(headers.get("retry-after"))) is not None:
            wait = pause
        if time.monotonic() + wait > end:
            raise ProviderUnavailable(
                f"job {job.job_id} is not done after {timeout:g} s",
                code="job_timeout",
                hint="it goes on: wait for the same job again; results are kept for about half an hour",
            )
        await calls.sending.pause(wait)


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return min(seconds, 60.0) if seconds >= 0 else None


async def _resumed(calls: Calls, job: ImageJob) -> Call:
    """The call of a job; nothing of it is left but what the job says, and its receipt."""
    task = task_selling(job.task)
    route = await calls.backend.route(named(job.provider, task), job.model)
    call = calls.sending.start(route, Body(b""), Asked(job.request_bytes, 0, images=job.n), task)
    call.exchange.assume(job.request_sha256)
    call.heard |= {"aside": True, "image_key": job.job_id}
    receipt = call.receipt
    receipt.id, receipt.request_sha256, receipt.request_bytes = job.receipt_id, job.request_sha256, job.request_bytes
    receipt.request_body, receipt.payer = None, calls.backend.payer
    return call


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

    def submit(self, prompt: str, *, image: Any = None, timeout: Patience = None, **more: Any) -> ImageJob:
        """Hand images in as a job and return at once; `wait` gets them. With `image` it is an edit.

        Args:
            prompt: What to draw, or to change.
            image: As of `edit`.
            timeout: Instead of the client's.
            more: As of `generate` or `edit`.

        Raises:
            ProviderUnavailable: the provider takes no jobs.
            ZeroGError: as `generate`.
        """
        payload, path = _job_payload(prompt, image, more)
        return run(handed_in(self.calls, payload, path, options_of(timeout, None)))

    def wait(self, job: ImageJob, *, timeout: float = 900.0, on_progress: Listener | None = None) -> Images:
        """The images of a job, once they are there. A job is never handed in again.

        Args:
            job: The job, of this process or another one of the same wallet.
            timeout: Seconds to wait.
            on_progress: Called when its state changes.

        Raises:
            ProviderUnavailable: it is not done yet (code ``job_timeout``): wait again.
            RequestError: it failed, and is not billed (``job_failed``).
            OutcomeUnknown: the provider does not know it (``job_lost``); it may be billed.
            ZeroGError: as `generate`.
        """
        return run(waited_for(self.calls, job, timeout, on_progress))


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

    async def submit(
        self,
        prompt: str,
        *,
        image: Any = None,
        timeout: Patience = None,  # noqa: ASYNC109 - as of `ImageClient`
        **more: Any,
    ) -> ImageJob:
        """See `ImageClient.submit`."""
        payload, path = _job_payload(prompt, image, more)
        return await handed_in(self.calls, payload, path, options_of(timeout, None))

    async def wait(
        self,
        job: ImageJob,
        *,
        timeout: float = 900.0,  # noqa: ASYNC109 - as of `ImageClient`
        on_progress: Listener | None = None,
    ) -> Images:
        """See `ImageClient.wait`."""
        return await waited_for(self.calls, job, timeout, on_progress)


def _job_payload(prompt: str, image: Any, more: dict[str, Any]) -> tuple[dict[str, Any], str]:
    names = {"model": None, "n": 1, "size": None, "response_format": "b64_json"}
    said = {name: more.pop(name, default) for name, default in names.items()}
    form = said.pop("response_format")
    if image is None:
        return generation_payload(prompt, form=form, more=more, **said), IMAGES.path
    mask = more.pop("mask", None)
    return edit_payload(image, prompt, form=form, mask=mask, more=more, **said), IMAGE_EDITS.path
