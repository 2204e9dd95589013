"""The earlier name of `zg_core.contracts.abi`, which is the module that stands here once it is imported."""

import sys

from zg_core.contracts import abi

sys.modules[__name__] = abi
