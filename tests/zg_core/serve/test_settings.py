"""Several models in a file: names of our own for what backends serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.zg_core.serve.serving import ANSWER, QUESTION, running, settings_of
from zg_core.crypto import sha256_hex
from zg_core.errors import ConfigError
from zg_core.jsontext import encode_body
from zg_core.localnet import LocalNet
from zg_core.serve.settings import read_toml

FILE = """
port = 4000
budget = ["5/day", "0.05/call"]
public_names = ["LLM.team.example"]
max_body = 1

[models."gpt-4o"]
model = "chat-ml"
hold = true

[models.cheap]
provider = "{provider}"
verify = "warn"
minimum = "response_bound"

[models.any]
model = "chat-tls"
kinds = ["TeeTLS"]
routing = {{ sort = "price", max_price = "100" }}
"""


def test_a_file_names_models_of_its_own(reach: dict[str, Any], net: LocalNet, tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(FILE.format(provider=net.providers[0].address))
    base = settings_of(reach, store=f"sqlite:///{tmp_path}/store.db")
    settings = read_toml(path, base, {"verify": "require", **reach})
    assert (settings.port, settings.max_body, settings.names) == (4000, 1024**2, {"llm.team.example"})
    assert [str(each) for each in settings.budget] == ["5/day", "0.05/call"]
    with running(settings) as server:
        assert [each["id"] for each in server.get("/v1/models").json["data"]] == ["gpt-4o", "cheap", "any"]
        assert server.get("/v1/models/cheap").json["id"] == "cheap"
        got = server.chat({"messages": QUESTION["messages"], "model": "gpt-4o", "temperature": 0})
        assert got.json["choices"][0]["message"]["content"] == ANSWER
        assert got.headers["x-zerog-model"] == "chat-ml"
        sent = encode_body({"messages": QUESTION["messages"], "model": "chat-ml", "temperature": 0})
        assert sha256_hex(sent) in [each.body_sha256 for each in net.providers[0].requests]
        assert server.chat({"model": "cheap", **QUESTION}).headers["x-zerog-model"] == "chat-ml"
        assert server.chat({"model": "any", **QUESTION}).headers["x-zerog-verdict"] == "verified"
        assert server.chat({"model": "chat-ml", **QUESTION}).error["code"] == "model_not_served"
        assert server.chat(QUESTION).error["code"] == "model_not_served"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = ", "cannot be read"),
        ("port = 3", "names no model"),
        ("[models.a]\nmodle = 'x'", "says modle"),
        ("wallet = '0x'\n[models.a]", "says wallet"),
        ("[models.a]\napi_key = 'app-sk-x'", "says api_key"),
        ("[models.a]\napi_key_env = 'NO_SUCH_VARIABLE'", "no NO_SUCH_VARIABLE"),
        ("[models.a]\nhold = 'yes'", "hold is a str"),
        ("[models.a]\nrouting = 7", "routing"),
        ("[models.a]\nrouting = {sort = 'price', speed = 1}", "speed"),
        ("budget = 5\n[models.a]", "budget"),
        ("budget = ['5/week']\n[models.a]", "5/week"),
        ("port = true\n[models.a]", "port is a bool"),
        ("models = 3", "names no model"),
        ("[models]\na = 3", "no table"),
        ('[models."a\\u0007"]', "no name"),
    ],
)
def test_a_file_that_says_what_nobody_understands_is_refused(
    reach: dict[str, Any], tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_toml(path, settings_of(reach), {})


def test_what_is_wrong_with_an_entry_is_said_at_the_start(reach: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused, running(settings_of(reach, {"a": {"verify": "sometimes"}})):
        pass
    assert refused.value.code == "bad_policy"
