"""Other tasks take the same way as chat."""

from __future__ import annotations

from tests.zg_core.serve.serving import Running


def test_embeddings_are_paid_verified_and_passed_on(served: Running) -> None:
    got = served.post("/v1/embeddings", {"model": "embed", "input": ["a", "b"]})
    assert got.status == 200, got.body
    assert len(got.json["data"]) == 2
    assert got.headers["x-zerog-verdict"] == "verified"


def test_every_model_on_chain_is_listed_once(served: Running) -> None:
    listed = [each["id"] for each in served.get("/v1/models").json["data"]]
    assert listed == ["chat-ml", "chat-tls", "chat-separated", "chat-standard", "embed"]
    assert served.get("/v1/models/embed").json["object"] == "model"
    assert served.get("/v1/models/none").status == 404
