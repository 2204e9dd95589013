"""The pages on money and on the local network: their examples run, and what they list is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zg_core import Sending
from zg_core.localnet import LocalNet, fault_meanings, node_fault_meanings

ROOT = Path(__file__).resolve().parents[5]
DOCS = ROOT / "docs"


def text(page: str) -> str:
    return (DOCS / page).read_text()


@pytest.mark.parametrize("page", ["money.md", "localnet.md"])
def test_the_examples_of_a_page(page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with LocalNet() as net:
        for name, value in net.env().items():
            if name not in ("ZEROG_PROVIDER", "ZEROG_MODEL"):
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("ZEROG_STORE", f"sqlite:///{tmp_path}/store.db")
        found = re.findall(r"^```python\n(.*?)^```", text(page), re.DOTALL | re.MULTILINE)
        assert found
        for number, block in enumerate(found, 1):
            exec(compile(block, f"{page}, block {number}", "exec"), {"__name__": "page"})


@pytest.mark.parametrize(("name", "meanings"), [("provider", fault_meanings), ("node", node_fault_meanings)])
def test_the_faults_listed_are_those_there_are(name, meanings):
    listed = text("localnet.md").partition(f"<!-- {name} faults -->\n")[2].partition("<!-- end -->")[0]
    assert listed == "".join(f"| `{fault}` | {line} |\n" for fault, line in meanings().items())


def test_every_setting_has_its_default():
    usual = Sending()
    shown = {"max_fee_per_gas": "500·10^9 neuron", "max_gas_cost": "0.1 0G", "timeout": "180", "confirmations": "1"}
    assert (usual.max_fee_per_gas.units, str(usual.max_gas_cost)) == (500 * 10**9, "0.1 0G")
    assert (usual.timeout, usual.confirmations) == (180, 1)
    for name in Sending.__dataclass_fields__:
        assert f"`{name}`" in text("money.md"), name
    for name, default in shown.items():
        assert f"| `{name}` | {default} |" in text("money.md")


def test_every_code_is_one_of_the_package():
    table = text("money.md").partition("## Errors")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    codes = {code for row in rows for code in re.findall(r"`([a-z_]+)`", row)}
    source = "\n".join(path.read_text() for path in (ROOT / "zg_core").rglob("*.py"))
    assert len(codes) > 12
    for code in codes:
        assert f'"{code}"' in source, code
