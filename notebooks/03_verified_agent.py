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
# # An agent that acts on proof only
#
# *Holds for: 0G Direct.*
#
# An agent does what its model says. Whoever can change one letter of an answer on the way can therefore make it call a
# tool with other arguments. Here every answer is checked *before* its tool calls run, and a run has a budget.
#
# Without settings this runs on a local network; unchanged on testnet with `ZEROG_NETWORK=testnet`, `ZEROG_PRIVATE_KEY`,
# a funded `ZEROG_PROVIDER` whose model can call tools, and `ZEROG_MAX_SPEND`.

# %%
import os

from zg_core import neuron, og

if earlier := globals().get("net"):  # this cell is run again
    earlier.stop()
net = None
if earlier or "ZEROG_NETWORK" not in os.environ:
    from zg_core.localnet import LocalNet

    net = LocalNet(providers=1).start()
    net.open_account(net.wallet, net.providers[0])
    os.environ.update({name: value for name, value in net.env().items() if name.startswith("ZEROG_")})

RUNS = 2
if net is None and "ZEROG_MAX_SPEND" not in os.environ:
    raise SystemExit(f"Set ZEROG_MAX_SPEND (in 0G) to go on: what the {RUNS} runs of this notebook may cost together.")
most = og(os.environ.get("ZEROG_MAX_SPEND") or "0.001")
PER_RUN = neuron(most.units // RUNS)
print(f"This notebook costs at most {most}: {RUNS} runs of an agent, each within a budget of {PER_RUN}.")

# %% [markdown]
# ## Model, tools, agent
#
# The budget middleware puts aside what a call can cost at most before it is sent, and refuses the call when that is more
# than is left: `max_tokens` keeps it small. The verification middleware asks for
# the verdict of every answer before LangChain sees its tool calls.

# %%
from langchain.agents import create_agent
from langchain_core.tools import tool

from langchain_zerog import ChatZeroG, get_zerog_receipts
from langchain_zerog.middleware import ZeroGBudgetMiddleware, ZeroGVerificationMiddleware

ran = []


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two whole numbers."""
    ran.append((a, b))
    return a * b


model = ChatZeroG(max_tokens=200, temperature=0)
agent = create_agent(
    model,
    [multiply],
    middleware=[ZeroGBudgetMiddleware(PER_RUN), ZeroGVerificationMiddleware()],
)

# %%
question = {"messages": [{"role": "user", "content": "Use the multiply tool: what is 6 times 7?"}]}
with get_zerog_receipts() as honest:
    state = agent.invoke(question)

for message in state["messages"]:
    calls = "".join(f"{call['name']}({call['args']})" for call in getattr(message, "tool_calls", ()))
    print(f"{message.type:>5}: {message.text or calls}")
print("\ntools that ran:", ran)

# %% [markdown]
# Two calls to the model, two receipts, both proven:

# %%
for call in honest.calls:
    print(call.receipt.verdict.status, call.receipt.fee.amount)

# %% [markdown]
# ## A provider that tampers
#
# Now the provider changes the answer after the enclave signed it: the answer with the tool call. The agent stops there,
# and the tool does not run. (On a real network nobody can be asked to cheat, and the agent simply answers again.)

# %%
from zg_core import VerificationFailed

ran.clear()
if net is not None:
    net.providers[0].fault("body_changed")
with get_zerog_receipts() as tampered:
    try:
        state = agent.invoke(question)
        print("answered:", state["messages"][-1].text)
    except VerificationFailed as error:
        print("stopped:", error.code, "-", error.receipt.verdict.explain())
print("tools that ran:", ran)
if net is not None:
    assert ran == []

# %% [markdown]
# The refused answer was billed, and its receipt is the evidence: the hash of what arrived, and the provider's own
# signature over something else.

# %%
for call in tampered.calls:
    print(call.receipt.verdict, " fee:", call.receipt.fee.amount)

# %% [markdown]
# ## What both runs cost

# %%
spent = sum((call.receipt.fee.amount for call in [*honest.calls, *tampered.calls]), start=og("0"))
print(f"{spent} of at most {most}")
assert spent <= most
if net is not None:
    net.stop()
