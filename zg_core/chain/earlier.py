"""What was asked for earlier, and had no clear end: what became of it, and whether it may be asked for again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zg_core.chain.results import status_of
from zg_core.errors import ChainError

if TYPE_CHECKING:
    from zg_core.chain.intentions import Intention, Intentions, Record
    from zg_core.chain.nonces import Nonces
    from zg_core.chain.traces import Seen, Traces
    from zg_core.http.transport import Transport

__all__ = ["Earlier"]


class Earlier:
    """The earlier intentions of one account."""

    def __init__(self, transport: Transport, intentions: Intentions, nonces: Nonces, traces: Traces) -> None:
        self._transport = transport
        self._intentions = intentions
        self._nonces = nonces
        self._traces = traces

    async def unsettled(self, to: str = "", data: str = "") -> list[Intention]:
        """What had no clear end, as one look shows it now: settled, or still unclear. Sends nothing.

        Args:
            to: Only calls of this contract.
            data: Only calls whose data begins so, 0x.

        Raises:
            ChainError: the chain cannot be read.
        """
        listed = await self._transport.blocking(self._intentions.unsettled)
        asked = [each for each in listed if to.lower() in ("", each.shown.to.lower()) and each.data.startswith(data)]
        looked = [await self.look(each) for each in asked]
        return [shown for shown, seen in looked if seen is not None]

    async def refuse_repetition(self, what: str, to: str, data: str, value: int) -> list[Record]:
        """Refuse what was asked for before, where that may still be mined, or was and its caller was not told.

        Returns:
            What is seen nowhere, and was refused or has been unclear for long, though nothing shows that its nonce went
            to another transaction: a node may keep it, or hide it. What is sent now has to have the same nonce, which
            all of it has.

        Raises:
            ChainError: so it is (``transaction_pending``, ``transaction_mined``), or the chain cannot be read.
        """
        hidden: list[Record] = []
        for record in await self._transport.blocking(self._intentions.alike, to, data, value):
            shown, seen = await self.look(record)
            if seen is None:
                continue
            facts: dict[str, Any] = {"intention": shown.id, "asked_at": shown.asked_at, "nonce": shown.nonce}
            facts |= {"transaction": shown.hashes[-1], "replaced": shown.hashes[:-1]}
            asked = f"the same was asked for at {shown.asked_at:%Y-%m-%d %H:%M:%S} UTC"
            if shown.state == "mined":
                raise ChainError(
                    f"{what}: {asked}, its end was unclear then, and it is mined by now ({shown.hashes[-1]}); nothing "
                    "was sent now",
                    code="transaction_mined",
                    hint="it is done; again=True (--again) sends another one",
                    **facts,
                )
            recent = await self._transport.blocking(self._intentions.is_recent, record)
            nonces = {form.nonce for each in [*hidden, record] for form in each.forms}
            lost = not recent and not seen.known and not seen.inconclusive and seen.mined <= min(nonces)
            if shown.state == "unclear" and not (lost and len(nonces) == 1):
                raise ChainError(
                    f"{what}: {asked} and may still be mined ({shown.hashes[-1]}); nothing was sent now",
                    code="transaction_pending",
                    hint=f"`zerog pending` looks for it, `zerog pending --resume {shown.id}` waits for it; "
                    "again=True (--again) sends another one",
                    **facts,
                )
            if shown.state in ("unclear", "refused"):
                hidden.append(replace(record, shown=shown))
        return hidden

    async def look(self, record: Record) -> tuple[Intention, Seen | None]:
        """What the chain shows of an intention now; the store is told what became clear.

        Returns:
            The intention, and what was seen of it; None where nothing of it was ever signed.
        """
        shown, hashes = record.shown, record.shown.hashes
        if not hashes:  # its process ended before
            await self._transport.blocking(self._intentions.close, shown.id, None)
            return shown, None
        seen = await self._traces.look(hashes, known=True)
        state = shown.state
        if seen.receipt is not None:
            status = status_of(seen.receipt)
            state = "unclear" if status is None else "mined" if status else "reverted"
            if state == "reverted" and await self._is_denied(record, seen):
                state = "unclear"
        elif seen.mined > max(form.nonce for form in record.forms):
            state = "dropped" if await self._is_dropped(record) else "unclear"
        if state != shown.state or state == "mined":
            await self._transport.blocking(self._intentions.settle, shown.id, state)
        return replace(shown, state=state), seen

    async def _is_denied(self, record: Record, seen: Seen) -> bool:
        """Whether it is said to be reverted, and the chain does not bear that out."""
        shown = record.shown
        call = {"from": self._traces.address, "to": shown.to, "data": record.data, "value": hex(shown.value.units)}
        gas = next(form.gas for form in record.forms if form.hash == seen.hash)
        return await self._traces.contradicts(call, seen.receipt or {}, gas)

    async def _is_dropped(self, record: Record) -> bool:
        """Whether every nonce that it had is shown to have gone to another transaction."""
        ours = set(record.shown.hashes)
        for nonce in {form.nonce for form in record.forms}:
            taker = await self._traces.taker(nonce)
            if taker is None:
                forms = await self._transport.blocking(self._nonces.forms, nonce)
                others = [form.hash for form in forms if form.hash not in ours]
                taker = (await self._traces.look(others)).hash if others else ""
            if not taker or taker in ours:
                return False
        return True
