"""``zerog demo``: the main job, end to end, on a network of its own, with every claim checked.

A real EVM with the serving contracts, providers on real sockets, and `ChatZeroG` from `langchain_zerog` as a user would
run it. Each check is printed; one that does not hold makes the exit code 1.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from zg_core import Amount, ChatClient, Kind, Receipt, VerificationFailed, VerificationUnavailable, neuron, og
from zg_core.chain.rpc import JsonRpc
from zg_core.cli.demo_media import MODELS, show
from zg_core.contracts.settlements import Settlement, SettlementStatus, read_settlements
from zg_core.crypto import same_address
from zg_core.http.transport import SyncTransport, run
from zg_core.tasks.base import CHAT
from zg_core.verify.verdict import Binding, Reason, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from zg_core.localnet import LocalNet, LocalProvider
    from zg_core.localnet.opengradient.network import OpenGradientNet
    from zg_core.localnet.provider.operator import Operator
    from zg_core.pricing import Tariff

__all__ = ["BREAKS", "Demo"]

CLIENT_SKIPS_HASH = "client-skips-hash"
BREAKS = (CLIENT_SKIPS_HASH,)
QUESTION = "What is the capital of France?"
SUBSTITUTE = "What is 500 + 500?"
VENDOR_MODEL = "anthropic/claude-sonnet-4-6"
TOOL_QUESTION = "Use the multiply tool: what is 6 times 7?"


class Demo:
    """One run of the demo.

    Args:
        console: Where to print.
        broken: A part to break on purpose, one of `BREAKS`; the run must then fail.
    """

    def __init__(self, console: Console, *, broken: str | None = None) -> None:
        self._console = console
        self._broken = broken
        self._failures: list[str] = []
        self._receipts: list[Receipt] = []

    def run(self) -> int:
        """Run all steps; 0 if every check held, else 1."""
        from zg_core.localnet import LocalNet
        from zg_core.localnet.provider.settings import standard_specs

        began = time.monotonic()
        specs = [*standard_specs(3), *standard_specs(len(MODELS), MODELS)]
        net = LocalNet(providers=[replace(spec, token_delay=0.02) for spec in specs])
        with self._step(f"starting a local 0G network (EVM, contracts, {len(specs)} providers)"):
            net.start()
        try:
            with _breaking(self._broken):
                self._main_job(net)
        finally:
            net.stop()
        self._other_vendors()
        seconds = time.monotonic() - began
        if self._failures:
            self._console.print()
            for failure in self._failures:
                self._console.print(f"[bold red]demo failed:[/] {escape(failure)}", soft_wrap=True)
            self._console.print(f"{len(self._failures)} of the checks do not hold, {seconds:.1f} s")
            return 1
        self._console.print(f"\n[bold green]OK[/] every check holds, {seconds:.1f} s")
        return 0

    def _main_job(self, net: LocalNet) -> None:
        provider = net.providers[0]
        wallet = self._fund(net, provider)
        options = {
            "private_key": wallet.private_key,
            "network": "local",
            "rpc_url": net.rpc_url,
            "ledger": net.ledger,
            "inference": net.inference,
        }
        self._providers(options)
        from langchain_zerog import ChatZeroG

        model = ChatZeroG(provider=provider.address, verify="require", on_receipt=self._receipts.append, **options)
        self._stream(model)
        self._tools(model)
        self._settle(net, provider, wallet.address)
        for name in ("local-embed-1", "local-image-1", "local-speech-1"):
            net.open_account(wallet, net.provider(name), og("1.1").units)
        show(self, net, _network(net), wallet.address, options)
        self._catch(model, provider)
        with net.operator(provider) as operator:
            fresh = ChatZeroG(provider=provider.address, verify="require", on_receipt=self._receipts.append, **options)
            self._substitute(operator, fresh)

    def _other_vendors(self) -> None:
        """OpenGradient: one call paid by a permit, its settlement on chain, and an altered answer that is caught."""
        self.title("OpenGradient: another vendor's model, paid by x402")
        try:
            from zg_core.localnet.opengradient.network import OpenGradientNet

            net = OpenGradientNet(gateways=1)
            with self._step("starting a local OpenGradient (two chains, contracts, facilitator, a gateway over TLS)"):
                net.start()
        except ModuleNotFoundError as error:
            self.line("left out", f"it needs {error.name}: pip install 'zerog-integrations[opengradient]'")
            return
        try:
            self._pay_and_catch(net)
        finally:
            net.stop()

    def _pay_and_catch(self, net: OpenGradientNet) -> None:
        from langchain_zerog import ChatZeroG
        from zg_core.backends.opengradient.account import OpenGradientAccount
        from zg_core.backends.opengradient.options import OpenGradient

        (gateway,) = net.gateways
        backend = OpenGradient(registry_rpc_url=net.registry_rpc_url, rpc_url=net.rpc_url)
        own: dict[str, Any] = {"backend": backend, "private_key": net.wallet.private_key}
        model = ChatZeroG(model=VENDOR_MODEL, verify="require", on_receipt=self._receipts.append, **own)
        self.line("question", QUESTION)
        self.line("answer", str(model.invoke(QUESTION).text))
        receipt = self._receipts[-1]
        self.line("verdict", f"{receipt.verdict}: {receipt.verdict.explain()}")
        self.check("verified, by the enclave's RSA key", receipt.verdict.status is Status.VERIFIED)
        with self._step("settling the permit on the payment chain"):
            net.settle()
        with OpenGradientAccount(backend, private_key=net.wallet.private_key, environ={}) as account:
            found = account.settlement(receipt)
        self.line("permit", f"at most {Amount(int(receipt.grant['cap']), 'OPG')}, number {receipt.grant['nonce']}")
        self.line("settled", f"{found.amount} by transaction {found.transaction}")
        self.check("settled fee == what the gateway metered", found.amount == receipt.fee.amount, str(found))
        gateway.fail("tamper")
        try:
            accepted = str(model.invoke(QUESTION).text)
        except VerificationFailed as error:
            self.line("altered answer", f"{error.text} [refused: {error.code}]")
            self.check("the altered answer was caught", error.code == "content_mismatch", error.code)
        else:
            self.check("the altered answer was caught", holds=False, otherwise=f"{accepted} was accepted")
        model.close()

    def _substitute(self, operator: Operator, model: Any) -> None:
        self.title("An operator who serves the enclave's answer to a question of his own")
        operator.substitute(SUBSTITUTE)
        self.line("question", QUESTION)
        self.line("his question", SUBSTITUTE)
        refused: VerificationUnavailable | None = None
        try:
            self.line("answer", f"{model.invoke(QUESTION).text} [accepted]")
        except VerificationUnavailable as error:
            refused = error
            self.line("answer", f"{error.text} [refused]")
        verdict = self._receipts[-1].verdict
        self.line("sent sha256", verdict.request_sha256)
        self.line("signed sha256", verdict.signed_request_sha256)
        self.line("verdict", f"{verdict}: {verdict.explain()}")
        self.check(
            "the substituted answer was refused",
            refused is not None and verdict.status is Status.RESPONSE_BOUND,
            "the substituted answer was accepted" if refused is None else str(verdict),
        )

    def _fund(self, net: LocalNet, provider: LocalProvider) -> Any:
        self.title("Wallet")
        wallet = net.new_wallet()
        with self._step("depositing into the ledger and opening a sub-account"):
            net.open_account(wallet, provider, og("3").units)
        self.line("wallet", f"{wallet.address}, 1000 0G from the local faucet")
        self.line("sub-account", f"3 0G at {provider.address}, two transactions signed by the wallet")
        return wallet

    def _providers(self, options: dict[str, Any]) -> None:
        self.title("Providers, as the chain lists them")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("provider", "model", "kind", "in/1M tokens", "out/1M tokens", "prompt"):
            table.add_column(heading, no_wrap=True)
        with ChatClient(model="any", **options) as client:
            for service in client.services():
                if service.task != CHAT.name:
                    continue  # what an image or a second costs is no price of tokens
                table.add_row(
                    service.provider,
                    service.model,
                    str(service.kind),
                    *_per_million(service.tariff),
                    str(service.kind.prompt),
                )
        self._console.print(table)

    def _stream(self, model: Any) -> None:
        self.title("A streamed answer")
        self.line("question", QUESTION)
        self._console.print("  answer        ", end="")
        pieces = 0
        for chunk in model.stream(QUESTION):
            if chunk.content:
                pieces += 1
                self._console.print(chunk.content, end="", markup=False, highlight=False)
        self._console.print(f"  [dim]({pieces} pieces)[/]")
        self._show(self._receipts[-1])
        self.check("the answer came in pieces", pieces > 1)
        self._check_verified(self._receipts[-1])

    def _tools(self, model: Any) -> None:
        from langchain_core.messages import HumanMessage
        from langchain_core.tools import tool

        @tool
        def multiply(a: int, b: int) -> int:
            """Multiply two numbers."""
            return a * b

        self.title("A tool-calling turn")
        self.line("question", TOOL_QUESTION)
        agent = model.bind_tools([multiply])
        messages: list[Any] = [HumanMessage(TOOL_QUESTION)]
        asked = agent.invoke(messages)
        self.check("the model called the tool", bool(asked.tool_calls))
        messages.append(asked)
        for call in asked.tool_calls:
            result = multiply.invoke(call)
            messages.append(result)
            arguments = ", ".join(f"{k}={v}" for k, v in call["args"].items())
            self.line("tool", f"{call['name']}({arguments}) = {result.content}")
        answer = agent.invoke(messages)
        self.line("answer", answer.text)
        self.check("the answer holds the tool's result", "42" in answer.text)
        for receipt in self._receipts[-2:]:
            self._show(receipt)
            self._check_verified(receipt)

    def _settle(self, net: LocalNet, provider: LocalProvider, user: str) -> None:
        self.title("Settlement, read back from the chain")
        with self._step("waiting for the provider to settle"):
            provider.settle()
        transport = SyncTransport()
        try:
            network = _network(net)
            found = run(read_settlements(JsonRpc(net.rpc_url, transport), network, user, sleep=transport.sleep))
        finally:
            transport.close()
        for item in found:
            self._show_settlement(item)
        fees = neuron(sum(receipt.fee.amount.units for receipt in self._receipts))
        settled = neuron(sum(item.paid.units for item in found))
        self.line("receipt fee", f"{fees} over {len(self._receipts)} receipts")
        self.line("settled fee", str(settled))
        self.check("every receipt's fee is exact", all(receipt.fee.exact for receipt in self._receipts))
        self.check("receipt fee == settled fee", fees == settled and settled.units > 0)
        self.check("every settlement succeeded", all(item.status is SettlementStatus.SUCCESS for item in found))
        self.check(
            "the settlement is signed by the TEE signer on chain",
            bool(found) and all(same_address(item.signer, provider.tee_signer) for item in found),
        )

    def _show_settlement(self, item: Settlement) -> None:
        self.line("block", f"{item.block}, transaction {item.transaction}")
        self.line(
            "TEESettlementResult",
            f"user {item.user}, status {int(item.status)} ({item.status.name}), unsettled {item.unsettled}",
        )
        self.line("BalanceUpdated", f"balance {item.balance}, pending refund {item.pending_refund}")
        self.line("signer", f"{item.signer}, recovered from the calldata")

    def _catch(self, model: Any, provider: LocalProvider) -> None:
        self.title("A provider that alters one byte after signing")
        provider.fault("body_changed")
        self.line("question", QUESTION)
        caught: VerificationFailed | None = None
        try:
            answer = model.invoke(QUESTION)
            self.line("answer", f"{answer.text} [accepted]")
        except VerificationFailed as error:
            caught = error
            self.line("answer", f"{error.text} [refused]")
        receipt = self._receipts[-1]
        self.line("received sha256", receipt.verdict.response_sha256)
        self.line("signed sha256", receipt.verdict.signed_response_sha256)
        self.line("verdict", f"{receipt.verdict}: {receipt.verdict.explain()}")
        self.check(
            "the altered reply was caught",
            caught is not None and receipt.verdict.reason is Reason.CONTENT_MISMATCH,
            "the altered reply was accepted" if caught is None else str(receipt.verdict),
        )
        self.check("the two hashes differ", receipt.verdict.response_sha256 != receipt.verdict.signed_response_sha256)
        self.title("The same question, answered honestly")
        provider.clear_faults()
        answer = model.invoke(QUESTION)
        self.line("answer", answer.text)
        self._show(self._receipts[-1])
        self._check_verified(self._receipts[-1])

    def _show(self, receipt: Receipt) -> None:
        usage = receipt.usage
        tokens = f"{usage.prompt_tokens} + {usage.completion_tokens} tokens" if usage else "no usage"
        self.line("chat id", receipt.chat_id)
        self.line("fee", f"{receipt.fee.amount} ({tokens})")
        self.line("verdict", f"{receipt.verdict}: {receipt.verdict.explain()}")

    def _check_verified(self, receipt: Receipt) -> None:
        verdict = receipt.verdict
        exact = verdict.binding is Binding.EXACT and verdict.kind is Kind.TEE_ML
        same = verdict.response_sha256 == verdict.signed_response_sha256
        self.check("verified, bytes and request bound", verdict.status is Status.VERIFIED and exact and same)

    def check(self, claim: str, holds: bool, otherwise: str = "") -> None:
        """One claim, checked."""
        self._console.print(f"  [{'green' if holds else 'bold red'}]{'✓' if holds else '✗'} {escape(claim)}[/]")
        if not holds:
            self._failures.append(f"{claim}: {otherwise}" if otherwise else claim)

    def title(self, text: str) -> None:
        """What comes next."""
        self._console.print(f"\n[bold]{escape(text)}[/]")

    def line(self, name: str, value: str) -> None:
        """One fact."""
        self._console.print(f"  {name:<20}", end="")
        self._console.print(value, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        with self._console.status(what):
            yield
        self._console.print(f"[dim]{escape(what)}: {time.monotonic() - began:.1f} s[/]")


def _network(net: LocalNet) -> Any:
    from zg_core import NETWORKS

    return replace(NETWORKS["local"], rpc_url=net.rpc_url, ledger=net.ledger, inference=net.inference)


@contextmanager
def _breaking(part: str | None) -> Iterator[None]:
    """Take a part of the client out, to show that the demo notices."""
    if part is None:
        yield
        return
    from zg_core.verify.schemes import signed_hashes as response

    honest = response.examine

    def careless(*args: Any, **kwargs: Any) -> Any:
        verdict = honest(*args, **kwargs)
        if verdict.reason is Reason.CONTENT_MISMATCH:
            return replace(verdict, status=Status.VERIFIED, reason=Reason.NONE, binding=Binding.EXACT)
        return verdict

    response.examine = careless
    try:
        yield
    finally:
        response.examine = honest


def _per_million(tariff: Tariff | None) -> tuple[str, str]:
    if tariff is None:
        return "?", "?"
    prices = (tariff.input_price, tariff.output_price)
    return str(Amount(prices[0] * 10**6, tariff.currency)), str(Amount(prices[1] * 10**6, tariff.currency))
