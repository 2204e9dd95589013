"""What the pages and users write passes a strict type checker, in both frameworks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pasting import ROOT, blocks, pages

OURS = """
from langchain_zerog import ChatZeroG, ZeroGEmbeddings, get_zerog_receipts, receipt_of
from llama_index_zerog import ZeroG, ZeroGEmbedding
from llama_index_zerog import receipt_of as receipt_of_response
from zg_core import Amount, Timeouts

ChatZeroG(model_name="m", max_completion_tokens=5, stop_sequences=["x"], private_key="0x")
ChatZeroG(timeout=(5, 60), request_timeout=5, default_headers={"X-Team": "a"}, api_key="app-sk-")
ChatZeroG(temperature=0, timeout=Timeouts(read=5), extra_body={"top_k": 1}, keep_bytes=True)
ZeroG(model="m", stop_sequences=["x"], max_completion_tokens=5, private_key="0x", additional_kwargs={"top_k": 1})
ZeroGEmbeddings(model_name="m", dimensions=3, attest=2)
ZeroGEmbedding(model="m", dimensions=3, attest=2)
print(receipt_of(ChatZeroG().invoke("q")).verdict.explain())
print(receipt_of_response(ZeroG().complete("q")).fee.amount)
with get_zerog_receipts() as receipts:
    fees: dict[str, Amount] = receipts.fees
"""
WRONG = """
import zg_core
from langchain_zerog import ChatZeroG, receipt_of
from llama_index_zerog import ZeroG
ChatZeroG(max_tokens="many")
ChatZeroG(temprature=0)
ZeroG(stop_sequence=["x"])
print(receipt_of(ChatZeroG().invoke("q")).verdikt)
zg_core.og(bytes())
"""


@pytest.mark.slow
def test_what_users_write_passes_mypy_and_what_is_mistyped_does_not(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    readme = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    written = [block for block in readme if "receipt_of" in block]
    assert len(written) == 2
    elsewhere = [each.text for page in pages() for each in blocks(page) if each.note == "type-checked"]
    assert elsewhere, "blocks that need another network are only checked"
    pasted = {f"page_{number}": text for number, text in enumerate([*written, *elsewhere])}
    texts = {**pasted, "ours": OURS, "wrong": WRONG}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    # As users run it: without our configuration, whose plugin lets arguments of any type pass.
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = True\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(tmp_path / "mypy.ini")]
    command += ["--cache-dir", str(ROOT / ".mypy_cache" / "users"), *map(str, sorted(tmp_path.glob("*.py")))]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = [line for line in ran.stdout.splitlines() if ": error:" in line]
    errors = [line for line in found if Path(line.partition(":")[0]).stem in texts]  # `make lint` looks at our own code
    assert not [line for line in errors if "/wrong.py:" not in line]
    assert len(errors) == 5, ran.stdout + ran.stderr
