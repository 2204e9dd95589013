"""The earlier name of `zg_core.contracts.settlements`, which is the module that stands here once it is imported."""

import sys

from zg_core.contracts import settlements

sys.modules[__name__] = settlements
