"""The earlier name of `zg_core.contracts.reverts`, which is the module that stands here once it is imported."""

import sys

from zg_core.contracts import reverts

sys.modules[__name__] = reverts
