"""The status API of a local network (0g-direct §1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zg_core.localnet import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from zg_core.localnet.state import ProviderState


def make_app(states: Sequence[ProviderState]) -> Starlette:
    """GET /health and GET /models for all providers of a network."""

    async def health(request: Request) -> Response:  # noqa: ARG001 - the route's signature
        return JSONResponse(catalog.health(states))

    async def models(request: Request) -> Response:  # noqa: ARG001 - the route's signature
        return JSONResponse(await catalog.all_models(states))

    return Starlette(routes=[Route("/health", health), Route("/models", models)])
