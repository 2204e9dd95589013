"""The earlier name of `zg_core.contracts.reader`, which is the module that stands here once it is imported."""

import sys

from zg_core.contracts import reader

sys.modules[__name__] = reader
