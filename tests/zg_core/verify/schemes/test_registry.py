"""Schemes are found by the name that a receipt says, and nothing is loaded that it does not name."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.zg_core.verify.scene import SIGNING, Scene
from zg_core.types import Kind
from zg_core.verify.schemes.evidence import Evidence, Kept
from zg_core.verify.schemes.registry import NAMES, scheme_named


@pytest.mark.parametrize("name", NAMES)
def test_every_name_leads_to_a_scheme(name: str) -> None:
    found = scheme_named(name)
    assert found is not None
    assert found.remade is not None


def test_a_name_of_a_stranger_leads_nowhere() -> None:
    for name in ("", "nobody's", "zg_core.verify.schemes.gojson", "__class__"):
        assert scheme_named(name) is None


def test_none_is_loaded_before_it_is_named() -> None:
    code = (
        "import sys; from zg_core.verify.schemes import registry; before = set(sys.modules);"
        "registry.scheme_named('signed_hashes'); import json;"
        "print(json.dumps(['zg_core.verify.schemes.signed_hashes' in each for each in (before, sys.modules)]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [False, True]


@pytest.mark.parametrize("kind", SIGNING, ids=str)
def test_signed_hashes_give_the_verdict_again(kind: Kind) -> None:
    scene, scheme = Scene(kind), scheme_named("signed_hashes")
    assert scheme is not None
    verdict = scene.verdict()
    evidence = Evidence("signed_hashes", signed_text=verdict.signed_text, signature=verdict.signature)
    assert scheme.remade(Kept(scene.exchange(), evidence, scene.record, verdict)) == verdict
