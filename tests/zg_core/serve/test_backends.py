"""The server in front of the other backends: the same routes, verdicts and errors; sealed answers are opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.backends.opengradient.conftest import arguments
from tests.zg_core.backends.router.conftest import settings_for
from tests.zg_core.serve.serving import ANSWER, QUESTION, Running, running, settings_of
from zg_core.backends.router.options import Router
from zg_core.errors import ConfigError
from zg_core.localnet import LocalNet
from zg_core.localnet.opengradient.network import OpenGradientNet
from zg_core.localnet.provider.settings import standard_specs
from zg_core.serve.settings import entry_of

MODEL = "local-chat-1"


@pytest.fixture(scope="module")
def routed() -> Iterator[LocalNet]:
    with LocalNet(providers=standard_specs(2), router=True) as net:
        net.router.set_balance(10 * 10**18)
        yield net


@pytest.fixture(scope="module", params=[False, True], ids=["clear", "sealed"])
def through_router(routed: LocalNet, request: pytest.FixtureRequest) -> Iterator[tuple[Running, str]]:
    """A server that asks the Router, and the verdict that it can have."""
    reach = settings_for(routed, sealed=request.param)
    reach |= {} if request.param else {"minimum": "signer_only"}
    with running(settings_of(reach, {MODEL: {}})) as server:
        yield server, "verified" if request.param else "signer_only"


def test_the_router_answers_through_it(through_router: tuple[Running, str]) -> None:
    server, verdict = through_router
    got = server.chat({"model": MODEL, **QUESTION})
    assert (got.status, got.headers.get("x-zerog-verdict")) == (200, verdict), got.body
    assert got.json["choices"][0]["message"]["content"] == ANSWER
    streamed = server.chat({"model": MODEL, "stream": True, **QUESTION})
    assert (streamed.text, streamed.events[-1]) == (ANSWER, "[DONE]")
    assert streamed.comment["verdict"] == verdict


def test_the_console_shows_what_there_is_to_show_of_the_router(through_router: tuple[Running, str]) -> None:
    server, verdict = through_router
    found = server.chat({"model": MODEL, **QUESTION}).headers["x-zerog-receipt"]
    assert server.get("/console/api/account").json["backend"] == "router"
    assert server.get(f"/console/api/receipts/{found}").json["steps"]
    again = server.post(f"/console/api/receipts/{found}/verify", {}).json
    sealed = verdict == "verified"  # the Router's own word for an answer that is not sealed has no anchor
    expected = ("passed", "the chain") if sealed else ("unproven", None)
    assert (again.get("result"), again.get("anchor")) == expected, again
    for what in ("overview", "spend", "providers", "calls", "export"):
        assert server.get(f"/console/api/{what}").status == 200, what


@pytest.mark.parametrize("kept", [False, True])
def test_opengradient_answers_through_it(zerog_opengradient: OpenGradientNet, *, kept: bool) -> None:
    reach = {**arguments(zerog_opengradient), "verify": "require", "keep_bytes": kept}
    with running(settings_of(reach, {"openai/gpt-5": {}})) as server:
        asked = {"model": "openai/gpt-5", "messages": [{"role": "user", "content": "What is 2+3?"}], "max_tokens": 50}
        got = server.chat(asked)
        assert (got.status, got.headers.get("x-zerog-verdict")) == (200, "verified"), got.body
        streamed = server.chat({**asked, "stream": True})
        assert streamed.comment["verdict"] == "verified"
        again = server.post(f"/console/api/receipts/{got.headers['x-zerog-receipt']}/verify", {}).json
        # What is signed is made of the bytes: without them only who signed shows.
        assert (again["result"], again["anchor"]) == ("passed" if kept else "unproven", "the registry"), again
        told = server.get("/console/api/account").json
        assert [name for name, _ in told["facts"]] == ["Balance", "Payments may take"]
        assert all(int(amount["units"]) > 0 for _, amount in told["facts"])


def test_the_console_of_another_network_vouches_for_no_enclave(
    zerog_opengradient: OpenGradientNet, reach: dict[str, Any], tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    asked = {"model": "openai/gpt-5", "messages": [{"role": "user", "content": "What is 2+3?"}], "max_tokens": 50}
    with running(settings_of(arguments(zerog_opengradient), {"openai/gpt-5": {}}, store=store)) as server:
        found = server.chat(asked).headers["x-zerog-receipt"]
    with running(settings_of(reach, store=store)) as server:
        assert server.post(f"/console/api/receipts/{found}/verify", {}).error["code"] == "other_network"


def test_a_file_chooses_a_backend_and_its_own_settings(reach: dict[str, Any]) -> None:
    said = entry_of("a", {"backend": {"name": "router", "sealed": True}}, {})
    assert said.settings["backend"] == Router(sealed=True)
    assert entry_of("a", {"backend": "direct"}, {}).settings["backend"] == "direct"
    for wrong in ({"name": "router", "seeled": True}, {"sealed": True}, 7):
        with pytest.raises(ConfigError, match="backend"):
            entry_of("a", {"backend": wrong}, {})
    with pytest.raises(ConfigError), running(settings_of(reach, {"a": {"backend": "moon"}})):
        pass
