"""`LocalNet`: chain, contracts and providers as one thing that starts and stops."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from zg_core.localnet.base.keys import Key
from zg_core.localnet.base.server import ServerThread, bind
from zg_core.localnet.chain import abi
from zg_core.localnet.chain.anvil import AnvilProcess
from zg_core.localnet.chain.chain import Chain, Reverted
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.chain.node import NodeChain
from zg_core.localnet.chain.rpc import RpcServer
from zg_core.localnet.gateway.gateway import Gateway
from zg_core.localnet.hardware.attestation import Enclave, os_image
from zg_core.localnet.model.engine import RuleModel
from zg_core.localnet.model.upstream import OpenAIUpstream
from zg_core.localnet.provider import app as broker
from zg_core.localnet.provider import status
from zg_core.localnet.provider.onchain import STAKE, ChainSide
from zg_core.localnet.provider.operator import Operator
from zg_core.localnet.provider.provider import LocalProvider
from zg_core.localnet.provider.settings import ProviderSettings, ProviderSpec, standard_specs
from zg_core.localnet.provider.state import ProviderState, SavedState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from zg_core.localnet.base.clock import Clock
    from zg_core.localnet.gateway.faults import ActiveNodeFault, NodeFault
    from zg_core.localnet.hardware.platform import Maker
    from zg_core.localnet.model.upstream import Upstream
    from zg_core.localnet.router.state import LocalRouter

_log = logging.getLogger(__name__)
_OG = 10**18
_SERVICE = "inference-v1.0"
_MINIMUM_LEDGER = 3 * _OG
_GAS_MONEY = 1_000 * _OG
_OWNER_KEY = next(iter(DEV_KEYS.values()))


@dataclass(frozen=True)
class LocalWallet:
    """A funded account. The key is a secret of no value: it lives and dies with the network."""

    address: str
    private_key: str = field(repr=False)


class LocalNet:
    """A 0G network in this process: a real EVM with the serving contracts, and providers on real sockets.

    A context manager; everything listens on 127.0.0.1, and nothing is left when it ends.

    Args:
        providers: how many of the standard mix (`standard_specs`), or what each of them is.
        services: with a number of `providers`, what they serve: names in `SERVICES`, each by one provider at least.
        settings: limits and times of all providers; `ProviderSettings.fast()` if not given.
        tls: providers speak https, with certificates of a throw-away CA in `ca_file`.
        rpc_port: where the JSON-RPC server listens; 0 for any free port.
        upstream: an OpenAI-compatible server (``http://127.0.0.1:11434/v1``) that answers instead of the rule engine.
            With a number of providers they serve the models that server lists.
        chain: a chain to use, with the serving contracts in its genesis.
        anvil: the path of anvil, to run the chain in a process of its own on another EVM.
        rpc: the JSON-RPC endpoint of a development node that is there already (chain id 31337; anvil or Hardhat), to
            which the contracts are written.
        router: whether a Router stands before the providers, in `router`.
    """

    def __init__(
        self,
        *,
        providers: int | Sequence[ProviderSpec] = 1,
        services: Sequence[str] = (),
        settings: ProviderSettings | None = None,
        tls: bool = False,
        rpc_port: int = 0,
        upstream: str | None = None,
        chain: Chain | None = None,
        anvil: str | Path | None = None,
        rpc: str | None = None,
        router: bool = False,
    ) -> None:
        if sum(given is not None for given in (chain, anvil, rpc)) > 1:
            raise ValueError("chain, anvil and rpc exclude each other")
        if rpc is not None and rpc_port:
            raise ValueError("rpc and rpc_port exclude each other: the node listens where it does")
        self._named = not isinstance(providers, int)
        if services and self._named:
            raise ValueError("services is for a number of providers; a ProviderSpec says what it serves (service_type)")
        self._specs = standard_specs(providers, services) if isinstance(providers, int) else list(providers)
        self._settings = settings or ProviderSettings.fast()
        self._tls = tls
        self._rpc_port = rpc_port
        self._upstream = upstream
        self._given_chain = chain
        self._anvil_program = anvil
        self._node_url = rpc
        self._routed = router
        self._router: LocalRouter | None = None
        self._rpc: RpcServer | None = None
        self._gateway: Gateway | None = None
        self._anvil: AnvilProcess | None = None
        self._started = False
        self._states: list[ProviderState] = []
        self._snapshots: dict[int, tuple[int, list[SavedState]]] = {}
        self._stop_settling = threading.Event()
        self._settlers: list[threading.Thread] = []
        self._directory: Path | None = None
        self._making = threading.Lock()
        self._made: Maker | None = None
        self._wallet: LocalWallet | None = None
        self.providers: list[LocalProvider] = []
        """The running providers, in the order they were asked for."""
        self.ca_file: Path | None = None
        """With `tls`, the CA's certificate (PEM)."""
        self.status_url = ""
        """The status API: ``{status_url}/health`` and ``/models``."""

    @property
    def attestation_root(self) -> bytes:
        """The root certificate (DER) of the hardware that signs this network's quotes; no verifier knows it."""
        return self._maker().root

    @property
    def os_image(self) -> tuple[str, str, str]:
        """The operating system of its enclaves (MRTD, RTMR1, RTMR2; hex), which a verifier may believe in.

        Example:
            ``AttestationOptions(root=net.attestation_root, pccs_url=net.pccs_url, os_images=[net.os_image])``
        """
        return os_image()

    @property
    def pccs_url(self) -> str:
        """Where the maker of that hardware publishes its collateral."""
        return f"{self.status_url}/pccs"

    def __repr__(self) -> str:
        state = f"{len(self.providers)} providers, rpc {self.rpc_url}" if self._started else "not started"
        return f"LocalNet({state})"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # starting and stopping

    def start(self) -> Self:
        """Start chain, RPC server and providers, and register the providers.

        Raises:
            RuntimeError: started already.
            OSError: `rpc_port` is taken.
            ValueError: the server at `upstream` lists no models.
            NodeUnfit: `anvil` cannot be started, or the node at `rpc` cannot carry the network.
        """
        if self._started:
            raise RuntimeError("this LocalNet is running already")
        self._started = True
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        self._chain = self._start_chain()
        self._server = ServerThread()
        specs = self._specs if self._upstream is None or self._named else _serve_models_of(self._upstream, self._specs)
        if self._tls:
            from zg_core.localnet.base.tls import ThrowAwayCA

            self._directory = Path(tempfile.mkdtemp(prefix="zerog-localnet-"))
            authority = ThrowAwayCA(self._directory)
            self.ca_file = authority.ca_file
        for number, spec in enumerate(specs):
            state = self._new_state(spec)
            sock = bind()
            host, port = sock.getsockname()
            state.url = f"{'https' if self._tls else 'http'}://{host}:{port}"
            certificate = None
            if self._tls:
                hosts = (spec.tls_host,) if spec.tls_host else ("127.0.0.1", "localhost")
                certificate = authority.issue(f"provider-{number}", hosts)
            place = self._server.add(broker.make_app(state), sock, tls=certificate)
            self._states.append(state)
            self.providers.append(LocalProvider(state, self._server, place))
        status_socket = bind()
        self.status_url = "http://{}:{}".format(*status_socket.getsockname())
        self._server.add(status.make_app(self._states, self._maker), status_socket)
        router_wallet = self._add_router() if self._routed else None
        self._server.start()
        for state in self._states:
            self._chain.set_balance(state.address, STAKE + _GAS_MONEY)
            state.register(first=True)
            if state.spec.acknowledged:
                state.acknowledge()
            if state.settings.settle_interval is not None:
                thread = threading.Thread(
                    target=self._settle_loop, args=(state,), name="zerog-localnet-settler", daemon=True
                )
                self._settlers.append(thread)
                thread.start()

        if router_wallet is not None:
            for provider in self.providers:
                if provider.spec.acknowledged:
                    self.open_account(router_wallet, provider, 100 * _OG)

    def _add_router(self) -> LocalWallet:
        from zg_core.localnet.router import app as router_app
        from zg_core.localnet.router.state import LocalRouter, RouterState

        wallet = self.new_wallet()
        state = RouterState(self._states, Key(wallet.private_key), self._chain.clock.now)
        sock = bind()
        self._server.add(router_app.make_app(state), sock)
        self._server.at_end(state.aclose)
        self._router = LocalRouter(state, "http://{}:{}".format(*sock.getsockname()))
        return wallet

    def _start_chain(self) -> Chain | NodeChain:
        if self._anvil_program is not None:
            self._anvil = AnvilProcess(self._anvil_program, self._rpc_port)
            return NodeChain(self._anvil.url)
        if self._node_url is not None:
            return NodeChain(self._node_url)
        chain = self._given_chain or Chain()
        self._gateway = Gateway(chain)
        self._rpc = RpcServer(chain, self._rpc_port, self._gateway.respond)
        self._rpc.start()
        return chain

    def _new_state(self, spec: ProviderSpec) -> ProviderState:
        key = Key.random()
        return ProviderState(
            spec,
            spec.settings or self._settings,
            key=key,
            side=ChainSide(self._chain, key, _OWNER_KEY),
            clock=self._chain.clock,
            upstream=self._upstream_of(spec),
            enclave=Enclave(self._maker),
        )

    def _maker(self) -> Maker:
        """The maker of the network's hardware, made when a quote is first asked for."""
        with self._making:
            if self._made is None:
                from zg_core.localnet.hardware.platform import Maker

                self._made = Maker(self._chain.clock.now())
            return self._made

    def _upstream_of(self, spec: ProviderSpec) -> Upstream:
        if spec.upstream is not None:
            return spec.upstream
        if self._upstream is not None:
            forwarder = OpenAIUpstream(self._upstream, model=spec.model)
            self._server.at_end(forwarder.aclose)
            return forwarder
        return RuleModel(
            model=spec.model,
            context_length=spec.context_length,
            token_delay=spec.token_delay,
            first_token_delay=spec.first_token_delay,
            clock=self._chain.clock,
            most_images=spec.most_images,
            draws=spec.draws,
            speech_usage=spec.speech_usage,
            speech_sse=spec.speech_sse,
        )

    def _settle_loop(self, state: ProviderState) -> None:
        interval = state.settings.settle_interval
        while interval is not None:
            state.wake.wait()  # idle until something was billed
            if not self._chain.clock.wait(interval, self._stop_settling):
                return
            state.wake.clear()
            try:
                state.settle_due()
            except (Reverted, ValueError) as error:
                _log.warning("a settlement of %s failed: %s", state.address, error)
            if any(state.log.due(not_after=float("inf"))):
                state.wake.set()

    def stop(self) -> None:
        """Stop everything. No thread, socket or file is left; again is no error."""
        self._stop_settling.set()
        for state in self._states:
            state.wake.set()
        for thread in self._settlers:
            thread.join()
        if hasattr(self, "_server"):
            self._server.stop()
        if self._rpc is not None:
            self._rpc.stop()
        if self._anvil is not None:
            self._anvil.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    # what there is

    @property
    def chain(self) -> Chain:
        """The chain, in process.

        Raises:
            RuntimeError: it is another program's; `rpc_url` reaches it.
        """
        if isinstance(self._chain, NodeChain):
            raise RuntimeError("the chain is not in this process; use rpc_url")  # noqa: TRY004
        return self._chain

    @property
    def router(self) -> LocalRouter:
        """The Router.

        Raises:
            RuntimeError: the network was started without one.
        """
        if self._router is None:
            raise RuntimeError("this network has no Router: LocalNet(router=True)")
        return self._router

    @property
    def clock(self) -> Clock:
        """The one clock of chain and providers; `advance` moves it."""
        return self._chain.clock

    @property
    def chain_id(self) -> int:
        """31337, unless a chain was given."""
        return self._chain.chain_id

    @property
    def rpc_url(self) -> str:
        """Where JSON-RPC is answered over HTTP."""
        if isinstance(self._chain, NodeChain):
            return self._chain.url
        assert self._rpc is not None  # noqa: S101 - a chain of this process has a server
        return self._rpc.url

    @property
    def ledger(self) -> str:
        """The LedgerManager contract."""
        return abi.LEDGER_ADDRESS

    @property
    def inference(self) -> str:
        """The InferenceServing contract."""
        return abi.INFERENCE_ADDRESS

    @property
    def wallet(self) -> LocalWallet:
        """A wallet with 1,000 0G and no ledger, the same on every call."""
        if self._wallet is None:
            self._wallet = self.new_wallet()
        return self._wallet

    def new_wallet(self, balance: int = 1_000 * _OG) -> LocalWallet:
        """A fresh account holding `balance` neuron."""
        key = Key.random()
        self._chain.set_balance(key.address, balance)
        return LocalWallet(key.address, key.hex)

    def open_account(self, wallet: LocalWallet, provider: LocalProvider | str, amount: int = 3 * _OG) -> None:
        """Move `amount` neuron into the wallet's sub-account with a provider, as its owner would.

        The ledger is created or topped up as far as needed; the transfer also acknowledges the provider.

        Args:
            wallet: who pays.
            provider: a provider or its address.
            amount: at least 1 0G for a new sub-account.

        Raises:
            Reverted: the contract refuses, for example an amount below its minimum.
            ValueError: the wallet has too little.
        """
        address = provider if isinstance(provider, str) else provider.address
        ledger = abi.ledger()
        try:
            data = self._chain.call(to=ledger.address, data=ledger.encode("getLedger", wallet.address))
            available, exists = ledger.decode("getLedger", data)["availableBalance"], True
        except Reverted as error:
            if ledger.decode_error(error.data)[0] != "LedgerNotExists":
                raise
            available, exists = 0, False
        missing = max(amount - available, 0) if exists else max(amount, _MINIMUM_LEDGER)
        if missing:
            self._chain.send(wallet.private_key, to=ledger.address, data=ledger.encode("depositFund"), value=missing)
        self._chain.send(
            wallet.private_key, to=ledger.address, data=ledger.encode("transferFund", address, _SERVICE, amount)
        )
        for state in self._states:
            if state.address == address:
                self._server.call(state.drop_caches)

    def provider(self, address_or_model: str) -> LocalProvider:
        """The provider with this address or model.

        Raises:
            KeyError: there is none.
        """
        for one in self.providers:
            if address_or_model in (one.address, one.model):
                return one
        raise KeyError(address_or_model)

    def env(self) -> dict[str, str]:
        """Environment variables that point a program, and this package, at the network."""
        first = self.providers[0] if self.providers else None
        wallet = self.wallet
        values = {
            "RPC_URL": self.rpc_url,
            "LEDGER": self.ledger,
            "INFERENCE": self.inference,
            "PROVIDER": first.address if first else "",
            "PROVIDERS": ",".join(one.address for one in self.providers),
            "PROVIDER_URL": first.url if first else "",
            "PRIVATE_KEY": wallet.private_key,
            "CHAIN_ID": str(self.chain_id),
        }
        values |= {
            "ZEROG_NETWORK": "local",
            "ZEROG_RPC_URL": values["RPC_URL"],
            "ZEROG_LEDGER": values["LEDGER"],
            "ZEROG_INFERENCE": values["INFERENCE"],
            "ZEROG_PRIVATE_KEY": values["PRIVATE_KEY"],
            "ZEROG_PROVIDER": values["PROVIDER"],
        }
        if self._router is not None:
            values |= {
                "ZEROG_ROUTER_URL": self._router.base_url,
                "ZEROG_ROUTER_API_KEY": self._router.api_key,
                "ZEROG_ROUTER_MANAGEMENT_KEY": self._router.management_key,
            }
        return values

    def operator(self, provider: LocalProvider) -> Operator:
        """Put the operator of `provider` in front of it: he sees and changes all traffic, and holds no key of it.

        He is honest until told otherwise. The result is a context manager that ends with the provider as it was.

        Raises:
            RuntimeError: the network runs with TLS, which ends where the provider is.
        """
        if self._tls:
            raise RuntimeError("an operator stands in front of providers without TLS: start the network without it")
        wallet = self.new_wallet()
        self.open_account(wallet, provider, 10 * _OG)
        (state,) = (each for each in self._states if each.address == provider.address)
        return Operator(state, state.side, Key(wallet.private_key))

    def chain_outage(self, seconds: float) -> None:
        """Nobody gets an answer at `rpc_url` until so many seconds have passed on `clock`; 0 ends it.

        Providers are not affected: they reach the chain another way.

        Raises:
            RuntimeError: the chain is another program's.
        """
        if self._rpc is None:
            raise RuntimeError("the chain's RPC is not served by this process")
        self._rpc.down_until = self.clock.now() + seconds

    def node_fault(
        self,
        fault: NodeFault | str,
        *,
        times: int | None = 1,
        method: str | None = None,
        then: Callable[[], None] | None = None,
        **options: Any,
    ) -> ActiveNodeFault:
        """Let the RPC endpoint misbehave on the next `times` calls that the fault is about; None means until cleared.

        Several faults may be set. The result is a context manager that clears it, and counts how often it has fired.
        Programs outside this process set them by JSON-RPC: ``local_addFault``, ``local_faults``, ``local_clearFaults``.

        Args:
            fault: a `NodeFault` or its public name.
            times: how often.
            method: only where this JSON-RPC method is asked for.
            then: called when it has fired, before the client learns of it.
            options: see `node_fault_meanings`.

        Raises:
            ValueError: unknown fault, method or choice, or bad count.
            TypeError: an option the fault does not have.
            RuntimeError: the chain is another program's.
        """
        return self._endpoint().faults.add(fault, times=times, method=method, then=then, **options)

    def clear_node_faults(self) -> None:
        """The RPC endpoint behaves again, and hands on what it has held back."""
        self._endpoint().clear()

    def _endpoint(self) -> Gateway:
        if self._gateway is None:
            raise RuntimeError("the chain's RPC is not served by this process")
        return self._gateway

    # saving and returning

    def snapshot(self) -> int:
        """Remember the state of the chain and of all providers.

        Returns:
            What `revert` takes.
        """

        def save() -> tuple[int, list[SavedState]]:
            with self._no_changes():
                return self._chain.snapshot(), [state.save() for state in self._states]

        chain_id, saved = self._server.call(save)
        self._snapshots[chain_id] = chain_id, saved
        return chain_id

    def revert(self, snapshot_id: int) -> None:
        """Return to a snapshot, which stays usable: balances, registrations, bills and signatures are as they were.

        Faults (of providers and of the RPC endpoint) and limits are cleared, caches dropped. Time does not go back.

        Raises:
            KeyError: no such snapshot, or one made after another that was reverted to since.
        """
        chain_id, saved = self._snapshots[snapshot_id]

        def restore() -> int:
            with self._no_changes():
                self._chain.revert(chain_id)
                for state, old in zip(self._states, saved, strict=True):
                    state.restore(old)
                return self._chain.snapshot()  # reverting uses a snapshot up

        self._snapshots = {key: value for key, value in self._snapshots.items() if key <= snapshot_id}
        if self._gateway is not None:
            self._gateway.clear()
        self._snapshots[snapshot_id] = self._server.call(restore), saved

    @contextmanager
    def _no_changes(self) -> Iterator[None]:
        """Keep settlements and price changes out while chain and providers are saved or restored together."""
        with ExitStack() as stack:
            for state in self._states:
                stack.enter_context(state.change_lock)
            yield


def _serve_models_of(url: str, specs: list[ProviderSpec]) -> list[ProviderSpec]:
    """The specs with the models an upstream lists, in turn."""

    async def names() -> list[str]:
        forwarder = OpenAIUpstream(url)
        try:
            return [entry["id"] for entry in await forwarder.models()]
        finally:
            await forwarder.aclose()

    models = asyncio.run(names())
    if not models:
        raise ValueError(f"the server at {url} cannot be reached or lists no models")
    return [replace(spec, model=models[number % len(models)]) for number, spec in enumerate(specs)]
