"""`ZeroGAudioReader`: recordings as documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document

from llama_index_zerog._media import SpeechSettings
from zg_core.http.transport import run
from zg_core.media.speech import transcribed
from zg_core.shown.tracebacks import clears_locals
from zg_core.tasks.transcription import payload_of

if TYPE_CHECKING:
    from os import PathLike

    from zg_core.tasks.transcription import Transcript

__all__ = ["ZeroGAudioReader"]


class ZeroGAudioReader(BaseReader):
    """Writes recordings down, proven and with a receipt; for ``SimpleDirectoryReader(file_extractor=…)``, too.

    A document's ``metadata`` has ``source``, ``language``, ``duration`` and, under ``zerog``, what is on a response of
    `ZeroG`, which no embedding or prompt gets to see. Settings are those of `ZeroG`.

    Args:
        language: What is spoken, as ``"en"``.
        settings: ``model``, ``provider``, ``verify``, ….

    Raises:
        TypeError: an argument that nobody reads.
        ZeroGError: see `zg_core.SpeechClient.transcribe`.

    ```python
    from llama_index_zerog import ZeroGAudioReader

    documents = ZeroGAudioReader(model="local-speech-1", verify="require").load_data("meeting.mp3")
    ```
    """

    @clears_locals
    def __init__(self, *, language: str | None = None, **settings: Any) -> None:
        self.language = language
        self._settings = SpeechSettings(**settings)
        settings.clear()

    def load_data(self, file: str | PathLike[str], extra_info: dict[str, Any] | None = None) -> list[Document]:
        """The document of one recording; `extra_info` is added to its metadata."""
        said = run(transcribed(self._settings._client().calls, self._payload(file), None))  # noqa: SLF001
        return [self._document(file, said, extra_info)]

    async def aload_data(self, file: str | PathLike[str], extra_info: dict[str, Any] | None = None) -> list[Document]:
        """Async twin of `load_data`."""
        said = await transcribed(self._settings._async_client().calls, self._payload(file), None)  # noqa: SLF001
        return [self._document(file, said, extra_info)]

    def _payload(self, file: str | PathLike[str]) -> dict[str, Any]:
        settings = self._settings
        return payload_of(
            Path(file), settings.model, "verbose_json", language=self.language, more=settings.additional_kwargs
        )

    def _document(self, file: str | PathLike[str], said: Transcript, extra: dict[str, Any] | None) -> Document:
        facts = {
            "source": str(file),
            "language": said.language,
            "duration": said.duration,
            "zerog": said.receipt.metadata(),
        }
        hidden = ["zerog"]
        return Document(
            text=said.text,
            metadata={**facts, **(extra or {})},
            excluded_embed_metadata_keys=hidden,
            excluded_llm_metadata_keys=hidden,
        )

    def close(self) -> None:
        """Close the connections; the reader stays usable."""
        self._settings.close()
