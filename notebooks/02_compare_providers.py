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
# # Comparing providers: price, speed, and who can be trusted
#
# The same questions go to every chat service on the network. What comes back is one row per call: verdict, times,
# tokens, fee, answer. From that you can see which provider to choose, and why.
#
# Without settings this runs on a local network with six providers that differ in price, speed and kind; one of them is
# dishonest. On a real network (`ZEROG_NETWORK`, `ZEROG_PRIVATE_KEY`, funded sub-accounts) it takes every chat service
# that it finds, within `ZEROG_MAX_SPEND`.

# %%
import os

from zg_core.compare import compare, estimate

net = None
if "ZEROG_NETWORK" not in os.environ:
    from zg_core.localnet import LocalNet, ProviderSpec

    GIGA = 10**9  # neuron a token; 1 0G is 10^18 neuron
    net = LocalNet(
        providers=[
            ProviderSpec("atlas-large", "TeeML", 200 * GIGA, 800 * GIGA, first_token_delay=0.20, token_delay=0.010),
            ProviderSpec("basil-fast", "TeeML", 120 * GIGA, 480 * GIGA, first_token_delay=0.03, token_delay=0.002),
            ProviderSpec("cedar-split", "TeeML-separated", 80 * GIGA, 320 * GIGA, first_token_delay=0.09, token_delay=0.005),
            ProviderSpec("delta-relay", "TeeTLS", 50 * GIGA, 150 * GIGA, first_token_delay=0.12, token_delay=0.003),
            ProviderSpec("ember-bargain", "TeeML", 30 * GIGA, 90 * GIGA, first_token_delay=0.02, token_delay=0.002),
            ProviderSpec("fable-plain", "standard", 20 * GIGA, 60 * GIGA, first_token_delay=0.05, token_delay=0.003),
        ]
    ).start()
    for provider in net.providers:
        net.open_account(net.wallet, provider)
    net.provider("ember-bargain").fault("body_changed", times=None)  # the dishonest one
    os.environ.update({name: value for name, value in net.env().items() if name.startswith("ZEROG_")})

PROMPTS = [
    {"prompt": "What is the capital of France?", "expected": "Paris"},
    {"prompt": "What is the capital of Kenya?", "expected": "Nairobi"},
    {"prompt": "What is 17 times 23?", "expected": "391"},
    {"prompt": "Count from 1 to 20.", "expected": "20"},
]
REPEATS = 3

plan = estimate(None, PROMPTS, repeats=REPEATS, max_tokens=100)
print(f"On {plan.network.name}: {plan}.")
if len(plan.targets) == 1:
    print(f"There is only one chat service, {plan.targets[0]}: its numbers follow, but there is nothing to compare.")
if net is None and plan.budget is None:
    raise SystemExit(f"Set ZEROG_MAX_SPEND (in 0G) to go on; {plan.most} is enough for everything.")

# %% [markdown]
# ## Run
#
# Calls are streamed, four at a time, and counted against the budget at their upper bound before they are sent. Each
# call that ends is kept at once: run this cell again, and it pays nothing.

# %%
result = compare(None, PROMPTS, repeats=REPEATS, max_tokens=100, concurrency=4)
result

# %%
again = compare(None, PROMPTS, repeats=REPEATS, max_tokens=100)
print(f"first run: {result.spent} for {len(result)} calls; second run: {again.spent}")

# %% [markdown]
# ## Which to choose

# %% tags=["summary"]
result.summary()

# %% [markdown]
# Read it from the left:
#
# - **verified**: the enclave's key, the one on chain, signed exactly the bytes that arrived. A service of the kind
#   *standard* signs nothing, so its 0 % is no accusation; it is just cheap and unproven.
# - **failed**: the share of calls without a usable answer. `ember-bargain` is fast and nearly the cheapest, and every
#   answer of it was changed after it was signed: it is billed, and refused.
# - **TeeTLS** is verified, too, but proves less: the enclave shows which vendor it asked, and the vendor reads the
#   prompt.
#
# So: `basil-fast` if time matters, `cedar-split` if money matters and the prompt must stay in enclaves, `delta-relay`
# if the prompt may be read by a vendor. Cost per correct answer counts wrong and refused answers, too.

# %% tags=["figure"]
result.plot()

# %% [markdown]
# Left: down and to the left is better, the shape says what was proven, and the line spans the fastest and the slowest
# answer. Middle: how long the first piece and the whole answer took. Right: what each target has cost, call by call.

# %% [markdown]
# ## The rows
#
# `to_pandas()` has every call; fees are whole numbers of neuron (10^18 neuron are 1 0G).

# %%
table = result.to_pandas()
table[["target", "prompt", "verdict", "first_token_ms", "total_ms", "tokens_out", "fee", "error", "answer"]].head(12)

# %% [markdown]
# ## Do the fees match what was settled on chain?
#
# Providers collect fees in batches. On the local network they are asked to do it now; on a real network it takes some
# minutes, and until then the difference is what is still to be collected.

# %%
import time

import pandas as pd

from zg_core import Broker


def settled_by_provider():
    with Broker() as broker:
        sums = {}
        for one in broker.settlements():
            sums[one.provider] = sums.get(one.provider, 0) + one.total_fee.units - one.unsettled.units
    return sums


asked = table.groupby("provider", sort=False).agg(target=("target", "first"), fee=("fee", "sum"))
if net is not None:
    for provider in net.providers:
        provider.settle()
settled = settled_by_provider()
until = time.monotonic() + 20
while net is not None and any(settled.get(p, 0) < fee for p, fee in asked["fee"].items()) and time.monotonic() < until:
    time.sleep(0.2)  # a settlement may be under way
    settled = settled_by_provider()

check = pd.DataFrame(
    {
        "target": asked["target"],
        "receipts (neuron)": asked["fee"],
        "settled on chain (neuron)": [settled.get(provider, 0) for provider in asked.index],
    }
).set_index("target")
check["difference"] = check["settled on chain (neuron)"] - check["receipts (neuron)"]
if net is not None:
    assert (check["difference"] == 0).all(), check
    net.stop()
check
