"""TEE-verified, on-chain-paid LLM inference: clients, verdicts and receipts.

Example:
    >>> from zg_core import og
    >>> og("1.5")
    Amount('1.5', '0G')
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zg_core import _lazy

if TYPE_CHECKING:
    from zg_core.backends.direct.adapters import Adapters, AsyncAdapters
    from zg_core.backends.direct.money.accounts import Ledger, SubAccount
    from zg_core.backends.direct.money.api_keys import ApiKey, ApiKeys, AsyncApiKeys, NewKey
    from zg_core.backends.direct.money.broker import AsyncBroker, Broker
    from zg_core.backends.direct.money.funding import AsyncFunder, AutoFunding, Funder
    from zg_core.backends.opengradient.account import (
        AsyncOpenGradientAccount,
        OpenGradientAccount,
        ensure_opg_approval,
    )
    from zg_core.backends.opengradient.models import OpenGradientModel
    from zg_core.backends.opengradient.options import OpenGradient
    from zg_core.backends.router.account import AsyncRouterAccount, RouterAccount
    from zg_core.backends.router.options import Router
    from zg_core.backends.service import Service
    from zg_core.budget import Budget
    from zg_core.calls.call import Reply
    from zg_core.calls.limits import Limits
    from zg_core.chain.transactions import Sending, TransactionResult
    from zg_core.client import AsyncChatClient, ChatClient
    from zg_core.config import NETWORKS, Network, Settings
    from zg_core.errors import (
        ArgumentError,
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
    from zg_core.http.timeouts import Timeouts
    from zg_core.media.embeddings import AsyncEmbeddingClient, EmbeddingClient, Embeddings
    from zg_core.media.images import AsyncImageClient, ImageClient, ImageJob, Images
    from zg_core.media.speech import AsyncSpeechClient, SpeechClient
    from zg_core.money import Amount, Fee, neuron, og
    from zg_core.openai_compat import async_openai_client, openai_client
    from zg_core.progress import Progress
    from zg_core.receipts import MemoryReceipts, Receipt, ReceiptStore, Retention
    from zg_core.routing.candidates import Candidate, Explanation
    from zg_core.routing.routing import Routing
    from zg_core.store import Store
    from zg_core.tasks.models import ModelInfo
    from zg_core.tasks.pictures import Image
    from zg_core.tasks.transcription import Transcript
    from zg_core.types import Kind, ServiceRecord, Usage
    from zg_core.verify import Policy, Verdict
    from zg_core.wallet import Wallet

__version__ = "0.2.0.dev0"

__all__ = [
    "NETWORKS",
    "Adapters",
    "Amount",
    "ApiKey",
    "ApiKeys",
    "ArgumentError",
    "AsyncAdapters",
    "AsyncApiKeys",
    "AsyncBroker",
    "AsyncChatClient",
    "AsyncEmbeddingClient",
    "AsyncFunder",
    "AsyncImageClient",
    "AsyncOpenGradientAccount",
    "AsyncRouterAccount",
    "AsyncSpeechClient",
    "AttestationError",
    "AutoFunding",
    "Broker",
    "Budget",
    "BudgetExceeded",
    "Candidate",
    "ChainError",
    "ChatClient",
    "ConfigError",
    "EmbeddingClient",
    "Embeddings",
    "Explanation",
    "Fee",
    "Funder",
    "Image",
    "ImageClient",
    "ImageJob",
    "Images",
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
    "OpenGradient",
    "OpenGradientAccount",
    "OpenGradientModel",
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
    "Router",
    "RouterAccount",
    "Routing",
    "Sending",
    "Service",
    "ServiceRecord",
    "SessionRejected",
    "Settings",
    "SpeechClient",
    "Store",
    "StreamTruncated",
    "SubAccount",
    "Timeouts",
    "TransactionResult",
    "TransactionReverted",
    "Transcript",
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
    "ensure_opg_approval",
    "neuron",
    "og",
    "openai_client",
]

_HOMES = {
    "Adapters": "backends.direct.adapters",
    "Amount": "money",
    "ApiKey": "backends.direct.money.api_keys",
    "ApiKeys": "backends.direct.money.api_keys",
    "ArgumentError": "errors",
    "AsyncAdapters": "backends.direct.adapters",
    "AsyncApiKeys": "backends.direct.money.api_keys",
    "AsyncBroker": "backends.direct.money.broker",
    "AsyncChatClient": "client",
    "AsyncEmbeddingClient": "media.embeddings",
    "AsyncFunder": "backends.direct.money.funding",
    "AsyncImageClient": "media.images",
    "AsyncOpenGradientAccount": "backends.opengradient.account",
    "AsyncRouterAccount": "backends.router.account",
    "AsyncSpeechClient": "media.speech",
    "AttestationError": "errors",
    "AutoFunding": "backends.direct.money.funding",
    "Broker": "backends.direct.money.broker",
    "Budget": "budget",
    "BudgetExceeded": "errors",
    "Candidate": "routing.candidates",
    "ChainError": "errors",
    "ChatClient": "client",
    "ConfigError": "errors",
    "EmbeddingClient": "media.embeddings",
    "Embeddings": "media.embeddings",
    "Explanation": "routing.candidates",
    "Fee": "money",
    "Funder": "backends.direct.money.funding",
    "Image": "tasks.pictures",
    "ImageClient": "media.images",
    "ImageJob": "media.images",
    "Images": "media.images",
    "InsufficientFunds": "errors",
    "Kind": "types",
    "Ledger": "backends.direct.money.accounts",
    "Limits": "calls.limits",
    "MemoryReceipts": "receipts",
    "ModelInfo": "tasks.models",
    "ModelNotServed": "errors",
    "NETWORKS": "config",
    "Network": "config",
    "NewKey": "backends.direct.money.api_keys",
    "NotAcknowledged": "errors",
    "OpenGradient": "backends.opengradient.options",
    "OpenGradientAccount": "backends.opengradient.account",
    "OpenGradientModel": "backends.opengradient.models",
    "OutcomeUnknown": "errors",
    "PaymentRequired": "errors",
    "Policy": "verify",
    "Progress": "progress",
    "ProviderUnavailable": "errors",
    "RateLimited": "errors",
    "Receipt": "receipts",
    "ReceiptStore": "receipts",
    "Reply": "calls.call",
    "RequestError": "errors",
    "Retention": "receipts",
    "Router": "backends.router.options",
    "RouterAccount": "backends.router.account",
    "Routing": "routing.routing",
    "Sending": "chain.transactions",
    "Service": "backends.service",
    "ServiceRecord": "types",
    "SessionRejected": "errors",
    "Settings": "config",
    "SpeechClient": "media.speech",
    "Store": "store",
    "StreamTruncated": "errors",
    "SubAccount": "backends.direct.money.accounts",
    "Timeouts": "http.timeouts",
    "TransactionResult": "chain.transactions",
    "TransactionReverted": "errors",
    "Transcript": "tasks.transcription",
    "Usage": "types",
    "Verdict": "verify",
    "VerificationFailed": "errors",
    "VerificationUnavailable": "errors",
    "VerificationWarning": "errors",
    "Wallet": "wallet",
    "WrongChain": "errors",
    "ZeroGError": "errors",
    "async_openai_client": "openai_compat",
    "ensure_opg_approval": "backends.opengradient.account",
    "neuron": "money",
    "og": "money",
    "openai_client": "openai_compat",
}
__getattr__, __dir__ = _lazy.lazily(__name__, _HOMES)
