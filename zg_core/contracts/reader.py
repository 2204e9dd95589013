"""Reads of the serving contracts: services, sub-accounts, ledgers. Cached; the chain id is checked before the first."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from zg_core.chain.failures import RpcFailure
from zg_core.chain.rpc import JsonRpc, data_of, quantity, rpc_junk
from zg_core.contracts import abi
from zg_core.crypto import checksum_address, same_address
from zg_core.errors import ChainError, ConfigError, WrongChain
from zg_core.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.config import Network
    from zg_core.http.transport import Transport
    from zg_core.types import ServiceRecord

__all__ = ["ChainReader"]

PAGE = 50  # the contracts' page limit (0g-abi "constants")
SERVICE_TTL = 600.0  # seconds; prices and signers change rarely, and an accusation reads again
_AT_ONCE = 8  # pages
# Of these the signed text has one form (0g-direct §5.3); that of TeeTLS is another.
_SIGNS_ALIKE = (Kind.TEE_ML, Kind.TEE_ML_SEPARATED)


class ChainReader:
    """The serving contracts of one network, read over JSON-RPC.

    Args:
        network: Where to read, and which chain id must answer.
        transport: How.
        ttl: Seconds for which a service record is reused.
    """

    def __init__(self, network: Network, transport: Transport, ttl: float = SERVICE_TTL) -> None:
        self.network = network
        self.rpc = JsonRpc(network.rpc_url, transport)
        self.listener: Callable[[ServiceRecord, float], None] | None = None
        """Told of every record that was read, and when (``time.monotonic``) its read began."""
        self._transport = transport
        self.ttl = ttl
        """Seconds for which a record is used where nobody asks for a younger one."""
        self._checked = False
        self._services: dict[str, tuple[float, ServiceRecord]] = {}
        self._state = object()  # another one after each change of them
        self._rivals: dict[str, tuple[object, ServiceRecord, tuple[str, ...]]] = {}  # in which state
        self._blocks: dict[str, int] = {}
        self._service_name = ""
        self._listed = -math.inf

    async def service(self, provider: str, *, fresh: bool = False, since: float | None = None) -> ServiceRecord:
        """The provider's service record.

        Args:
            provider: Its address.
            fresh: Read it now.
            since: Use a record only if its read began at this moment of ``time.monotonic`` or later; by default one
                that is up to `ttl` seconds old will do. A read is shared by all who wait for it.

        Raises:
            ConfigError: the provider is not registered (code ``unknown_provider``).
            ChainError: the chain cannot be read.
            WrongChain: the RPC answers for another chain.
        """
        provider = checksum_address(provider)
        now = time.monotonic()
        since = now if fresh else math.nextafter(now - self.ttl, math.inf) if since is None else since
        if (kept := self._services.get(provider)) is not None and kept[0] >= since:
            return kept[1]
        async with self._transport.lock(f"record {provider}"):
            if (kept := self._services.get(provider)) is not None and kept[0] >= since:
                return kept[1]
            began = time.monotonic()
            block, value = await self._read(abi.get_service(self.network.inference, provider), numbered=True)
            return self._keep_asked(value, provider, block, began)

    def read_at(self, provider: str) -> float:
        """When the read of the record in hand began, by ``time.monotonic``; minus infinity if there is none."""
        kept = self._services.get(checksum_address(provider))
        return -math.inf if kept is None else kept[0]

    def in_hand(self, provider: str, since: float = -math.inf) -> ServiceRecord | None:
        """The record that was read last, if its read began after `since`; None if there is none."""
        kept = self._services.get(checksum_address(provider))
        return kept[1] if kept is not None and kept[0] > since else None

    def forget(self, provider: str) -> None:
        """Read the provider's record again when it is next asked for: it was not found where that says."""
        self._services.pop(checksum_address(provider), None)
        self._state = object()

    def block_of(self, provider: str) -> int | None:
        """The newest block just before the record that `service` answers with was read; None if that is not known."""
        return self._blocks.get(provider)

    async def service_at(self, provider: str, block: int) -> ServiceRecord:
        """The provider's record at the end of an earlier block; nodes keep old state for some time only.

        Raises:
            ConfigError: the provider was not registered then (code ``unknown_provider``).
            ChainError: the chain cannot be read, or has forgotten that block.
        """
        provider = checksum_address(provider)
        (value,) = await self._read(abi.get_service(self.network.inference, provider), at=hex(block))
        found = _required(value, "getService", self._unknown_provider(provider))[0]
        return abi.service(found, private=self.network.private_providers)

    async def time_of(self, block: int) -> int:
        """Seconds since 1970 at which a block was made.

        Raises:
            ChainError: the chain cannot be read, or has no such block.
        """
        (answer,) = await self.rpc.batch([("eth_getBlockByNumber", [hex(block), False])])
        return quantity(answer.get("timestamp") if isinstance(answer, dict) else answer, "eth_getBlockByNumber")

    async def service_and_account(self, provider: str, user: str) -> tuple[ServiceRecord, abi.Account | None]:
        """Both records in one round trip, fresh; the account is None if there is none."""
        began = time.monotonic()
        block, service, account = await self._read(
            abi.get_service(self.network.inference, provider),
            abi.get_account(self.network.inference, user, provider),
            numbered=True,
        )
        return self._keep_asked(service, checksum_address(provider), block, began), _account(account)

    async def services(self) -> list[ServiceRecord]:
        """All services: the first page, then the others, several in one request."""
        found: list[ServiceRecord] = []
        offsets = [0]
        while offsets:
            began = time.monotonic()
            pages = [abi.get_all_services(self.network.inference, offset, PAGE) for offset in offsets]
            read = [_required(value, "getAllServices") for value in await self._read(*pages)]
            found += [self._keep((item,), began) for page, _ in read for item in page]
            following, total = offsets[-1] + PAGE, read[-1][1]
            done = any(not page for page, _ in read)
            offsets = [] if done else list(range(following, min(total, following + _AT_ONCE * PAGE), PAGE))
        return list({service.provider: service for service in found}.values())

    async def known(self) -> None:
        """Have read all services, within the last `ttl` seconds."""
        async with self._transport.lock("all records"):
            began = time.monotonic()
            if began - self._listed >= self.ttl:
                await self.services()
                self._listed = began

    def rivals(self, record: ServiceRecord) -> tuple[str, ...]:
        """Providers whose acknowledged records name the key of `record` too, and say another kind that signs alike.

        Which kind of enclave has signed with it, nobody can tell then. As far as records were read: see `known`.
        """
        if record.kind not in _SIGNS_ALIKE:
            return ()
        known = self._rivals.get(record.provider)
        if known is None or known[0] is not self._state or known[1] is not record:
            known = self._rivals[record.provider] = self._state, record, self._rivals_of(record)
        return known[2]

    def _rivals_of(self, record: ServiceRecord) -> tuple[str, ...]:
        others = [other for _, other in tuple(self._services.values()) if other.kind is not record.kind]
        return tuple(
            other.provider
            for other in others
            if other.kind in _SIGNS_ALIKE
            and other.acknowledged
            and other.provider != record.provider
            and other.signer
            and same_address(other.signer, record.signer)
        )

    async def account(self, user: str, provider: str) -> abi.Account | None:
        """The user's sub-account at this provider, None if there is none."""
        (value,) = await self._read(abi.get_account(self.network.inference, user, provider))
        return _account(value)

    async def accounts(self, user: str) -> list[abi.Account]:
        """All sub-accounts of the user, paged."""
        found: list[abi.Account] = []
        offset = 0
        while True:
            (value,) = await self._read(abi.get_accounts_by_user(self.network.inference, user, offset, PAGE))
            page, total = _required(value, "getAccountsByUser")
            found += [abi.account(item) for item in page]
            offset += PAGE
            if offset >= total or not page:
                return found

    async def ledger(self, user: str) -> abi.Ledger | None:
        """The user's ledger, None if there is none."""
        (value,) = await self._read(abi.get_ledger(self.network.ledger, user))
        if isinstance(value, RpcFailure) and abi.decode_error(value.data)[0] == "LedgerNotExists":
            return None
        return abi.ledger(_required(value, "getLedger")[0])

    async def service_name(self) -> str:
        """The name under which the ledger contract knows the serving contract, such as ``"inference-v1.0"``.

        Raises:
            ConfigError: it does not know it (code ``unknown_service``).
        """
        if not self._service_name:
            (value,) = await self._read(abi.get_service_info(self.network.ledger, self.network.inference))
            name: bytes = _required(value, "getServiceInfo")[0][4]
            if not name:
                raise ConfigError(
                    f"the ledger contract {self.network.ledger} knows no service at {self.network.inference}",
                    code="unknown_service",
                    hint="ZEROG_LEDGER (ledger=…) and ZEROG_INFERENCE (inference=…) must belong together; "
                    "leave both out for a known network",
                )
            self._service_name = name.decode("utf-8", "replace")
        return self._service_name

    async def lock_time(self) -> int:
        """Seconds from a retrieval until the money is free."""
        (value,) = await self._read(abi.lock_time(self.network.inference))
        return int(_required(value, "lockTime")[0])

    async def _read(self, *calls: abi.Call, at: str = "latest", numbered: bool = False) -> list[Any]:
        """The answers to `calls`; with `numbered`, the number of the newest block before them, or None, comes first."""
        requests: list[tuple[str, list[Any]]] = [("eth_call", [{"to": c.to, "data": c.data}, at]) for c in calls]
        if numbered:
            requests.insert(0, ("eth_blockNumber", []))
        check = not self._checked  # may change while this waits
        if check:
            requests.insert(0, ("eth_chainId", []))
        answers = await self.rpc.batch(requests)
        if check:
            self._check_chain(answers.pop(0))
        first = [_number(answers.pop(0))] if numbered else []
        return first + [self._decode(call, answer) for call, answer in zip(calls, answers, strict=True)]

    def _decode(self, call: abi.Call, answer: Any) -> Any:
        if isinstance(answer, RpcFailure):
            return answer
        if answer == "0x":
            raise ChainError(
                f"there is no contract at {call.to} on {self.network.name}",
                code="no_contract",
                hint="check ZEROG_LEDGER (ledger=…) and ZEROG_INFERENCE (inference=…), or leave them out",
            )
        data_of(answer, "eth_call")
        try:
            return call.decode(answer)
        except ValueError as error:
            raise rpc_junk(str(error)) from error

    def _check_chain(self, answer: Any) -> None:
        found = quantity(answer, "eth_chainId")
        if found != self.network.chain_id:
            raise WrongChain(
                f"the RPC endpoint answers for chain {found}, network {self.network.name!r} is {self.network.chain_id}",
                hint="set ZEROG_NETWORK (network=…) and ZEROG_RPC_URL (rpc_url=…) to the same chain",
            )
        self._checked = True

    def _keep_asked(self, value: Any, provider: str, block: int | None, began: float) -> ServiceRecord:
        try:
            record = self._keep(_required(value, "getService", self._unknown_provider(provider)), began, block)
        except ConfigError:  # it has left the chain, and what was read before holds no more
            self.forget(provider)
            raise
        if record.provider != provider:
            raise ChainError(
                f"asked for provider {provider}, the chain's RPC endpoint answers with {record.provider}",
                code="rpc_junk",
                hint="check ZEROG_RPC_URL",
            )
        return record

    def _keep(self, value: tuple[Any, ...], began: float, block: int | None = None) -> ServiceRecord:
        record = abi.service(value[0], private=self.network.private_providers)
        kept = self._services.get(record.provider)
        if kept is not None and kept[0] > began:
            return record  # a read that began later was quicker
        if block is None:
            self._blocks.pop(record.provider, None)
        else:
            self._blocks[record.provider] = block
        self._services[record.provider] = (began, record)
        self._state = object()
        if self.listener is not None:
            self.listener(record, began)
        return record

    def _unknown_provider(self, provider: str) -> ConfigError:
        return ConfigError(
            f"no provider {checksum_address(provider)} on {self.network.name}",
            code="unknown_provider",
            hint="see `zerog providers`; if it is on another network, set ZEROG_NETWORK (network=…)",
        )


def _required(value: Any, what: str, missing: Exception | None = None) -> tuple[Any, ...]:
    if isinstance(value, RpcFailure):
        name, arguments = abi.decode_error(value.data)
        if missing is not None and name == "ServiceNotExist":
            raise missing
        raise ChainError(
            f"{what} failed: {name or value.message}",
            code="call_failed",
            hint="check ZEROG_RPC_URL and the contract addresses, or try again",
            retryable=not name,
            error=name,
            args=arguments,
        )
    result: tuple[Any, ...] = value
    return result


def _number(answer: Any) -> int | None:
    try:
        return quantity(answer, "eth_blockNumber")
    except ChainError:  # known or not, the record is what counts
        return None


def _account(value: Any) -> abi.Account | None:
    if isinstance(value, RpcFailure) and abi.decode_error(value.data)[0] == "AccountNotExists":
        return None
    return abi.account(_required(value, "getAccount")[0])
