"""A provider's side of the contracts: its registration, its users' accounts, its settlements."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zg_core.localnet.base.keys import checksum_address
from zg_core.localnet.chain import abi
from zg_core.localnet.chain.chain import Reverted
from zg_core.localnet.provider.settlement import (
    MAX_USERS,
    STATUSES,
    SettledUser,
    SettlementRecord,
    UserSettlement,
    call_data,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zg_core.localnet.base.keys import Key
    from zg_core.localnet.chain.chain import Chain
    from zg_core.localnet.chain.node import NodeChain
    from zg_core.localnet.provider.settings import ProviderSpec

STAKE = 100 * 10**18
"""Neuron a provider stakes when it registers."""
IMAGE_NAME = "zerog-localnet/provider"
IMAGE_DIGEST = "sha256:" + "10ca1" * 12 + "0000"


@dataclass(frozen=True)
class ChainAccount:
    """A user's sub-account with a provider. Amounts in neuron."""

    balance: int
    pending_refund: int
    acknowledged: bool
    generation: int
    revoked_bitmap: int

    @property
    def usable(self) -> int:
        """What is not promised back to the user."""
        return self.balance - self.pending_refund


@dataclass(frozen=True)
class Registration:
    """What a provider writes on chain about itself."""

    service_type: str
    url: str
    model: str
    verifiability: str
    input_price: int
    output_price: int
    additional_info: str
    tee_signer: str


def additional_info(spec: ProviderSpec, *, target_tee_address: str) -> str:
    """The JSON text a provider of this kind publishes (0g-direct §4.8)."""
    info: dict[str, Any] = {
        "VerifierURL": "" if spec.kind == "standard" else "https://verifier.invalid/local-network",
        "TEEVerifier": "" if spec.kind == "standard" else "dstack",
        "TargetSeparated": spec.kind in ("TeeML-separated", "TeeTLS"),
        "TargetTeeAddress": target_tee_address if spec.kind == "TeeML-separated" else "",
        "ImageName": IMAGE_NAME,
        "ImageDigest": IMAGE_DIGEST,
    }
    if spec.kind == "TeeTLS":
        info["ProviderType"] = "centralized"
        info["ProviderIdentity"] = spec.identities[0]
    elif spec.kind == "standard":
        info["ProviderType"] = "standard"
    if spec.tiers:
        info["tieredPricing"] = {"tiers": tiers_json(spec)}
    if spec.cache_divisor is not None:
        info["cacheTokenBilling"] = {"divisor": spec.cache_divisor}
    if spec.usd_prices is not None:
        info |= {"MultiModel": True, "priceDenomination": "USD"}
    return json.dumps(info, sort_keys=True, separators=(",", ":"))


def tiers_json(spec: ProviderSpec) -> list[dict[str, int]]:
    """Tiers with the names of additionalInfo; denominators only where they are not 1."""
    tiers = []
    for tier in spec.tiers:
        entry = {
            "maxInputTokens": tier.max_input_tokens,
            "inputMultiplier": tier.input_multiplier,
            "outputMultiplier": tier.output_multiplier,
        }
        if tier.input_multiplier_denominator != 1:
            entry["inputMultiplierDenominator"] = tier.input_multiplier_denominator
        if tier.output_multiplier_denominator != 1:
            entry["outputMultiplierDenominator"] = tier.output_multiplier_denominator
        tiers.append(entry)
    return tiers


class ChainSide:
    """Reads and transactions of one provider.

    Args:
        chain: the chain, of this process or another's.
        key: the provider's own account, which pays gas and stake and receives fees.
        owner_key: the contract owner, who acknowledges signers.
    """

    def __init__(self, chain: Chain | NodeChain, key: Key, owner_key: str) -> None:
        self._chain = chain
        self._key = key
        self._owner_key = owner_key
        self._inference = abi.inference()

    @property
    def chain_id(self) -> int:
        """The chain's id, part of every settlement's signature."""
        return self._chain.chain_id

    @property
    def contract(self) -> str:
        """The InferenceServing proxy."""
        return self._inference.address

    def account(self, user: str) -> ChainAccount | None:
        """A user's sub-account, or None if there is none."""
        data = self._inference.encode("getAccount", user, self._key.address)
        try:
            record = self._inference.decode("getAccount", self._chain.call(to=self._inference.address, data=data))
        except Reverted as error:
            if self._inference.decode_error(error.data)[0] == "AccountNotExists":
                return None
            raise
        return ChainAccount(
            balance=record["balance"],
            pending_refund=record["pendingRefund"],
            acknowledged=record["acknowledged"],
            generation=record["generation"],
            revoked_bitmap=record["revokedBitmap"],
        )

    def signer_acknowledged(self) -> bool:
        """Whether the contract owner has acknowledged the signer of the current registration."""
        return bool(self.service()["teeSignerAcknowledged"])

    def service(self) -> dict[str, Any]:
        """The provider's record, by field name."""
        data = self._inference.encode("getService", self._key.address)
        record = self._inference.decode("getService", self._chain.call(to=self._inference.address, data=data))
        return dict(record)

    def register(self, registration: Registration, *, first: bool) -> None:
        """Write the provider's record; the first time with the stake."""
        params = {
            "serviceType": registration.service_type,
            "url": registration.url,
            "model": registration.model,
            "verifiability": registration.verifiability,
            "inputPrice": registration.input_price,
            "outputPrice": registration.output_price,
            "additionalInfo": registration.additional_info,
            "teeSignerAddress": registration.tee_signer,
        }
        self._send(self._key.hex, "addOrUpdateService", tuple(params.values()), value=STAKE if first else 0)

    def acknowledge(self) -> None:
        """The owner confirms the signer."""
        self._send(self._owner_key, "acknowledgeTEESignerByOwner", self._key.address)

    def revoke_acknowledgement(self) -> None:
        """The owner takes the confirmation back."""
        self._send(self._owner_key, "revokeTEESignerAcknowledgement", self._key.address)

    def settle(self, items: Sequence[UserSettlement], tee_key: Key) -> SettlementRecord:
        """Send one settlement of at most 50 users, signed by the enclave's key."""
        if not 0 < len(items) <= MAX_USERS:
            raise ValueError(f"a settlement has 1 to {MAX_USERS} users")
        data = call_data(items, tee_key, chain_id=self.chain_id, contract=self.contract)
        receipt = self._send(self._key.hex, "settleFeesWithTEE", [tuple(item.values()) for item in data])
        results = [
            decoded[1]
            for log in receipt.logs
            if log.address.lower() == self.contract.lower()
            and (decoded := self._inference.decode_log(log.address, log.topics, log.data)) is not None
            and decoded[0] == "TEESettlementResult"
        ]
        users = []
        for item, result in zip(items, results, strict=True):
            unsettled = int(result["unsettledAmount"])
            users.append(
                SettledUser(
                    user=checksum_address(item.user),
                    status=STATUSES[int(result["status"])],
                    total_fee=item.total_fee,
                    paid=item.total_fee - unsettled,
                    unsettled=unsettled,
                    nonce=item.nonce,
                    requests_hash=item.requests_hash,
                )
            )
        return SettlementRecord("0x" + receipt.tx_hash.hex(), receipt.block_number, tuple(users))

    def _send(self, private_key: str, function: str, *args: Any, value: int = 0) -> Any:
        data = self._inference.encode(function, *args)
        return self._chain.send(private_key, to=self._inference.address, data=data, value=value)
