"""The Python face of a running local provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zg_core.localnet.hardware.attestation import AttestationFault

if TYPE_CHECKING:
    from zg_core.localnet.base.server import ServerThread
    from zg_core.localnet.provider.billing import BillingEntry
    from zg_core.localnet.provider.faults import ActiveFault, Fault
    from zg_core.localnet.provider.settings import ProviderSettings, ProviderSpec
    from zg_core.localnet.provider.settlement import SettlementRecord
    from zg_core.localnet.provider.state import ProviderState, RecordedRequest


class LocalProvider:
    """One provider of a running `LocalNet`. All methods may be called from any thread."""

    def __init__(self, state: ProviderState, server: ServerThread, place: int) -> None:
        self._state = state
        self._server = server
        self._place = place

    def __repr__(self) -> str:
        return f"LocalProvider({self.model!r}, {self.kind}, {self.address})"

    @property
    def address(self) -> str:
        """The provider's address on chain, EIP-55."""
        return self._state.address

    @property
    def url(self) -> str:
        """What the contract has as service url; requests go to ``{url}/v1/proxy``."""
        return self._state.url

    @property
    def model(self) -> str:
        """The model's name."""
        return self._state.spec.model

    @property
    def kind(self) -> str:
        """TeeML, TeeTLS, TeeML-separated or standard."""
        return self._state.spec.kind

    @property
    def spec(self) -> ProviderSpec:
        """What it was started as."""
        return self._state.spec

    @property
    def settings(self) -> ProviderSettings:
        """Its limits, cache lives and intervals."""
        return self._state.settings

    @property
    def tee_signer(self) -> str:
        """The signer on chain: the broker enclave's address. It signs settlements, and responses unless separated."""
        return self._state.tee_key.address

    @property
    def response_signer(self) -> str:
        """Whose signature responses carry: `tee_signer`, or the model's own enclave (TargetTeeAddress)."""
        return self._state.signing_key.address

    @property
    def adapter(self) -> str | None:
        """The name of the fine-tuned adapter it also serves."""
        return self._state.adapter

    @property
    def prices(self) -> tuple[int, int]:
        """Neuron per prompt token and per completion token, before tiers."""
        return self._state.input_price, self._state.output_price

    @property
    def log(self) -> list[BillingEntry]:
        """Every billed request, oldest first; settled ones name the transaction."""
        return self._server.call(self._state.log.entries)

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every HTTP request received, oldest first (control routes left out)."""
        return self._server.call(lambda: list(self._state.requests))

    @property
    def settlements(self) -> list[SettlementRecord]:
        """Every settlement sent, oldest first, those of the background loop included."""
        return list(self._state.settlements)

    def unsettled(self, user: str) -> int:
        """Neuron a user owes this provider."""
        from zg_core.localnet.base.keys import checksum_address

        return self._server.call(lambda: self._state.log.unsettled(checksum_address(user)))

    def settle(self) -> list[SettlementRecord]:
        """Collect all unsettled fees on chain now.

        Returns:
            One record a transaction (at most 50 users each): hash, block, status and amounts of every user.
        """
        self._server.call(lambda: None)
        return self._state.settle()

    def fault(
        self, fault: Fault | str, *, times: int | None = 1, containing: str | None = None, **options: Any
    ) -> ActiveFault:
        """Misbehave on the next `times` charged requests the fault can apply to; None means until cleared.

        Several faults may be set; each request takes all that apply. The result is a context manager that clears it.

        Args:
            fault: a `Fault` or its public name.
            times: how many requests.
            containing: only requests whose body has this text.
            options: see `fault_meanings`.

        Raises:
            ValueError: unknown fault or bad count.
            TypeError: an option the fault does not have.
        """
        return self._state.faults.add(fault, times=times, containing=containing, **options)

    def attestation_fault(self, fault: AttestationFault | str) -> None:
        """Serve wrong evidence at ``/v1/quote`` (and of the model enclave), until `clear_faults`.

        Args:
            fault: an `AttestationFault` or its public name.

        Raises:
            ValueError: unknown fault.
        """
        self._state.enclave.fault = AttestationFault(fault)

    def quote_fault(self, fault: str) -> None:
        """Show a wrong encryption key at ``/v1/quote?legacy=false``, until `clear_faults`.

        Args:
            fault: ``"legacy"`` (the layout without one), ``"key_swapped"`` (the operator's own enclave, on genuine
                hardware, shows his key beside the right signer), ``"unsigned"`` (the same, not even signed).

        Raises:
            ValueError: unknown fault.
        """
        if fault not in ("legacy", "key_swapped", "unsigned"):
            raise ValueError(f"unknown fault {fault!r}")
        self._state.quote_fault = fault

    @property
    def collateral(self) -> str:
        """What the maker of its hardware publishes about it, in dcap-qvl's JSON form."""
        return self._state.enclave.platform.collateral

    def clear_faults(self) -> None:
        """Behave again."""
        self._state.faults.clear()
        self._state.quote_fault = ""
        if self._state.enclave.fault is not None:
            self._state.enclave.fault = None

    def kill(self) -> None:
        """End it as a crash would: nothing listens, and every connection is reset.

        What it was serving it still bills: the book outlives the process.
        """
        self._server.kill(self._place)

    def restart(self) -> None:
        """Serve again, at the same address; no error if it does already.

        Raises:
            OSError: somebody else has taken the port.
        """
        self._server.restart(self._place)

    def set_price(self, input_price: int, output_price: int) -> None:
        """Change the prices on chain and for billing, in neuron per token. Keeps the owner's acknowledgement."""
        self._state.set_price(input_price, output_price)

    def rotate_signer(self, *, acknowledged: bool = True) -> None:
        """Replace the enclave's keys and register the new signer; the owner confirms it unless told not to."""
        self._state.rotate_signer(acknowledged=acknowledged)

    def acknowledge(self) -> None:
        """The contract owner confirms the signer."""
        self._state.acknowledge()

    def revoke_acknowledgement(self) -> None:
        """The contract owner takes the confirmation back."""
        self._state.revoke_acknowledgement()

    def drop_caches(self) -> None:
        """Read accounts and the service record from the chain again on the next request."""
        self._server.call(self._state.drop_caches)
