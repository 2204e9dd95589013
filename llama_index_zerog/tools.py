"""`ZeroGImageToolSpec`: a tool that makes images on 0G."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from llama_index.core.tools.tool_spec.base import BaseToolSpec

from llama_index_zerog._media import ImageSettings
from zg_core.http.transport import run
from zg_core.media.images import Images, generated
from zg_core.shown.tracebacks import clears_locals
from zg_core.tasks.base import IMAGES
from zg_core.tasks.images import generation_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ZeroGImageToolSpec"]


class ZeroGImageToolSpec(BaseToolSpec):
    """A tool that makes images: each is proven, paid on chain, and has a receipt.

    The model that calls it gets a sentence; the images are the raw output of the tool (`zg_core.Images`, a sequence of
    `zg_core.Image` with the receipt). Settings are those of `ZeroG`.

    Args:
        n: Images of one call; the model cannot ask for more.
        size: ``"WIDTHxHEIGHT"`` in pixels.
        settings: ``model``, ``provider``, ``verify``, ….

    Raises:
        TypeError: an argument that nobody reads.
        ZeroGError: see `zg_core.ImageClient.generate`.

    ```python
    from llama_index_zerog import ZeroGImageToolSpec

    tools = ZeroGImageToolSpec(model="local-image-1", verify="require").to_tool_list()
    ```
    """

    spec_functions: ClassVar[Sequence[Any]] = [("generate_image", "agenerate_image")]  # type: ignore[assignment,misc]

    @clears_locals
    def __init__(self, *, n: int = 1, size: str | None = None, **settings: Any) -> None:
        self.n = n
        self.size = size
        self._settings = ImageSettings(**settings)
        settings.clear()

    def generate_image(self, prompt: str) -> Images:
        """Makes an image of a description in words. The image is shown to the user.

        Args:
            prompt: What the image shall show, in detail.
        """
        return run(generated(self._settings._client().calls, self._payload(prompt), IMAGES.path, None))  # noqa: SLF001

    async def agenerate_image(self, prompt: str) -> Images:
        """Async twin of `generate_image`."""
        return await generated(self._settings._async_client().calls, self._payload(prompt), IMAGES.path, None)  # noqa: SLF001

    def _payload(self, prompt: str) -> dict[str, Any]:
        settings = self._settings
        return generation_payload(
            prompt, model=settings.model, n=self.n, size=self.size, form="b64_json", more=settings.additional_kwargs
        )

    def close(self) -> None:
        """Close the connections; the tool stays usable."""
        self._settings.close()
