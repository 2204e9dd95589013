"""Verification schemes by name: each is a pure function from what a receipt kept to a verdict.

To add one, write a module in this folder that ends with ``SCHEME = Scheme(remade)``, where ``remade(kept: Kept) ->
Verdict`` asks nobody and nothing but its argument (`zg_core.verify.schemes.evidence`), and add one line to `_HOMES`
below. The backend names it in the receipt: its ``verify`` sets ``receipt.evidence = Evidence("name", …)`` with all
that ``remade`` needs, and returns the verdict that ``remade`` would give. `zg_core.receipts.check` finds it by its
name, without the backend, compares every field of the verdict with the one made again, and measures against an anchor.
Flip every bit of a new scheme's evidence in a test (``tests/zg_core/receipts/test_vouching.py``): the check fails, or
the field is on the list of those that nobody vouches for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.verify.schemes.evidence import Scheme

__all__ = ["NAMES", "scheme_named"]

# Name of a scheme to its module; loaded when a receipt names it.
_HOMES: Mapping[str, str] = {
    "rsa_pss": "zg_core.verify.schemes.rsa_pss",
    "claims": "zg_core.verify.schemes.claims",
    "sealed": "zg_core.verify.schemes.sealed",
    "signed_hashes": "zg_core.verify.schemes.signed_hashes",
}
NAMES = tuple(_HOMES)
"""The schemes that are known here."""


def scheme_named(name: str) -> Scheme | None:
    """The scheme of this name; None if none is known here.

    Example:
        >>> scheme_named("signed_hashes").proves, scheme_named("nobody's")
        (True, None)
    """
    home = _HOMES.get(name)
    if home is None:
        return None
    scheme: Scheme = importlib.import_module(home).SCHEME
    return scheme
