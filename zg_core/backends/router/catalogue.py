"""What the Router lists: models, providers, prices and candidates. All of it is its own word (0g-router §6, §10.5)."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from zg_core.crypto import checksum_address, is_address
from zg_core.errors import RequestError
from zg_core.pricing import Tariff

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.backends.router.api import RouterApi
    from zg_core.config import Secret
    from zg_core.tasks.base import Task

__all__ = ["Catalogue", "Row", "abilities_of", "tariff_of"]

_SECONDS = 60.0
_UNITS = re.compile(r"[0-9]{1,60}")
_NAME = re.compile(r"[!-~]{1,128}")  # it goes into the request
_ABILITIES = {"tools": "tools", "response_format": "structured_output", "reasoning_effort": "reasoning"}
Row = dict[str, Any]


class Catalogue:
    """The Router's lists, read again after a minute.

    Args:
        api: Asks it.
    """

    def __init__(self, api: RouterApi) -> None:
        self._api = api
        self._kept: dict[str, tuple[float, list[Row]]] = {}

    async def providers(self, task: Task, model: str | None) -> list[Row]:
        """The rows of ``/providers`` for a task, and a model by any of its names."""
        rows = await self._rows(f"/providers?service_type={quote(task.service_type, safe='')}")
        if model is None:
            return rows
        wanted = model.lower()
        return [row for row in rows if wanted in (_low(row, "canonical_id"), _low(row, "model_id"), _low(row, "name"))]

    async def models(self) -> list[Row]:
        """The rows of ``/models``."""
        return await self._rows("/models")

    async def offers(self, task: Task) -> bool:
        """Whether the Router has services of a task at all."""
        return any(row.get("type") == task.service_type for row in await self._rows("/service-types"))

    async def preview(
        self, task: Task, clear: Mapping[str, Any], key: Secret, headers: Mapping[str, str]
    ) -> list[tuple[str, str]] | None:
        """Candidates for a sealed request, best first: address and canonical id; None where it is not enabled.

        Only what stays clear is sent, and nothing of it that could name what is asked. Where the enclave is, says the
        chain.
        """
        body = {name: value for name, value in clear.items() if name in ("model", "max_tokens", "stream")}
        try:
            said = await self._api.ask(
                "POST", "/routing/preview", key, {**body, "service_type": task.service_type}, headers
            )
        except RequestError as error:
            if error.details.get("status") in (404, 405, 501) and error.code != "model_not_found":
                return None
            raise
        rows = said.get("providers") if isinstance(said, dict) else None
        return [
            (checksum_address(row["address"]), row["canonical_id"])
            for row in (rows if isinstance(rows, list) else ())
            if isinstance(row, dict)
            and is_address(row.get("address"))
            and isinstance(row.get("canonical_id"), str)
            and _NAME.fullmatch(row["canonical_id"])
        ]

    async def _rows(self, path: str) -> list[Row]:
        read, rows = self._kept.get(path, (0.0, []))
        if time.monotonic() - read > _SECONDS or path not in self._kept:
            rows = await self._api.rows(path)
            self._kept[path] = (time.monotonic(), rows)
        return rows


def tariff_of(rows: list[Row]) -> Tariff | None:
    """The dearest of the prices in `rows`, which bounds what any of these providers costs; None where one has none."""
    prices = [_prices(row) for row in rows]
    known = [each for each in prices if each is not None]
    if not known or len(known) < len(prices):
        return None
    inward, outward = (max(each[side] for each in known) for side in (0, 1))
    return Tariff(inward, outward, listed=True)


def abilities_of(row: Row) -> frozenset[str]:
    """What a row says that its model can do, in words of `zg_core.routing.ABILITIES`."""
    said = row.get("supported_parameters")
    words = {_ABILITIES[name] for name in said if name in _ABILITIES} if isinstance(said, list) else set()
    if "structured_output" in words:
        words.add("json_mode")
    shape = row.get("architecture")
    inputs = shape.get("input_modalities") if isinstance(shape, dict) else None
    for modality, word in (("image", "images"), ("audio", "audio"), ("file", "files")):
        if isinstance(inputs, list) and modality in inputs:
            words.add(word)
    return frozenset(words)


def _prices(row: Row) -> tuple[int, int] | None:
    pricing = row.get("pricing")
    if not isinstance(pricing, dict) or pricing.get("tiered_pricing"):
        return None
    found = [pricing.get(name) for name in ("prompt", "completion")]
    if not all(isinstance(each, str) and _UNITS.fullmatch(each) for each in found):
        return None
    return int(str(found[0])), int(str(found[1]))


def _low(row: Row, name: str) -> str:
    value = row.get(name)
    return value.lower() if isinstance(value, str) else ""
