"""The earlier name of `zg_core.contracts.events`, which is the module that stands here once it is imported."""

import sys

from zg_core.contracts import events

sys.modules[__name__] = events
