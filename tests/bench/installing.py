"""``make bench ARGS=install``: what ``pip install 'zerog-integrations[langchain]'`` brings, package by package.

It is read from what is installed here: who asks for whom, and how large the files are that each brought. What Python
compiles of them is left out, since that depends on the installer.
"""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("zg_core", "langchain_zerog", "llama_index_zerog")
_ASIDE = {"node_modules", "__pycache__"}
OURS, THEIRS = ("zerog-integrations", "langchain"), ("langchain-openai", "")
WHY = {
    "coincurve": "recovers the key of a signature: every verified answer",
    "eth-account": "signs requests and transactions, reads keystores",
    "httpx2": "the HTTP library of openai 3: what speaks to endpoints that ask for proxies or other certificates",
    "langchain-core": "the extra",
    "openai": "types of requests and answers, and the official client as a face of ours",
    "pycryptodome": "Keccak and AES; eth-keyfile brings it anyway",
    "pydantic": "fields of models and settings",
    "web3": "for programs that work with contracts beside ours",
    "zerog-integrations": "this package",
    "zstandard": "compresses traces for LangSmith",
    "cytoolz": "eth-utils' functional helpers, compiled",
    "aiohttp": "web3's asynchronous provider",
    "langsmith": "LangChain's traces",
    "regex": "parsimonious, which parses types of contracts",
    "pyyaml": "prompts that LangChain loads",
    "pydantic-core": "pydantic's validation, compiled",
    "xxhash": "hashes for LangSmith",
    "bitarray": "eth-account",
    "ckzg": "transactions with blobs, in eth-account",
    "tiktoken": "counts tokens for ChatOpenAI",
}


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(name: str, extra: str) -> dict[str, set[str]]:
    """Every package that an installation brings, and which of them ask for it."""
    from packaging.requirements import Requirement

    asked: dict[str, set[str]] = {}
    extras: dict[str, set[str]] = {}
    left = [(name, {extra} - {""}, "")]
    while left:
        package, wanted, by = left.pop()
        key = _key(package)
        asked.setdefault(key, set()).update({by} - {""})
        if key in extras and wanted <= extras[key]:
            continue
        extras[key] = extras.get(key, set()) | wanted
        for line in importlib.metadata.requires(package) or []:
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": each}) for each in {"", *extras[key]}):
                left.append((needed.name, set(needed.extras), key))
    return asked


def _bytes(name: str) -> int:
    """What its files take; of a package that is installed for editing, what a wheel of it would hold."""
    if name == OURS[0]:
        inside = [path for package in _PACKAGES for path in (_ROOT / package).rglob("*")]
        return sum(each.stat().st_size for each in inside if each.is_file() and not _ASIDE & set(each.parts))
    found = importlib.metadata.distribution(name)
    files = [each for each in found.files or [] if each.suffix != ".pyc"]
    return sum(path.stat().st_size for each in files if (path := each.locate()).is_file())  # type: ignore[union-attr]


def measured() -> dict[str, Any]:
    """The table, largest first."""
    asked = closure(*OURS)
    beside = closure(*THEIRS)
    both = {name: _bytes(name) for name in {*asked, *beside}}
    return {
        "packages": [
            {"name": name, "kB": round(both[name] / 1000), "by": sorted(asked[name]), "theirs": name in beside}
            for name in sorted(asked, key=lambda each: (-both[each], each))
        ],
        "theirs": {"packages": len(beside), "kB": round(sum(both[name] for name in beside) / 1000)},
    }
