"""Our contracts do, step by step, what the real ones do (real bytecode on anvil, ours on anvil, ours on our chain)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from zg_core.localnet.chain import abi

from . import (
    reference,
    scenario_accounts,
    scenario_initialisation,
    scenario_ledger,
    scenario_refunds,
    scenario_registry,
    scenario_services,
    scenario_serving,
    scenario_settlement,
    scenario_wallets,
)
from .stage import SCRIPTING, Records, Stage

pytestmark = pytest.mark.requires("node", "anvil")

MODULES = (
    scenario_initialisation,
    scenario_registry,
    scenario_ledger,
    scenario_accounts,
    scenario_refunds,
    scenario_services,
    scenario_settlement,
    scenario_serving,
    scenario_wallets,
)
SCENARIOS: Mapping[str, Callable[[Stage], None]] = {
    scenario.__name__.replace("_", " "): scenario for module in MODULES for scenario in module.SCENARIOS
}

# A quarter of a minute for an EVM in Python; anvil runs the same bytecode of ours in a second.
ON_ANVIL, ON_ANVIL_ALONE = 2, {"five hundred services"}
# In the ABI, but nothing reaches them (0g-contracts B2).
NEVER_RAISED = {"InvalidServiceType", "ServiceNotRegistered", "InvalidTEESignature"}
NEVER_EMITTED = {"BatchBalanceUpdated"}


def play(stage: Stage, name: str) -> None:
    with stage.playing(name, sides=ON_ANVIL if name in ON_ANVIL_ALONE else None):
        SCENARIOS[name](stage)
        stage.compare_lists()


@pytest.fixture(scope="module")
def played(stage: Stage, records: Records) -> Records:
    """The records once every scenario was played, whichever tests were chosen."""
    done = {step.partition(": ")[0] for step in records.steps}
    for name in SCENARIOS:
        if name not in done:
            play(stage, name)
    return records


def bare(entry: Any) -> str:
    """An ABI entry without the compiler's own names for types."""
    if isinstance(entry, Mapping):
        return json.dumps({key: bare(value) for key, value in sorted(entry.items()) if key != "internalType"})
    return json.dumps([bare(each) for each in entry]) if isinstance(entry, list) else json.dumps(entry)


@pytest.mark.parametrize("name", list(reference.FACTORIES))
def test_the_abi_is_the_same_entry_by_entry(name: str) -> None:
    real, ours = ({bare(entry) for entry in source[name]["abi"]} for source in (reference.contracts(), artifacts()))
    assert ours == real


def artifacts() -> dict[str, Mapping[str, Any]]:
    return {name: abi.artifact(name) for name in reference.FACTORIES}


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_every_step_ends_alike(stage: Stage, name: str) -> None:
    play(stage, name)


def test_the_scenarios_reach_everything_there_is(played: Records) -> None:
    entries = [(name, entry) for name, artifact in artifacts().items() for entry in artifact["abi"]]
    functions = {(name, entry["name"]) for name, entry in entries if entry["type"] == "function"}
    events = {entry["name"] for _, entry in entries if entry["type"] == "event"}
    errors = {entry["name"] for _, entry in entries if entry["type"] == "error"}
    assert functions - played.functions == set(), "functions that no step calls"
    assert events - played.events == NEVER_EMITTED, "events that no step emits"
    assert played.events <= events, "events that are in no ABI"
    assert errors - played.refusals == NEVER_RAISED, "refusals that no step meets"
    assert played.refusals >= {"Error", "Panic", ""}
    assert len(played.steps) >= 120, f"only {len(played.steps)} steps have names"


def test_gas_is_reported(played: Records, record_property: Callable[[str, object], None]) -> None:
    """Nothing is asked of it; the table is shown at the end of a run of this directory."""
    lines = [f"{'function':32} {'steps':>5} {'real':>10} {'ours':>10} {'':>7}  {'our chain':>10}  step"]
    worst = {
        function: max(measured, key=lambda each: abs(each[1][1] / each[1][0] - 1))
        for function, measured in played.gas.items()
        if function not in SCRIPTING
    }
    for function, (step, (real, ours, *chain)) in sorted(
        worst.items(), key=lambda each: -abs(each[1][1][1] / each[1][1][0] - 1)
    ):
        count, difference = len(played.gas[function]), f"{ours / real - 1:+.1%}"
        lines.append(
            f"{function:32} {count:>5} {real:>10} {ours:>10} {difference:>7}  {chain[0] if chain else '':>10}  {step}"
        )
    record_property("gas", "\n".join([*lines, f"{len(played.steps)} named steps"]))
    assert len(lines) > 20
