"""npm's openai and the Vercel AI SDK (`@ai-sdk/openai-compatible`) in front of `zerog serve`.

serve_clients.mjs takes both through everything once; each test is about one step.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.conftest import HERE, make_node_modules
from tests.patience import PATIENCE
from tests.zg_core.serve.serving import ANSWER, TOKEN, Running, running, settings_of
from zg_core.localnet import LocalNet, ProviderSpec

pytestmark = pytest.mark.requires("node")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server with a model that answers, and one whose answers are changed on their way."""
    with LocalNet(providers=[ProviderSpec(model="good"), ProviderSpec(model="broken")]) as net:
        rich = net.new_wallet()
        for provider in net.providers:
            net.open_account(rich, provider, 10 * 10**18)
        net.providers[1].fault("body_changed", times=None)
        reach = {"private_key": rich.private_key, "network": "local", "rpc_url": net.rpc_url}
        with running(settings_of({**reach, "ledger": net.ledger, "inference": net.inference})) as made:
            yield made


@pytest.fixture(scope="module")
def steps(server: Running) -> dict[str, Any]:
    environ = {"PATH": os.environ["PATH"], "BASE_URL": server.base, "TOKEN": TOKEN, "MODEL": "good", "BROKEN": "broken"}
    done = subprocess.run(
        [make_node_modules(), HERE / "serve_clients.mjs"],
        cwd=HERE,
        env=environ,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [line for line in lines if not line["ok"]]
    assert not failed, failed
    assert done.returncode == 0, done.stderr[-3000:]
    return {line["step"]: line["facts"] for line in lines}


@pytest.mark.parametrize("client", ["openai", "ai"])
def test_whole_answers_come_with_the_verdict_on_their_head(steps: dict[str, Any], client: str) -> None:
    assert steps[f"{client}_whole"]["text"] == ANSWER
    assert steps[f"{client}_whole"]["verdict"] == "verified"


@pytest.mark.parametrize("client", ["openai", "ai"])
def test_streams_are_read_to_their_end_and_judged(steps: dict[str, Any], server: Running, client: str) -> None:
    assert steps[f"{client}_stream"]["text"] == ANSWER
    if client == "ai":
        receipt = server.server.seen.get(steps["ai_stream"]["receipt"]).receipt
        assert receipt.verdict.status == "verified"


def test_models_are_listed(steps: dict[str, Any]) -> None:
    assert steps["openai_models"]["ids"] == ["good", "broken"]


def test_refusals_are_the_clients_own_errors(steps: dict[str, Any]) -> None:
    assert steps["openai_wrong_token"]["name"] == "AuthenticationError"
    assert steps["openai_unknown_model"]["name"] == "NotFoundError"
    assert steps["openai_unknown_model"]["code"] == "model_not_served"


@pytest.mark.parametrize("client", ["openai", "ai"])
def test_a_changed_answer_is_an_error_that_is_not_asked_for_again(steps: dict[str, Any], client: str) -> None:
    said = steps[f"{client}_tampered"]
    assert said["status"] == 424
    assert "do not trust" in said["message"]


@pytest.mark.parametrize("client", ["openai", "ai"])
def test_a_changed_stream_is_an_error(steps: dict[str, Any], client: str) -> None:
    assert "do not trust" in steps[f"{client}_tampered_stream"]["message"]


def test_nothing_was_paid_twice(steps: dict[str, Any], server: Running) -> None:
    verdicts = [str(each.receipt.verdict.status) for each in server.server.seen.after(0)]
    assert (verdicts.count("verified"), verdicts.count("failed")) == (4, 4), "before the guide's own"
    assert steps


GUIDE = (HERE.parents[1] / "docs/guides/openai.md").read_text(encoding="utf-8")


def pasted(language: str, server: Running) -> str:
    """The example of the guide in this language, for the server of these tests."""
    found = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    (block,) = (each for each in found if "http://127.0.0.1:3000/v1" in each)
    return str(block).replace("http://127.0.0.1:3000", server.url).replace("local-chat-1", "good")


@pytest.mark.parametrize("language", ["js", "ts"])
def test_an_example_of_the_guide_runs(server: Running, language: str) -> None:
    done = subprocess.run(
        [make_node_modules(), "--input-type=module", "-"],
        cwd=HERE,
        env={"PATH": os.environ["PATH"], "ZEROG_SERVE_TOKEN": TOKEN},
        input=pasted(language, server),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(" verified")


def test_curl_of_the_guide_shows_the_verdict(server: Running) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    command = "curl" + pasted("sh", server).partition("curl")[2]
    environ = {"PATH": os.environ["PATH"], "ZEROG_SERVE_TOKEN": TOKEN}
    done = subprocess.run(["bash", "-c", command], env=environ, capture_output=True, text=True, check=False)
    assert "x-zerog-verdict: verified" in done.stdout.lower()
