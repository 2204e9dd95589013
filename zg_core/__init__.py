"""TEE-verified, on-chain-paid LLM inference: clients, verdicts and receipts.

Example:
    >>> from zg_core import og
    >>> og("1.5")
    Amount('1.5', '0G')
"""

from __future__ import annotations

from zg_core.accounts import Ledger, SubAccount
from zg_core.api_keys import ApiKey, ApiKeys, AsyncApiKeys, NewKey
from zg_core.broker import AsyncBroker, Broker
from zg_core.calls import Reply
from zg_core.catalogue import ModelInfo
from zg_core.chain.transactions import Sending, TransactionResult
from zg_core.client import AsyncChatClient, ChatClient
from zg_core.config import NETWORKS, Network, Settings
from zg_core.errors import (
    AttestationError,
    BudgetExceeded,
    ChainError,
    ConfigError,
    InsufficientFunds,
    ModelNotServed,
    NotAcknowledged,
    OutcomeUnknown,
    PaymentRequired,
    ProviderUnavailable,
    RateLimited,
    RequestError,
    SessionRejected,
    StreamTruncated,
    TransactionReverted,
    VerificationFailed,
    VerificationUnavailable,
    VerificationWarning,
    WrongChain,
    ZeroGError,
)
from zg_core.funding import AsyncFunder, AutoFunding, Funder
from zg_core.http import Timeouts
from zg_core.limits import Limits
from zg_core.openai_compat import async_openai_client, openai_client
from zg_core.progress import Progress
from zg_core.receipts import MemoryReceipts, Receipt, ReceiptStore, Retention
from zg_core.store import Store
from zg_core.types import Amount, Fee, Kind, Service, Usage, neuron, og
from zg_core.verify import Policy, Verdict
from zg_core.wallet import Wallet

__version__ = "0.1.0"

__all__ = [
    "NETWORKS",
    "Amount",
    "ApiKey",
    "ApiKeys",
    "AsyncApiKeys",
    "AsyncBroker",
    "AsyncChatClient",
    "AsyncFunder",
    "AttestationError",
    "AutoFunding",
    "Broker",
    "BudgetExceeded",
    "ChainError",
    "ChatClient",
    "ConfigError",
    "Fee",
    "Funder",
    "InsufficientFunds",
    "Kind",
    "Ledger",
    "Limits",
    "MemoryReceipts",
    "ModelInfo",
    "ModelNotServed",
    "Network",
    "NewKey",
    "NotAcknowledged",
    "OutcomeUnknown",
    "PaymentRequired",
    "Policy",
    "Progress",
    "ProviderUnavailable",
    "RateLimited",
    "Receipt",
    "ReceiptStore",
    "Reply",
    "RequestError",
    "Retention",
    "Sending",
    "Service",
    "SessionRejected",
    "Settings",
    "Store",
    "StreamTruncated",
    "SubAccount",
    "Timeouts",
    "TransactionResult",
    "TransactionReverted",
    "Usage",
    "Verdict",
    "VerificationFailed",
    "VerificationUnavailable",
    "VerificationWarning",
    "Wallet",
    "WrongChain",
    "ZeroGError",
    "__version__",
    "async_openai_client",
    "neuron",
    "og",
    "openai_client",
]
