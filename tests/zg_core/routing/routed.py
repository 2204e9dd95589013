"""A network of several providers of one model, as tests of routing find it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core import Routing
from zg_core.localnet import ProviderSpec
from zg_core.routing.health import HealthBook

if TYPE_CHECKING:
    from tests.zg_core.hand_clock import Clock
    from zg_core.localnet import LocalNet, LocalProvider

GIGA = 10**9
# The cheapest first, but for the other model; the last has no sub-account.
SPECS = [
    ProviderSpec(model="m", input_price=100 * GIGA, output_price=100 * GIGA),
    ProviderSpec(model="m", input_price=200 * GIGA, output_price=200 * GIGA),
    ProviderSpec(model="m", input_price=300 * GIGA, output_price=300 * GIGA, kind="TeeTLS"),
    ProviderSpec(model="other", input_price=1, output_price=1),
    ProviderSpec(model="m", input_price=10 * GIGA, output_price=10 * GIGA),
]
CHEAP, DEAR, WEAK, OTHER, UNFUNDED = range(5)


class Scene:
    """The network, as one test finds it: everybody honest, nothing measured, nothing asked yet."""

    def __init__(self, net: LocalNet, options: dict[str, Any]) -> None:
        self.net = net
        self.options = {**options, "model": "m", "routing": Routing(), "max_retries": 0, "verify": "require"}
        self._asked = [self._prompts(one) for one in net.providers]

    @staticmethod
    def _prompts(provider: LocalProvider) -> int:
        return sum(request.path.endswith("/chat/completions") for request in provider.requests)

    @property
    def asked(self) -> list[int]:
        """How many prompts each provider has got in this test."""
        return [self._prompts(one) - before for one, before in zip(self.net.providers, self._asked, strict=True)]

    def fault(self, number: int, name: str, **more: Any) -> Any:
        return self.net.providers[number].fault(name, **{"times": None, **more})

    def address(self, number: int) -> str:
        return self.net.providers[number].address

    def number(self, address: str) -> int:
        return [one.address for one in self.net.providers].index(address)

    def where(self, answered: Any) -> int:
        return self.number(answered.receipt.provider)


def timed(client: Any, clock: Clock) -> Any:
    """`client`, whose chooser has a book of its own and a clock that only the test moves."""
    chooser = client._chooser
    chooser._book, chooser._clock = HealthBook(clock), clock
    chooser._market._clock = clock
    return client


def ask(text: str = "What is 2 + 3?", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}
