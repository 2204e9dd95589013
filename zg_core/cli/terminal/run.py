"""One run of a command: where it prints, and how it reaches the network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from zg_core.cli.terminal import remembered
from zg_core.config import DEFAULT_NETWORK
from zg_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from zg_core.backends.direct.money.broker import Broker
    from zg_core.chain.sending import Sending
    from zg_core.cli.terminal.output import Output
    from zg_core.client import ChatClient
    from zg_core.config import Network
    from zg_core.receipts.stored import ReceiptStore

__all__ = ["Run"]

_C = TypeVar("_C", bound="ChatClient")


class Run:
    """What a command needs of the world.

    Args:
        out: Where it prints.
        network: Name of the network; None asks the environment.
        rpc_url: JSON-RPC endpoint; None asks the environment.
        ca_file: Certificate authority to trust.
        allow_private_providers: Whether providers may be on this machine or in a private network; None asks the
            environment.
    """

    def __init__(
        self,
        out: Output,
        *,
        network: str | None = None,
        rpc_url: str | None = None,
        ca_file: Path | None = None,
        allow_private_providers: bool | None = None,
    ) -> None:
        self.out = out
        self._named = "by --network" if network is not None else ""
        if network is None and not os.environ.get("ZEROG_NETWORK"):
            network = remembered.network()
        self._where: dict[str, Any] = {
            "network": network,
            "rpc_url": rpc_url,
            "ca_file": None if ca_file is None else str(ca_file),
            "allow_private_providers": allow_private_providers,
            "on_progress": out.step,
        }

    @property
    def where(self) -> dict[str, Any]:
        """Which network and store, for parts that make their clients themselves."""
        where = {name: value for name, value in self._where.items() if name != "on_progress"}
        return {**where, "store": self._store_url()}

    @property
    def chosen(self) -> bool:
        """Whether the user named a network."""
        return self._where["network"] is not None or bool(os.environ.get("ZEROG_NETWORK"))

    def network_source(self) -> tuple[str, str]:
        """The name of the network that is used, and what says so."""
        if self._named:
            return str(self._where["network"]), self._named
        if name := os.environ.get("ZEROG_NETWORK"):
            return name, "by ZEROG_NETWORK"
        if (name := self._where["network"]) is not None:
            return str(name), "remembered by `zerog network`"
        return DEFAULT_NETWORK, "the default"

    def at(self, *, rpc_url: str | None = None, network: str | None = None) -> Run:
        """The same with another endpoint or network, where one is given."""
        other = Run(self.out)
        other._named = self._named if network is None else "by the command"
        changes = {"rpc_url": rpc_url, "network": network}
        other._where = {**self._where, **{name: value for name, value in changes.items() if value is not None}}
        return other

    def network(self) -> Network:
        """The network that is used; for what needs no broker.

        Raises:
            ConfigError: a setting is malformed.
        """
        from zg_core.config import Settings, check_url

        named = {name: self._where[name] for name in ("network", "rpc_url", "allow_private_providers")}
        found = Settings.resolve(**named, private_key="").network
        check_url(found.rpc_url, "rpc_url", secure=False)
        return found

    def stored(self) -> ReceiptStore:
        """The receipts of the command line's store."""
        from zg_core.receipts.stored import ReceiptStore
        from zg_core.store import Store

        return ReceiptStore(Store.open(self._store_url()))

    @staticmethod
    def _store_url() -> str:
        from zg_core.store import default_store_url

        return os.environ.get("ZEROG_STORE") or default_store_url()

    def broker(self, sending: Sending | None = None) -> Broker:
        """A broker with the wallet of the environment or of `zerog login`; its nonces are kept in our store."""
        from zg_core.backends.direct.money.broker import Broker
        from zg_core.cli.terminal.keystore import own_wallet

        try:
            return Broker(store=self._store_url(), sending=sending, wallet=own_wallet(), **self._where)
        except ConfigError as error:
            if error.code == "no_wallet":
                error.hint = "`zerog login`, or set ZEROG_PRIVATE_KEY; `zerog providers` needs no wallet"
            raise

    def reader(self, user: str | None = None) -> Broker:
        """A broker that only reads: of `user`, or of the wallet if there is one to ask for."""
        if user is None:
            return self.broker()
        return self.public(user)

    def public(self, user: str | None = None) -> Broker:
        """A broker without a wallet."""
        from zg_core.backends.direct.money.broker import Broker

        return Broker.read_only(user=user, **self._where)

    def client(self, *, provider: str | None, model: str | None, **options: Any) -> ChatClient:
        """A client for `provider` or `model`; what is given replaces both of the environment's."""
        from zg_core.client import ChatClient

        return self.client_of(ChatClient, provider=provider, model=model, **options)

    def client_of(self, kind: type[_C], *, provider: str | None, model: str | None, **options: Any) -> _C:
        """The same of another class: `ImageClient`, `SpeechClient`."""
        from zg_core.cli.terminal.keystore import own_wallet

        options.setdefault("store", self._store_url())
        if not os.environ.get("ZEROG_API_KEY"):
            options.setdefault("wallet", own_wallet())
        return kind(provider=provider, model=model, **self._where, **options)
