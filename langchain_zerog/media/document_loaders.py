"""`ZeroGTranscriptionLoader`: recordings as documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from langchain_zerog._bridge import scope, sink_of
from langchain_zerog._errors import model_errors
from langchain_zerog.media.settings import SpeechSettings
from zg_core.http.transport import run
from zg_core.media.speech import transcribed
from zg_core.shown.tracebacks import clears_locals
from zg_core.tasks.transcription import payload_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from os import PathLike

    from zg_core.tasks.transcription import Transcript

__all__ = ["ZeroGTranscriptionLoader"]


class ZeroGTranscriptionLoader(BaseLoader):
    """Writes recordings down: one document each, or one for each segment. Every request is proven and has a receipt.

    A document's ``metadata`` has ``source``, ``language``, ``duration`` (seconds), ``zerog`` (what is on a message of
    `ChatZeroG`), and for segments ``start`` and ``end``. Settings are those of `ChatZeroG`.

    Args:
        file_path: A recording, or several.
        by_segment: Whether each segment is a document of its own.
        language: What is spoken, as ``"en"``.
        settings: ``model``, ``provider``, ``verify``, ….

    Raises:
        TypeError: an argument that nobody reads.
        ZeroGError: see `zg_core.SpeechClient.transcribe`.

    Example:
        ```python
        from langchain_zerog import ZeroGTranscriptionLoader

        documents = ZeroGTranscriptionLoader("meeting.mp3", model="local-speech-1", verify="require").load()
        ```
    """

    @clears_locals
    def __init__(
        self,
        file_path: str | PathLike[str] | Sequence[str | PathLike[str]],
        *,
        by_segment: bool = False,
        language: str | None = None,
        **settings: Any,
    ) -> None:
        several = isinstance(file_path, list | tuple)
        self.files = [Path(one) for one in (file_path if several else [file_path])]  # type: ignore[union-attr,arg-type]
        self.by_segment = by_segment
        self.language = language
        self._settings = SpeechSettings(**settings)
        settings.clear()

    def lazy_load(self) -> Iterator[Document]:
        """The documents, each asked for when it is needed."""
        for file in self.files:
            with model_errors(), scope(sink_of(None)):
                said = run(transcribed(self._settings._client().calls, self._payload(file), None))  # noqa: SLF001
            yield from self._documents(file, said)

    async def alazy_load(self) -> AsyncIterator[Document]:
        """Async twin of `lazy_load`."""
        for file in self.files:
            with model_errors(), scope(sink_of(None)):
                said = await transcribed(self._settings._async_client().calls, self._payload(file), None)  # noqa: SLF001
            for document in self._documents(file, said):
                yield document

    def _payload(self, file: Path) -> dict[str, Any]:
        settings = self._settings
        return payload_of(file, settings.model, "verbose_json", language=self.language, more=settings.model_kwargs)

    def _documents(self, file: Path, said: Transcript) -> Iterator[Document]:
        facts = {
            "source": str(file),
            "language": said.language,
            "duration": said.duration,
            "zerog": said.receipt.metadata(),
        }
        if not self.by_segment:
            yield Document(page_content=said.text, metadata=facts)
            return
        for segment in said.segments:
            times = {"start": segment.get("start"), "end": segment.get("end")}
            yield Document(page_content=str(segment.get("text", "")), metadata={**facts, **times})

    def close(self) -> None:
        """Close the connections; the loader stays usable."""
        self._settings.close()
