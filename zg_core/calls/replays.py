"""Old answers stay old: what every reply leaves behind, so that it is known when it comes again.

What is noted are the ids of a reply, and its bytes, in this process and, where there is a store, for all who share it.
An answer that comes again under another id is the same bytes, since the signature covers them; so is one under no id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core.tasks.base import EMBEDDINGS, IMAGE_EDITS, IMAGES, TRANSCRIPTION
from zg_core.verify.replay import mark_of
from zg_core.verify.verdict import Binding

if TYPE_CHECKING:
    from zg_core.calls.call import Call
    from zg_core.receipts.recorder import Recorder
    from zg_core.verify.replay import ReplayGuard
    from zg_core.verify.verdict import Verdict

__all__ = ["Replays"]

_FUNCTIONS = frozenset({EMBEDDINGS.name, IMAGES.name, IMAGE_EDITS.name, TRANSCRIPTION.name})
"""Tasks whose answer may follow from the request alone (a seed, a file): the same bytes again are no sign."""


class Replays:
    """Notes requests and replies of one client.

    Args:
        guard: The memory of this process.
        recorder: Leads to the store.
    """

    def __init__(self, guard: ReplayGuard, recorder: Recorder) -> None:
        self._guard = guard
        self._recorder = recorder

    def sent(self, call: Call) -> None:
        """Note that the request of `call` is on its way."""
        self._guard.sent(call.receipt.provider, call.exchange.request_sha256)

    def arrived(self, call: Call) -> frozenset[bytes]:
        """Note the reply of `call` in this process, and on `call` whether it was noted before; its marks.

        Of a reply that broke off only the ids and the backend's marks are noted: its bytes are not those that were
        signed.
        """
        exchange = call.exchange
        marks = {*_ids(call), *call.marks}
        service = call.route.service
        if exchange.complete and call.task.name not in _FUNCTIONS:
            signer = str(
                service.record.get("signer") or service.provider
            )  # whoever signs for several providers says a thing once
            marks.add(mark_of("bytes", signer.lower(), exchange.response_sha256))
        self.known(call, frozenset(mark for mark in marks if self._guard.note(mark)))
        return frozenset(marks)

    def known(self, call: Call, old: frozenset[bytes]) -> None:
        """Of the marks of the reply of `call`, these are an earlier reply's."""
        exchange = call.exchange
        if old:
            exchange.known_id = exchange.known_id or bool(old & _ids(call))
            exchange.replayed = exchange.replayed or exchange.complete
        call.receipt.replayed = exchange.replayed

    def judged(self, call: Call, verdict: Verdict) -> None:
        """A verdict was made: a request that was forwarded in another form is ours in that form, too."""
        if verdict.binding in (Binding.REWRITTEN, Binding.RENAMED):
            self._guard.sent(call.receipt.provider, verdict.signed_request_sha256)

    def left(self, call: Call) -> None:
        """`arrived`, where nobody may wait: the reader left, or the task was cancelled."""
        if marks := _ids(call) | call.marks:
            for mark in marks:
                self._guard.note(mark)
            self._recorder.noted_aside(call.receipt, marks)


def _ids(call: Call) -> frozenset[bytes]:
    provider = call.receipt.provider.lower()
    return frozenset([mark_of("id", provider, each) for each in call.exchange.marks])
