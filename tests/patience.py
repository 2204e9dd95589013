"""How long a test waits for what must come: so long that only what hangs is ended by it, however busy the machine."""

from __future__ import annotations

PATIENCE = 600
