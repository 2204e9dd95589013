"""Images that an answer names by address: fetched from the provider's own place only (services §1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.errors import ProviderUnavailable, RequestError
from zg_core.http.bodies import BodyBroken
from zg_core.http.messages import read_all
from zg_core.http.provider_requests import provider_request
from zg_core.http.timeouts import Timeouts
from zg_core.jsontext import parse_json
from zg_core.tasks.pictures import BIGGEST
from zg_core.types import PROXY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zg_core.http.transport import Transport
    from zg_core.types import ServiceRecord

__all__ = ["fetch_images", "look_at_job"]

_TIMEOUTS = Timeouts(connect=10.0, read=60.0, whole=300.0)
MAX_REPLY_BYTES = 64 * 1024 * 1024
_KEPT = "a provider keeps images for about half an hour"


async def fetch_images(transport: Transport, service: ServiceRecord, key: str, urls: Sequence[str]) -> list[bytes]:
    """The images behind `urls`, in their order.

    Args:
        transport: HTTP.
        service: Who answered.
        key: The key of the answer, or the id of its job: it is part of each address.
        urls: The addresses in the answer.

    Raises:
        RequestError: an address leads elsewhere (code ``image_url_refused``), an image is gone (``image_expired``) or
            too large (``malformed_reply``).
        ProviderUnavailable: it cannot be had now.
    """
    images = []
    for number, url in enumerate(urls):
        path = f"{PROXY}/images/{key}/{number}"
        if not key or url != service.url + path:
            raise RequestError(
                "the answer names an image at another place than its provider's; it was not fetched",
                code="image_url_refused",
                hint='ask with response_format="b64_json"',
            )
        response = await transport.send(provider_request("GET", service, path, timeouts=_TIMEOUTS))
        try:
            data = await read_all(response, BIGGEST)
        except BodyBroken as error:
            raise RequestError(f"image {number} cannot be read: {error}", code="malformed_reply") from error
        if response.status == 404:
            raise RequestError(
                f"image {number} is not there, or no longer: {_KEPT}",
                code="image_expired",
                hint='fetch images at once, or ask with response_format="b64_json"',
                status=404,
            )
        if response.status != 200:
            message = f"image {number}: the provider answered {response.status}"
            raise ProviderUnavailable(message, hint="fetch it again", status=response.status)
        images.append(data)
    return images


async def look_at_job(
    transport: Transport, service: ServiceRecord, job_id: str, headers: Mapping[str, str]
) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    """What the provider says of a job: status, headers, and the document, {} where it is none.

    Raises:
        ProviderUnavailable: it does not tell now; the job goes on.
    """
    path = f"/v1/async/jobs/{job_id}"
    response = await transport.send(provider_request("GET", service, path, headers=headers, timeouts=_TIMEOUTS))
    try:
        said = parse_json(await read_all(response, MAX_REPLY_BYTES))
    except (BodyBroken, ValueError, RecursionError):
        said = None
    if response.status not in (200, 403, 404) or (response.status == 200 and not isinstance(said, dict)):
        message = f"the provider answered {response.status} for job {job_id}"
        raise ProviderUnavailable(message, hint="look again: the job goes on", status=response.status)
    return response.status, response.headers, said if isinstance(said, dict) else {}
