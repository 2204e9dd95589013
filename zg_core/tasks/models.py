"""What a model can do and take, in words every backend shares."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ABILITIES", "ModelInfo"]

ABILITIES = ("tools", "structured_output", "json_mode", "reasoning", "images", "audio", "files")
"""What a model can be required to have (`zg_core.Routing`): names of what `ModelInfo` tells."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a provider says about one of its models. What it does not say is None or empty.

    Attributes:
        model: Name of the model, as asked for.
        service_type: As on chain: ``"chatbot"``, ``"embedding"``, …
        context_window: Tokens that prompt and answer may have together.
        max_output_tokens: Tokens that an answer may have.
        capabilities: Names of the request parameters it takes: ``"tools"``, ``"response_format"``, …
        inputs: Modalities it reads: ``"text"``, ``"image"``, ``"audio"``, ``"file"``, …
        outputs: Modalities it writes.

    Example:
        >>> info = ModelInfo("m", capabilities=frozenset({"tools", "response_format"}))
        >>> info.tools, info.json_mode, info.structured_output, info.reasoning, info.images
        (True, True, None, False, None)
    """

    model: str
    service_type: str = ""
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()

    def takes(self, *parameters: str) -> bool | None:
        """Whether it takes one of these request parameters; None if it does not say what it takes."""
        return any(name in self.capabilities for name in parameters) if self.capabilities else None

    @property
    def abilities(self) -> frozenset[str]:
        """The `ABILITIES` that it is said to have."""
        return frozenset(name for name in ABILITIES if getattr(self, name) is True)

    @property
    def tools(self) -> bool | None:
        """Whether it calls tools."""
        return self.takes("tools", "tool_choice")

    @property
    def structured_output(self) -> bool | None:
        """Whether answers can be held to a JSON schema; None also where it names ``response_format`` alone."""
        if self.takes("structured_outputs") is False and "response_format" in self.capabilities:
            return None
        return self.takes("structured_outputs")

    @property
    def json_mode(self) -> bool | None:
        """Whether answers can be held to some JSON object."""
        return self.takes("response_format", "structured_outputs")

    @property
    def reasoning(self) -> bool | None:
        """Whether it can be told how much to reason."""
        return self.takes("reasoning", "reasoning_effort", "include_reasoning")

    @property
    def images(self) -> bool | None:
        """Whether it reads images."""
        return self._reads("image")

    @property
    def audio(self) -> bool | None:
        """Whether it reads audio."""
        return self._reads("audio")

    @property
    def files(self) -> bool | None:
        """Whether it reads files, such as PDF."""
        return self._reads("file")

    def _reads(self, modality: str) -> bool | None:
        return modality in self.inputs if self.inputs else None
