"""The status API of a local network (0g-direct §1.3), and what the maker of its hardware publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from zg_core.localnet.hardware.attestation import os_image
from zg_core.localnet.provider import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from zg_core.localnet.hardware.platform import Maker
    from zg_core.localnet.provider.state import ProviderState


def make_app(states: Sequence[ProviderState], maker: Callable[[], Maker]) -> Starlette:
    """GET /health and /models for all providers of a network; for verifiers /pccs, /attestation/root and …/os-image."""

    async def health(request: Request) -> Response:  # noqa: ARG001 - the route's signature
        return JSONResponse(catalog.health(states))

    async def models(request: Request) -> Response:  # noqa: ARG001 - the route's signature
        return JSONResponse(await catalog.all_models(states))

    def root(request: Request) -> Response:  # noqa: ARG001 - the route's signature
        return Response(maker().root, media_type="application/pkix-cert")

    def image(request: Request) -> Response:  # noqa: ARG001 - the route's signature
        return Response(":".join(os_image()), media_type="text/plain")

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/models", models),
            Route("/attestation/root", root),
            Route("/attestation/os-image", image),
            Mount("/pccs", routes=collateral_routes(maker)),
        ]
    )


def collateral_routes(maker: Callable[[], Maker]) -> list[Route]:
    """The routes of a provisioning certificate caching service, as far as a verifier asks them."""

    def signed(found: tuple[str, bytes] | None, name: str, header: str) -> Response:
        if found is None:
            return JSONResponse({"error": "unknown platform"}, 404)
        text, signature = found
        body = f'{{"{name}":{text},"signature":"{signature.hex()}"}}'
        return Response(body, media_type="application/json", headers={header: quote(maker().signing_chain)})

    def tcb(request: Request) -> Response:
        found = maker().tcb_info(request.query_params.get("fmspc", ""))
        return signed(found, "tcbInfo", "TCB-Info-Issuer-Chain")

    def identity(request: Request) -> Response:  # noqa: ARG001 - the route's signature
        return signed(maker().qe_identity(), "enclaveIdentity", "SGX-Enclave-Identity-Issuer-Chain")

    def pck_revocations(request: Request) -> Response:  # noqa: ARG001 - the route's signature
        headers = {"SGX-PCK-CRL-Issuer-Chain": quote(maker().pck_ca.chain)}
        return Response(maker().pck_revocations(), media_type="application/pkix-crl", headers=headers)

    def root_revocations(request: Request) -> Response:  # noqa: ARG001 - the route's signature
        return Response(maker().root_revocations().hex(), media_type="text/plain")

    return [
        Route("/tdx/certification/v4/tcb", tcb),
        Route("/tdx/certification/v4/qe/identity", identity),
        Route("/sgx/certification/v4/pckcrl", pck_revocations),
        Route("/sgx/certification/v4/rootcacrl", root_revocations),
    ]
