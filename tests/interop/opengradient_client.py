"""The official client of OpenGradient, taken through its use against a local network; prints one JSON line a step.

Runs in an environment of its own. What it needs is in the environment: ``BASE_MAINNET_RPC`` (read when it is imported),
REGISTRY_RPC, PRIVATE_KEY.
"""

import asyncio
import json
import os
import sys

import opengradient as og

report_to, sys.stdout = sys.stdout, sys.stderr
QUESTION = [{"role": "user", "content": "What is 2+3?"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_token_price",
            "description": "Get the current USD price of a token",
            "parameters": {"type": "object", "properties": {"symbol": {"type": "string"}}, "required": ["symbol"]},
        },
    }
]


def say(step, **facts):
    """One line of what a step found."""
    print(json.dumps({"step": step, **facts}), file=report_to, flush=True)


llm = og.LLM(
    private_key=os.environ["PRIVATE_KEY"],
    rpc_url=os.environ["REGISTRY_RPC"],
    tee_registry_address="0x703cB174AEadB35D611858369B4b1111dC9Abda6",
)
approval = llm.ensure_opg_approval(min_allowance=5)
say("approval", before=approval.allowance_before, after=approval.allowance_after, transaction=approval.tx_hash)


async def main():
    """Everything that answers."""
    reply = await llm.chat(model=og.TEE_LLM.GPT_5, messages=QUESTION, max_tokens=50)
    say("chat", text=reply.chat_output["content"], tee_id=reply.tee_id, payment_hash=reply.payment_hash)
    text = ""
    async for chunk in await llm.chat(model=og.TEE_LLM.GPT_5, messages=QUESTION, max_tokens=50, stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
    say("stream", text=text, final=chunk.is_final)
    asked = [{"role": "user", "content": "What is the price of ETH? Use get_token_price with symbol ETH."}]
    reply = await llm.chat(model=og.TEE_LLM.GEMINI_2_5_FLASH, messages=asked, max_tokens=99, tools=TOOLS)
    say("tools", name=reply.chat_output["tool_calls"][0]["function"]["name"], finish=reply.finish_reason)
    reply = await llm.chat(model=og.TEE_LLM.GPT_5, messages=[{"role": "user", "content": "tampered"}], max_tokens=50)
    say("tampered", text=reply.chat_output["content"])
    await llm.close()


asyncio.run(main())
