"""`OpenGradientNet`: two chains, the payment contracts, and gateways, as one thing that starts and stops."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zg_core.localnet.base.clock import Clock
from zg_core.localnet.base.keys import Key
from zg_core.localnet.base.server import ServerThread, bind
from zg_core.localnet.chain.chain import Chain
from zg_core.localnet.chain.devaccounts import DEV_KEYS
from zg_core.localnet.chain.rpc import RpcServer
from zg_core.localnet.model.engine import RuleModel
from zg_core.localnet.opengradient import places
from zg_core.localnet.opengradient.desk import Desk, Facilitator
from zg_core.localnet.opengradient.enclave import Certificate, Enclave
from zg_core.localnet.opengradient.faults import FaultPlan
from zg_core.localnet.opengradient.gateway import GatewayState, make_app
from zg_core.localnet.opengradient.nitro import Hypervisor
from zg_core.localnet.opengradient.places import contract
from zg_core.localnet.opengradient.relay import Relay
from zg_core.localnet.opengradient.settings import OPG, GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from starlette.requests import Request

    from zg_core.localnet.model.upstream import Upstream
    from zg_core.localnet.opengradient.faults import Fault
    from zg_core.localnet.opengradient.gateway import Seen

__all__ = ["LocalGateway", "OpenGradientNet", "OpgWallet"]

_log = logging.getLogger(__name__)
_OWNER, _OWNER_KEY = next(iter(DEV_KEYS.items()))
_ETH = 10**18
_BEAT_SECONDS = 600.0


@dataclass(frozen=True)
class OpgWallet:
    """A funded account of the payment chain. The key is a secret of no value: it lives and dies with the network."""

    address: str
    private_key: str = field(repr=False)


class LocalGateway:
    """One running gateway, and what a test does to it."""

    def __init__(self, net: OpenGradientNet, state: GatewayState, place: int, payment: str) -> None:
        self._net = net
        self._state = state
        self._place = place
        self.payment_address = payment
        """Where the registry says that it is paid."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._state.url

    @property
    def tee_id(self) -> str:
        """The id of its enclave."""
        return self._state.enclave.tee_id

    @property
    def enclave(self) -> Enclave:
        """Its keys."""
        return self._state.enclave

    @property
    def settings(self) -> GatewaySettings:
        """How it asks for money; may be set."""
        return self._state.settings

    @settings.setter
    def settings(self, settings: GatewaySettings) -> None:
        self._state.settings = self._state.desk.settings = settings

    @property
    def seen(self) -> Sequence[Seen]:
        """The requests for answers that came, oldest first."""
        return tuple(self._state.seen)

    @property
    def permits(self) -> int:
        """How many permits were accepted."""
        return len(self._state.desk.sessions)

    @property
    def metered(self) -> int:
        """What calls have cost here, in the token's smallest unit."""
        return self._state.metered

    @property
    def served(self) -> int:
        """How many calls were served and metered."""
        return self._state.served

    def fail(self, fault: Fault | str, *, times: int | None = 1, **options: Any) -> None:
        """Set a fault (`zg_core.localnet.opengradient.faults`)."""
        self._state.faults.add(fault, times=times, **options)

    def behave(self) -> None:
        """Take all faults back."""
        self._state.faults.clear()
        self._state.attested, self._state.date_offset = True, 0.0

    def set_clock(self, seconds: float) -> None:
        """Let its clock, as its responses say it, be so much ahead."""
        self._state.date_offset = seconds

    def hide_attestation(self) -> None:
        """Serve no attestation."""
        self._state.attested = False

    def kill(self) -> None:
        """Close its socket and reset its connections, as when its machine dies; the registry does not know yet."""
        self._net._server.kill(self._place)  # noqa: SLF001 - parts of one network

    def restart(self) -> None:
        """Serve again."""
        self._net._server.restart(self._place)  # noqa: SLF001

    def retire(self, *, enabled: bool = False) -> None:
        """Take it out of the registry's list, or put it back."""
        self._net.registry("setEnabled", bytes.fromhex(self.tee_id[2:]), enabled)

    def fall_silent(self, seconds: int = 3600) -> None:
        """Let its last heartbeat be so long ago."""
        self._net.registry("beat", bytes.fromhex(self.tee_id[2:]), int(self._net.clock.now()) - seconds)

    def register(self, **changes: Any) -> None:
        """Write its entry in the registry again, with these fields changed."""
        self._net.registry("put", {**self.entry(), **changes})

    def entry(self) -> dict[str, Any]:
        """Its entry in the registry."""
        return self.enclave.entry(
            endpoint=self.url,
            owner=_OWNER,
            payment=self.payment_address,
            pcr_hash=self._state.hypervisor.pcr_hash,
            now=int(self._net.clock.now()),
        )

    def swap_certificate(self, *, signed_by_own: bool = False) -> None:
        """Show another certificate than the registry's; if asked for one that the registry's key has signed."""
        own = self.enclave.certificate
        self._show(Certificate(issuer=own if signed_by_own else None))

    def show_own_certificate(self) -> None:
        """Show the registry's certificate again."""
        self._show(self.enclave.certificate)

    def _show(self, certificate: Certificate) -> None:
        self._net._server.show(self._place, certificate.write(self._net.directory, f"shown-{self._place}"))  # noqa: SLF001

    def settle(self) -> list[str]:
        """Settle every session; the hashes of the transactions."""
        return [found for each in self._state.desk.open() if (found := self._state.desk.settle(each))]

    def settle_due(self) -> None:
        """Settle what has been idle for long enough."""
        for session in self._state.desk.due():
            self._state.desk.settle(session)


class OpenGradientNet:
    """An OpenGradient network in this process: registry and relay on one chain, payments on another, gateways over TLS.

    A context manager; everything listens on 127.0.0.1, and nothing is left when it ends. It needs the extras
    ``localnet`` and ``opengradient``.

    Args:
        gateways: How many enclaves answer.
        settings: How they ask for money; the newest gateways' way if not given.
        upstream: What answers behind them; the rule engine if not given.
        rpc_port: Where the payment chain's JSON-RPC server listens; 0 for any free port.
        publish_after: Seconds after which what waits to be published is; None leaves that to `publish`.
    """

    def __init__(
        self,
        *,
        gateways: int = 2,
        settings: GatewaySettings | None = None,
        upstream: Upstream | None = None,
        rpc_port: int = 0,
        publish_after: float | None = None,
    ) -> None:
        self._count = gateways
        self._publish_after = publish_after
        self._settings = settings or GatewaySettings()
        self.clock = Clock()
        self._upstream = upstream or RuleModel(model="local", clock=self.clock)
        self.chain = Chain(chain_id=places.PAYMENT_CHAIN_ID, clock=self.clock, genesis=places.payment_genesis())
        """Where calls are paid."""
        self.registry_chain = Chain(
            chain_id=places.REGISTRY_CHAIN_ID, clock=self.clock, genesis=places.registry_genesis()
        )
        """Where the enclaves are listed."""
        self._rpc = RpcServer(self.chain, rpc_port)
        self._registry_rpc = RpcServer(self.registry_chain)
        self._server = ServerThread()
        self._stop = threading.Event()
        self._worker: threading.Thread | None = None
        self._wallet: OpgWallet | None = None
        self._started = False
        self.directory = Path()
        """Where its certificates are, while it runs."""
        self.relay = Relay(self.registry_chain)
        """What publishes hashes of answers."""
        self.hypervisor = Hypervisor(self.clock.now())
        """What attests its enclaves."""
        self.gateways: list[LocalGateway] = []
        """The running gateways."""
        self.blobs_url = ""
        """Where published blobs are: ``{blobs_url}/{id}``."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"{len(self.gateways)} gateways, rpc {self.rpc_url}" if self._started else "not started"
        return f"OpenGradientNet({state})"

    def start(self) -> Self:
        """Start the chains and the gateways, and register these.

        Raises:
            RuntimeError: started already.
            ImportError: the extra ``opengradient`` is not installed.
        """
        if self._started:
            raise RuntimeError("this OpenGradientNet is running already")
        self._started = True
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        self._rpc.start()
        self._registry_rpc.start()
        self.directory = Path(tempfile.mkdtemp(prefix="zerog-opengradient-"))
        key = Key.random()
        self.chain.set_balance(key.address, 1_000 * _ETH)
        self._facilitator = Facilitator(key.hex, self.rpc_url)
        for _ in range(self._count):
            self._add(self._facilitator)
        blobs = bind()
        self.blobs_url = "http://{}:{}/v1/blobs".format(*blobs.getsockname())
        self._server.add(_blobs_app(self), blobs)
        self._server.start()
        self.registry("approvePCR", 0, self.hypervisor.pcr_hash, True)
        for gateway in self.gateways:
            gateway.register()
        self._worker = threading.Thread(target=self._work, name="zerog-opengradient", daemon=True)
        self._worker.start()

    def _add(self, facilitator: Facilitator) -> None:
        enclave, faults, pay_to = Enclave(), FaultPlan(), Key.random().address
        desk = Desk(facilitator, pay_to, self._settings, faults, self.clock)
        state = GatewayState(
            enclave, desk, self._upstream, self._settings, faults, self.clock, self.relay, self.hypervisor
        )
        sock = bind()
        state.url = "https://{}:{}".format(*sock.getsockname())
        files = enclave.certificate.write(self.directory, f"gateway-{len(self.gateways)}")
        place = self._server.add(make_app(state), sock, tls=files, dated=False)
        self.gateways.append(LocalGateway(self, state, place, pay_to))

    def _work(self) -> None:
        """Settle what is idle, and let hearts beat."""
        beaten = published = self.clock.now()
        while not self._stop.wait(1.0):
            try:
                for gateway in self.gateways:
                    gateway.settle_due()
                if self._publish_after is not None and self.clock.now() - published > self._publish_after:
                    published = self.clock.now()
                    self.publish()
            except (RuntimeError, ValueError, OSError) as error:
                _log.warning("%s", error)
            if self.clock.now() - beaten > _BEAT_SECONDS:
                beaten = self.clock.now()
                for gateway in self.gateways:
                    self.registry("beat", bytes.fromhex(gateway.tee_id[2:]), int(beaten))

    def stop(self) -> None:
        """Stop everything. No thread, socket or file is left; again is no error."""
        self._stop.set()
        if self._worker is not None:
            self._worker.join()
            for gateway in self.gateways:  # connections with TLS that somebody keeps are not waited for
                self._server.kill(gateway._place)  # noqa: SLF001
        self._server.stop()
        self._rpc.stop()
        self._registry_rpc.stop()
        if self.directory != Path():
            shutil.rmtree(self.directory, ignore_errors=True)

    # what there is

    @property
    def rpc_url(self) -> str:
        """The payment chain's JSON-RPC endpoint."""
        return self._rpc.url

    @property
    def registry_rpc_url(self) -> str:
        """The registry chain's JSON-RPC endpoint."""
        return self._registry_rpc.url

    @property
    def wallet(self) -> OpgWallet:
        """A wallet with 1,000 OPG that has approved 100 of them for payments, the same on every call."""
        if self._wallet is None:
            self._wallet = self.new_wallet(approved=100 * OPG)
        return self._wallet

    def new_wallet(self, balance: int = 1_000 * OPG, *, approved: int = 0) -> OpgWallet:
        """A fresh account with money for gas.

        Args:
            balance: Its tokens, in their smallest unit.
            approved: How many of them payments may take.
        """
        key, token = Key.random(), contract("PaymentToken")
        self.chain.set_balance(key.address, _ETH)
        if balance:
            self.chain.send(_OWNER_KEY, to=token.address, data=token.encode("mint", key.address, balance))
        if approved:
            self.chain.send(key.secret, to=token.address, data=token.encode("approve", places.PERMITS, approved))
        return OpgWallet(key.address, key.hex)

    def tokens(self, address: str) -> int:
        """How many tokens an account holds, in their smallest unit."""
        token = contract("PaymentToken")
        found = self.chain.call(to=token.address, data=token.encode("balanceOf", address))
        return int(token.decode("balanceOf", found))

    def allowance(self, address: str) -> int:
        """How many of an account's tokens payments may take."""
        token = contract("PaymentToken")
        found = self.chain.call(to=token.address, data=token.encode("allowance", address, places.PERMITS))
        return int(token.decode("allowance", found))

    def registry(self, function: str, *args: Any) -> None:
        """Write to the registry."""
        listed = contract("EnclaveRegistry")
        self.registry_chain.send(_OWNER_KEY, to=listed.address, data=listed.encode(function, *args))

    def settle(self) -> list[str]:
        """Settle every session of every gateway; the hashes of the transactions."""
        return [each for gateway in self.gateways for each in gateway.settle()]

    def publish(self) -> str:
        """Publish the hashes of what was answered since; the hash of the transaction."""
        return self.relay.publish()

    @contextmanager
    def clean(self) -> Iterator[Self]:
        """Leave no trace in registry, money and faults; sessions end. Time does not go back."""
        chains, _ = (self.chain, self.registry_chain), self.wallet
        before = [chain.snapshot() for chain in chains]
        try:
            yield self
        finally:
            for gateway in self.gateways:
                gateway.behave()
                gateway._state.desk.sessions.clear()  # noqa: SLF001
                gateway._state.seen.clear()  # noqa: SLF001
                gateway._state.metered = gateway._state.served = 0  # noqa: SLF001
                gateway.settings = self._settings
            for chain, snapshot in zip(chains, before, strict=True):
                chain.revert(snapshot)
            self._facilitator.forget()

    def env(self) -> dict[str, str]:
        """Environment variables that point this package at the network."""
        return {
            "ZEROG_BACKEND": "opengradient",
            "ZEROG_PRIVATE_KEY": self.wallet.private_key,
            "ZEROG_NETWORK": "local",
            "ZEROG_OPENGRADIENT_RPC_URL": self.registry_rpc_url,
            "ZEROG_BASE_RPC_URL": self.rpc_url,
            "ZEROG_OPENGRADIENT_BLOBS_URL": self.blobs_url,
            "ZEROG_OPENGRADIENT_NITRO_ROOT": self.hypervisor.root_sha256,
        }


def _blobs_app(net: OpenGradientNet) -> Starlette:
    async def blob(request: Request) -> Response:
        found = net.relay.blobs.get(request.path_params["name"])
        if found is None:
            return JSONResponse({"error": "not found"}, 404)
        return Response(found, media_type="application/octet-stream")

    return Starlette(routes=[Route("/v1/blobs/{name}", blob)])
