"""What ``backend=`` takes for 0G Direct: the settings that no other backend has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from zg_core.backends.direct.records import check_age
from zg_core.backends.onchain import RECORD_AGE
from zg_core.config import check_contract, check_url
from zg_core.shown.tracebacks import forgetful

if TYPE_CHECKING:
    from zg_core.backends.base import Setting
    from zg_core.backends.direct.backend import DirectBackend
    from zg_core.config import Network

__all__ = ["Direct"]


@forgetful
@dataclass(frozen=True, slots=True)
class Direct:
    """0G Direct: providers are called without anybody between, and paid from sub-accounts on chain.

    Attributes:
        rpc_url: JSON-RPC endpoint instead of the network's own.
        ledger: LedgerManager address instead of the network's own.
        inference: InferenceServing address instead of the network's own.
        record_age: Seconds for which a service's record on chain is used as it is.
        sealed: Encrypt each request to the key of the provider's attested enclave (extra ``sealed``).
        key_signed: Sealed: whether the provider's key on chain must have signed the quote that shows the encryption
            key, as for `Router`.

    Raises:
        ConfigError: one of them is malformed.

    Example:
        >>> from zg_core import ChatClient
        >>> client = ChatClient(backend=Direct(record_age=5.0), model="m", private_key="0x" + "11" * 32, environ={})
        >>> client.backend.name
        'direct'
    """

    name: ClassVar[str] = "direct"

    rpc_url: str | None = None
    ledger: str | None = None
    inference: str | None = None
    record_age: float | None = None
    sealed: bool = False
    key_signed: bool = True

    def __post_init__(self) -> None:
        """Check what can be checked, and hide the path of the RPC endpoint."""
        if self.rpc_url is not None:
            object.__setattr__(self, "rpc_url", check_url(self.rpc_url, "rpc_url", secure=False))
        for name in ("ledger", "inference"):
            if (address := getattr(self, name)) is not None:
                object.__setattr__(self, name, check_contract(address, f"{name}="))
        if self.record_age is not None:
            check_age(self.record_age)

    def make(self, setting: Setting) -> DirectBackend:
        """See `Options.make`."""
        from zg_core.backends.direct.backend import DirectBackend
        from zg_core.backends.direct.credentials import ApiKeyCredential, credential_of
        from zg_core.config import blaming, source
        from zg_core.contracts.reader import ChainReader

        network, provider = self._network(setting.network), setting.provider
        if provider is not None:
            provider = check_contract(provider, source("provider", setting.sources))
        with blaming("api_key", setting.sources):
            credential = credential_of(setting.wallet, setting.api_key)
        if isinstance(credential, ApiKeyCredential):
            said_by = (setting.sources.get(name) for name in ("api_key", "provider"))
            credential.said_by = tuple(variable for variable in said_by if variable)
        keys = None
        if self.sealed or setting.sealed:
            from zg_core.verify.attestation.sealing_keys import SealingKeys

            level, options = setting.policy.demand.level, setting.attestation
            keys = SealingKeys(setting.transport, level, options, signed=self.key_signed)
        age = setting.record_age if self.record_age is None else self.record_age
        if age is None:  # a local network's clock and records are moved by hand
            age = 0.0 if network.name == "local" else RECORD_AGE
        return DirectBackend(
            network=network,
            credential=credential,
            chain=ChainReader(network, setting.transport),
            transport=setting.transport,
            policy=setting.policy,
            guard=setting.guard,
            provider=provider,
            model=setting.model,
            store=setting.store,
            attestation=setting.attestation,
            sources=setting.sources,
            record_age=check_age(age),
            careful=setting.careful,
            retries=setting.retries,
            on_progress=setting.on_progress,
            sealing_keys=keys,
        )

    def _network(self, network: Network) -> Network:
        own = {"rpc_url": self.rpc_url, "ledger": self.ledger, "inference": self.inference}
        given = {name: value for name, value in own.items() if value is not None}
        return replace(network, **cast("Any", given)) if given else network
