# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quickstart: an answer, its price, and its proof
#
# *Holds for: 0G Direct.*
#
# Every answer comes with a **receipt**: who answered, what it cost, and whether exactly these bytes were signed by the
# enclave that the chain names.
#
# Without settings this notebook runs on a local 0G network that it starts itself: no key, no coins, no internet. It
# runs unchanged on testnet with `ZEROG_NETWORK=testnet`, `ZEROG_PRIVATE_KEY`, a funded `ZEROG_PROVIDER`, and
# `ZEROG_MAX_SPEND`, the most it may cost in 0G.

# %%
import os

from zg_core import Broker, og
from zg_core.compare import estimate

if earlier := globals().get("net"):  # this cell is run again
    earlier.stop()
net = None
if earlier or "ZEROG_NETWORK" not in os.environ:
    from zg_core.localnet import LocalNet

    net = LocalNet(providers=3).start()
    for provider in net.providers:
        net.open_account(net.wallet, provider)
    os.environ.update({name: value for name, value in net.env().items() if name.startswith("ZEROG_")})

QUESTIONS = ["What is the capital of France?", "What is 17 times 23?", "Write a haiku about ledgers."]
MAX_TOKENS = 200

# Each question is asked once, and the first one again at the end.
asked = [*QUESTIONS, QUESTIONS[0]]
plan = estimate(os.environ["ZEROG_PROVIDER"], asked, max_tokens=MAX_TOKENS, cache=None)
print(f"This notebook costs at most {plan.most} on {plan.network.name}.")
if net is None and plan.most > og(os.environ.get("ZEROG_MAX_SPEND") or "0"):
    raise SystemExit(f"Set ZEROG_MAX_SPEND to at least {plan.most} to go on.")

# %% [markdown]
# ## Who answers, at what price
#
# Services are on chain. *Prompt in TEE* says whether the prompt stays inside enclaves: for the kind TeeTLS it does not.

# %%
import pandas as pd

with Broker.read_only() as broker:
    services = broker.services()

pd.DataFrame(
    {
        "model": service.model,
        "kind": str(service.kind),
        "prompt": str(service.kind.prompt),
        "0G for a million tokens in": service.input_price / 10**12,
        "0G for a million tokens out": service.output_price / 10**12,
    }
    for service in services
    if service.service_type == "chatbot" and service.acknowledged
)

# %% [markdown]
# ## Ask
#
# `verify="require"` gives an answer only if it is proven.

# %%
from zg_core import ChatClient


def ask(text):
    return {"messages": [{"role": "user", "content": text}], "max_tokens": MAX_TOKENS}


client = ChatClient(verify="require")
reply = client.create(ask(QUESTIONS[0]))
print(reply.text)
print("verdict:", reply.receipt.verdict.status, "-", reply.receipt.verdict.explain())
print("fee:", reply.receipt.fee.amount)

# %% [markdown]
# The same in a stream; the verdict comes with its end.

# %%
with client.stream(ask(QUESTIONS[2])) as events:
    for event in events:
        for choice in event.get("choices", ()):
            print(choice.get("delta", {}).get("content") or "", end="")
print("\n\nverdict:", events.receipt.verdict.status, " fee:", events.receipt.fee.amount)

# %% [markdown]
# In LangChain it is a chat model as any other:

# %%
from langchain_zerog import ChatZeroG, receipt_of

model = ChatZeroG(verify="require", max_tokens=MAX_TOKENS)
message = model.invoke(QUESTIONS[1])
print(message.text)
print("verdict:", receipt_of(message).verdict.status)

# %% [markdown]
# ## A provider that lies
#
# The local network's providers misbehave on request. This one changes a letter of its answer after the enclave signed
# it. (On a real network there is nobody to ask for that, and the question is simply asked again.)

# %%
from zg_core import VerificationFailed

if net is not None:
    net.providers[0].fault("body_changed")
try:
    print(client.create(ask(QUESTIONS[0])).text)
except VerificationFailed as error:
    print("refused:", error.message.split(": ", 1)[1])
    print("what it said:", error.text)

# %% [markdown]
# ## What it cost
#
# A refused answer is billed all the same, so it is in the list.

# %%
receipts = [*client.receipts, receipt_of(message)]
exact = all(receipt.fee.exact for receipt in receipts)
total = sum((receipt.fee.amount for receipt in receipts), start=og("0"))
print(f"{len(receipts)} calls, {total} together ({'exact' if exact else 'at least'}), at most {plan.most} was announced")
assert total <= plan.most
pd.DataFrame(
    {
        "verdict": str(receipt.verdict.status),
        "tokens in": receipt.usage and receipt.usage.prompt_tokens,
        "tokens out": receipt.usage and receipt.usage.completion_tokens,
        "fee (0G)": str(receipt.fee.amount).split()[0],
    }
    for receipt in receipts
)

# %%
client.close()
if net is not None:
    net.stop()
