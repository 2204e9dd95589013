"""The routes beside the proxy: jobs of images, and fine-tuned adapters (services §3, §6)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from zg_core.localnet.model.json import load_json
from zg_core.localnet.provider import catalog, gojson
from zg_core.localnet.provider.exchange import Exchange
from zg_core.localnet.provider.faults import Fault
from zg_core.localnet.provider.replies import error_response
from zg_core.localnet.services.jobs import describe
from zg_core.localnet.services.trades import PATHS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from zg_core.localnet.provider.state import ProviderState

_LOOKS = 2  # at a job, before it is done


class Asides:
    """The endpoints of one provider for jobs and adapters.

    Args:
        state: The provider.
        charged: Admits a paid request.
        with_session: Answers a user with a valid session.
    """

    def __init__(
        self,
        state: ProviderState,
        charged: Callable[[Request, str, bytes], Awaitable[Response]],
        with_session: Callable[..., Response],
    ) -> None:
        self._state = state
        self._charged = charged
        self._with_session = with_session

    async def adapters(self, request: Request) -> Response:
        """GET /v1/lora/adapters."""
        return self._with_session(
            request, lambda user: JSONResponse({"adapters": catalog.adapter_entries(self._state, user)})
        )

    async def adapter(self, request: Request) -> Response:
        """GET /v1/lora/adapters/{name or task id}."""

        def find(user: str) -> Response:
            adapter = self._state.adapters.find(request.path_params["name"])
            if adapter is None:
                return error_response(404, "adapter not found")
            return JSONResponse(self._state.adapters.look(adapter).to_json(user))

        return self._with_session(request, find)

    async def deploy(self, request: Request) -> Response:
        """POST /v1/lora/adapters/deploy."""

        def start(user: str) -> Response:  # noqa: ARG001 - what `_with_session` calls
            try:
                order = load_json((request.state.body or b"").decode())
                name = order.get("adapterName") or order["taskId"]
            except (ValueError, KeyError, AttributeError):
                return error_response(400, "adapterName, or taskId and baseModel, are needed")
            if not self._state.spec.lora:
                return error_response(503, "LoRA serving not enabled")
            adapter = self._state.adapters.find(name)
            if adapter is None:
                return error_response(404, "adapter not found")
            if not self._state.adapters.deploy(adapter):
                return error_response(409, f"adapter is not in a deployable state: {adapter.state}")
            return JSONResponse({"status": "deploying", "adapterName": adapter.name, "message": "adapter is loading"})

        return self._with_session(request, start, status=401)

    async def start_job(self, request: Request) -> Response:
        """POST /v1/async/images/generations and …/edits: made at once, shown when it was asked for often enough."""
        path, state = f"/images/{request.path_params['form']}", self._state
        if not state.spec.async_jobs:
            return error_response(503, "async image generation is not enabled")
        if path != PATHS[state.spec.service_type] or request.state.body is None:
            reason = "unsupported endpoint: endpoint not supported"
            return error_response(400, state.settings.error_prefix + reason)
        answer = await self._charged(request, path, request.state.body)
        if not isinstance(answer, Exchange):
            return answer
        if Fault.JOB_FAILED in answer.faults:
            answer.drop()
            job = state.jobs.add(answer.user, None, [], error="the model ran out of memory")
            return JSONResponse({"jobId": job.job_id, "status": "pending"}, 202)
        answer.image_key = str(uuid.uuid4())
        status, headers, data = await answer.aside()
        if status != 200:
            return Response(data, status, dict(headers))
        kept = [(name, value) for name, value in headers if name in ("zg-res-key", "provider")]
        job = state.jobs.add(answer.user, data, kept, job_id=answer.image_key)
        job.lost = Fault.JOB_LOST in answer.faults
        return JSONResponse({"jobId": job.job_id, "status": "pending"}, 202)

    async def job(self, request: Request) -> Response:
        """GET /v1/async/jobs/{id}: pending at the first look, processing at the second, then what became of it."""

        def look(user: str) -> Response:
            job = self._state.jobs.find(request.path_params["job"])
            if job is None:
                return error_response(404, "job not found")
            if job.user != user:
                return error_response(403, "you can only query your own jobs")
            job.looks += 1
            if job.looks <= _LOOKS:
                state = "pending" if job.looks == 1 else "processing"
                wait = f"{self._state.settings.job_poll:g}"
                return JSONResponse(describe(job, state), headers={"retry-after": wait})
            if job.body is None:
                return JSONResponse(describe(job, "failed"))
            said = gojson.dumps(describe(job, "completed"))[:-1] + b',"data":' + job.body + b"}"
            return Response(said, media_type="application/json", headers=dict(job.headers))

        return self._with_session(request, look)
