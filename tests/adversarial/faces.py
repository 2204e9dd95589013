"""Every face of the package, asked the same way: what the user gets, and how much was proven of it."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from tests.adversarial.conftest import ChatCaller, CoreCaller
from tests.zg_core.cli.running import zerog_of
from zg_core import VerificationWarning, ZeroGError
from zg_core.cli.app import cli
from zg_core.localnet import LocalNet, LocalWallet
from zg_core.receipts.model import Receipt


@dataclass(frozen=True)
class Got:
    """What one call came to.

    Attributes:
        accepted: Whether the user was told that the answer is good.
        text: The answer, if he was given one.
        code: The error's code, "" if there was none.
        receipt: The receipt, where the face gives one.
    """

    accepted: bool
    text: str
    code: str
    receipt: Receipt | None


Face = Callable[[LocalNet, LocalWallet, dict[str, Any], str, Path], Got]
"""Asks a question with settings of the client; a directory for files of its own."""


def _settled(call: Callable[[], tuple[str, Receipt]]) -> Got:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", VerificationWarning)
        try:
            text, receipt = call()
        except ZeroGError as error:
            return Got(False, "", error.code, error.receipt)
    warned = any(issubclass(one.category, VerificationWarning) for one in caught)
    return Got(not warned, text, "", receipt)


def _of(caller: Any) -> Face:
    def face(net: LocalNet, wallet: LocalWallet, settings: dict[str, Any], question: str, _: Path) -> Got:
        payload = {"messages": [{"role": "user", "content": question}]}

        def call() -> tuple[str, Receipt]:
            answered = caller.call({**_where(net, wallet), **settings}, payload)
            return answered.text, answered.receipt

        return _settled(call)

    return face


def _where(net: LocalNet, wallet: LocalWallet) -> dict[str, Any]:
    return {"private_key": wallet.private_key, "network": "local", "rpc_url": net.rpc_url, "max_retries": 0}


def _llama(*, loop: bool, stream: bool) -> Face:
    def face(net: LocalNet, wallet: LocalWallet, settings: dict[str, Any], question: str, _: Path) -> Got:
        from llama_index.core.llms import ChatMessage

        from llama_index_zerog import ZeroG, receipt_of

        def call() -> tuple[str, Receipt]:
            llm, messages = ZeroG(**{**_where(net, wallet), **settings}), [ChatMessage(question)]

            async def asked() -> Any:
                if not stream:
                    return await llm.achat(messages)
                return [part async for part in await llm.astream_chat(messages)][-1]

            if loop:
                response = asyncio.run(asked())
            else:
                response = list(llm.stream_chat(messages))[-1] if stream else llm.chat(messages)
            receipt = receipt_of(response)
            assert receipt is not None
            return response.message.content or "", receipt

        return _settled(call)

    return face


def _openai(*, loop: bool, stream: bool) -> Face:
    def face(net: LocalNet, wallet: LocalWallet, settings: dict[str, Any], question: str, _: Path) -> Got:
        from zg_core.openai_compat import async_openai_client, openai_client

        made = {**_where(net, wallet), **settings, "environ": {}}

        def arguments() -> dict[str, Any]:
            return {"model": settings["model"], "messages": [{"role": "user", "content": question}], "stream": stream}

        def joined(chunks: list[Any]) -> str:
            return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)

        async def asked() -> tuple[str, Receipt]:
            client = async_openai_client(**made)
            try:
                answer = await client.chat.completions.create(**arguments())
                text = joined([chunk async for chunk in answer]) if stream else answer.choices[0].message.content
                return text, client.receipts.last
            finally:
                await client.close()

        def call() -> tuple[str, Receipt]:
            if loop:
                return asyncio.run(asked())
            client: Any = openai_client(**made)
            try:
                answer = client.chat.completions.create(**arguments())
                text = joined(list(answer)) if stream else answer.choices[0].message.content
                return text, client.receipts.last
            finally:
                client.close()

        return _settled(call)

    return face


_OPTIONS = {"model": "--model", "verify": "--verify", "minimum": "--minimum"}


def _terminal(*how: str) -> Face:
    def face(net: LocalNet, wallet: LocalWallet, settings: dict[str, Any], question: str, home: Path) -> Got:
        words = ["chat", question, "--provider", settings["provider"], *how]
        for name, option in _OPTIONS.items():
            if name in settings:
                words += [option, settings[name]]
        words += ["--nonce"] if settings.get("nonce") else []
        for asked, forwarded in (settings.get("accept_models") or {}).items():
            words += ["--accept-model", f"{asked}={forwarded}"]
        environ = {**zerog_of(net, home, wallet).environ, "ZEROG_STORE": settings.get("store", "memory:")}
        ran = CliRunner().invoke(cli, words, env=environ)
        return Got(ran.exit_code == 0, ran.stdout.strip(), "" if ran.exit_code == 0 else f"exit {ran.exit_code}", None)

    return face


def _compared(net: LocalNet, wallet: LocalWallet, settings: dict[str, Any], question: str, home: Path) -> Got:
    from zg_core.compare import Target, compare

    where = {**_where(net, wallet), "cache": None, "environ": {"ZEROG_HOME": str(home)}}
    options = {name: value for name, value in settings.items() if name not in ("provider", "model", "verify")}
    target = Target(settings["provider"], settings["model"])
    (row,) = compare([target], [question], **where, **options)
    return Got(row.proven and not row.error, row.answer, row.error, row.receipt)


FACES: dict[str, Face] = {
    **{
        repr(made): _of(made)
        for kind in (CoreCaller, ChatCaller)
        for loop in (False, True)
        for stream in (False, True)
        for made in (kind(loop=loop, stream=stream),)
    },
    **{
        f"llama-{'async' if loop else 'sync'}-{'stream' if stream else 'chat'}": _llama(loop=loop, stream=stream)
        for loop in (False, True)
        for stream in (False, True)
    },
    **{
        f"openai-{'async' if loop else 'sync'}-{'stream' if stream else 'create'}": _openai(loop=loop, stream=stream)
        for loop in (False, True)
        for stream in (False, True)
    },
    "zerog chat": _terminal("--no-stream"),
    "zerog chat --stream": _terminal("--stream"),
    "compare": _compared,
}
