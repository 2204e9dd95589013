"""The one place that imports py-evm and the libraries that come with it, so that a missing extra has one answer."""

from __future__ import annotations

try:
    from eth import exceptions as vm_errors
    from eth._utils.address import generate_contract_address
    from eth.abc import ComputationAPI, SignedTransactionAPI
    from eth.constants import BLANK_ROOT_HASH, CREATE_CONTRACT_ADDRESS
    from eth.db.atomic import AtomicDB
    from eth.vm.execution_context import ExecutionContext
    from eth.vm.forks.cancun.state import CancunState, CancunTransactionExecutor
    from eth.vm.forks.cancun.transaction_context import CancunTransactionContext
    from eth.vm.forks.cancun.transactions import CancunTransactionBuilder
    from eth.vm.message import Message
    from eth_bloom.bloom import BloomFilter
    from eth_keys.datatypes import PrivateKey
    from eth_keys.exceptions import BadSignature
    from trie.hexary import HexaryTrie
except ImportError as missing:
    raise ImportError(
        "the local network needs py-evm; install it with: pip install 'zerog-integrations[localnet]'"
    ) from missing

__all__ = [
    "BLANK_ROOT_HASH",
    "CREATE_CONTRACT_ADDRESS",
    "AtomicDB",
    "BadSignature",
    "BloomFilter",
    "CancunState",
    "CancunTransactionBuilder",
    "CancunTransactionContext",
    "CancunTransactionExecutor",
    "ComputationAPI",
    "ExecutionContext",
    "HexaryTrie",
    "Message",
    "PrivateKey",
    "SignedTransactionAPI",
    "generate_contract_address",
    "vm_errors",
]
