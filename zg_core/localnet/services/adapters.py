"""Fine-tuned adapters: which there are, and what becomes of one that is deployed (services §6)."""

from __future__ import annotations

from dataclasses import dataclass, field

from zg_core.localnet.base.keys import sha256_hex

DEPLOYABLE = ("ready", "offloaded", "archived")
_STEPS = {"pending": "downloading", "downloading": "ready", "loading": "active"}


@dataclass
class Adapter:
    """One adapter and its state."""

    name: str
    task_id: str
    base_model: str
    state: str = "active"
    fails: bool = False

    def to_json(self, user: str) -> dict[str, str]:
        """As the provider lists it: it belongs to whoever asks."""
        return {
            "adapterName": self.name,
            "baseModel": self.base_model,
            "taskId": self.task_id,
            "userAddress": user,
            "state": self.state,
            "storageRootHash": "0x" + sha256_hex(self.name.encode()),
        }


@dataclass
class Adapters:
    """The adapters of one provider; a look at one that is on its way moves it a step."""

    entries: list[Adapter] = field(default_factory=list)

    def find(self, name: str) -> Adapter | None:
        """By its name or the id of its task."""
        return next((one for one in self.entries if name in (one.name, one.task_id)), None)

    def look(self, adapter: Adapter) -> Adapter:
        """Let time pass for it."""
        adapter.state = "failed" if adapter.fails else _STEPS.get(adapter.state, adapter.state)
        return adapter

    def deploy(self, adapter: Adapter) -> bool:
        """Start loading it; False where its state does not allow that."""
        if adapter.state not in DEPLOYABLE:
            return False
        adapter.state = "loading"
        return True
