"""Receipts that travel: all receipts of a run in one file, for an auditor who has neither key nor network.

A bundle is a zip file of ``receipts.json`` (an export, kept bytes included), ``run.json`` (the steps of the run),
``evidence/…`` (what else the check may need: attestation reports and their collateral) and ``manifest.json``, which
names every other file with its hash. Whoever hands it out may sign the hash of the manifest (``signature.json``).
Reading one believes nothing of it: a file that is not what the manifest says, is not named in it, or is missing,
refuses the whole.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

from zg_core.crypto import SignatureError, recover_personal, same_address, sha256_hex
from zg_core.errors import ConfigError
from zg_core.jsontext import parse_json
from zg_core.receipts import plain
from zg_core.receipts.checking import check
from zg_core.receipts.model import Receipt
from zg_core.receipts.runs import Step
from zg_core.receipts.upgrade import upgraded
from zg_core.receipts.vouching import shortened

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from zg_core.receipts.anchors import Anchor
    from zg_core.receipts.checking import Check
    from zg_core.verify.verdict import Status
    from zg_core.wallet import Wallet

__all__ = ["Bundle", "Line", "is_bundle", "read_bundle", "write_bundle"]

_FORM = "zerog-bundle/1"
_MANIFEST, _SIGNATURE, _RECEIPTS, _RUN = "manifest.json", "signature.json", "receipts.json", "run.json"
_MOST_BYTES = 512 * 1024 * 1024
_MOST_FILES = 10_000
_TIME = (1980, 1, 1, 0, 0, 0)  # the same content is the same file
_PATIENCE = 10.0
# What the library raises for a zip file that somebody has written by hand.
_UNREADABLE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError,
    LookupError, OverflowError, struct.error, zlib.error,
)  # fmt: skip


def write_bundle(
    path: str | os.PathLike[str],
    receipts: Iterable[Receipt | str],
    *,
    steps: Iterable[Step] = (),
    run: str = "",
    wallet: Wallet | None = None,
    evidence: Mapping[str, bytes] | None = None,
) -> str:
    """Write receipts and the steps of their run to a bundle; the SHA-256 of its manifest.

    Receipts whose check is still running are waited for, ten seconds each at the most; a verdict that is still pending
    then is written as such, and is unproven.

    Args:
        path: Where to write; what is there is replaced.
        receipts: The receipts; or their documents as JSON (`zg_core.receipts.documents`).
        steps: What the run did, in its order.
        run: Name of the run.
        wallet: Signs the manifest: whoever opens the bundle then knows who made it.
        evidence: Further files by name, for example the report of an attestation and its collateral.

    Raises:
        ConfigError: there are no receipts, or a name among `evidence` is none that a file inside may have (code
            ``bad_bundle``).
    """
    files = {
        _RECEIPTS: _joined(receipts),
        _RUN: _encoded({"run": run, "steps": [each.to_dict() for each in steps]}),
    }
    for name, data in (evidence or {}).items():
        files[f"evidence/{_checked(name)}"] = data
    manifest = _encoded(
        {
            "form": _FORM,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "signer": "" if wallet is None else wallet.address,
            "files": {name: {"sha256": sha256_hex(data), "size": len(data)} for name, data in files.items()},
        }
    )
    digest = sha256_hex(manifest)
    written = {_MANIFEST: manifest, **files}
    if wallet is not None:
        signature = wallet.sign_personal(_claim(digest).encode())
        written[_SIGNATURE] = _encoded({"text": _claim(digest), "signature": signature})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in written.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), data, zipfile.ZIP_DEFLATED)
    return digest


def _joined(receipts: Iterable[Receipt | str]) -> bytes:
    documents = []
    for each in receipts:
        if isinstance(each, Receipt):
            each.resolve(_PATIENCE)
            documents.append(json.dumps(each.to_dict(), separators=(",", ":")))
        else:
            documents.append(each)
    if not documents:
        raise ConfigError("there are no receipts to bundle", code="bad_bundle", hint="see `zerog receipts list`")
    lines = ",\n".join(documents)
    return f'{{"receipts": [\n{lines}\n]}}\n'.encode()


def _encoded(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


def _claim(digest: str) -> str:
    return f"{_FORM} manifest sha256 {digest}"


def _checked(name: str) -> str:
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or len(name) > 200 or any(part in ("", ".", "..") for part in parts):
        raise _bad(f"{name[:60]!r} is no name for a file inside")
    return name


def is_bundle(path: Path) -> bool:
    """Whether the file at `path` is a zip file."""
    return zipfile.is_zipfile(path)


@dataclass(frozen=True, slots=True)
class Line:
    """One step of a bundle as it was checked.

    Attributes:
        step: Where it stands in the run, such as ``"2.1"``.
        name: What the step is called; indented by nothing.
        receipt: The receipt, as it was read.
        check: What the check of it found.
        unvouched: What nobody vouches for, shortened for people.
    """

    step: str
    name: str
    receipt: Receipt
    check: Check
    unvouched: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        receipt = self.receipt
        return {
            "step": self.step,
            "name": self.name,
            "provider": receipt.provider,
            "model": receipt.model,
            "outcome": receipt.outcome,
            "payment": plain.fee_to_dict(receipt.fee),
            **self.check.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was read of a bundle: its files are those that its manifest names.

    Attributes:
        sha256: Hash of the manifest; two bundles with the same one are the same.
        run: Name of the run, by whoever made it.
        steps: The steps, by the same.
        documents: The receipts as plain data.
        signer: Whose signature is on the manifest, "" if it is not signed.
        evidence: Further files by name.
        made_at: When it was made, by whoever made it.
    """

    sha256: str
    run: str
    steps: tuple[Step, ...]
    documents: tuple[dict[str, Any], ...]
    signer: str = ""
    evidence: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    made_at: str = ""

    def check(
        self,
        anchor: Anchor | Callable[[Receipt], Anchor | None] | None = None,
        *,
        minimum: Status | str | None = None,
    ) -> tuple[Line, ...]:
        """Check every receipt again, offline but for the anchor; in the order of the run's steps.

        Args:
            anchor: Who says whose key must have signed; or a function that says so for a receipt.
            minimum: The least verdict that passes, ``"verified"`` by default.

        Raises:
            ConfigError: a document is no receipt (code ``bad_receipt``), or a `minimum` that proves nothing.
        """
        places = _places(self.steps)
        lines = []
        for number, document in enumerate(self.documents, start=1):
            receipt = Receipt.from_dict(document)
            found = check(document, anchor(receipt) if callable(anchor) else anchor, minimum=minimum)
            names = tuple(shortened(found.unvouched, upgraded(document)))
            order, step, name = places.get(receipt.id, (len(places) + number, str(number) if not places else "-", ""))
            lines.append((order, Line(step, name, receipt, found, names)))
        return tuple(line for _, line in sorted(lines, key=lambda pair: pair[0]))


def _places(steps: Sequence[Step]) -> dict[str, tuple[int, str, str]]:
    """For each receipt of a step: its place in the order of the steps, the step's number, and its name."""
    known = {step.id for step in steps}
    children: dict[str, list[Step]] = {}
    for step in steps:
        children.setdefault(step.parent if step.parent in known and step.parent != step.id else "", []).append(step)
    found: dict[str, tuple[int, str, str]] = {}
    waiting = [(step, str(place)) for place, step in enumerate(children.get("", ()), start=1)][::-1]
    seen: set[str] = set()
    while waiting:
        step, number = waiting.pop()
        if step.id in seen:
            continue
        seen.add(step.id)
        for receipt in step.receipts:
            found.setdefault(receipt, (len(found), number, step.name))
        inner = [(each, f"{number}.{place}") for place, each in enumerate(children.get(step.id, ()), start=1)]
        waiting += inner[::-1]
    return found


def read_bundle(path: str | os.PathLike[str] | IO[bytes]) -> Bundle:
    """Read a bundle, and refuse it if anything in it is not what its manifest says.

    Nothing is unpacked to the disk, and no more than 512 MB into memory.

    Args:
        path: The file, or one that is open for reading bytes.

    Raises:
        ConfigError: it is no bundle, it was changed, or its signature is not by whom it names (code ``bad_bundle``).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            files = _read(archive)
    except _UNREADABLE as error:
        raise _bad(f"it cannot be read: {str(error)[:100]}") from None
    if _MANIFEST not in files:
        raise _bad("it has no manifest")
    data = files.pop(_MANIFEST)
    signature = files.pop(_SIGNATURE, None)
    manifest = _object(data, _MANIFEST)
    if manifest.get("form") != _FORM:
        raise _bad(f"its form is {str(manifest.get('form'))[:40]!r}, this package reads {_FORM!r}")
    named = manifest.get("files")
    if not isinstance(named, dict):
        raise _bad("its manifest names no files")
    if set(named) != set(files):
        raise _bad(f"{min(set(named) ^ set(files))[:60]!r} is there or not, against what the manifest says")
    for name, said in named.items():
        if not isinstance(said, dict) or said.get("sha256") != sha256_hex(files[name]):
            raise _bad(f"{name[:60]!r} is not what the manifest says")
    digest = sha256_hex(data)
    run = _object(files.get(_RUN, b"{}"), _RUN)
    name = run.get("run", "")
    return Bundle(
        sha256=digest,
        run=name if isinstance(name, str) else "",
        steps=tuple(_step(each) for each in _list(run.get("steps", []), "steps")),
        documents=_documents(files.get(_RECEIPTS, b"{}")),
        signer=_signer(manifest.get("signer"), signature, digest),
        evidence={each.removeprefix("evidence/"): data for each, data in files.items() if each[:9] == "evidence/"},
        made_at=str(manifest.get("made_at", ""))[:40],
    )


def _read(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > _MOST_FILES or sum(entry.file_size for entry in entries) > _MOST_BYTES:
        raise _bad(f"more than {_MOST_FILES} files, or than {_MOST_BYTES // 1024**2} MB")
    files: dict[str, bytes] = {}
    left = _MOST_BYTES
    for entry in entries:
        _checked(entry.filename)  # whoever writes them to a disk does so under these names
        if entry.filename in files:
            raise _bad(f"{entry.filename[:60]!r} is there twice")
        with archive.open(entry) as file:
            files[entry.filename] = file.read(left + 1)
        left -= len(files[entry.filename])
        if left < 0:
            raise _bad(f"more than {_MOST_BYTES // 1024**2} MB")
    return files


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = parse_json(data, unique=True)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _bad(f"{name} is no JSON object")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _bad(f"{name} is no list")
    return value


def _documents(data: bytes) -> tuple[dict[str, Any], ...]:
    found = _list(_object(data, _RECEIPTS).get("receipts", []), _RECEIPTS)
    if not found or not all(isinstance(each, dict) for each in found):
        raise _bad(f"{_RECEIPTS} holds no receipts")
    return tuple(found)


def _step(value: Any) -> Step:
    try:
        read = plain.Fields(value, "a step")
        texts = {name: read.text(name, "") for name in ("id", "parent", "name", "kind")}
        return Step(receipts=read.texts("receipts", ()), **texts)
    except ConfigError as error:
        raise _bad(f"{_RUN}: {error.message}") from None


def _signer(signer: Any, file: bytes | None, digest: str) -> str:
    """Who signed the manifest: whom it names."""
    if not signer and file is None:
        return ""
    signature = None if file is None else _object(file, _SIGNATURE).get("signature")
    if not isinstance(signer, str) or not isinstance(signature, str):
        raise _bad("its manifest names a signer, or it has a signature, and the other is missing")
    try:
        found = recover_personal(_claim(digest), signature)
    except SignatureError:
        found = ""
    if not found or not same_address(found, signer):
        raise _bad("its manifest is not signed by whom it names")
    return found


def _bad(why: str) -> ConfigError:
    return ConfigError(f"not a bundle of receipts: {why}", code="bad_bundle", hint="ask for it again where it was made")
