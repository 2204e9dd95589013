"""The demo passes, and fails when a part of the client is taken out."""

from __future__ import annotations

import io

from rich.console import Console

from zg_core.cli.demo import Demo
from zg_core.verify.schemes import signed_hashes as response


def run(broken: str | None = None) -> tuple[int, str]:
    output = io.StringIO()
    code = Demo(Console(file=output, width=120), broken=broken).run()
    return code, output.getvalue()


def test_every_check_holds():
    code, output = run()
    assert code == 0, output
    assert "OK every check holds" in output
    assert "✗" not in output
    for claim in (
        "receipt fee == settled fee",
        "the altered reply was caught",
        "signed by the TEE signer on chain",
        "settled fee == what the gateway metered",
        "the altered answer was caught",
    ):
        assert claim in output, output
    for title in ("Embeddings", "An image", "A transcription"):
        assert f"\n{title}\n" in output
    assert output.count("receipt fee == settled fee") == 4
    assert output.count("the receipt is verified again, offline") == 3


def test_a_client_that_skips_the_hash_is_noticed():
    honest = response.examine
    code, output = run("client-skips-hash")
    assert code == 1
    assert "demo failed: the altered reply was caught: the altered reply was accepted" in output
    assert output.count("demo failed:") == 1, output
    assert response.examine is honest
