"""`ZeroGImageGenerator`: a tool that makes images on 0G."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from langchain_core.tools import BaseTool
from pydantic import BaseModel, Field, PrivateAttr

from langchain_zerog._bridge import scope, sink_of
from langchain_zerog._errors import model_errors
from langchain_zerog.media.settings import ImageSettings
from zg_core.http.transport import run
from zg_core.media.images import Images, generated
from zg_core.shown.tracebacks import clears_locals
from zg_core.tasks.base import IMAGES
from zg_core.tasks.images import generation_payload

if TYPE_CHECKING:
    from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun

__all__ = ["ZeroGImageGenerator"]


class _Arguments(BaseModel):
    prompt: str = Field(description="What the image shall show, in detail.")


class ZeroGImageGenerator(BaseTool):
    """A tool that makes images: each is proven, paid on chain, and has a receipt.

    The model that calls it gets a sentence; the images are the artifact of the tool's message
    (`zg_core.Images`, a sequence of `zg_core.Image` with the receipt). Settings are those of `ChatZeroG`.

    Args:
        model: Name of the image model; without it the provider's own.
        provider: Address of the provider; without it one is chosen.
        n: Images of one call; the model cannot ask for more.
        size: ``"WIDTHxHEIGHT"`` in pixels.
        name: What models call it.
        description: What models are told of it.

    Raises:
        TypeError: an argument that nobody reads.
        ZeroGError: see `zg_core.ImageClient.generate`.

    Example:
        ```python
        from langchain.agents import create_agent
        from langchain_zerog import ChatZeroG, ZeroGImageGenerator

        draw = ZeroGImageGenerator(model="local-image-1", verify="require", size="512x512")
        agent = create_agent(ChatZeroG(model="local-chat-1"), tools=[draw])
        result = agent.invoke({"messages": [("user", "Draw a fox")]})
        image = next(m.artifact for m in result["messages"] if m.type == "tool")[0]
        image.save("fox.png")
        ```
    """

    name: str = "generate_image"
    description: str = "Makes an image of a description in words. The image is shown to the user."
    args_schema: type[BaseModel] = _Arguments
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    n: int = Field(default=1, ge=1, le=10)
    """Images of one call."""
    size: str | None = None
    """Size in pixels."""

    _settings: ImageSettings = PrivateAttr()

    @clears_locals
    def __init__(self, **values: Any) -> None:
        own = {name: values.pop(name) for name in list(values) if name in type(self).model_fields}
        settings = ImageSettings(**values)
        values.clear()
        super().__init__(**own)
        self._settings = settings

    def _run(self, prompt: str, run_manager: CallbackManagerForToolRun | None = None) -> tuple[str, Images]:
        with model_errors(), scope(sink_of(run_manager)):
            images = run(generated(self._settings._client().calls, self._payload(prompt), IMAGES.path, None))  # noqa: SLF001
        return str(images), images

    async def _arun(self, prompt: str, run_manager: AsyncCallbackManagerForToolRun | None = None) -> tuple[str, Images]:
        with model_errors(), scope(sink_of(run_manager)):
            calls = self._settings._async_client().calls  # noqa: SLF001
            images = await generated(calls, self._payload(prompt), IMAGES.path, None)
        return str(images), images

    def _payload(self, prompt: str) -> dict[str, Any]:
        settings = self._settings
        return generation_payload(
            prompt, model=settings.model, n=self.n, size=self.size, form="b64_json", more=settings.model_kwargs
        )

    def close(self) -> None:
        """Close the connections; the tool stays usable."""
        self._settings.close()
