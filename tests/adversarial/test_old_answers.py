"""An answer that was given once is never given again as new, whatever id it comes under and whoever asks for it."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adversarial.faces import FACES
from tests.adversarial.operator import Enclave
from zg_core import ChatClient, VerificationFailed
from zg_core.localnet import LocalNet, LocalProvider, ProviderSpec
from zg_core.store import Store
from zg_core.verify import Status
from zg_core.verify.replay import ReplayGuard

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "What is the price of ETH now?"
FORMS = {
    "32 hex digits": f"chatcmpl-{uuid.uuid4().hex}",
    "a short name": "chatcmpl-9xyzABCdef",
    "a uuid": f"chatcmpl-{uuid.uuid4()}",
    "a number": "chatcmpl-7",
    "none": "",
}
SEPARATED = json.dumps({"TargetSeparated": True, "TargetTeeAddress": "{key}"})


@pytest.fixture
def make(net: LocalNet, provider: LocalProvider) -> Iterator[Callable[..., Enclave]]:
    """Makes enclaves; the chain is as before afterwards."""
    made: list[Enclave] = []

    def enclave(body_id: str, info: str = "{}") -> Enclave:
        made.append(Enclave(net, body_id, info))
        return made[-1]

    yield enclave
    for one in made:
        one.stop()


@pytest.fixture
def another_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forget what a process knows, as the next one does not know it."""

    def begin() -> None:
        monkeypatch.setattr("zg_core.client._GUARD", ReplayGuard())

    return begin


def settings_of(enclave: Enclave, **more: Any) -> dict[str, Any]:
    return {"provider": enclave.address, "model": "old", "verify": "require", **more}


@pytest.mark.parametrize("name", FACES)
def test_no_face_takes_it_twice(net, make, another_process, tally, tmp_path, name):
    """In one process, whatever stands in the body; for another question it would be another's, too."""
    enclave, face = make(FORMS["a short name"]), FACES[name]
    first = face(net, net.wallet, settings_of(enclave), QUESTION, tmp_path)
    assert first.accepted, first
    again = face(net, net.wallet, settings_of(enclave), QUESTION, tmp_path)
    assert not again.accepted, again
    assert again.code in ("replayed", "exit 1")
    tally("old answer under a new id", tried=1, caught=1, honest=1, accepted=1)


@pytest.mark.parametrize("info", ["{}", SEPARATED], ids=["TeeML", "TeeML-separated"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("form", FORMS)
def test_whatever_id_stands_in_its_body(net, make, another_process, tally, tmp_path, form, stream, info):
    enclave = make(FORMS[form], info)
    face = FACES[f"core-sync-{'stream' if stream else 'create'}"]
    found = [face(net, net.wallet, settings_of(enclave), QUESTION, tmp_path) for _ in range(3)]
    assert [each.code for each in found] == ["", "replayed", "replayed"]
    assert [each.receipt.replayed for each in found] == [False, True, True]
    another_process()
    assert face(net, net.wallet, settings_of(enclave), QUESTION, tmp_path).accepted, "without a store nobody knows it"
    tally("old answer under a new id", tried=2, caught=2, honest=1, accepted=1)


@pytest.mark.parametrize("name", FACES)
def test_process_after_process_where_there_is_a_store(net, make, another_process, tally, tmp_path, name):
    enclave, face = make(FORMS["a number"]), FACES[name]
    kept: Any = f"sqlite:///{tmp_path}/store.db"
    settings = settings_of(enclave, store=kept)
    assert face(net, net.wallet, settings, QUESTION, tmp_path).accepted
    another_process()
    again = face(net, net.wallet, settings, QUESTION, tmp_path)
    assert not again.accepted, again
    tally("old answer under a new id", tried=1, caught=1, honest=1, accepted=1)
    Store.open(kept).close()


@pytest.mark.parametrize("name", FACES)
def test_with_a_nonce_no_memory_is_needed(net, make, another_process, tally, tmp_path, name):
    """Neither a store nor a process that was there: the old signature fits no new request."""
    enclave, face = make(FORMS["none"]), FACES[name]
    settings = settings_of(enclave, nonce=True)
    assert face(net, net.wallet, settings, QUESTION, tmp_path).accepted
    another_process()
    again = face(net, net.wallet, settings, QUESTION, tmp_path)
    assert not again.accepted, again
    users = [json.loads(asked.body)["user"] for asked in enclave.asked if asked.is_chat]
    assert len(users) == 2
    assert len(set(users)) == 2
    assert all(len(user) == 32 for user in users)
    tally("old answer under a new id", tried=1, caught=1, honest=1, accepted=1)


def test_really_two_processes(net, make, tmp_path):
    enclave = make(FORMS["none"])
    code = (
        "import json, sys; from zg_core import ChatClient\n"
        "client = ChatClient(**json.loads(sys.argv[1]), environ={})\n"
        "try: print(client.create(json.loads(sys.argv[2])).receipt.verdict)\n"
        "except Exception as error: print(error.code)"
    )
    settings = {
        **settings_of(enclave, store=f"sqlite:///{tmp_path}/store.db"),
        "private_key": net.wallet.private_key,
        "network": "local",
        "rpc_url": net.rpc_url,
    }
    arguments = [json.dumps(settings), json.dumps({"messages": [{"role": "user", "content": QUESTION}]})]
    ran = [
        subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert [each.stdout.strip() for each in ran] == ["verified", "replayed"]


def test_after_any_number_of_replies(net, make, tmp_path, another_process):
    another_process()
    enclave = make(FORMS["a short name"])
    import zg_core.client as module

    with ChatClient(**settings_of(enclave), **where(net)) as client:
        client.create(ask())
        for number in range(20_000):
            module._GUARD.arrived("0xanother", str(number))
        with pytest.raises(VerificationFailed) as caught:
            client.create(ask())
    assert caught.value.code == "replayed"


def test_under_another_record_that_leads_to_the_same_key(net, make, another_process):
    another_process()
    enclave = make(FORMS["none"])
    second = enclave.register(net)
    with ChatClient(**settings_of(enclave), **where(net)) as client:
        assert client.create(ask()).receipt.verdict.status is Status.VERIFIED
    with (
        ChatClient(**{**settings_of(enclave), "provider": second}, **where(net)) as client,
        pytest.raises(VerificationFailed) as caught,
    ):
        client.create(ask())
    assert caught.value.code == "replayed"


def test_the_rest_of_an_answer_that_was_left_is_old_too(net, make, another_process):
    """A reader who left has its id: the whole of it, later, is no new answer."""
    another_process()
    enclave = make(FORMS["a uuid"])
    with ChatClient(**settings_of(enclave), **where(net)) as client:
        with client.stream(ask()) as stream:
            next(stream)
        assert stream.receipt.outcome == "abandoned"
        with pytest.raises(VerificationFailed) as caught:
            list(client.stream(ask()))
    assert caught.value.code == "replayed"


def test_the_same_embedding_twice_is_no_old_answer(another_process):
    """What follows from its request alone is the same each time, and honest."""
    another_process()
    spec = ProviderSpec(model="embed", service_type="embedding", output_price=0, lora=False)
    with LocalNet(providers=[spec]) as net:
        net.open_account(net.wallet, net.providers[0], 10**19)
        made = {"provider": net.providers[0].address, "verify": "require", "service_type": "embedding"}
        with ChatClient(**made, **where(net)) as client:
            bodies = [client.create({"input": ["the same"]}, path="/embeddings") for _ in range(3)]
    assert {each.receipt.verdict.status for each in bodies} == {Status.VERIFIED}
    assert bodies[0].body["data"] == bodies[1].body["data"]


def ask() -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": QUESTION}]}


def where(net: LocalNet) -> dict[str, Any]:
    return {"private_key": net.wallet.private_key, "network": "local", "rpc_url": net.rpc_url, "environ": {}}
