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
# # Comparing networks and providers: price, speed, proof, and who is right
#
# *Holds for: 0G Direct, 0G Router, OpenGradient.*
#
# The same graded tasks go to providers of 0G Direct, through the 0G Router (in the clear and sealed), and to the vendors
# behind OpenGradient. What comes back is one row per call: verdict, times, tokens, fee, answer, right or wrong. From
# that follows what to choose, and why.
#
# Without settings all of it runs on local networks that this notebook starts: no key, no coins, no internet. Their
# providers differ in price, speed, kind and care, and one is dishonest. On real networks it asks those that you have
# settings for, within `ZEROG_MAX_SPEND` (in 0G) and `OPG_MAX_SPEND` (in OPG):
#
# | network | settings |
# |---|---|
# | 0G Direct | `ZEROG_NETWORK`, `ZEROG_PRIVATE_KEY`, funded sub-accounts; it takes every chat service that it finds |
# | 0G Router | `ZEROG_NETWORK`, `ZEROG_API_KEY`, `ROUTER_MODELS` (names with commas between) |
# | OpenGradient | `OG_PRIVATE_KEY`, `OPG_MAX_SPEND` |

# %%
import os

from zg_core import Amount, og
from zg_core.compare import compare, estimate, together

TASKS = [
    {"id": "France", "prompt": "What is the capital of France?", "expected": "Paris"},
    {"id": "Kenya", "prompt": "What is the capital of Kenya?", "expected": "Nairobi"},
    {"id": "17 x 23", "prompt": "What is 17 times 23?", "expected": "391"},
    {"id": "6 x 19", "prompt": "What is 6 times 19?", "expected": "114"},
    {"id": "count", "prompt": "Count from 1 to 20.", "expected": "20"},
]
REPEATS = 2
RATES = {"0G": "0.80", "OPG": "0.05"}  # USD for one of each: made up, write today's here

for earlier in (nets := globals().get("nets", [])):  # this cell is run again
    earlier.stop()
local = bool(nets) or "ZEROG_NETWORK" not in os.environ
cap = og(os.environ.get("ZEROG_MAX_SPEND") or "0")
direct = {"backend": "direct", "repeats": REPEATS, "max_tokens": 100}
if not local:
    plan = estimate(None, TASKS, **direct)
    if not cap.units:
        raise SystemExit(f"Set ZEROG_MAX_SPEND (in 0G) to go on; 0G Direct alone is {plan}.")
    print(f"0G Direct: {plan}. All 0G networks together cost at most {cap}.")
else:
    print("Local networks: what is spent here has no value.")

# %% [markdown]
# ## The networks
#
# Each is a name, the models that are asked (`None`: every chat service on chain), and how it is asked. The local ones
# answer by rules, so they can be told to be slow, to lie, or to multiply badly.

# %%
networks, nets = {"Direct": (None, direct)}, []
if local:
    import asyncio

    from zg_core.localnet import LocalNet, OpenGradientNet, ProviderSpec
    from zg_core.localnet.model.engine import RuleModel
    from zg_core.verify.attestation import AttestationOptions

    class Hasty(RuleModel):
        """A small model that is quick, and adds where it should multiply."""

        async def stream(self, path, body):
            async for event in super().stream(path, body.replace(b" times ", b" plus ")):
                yield event

    class Vendors(RuleModel):
        """What answers behind OpenGradient's gateways: the larger the model, the slower and the more careful."""

        async def stream(self, path, body):
            await asyncio.sleep(0.15 if b"opus" in body else 0.01 if b"nano" in body else 0.08)
            body = body.replace(b" times ", b" plus ") if b"nano" in body else body
            async for event in super().stream(path, body):
                yield event

    def spec(model, kind, price, first=0.0, each=0.0, **more):
        """A provider; `price` is what a token of a prompt costs in 10^9 neuron. One of an answer costs four times that."""
        return ProviderSpec(model, kind, price * 10**9, 4 * price * 10**9, first_token_delay=first, token_delay=each, **more)

    net = LocalNet(
        router=True,
        providers=[
            spec("atlas-large", "TeeML", 200, 0.20, 0.010),
            spec("basil-fast", "TeeML", 120, 0.03, 0.002),
            spec("cedar-split", "TeeML-separated", 80, 0.09, 0.005),
            spec("delta-relay", "TeeTLS", 50, 0.12, 0.003),
            spec("ember-bargain", "TeeML", 30, 0.02, 0.002),
            spec("fable-plain", "standard", 20, 0.05, 0.003),
            spec("gorse-mini", "TeeML", 25, upstream=Hasty(model="gorse-mini")),
        ],
    ).start()
    og_net = OpenGradientNet(upstream=Vendors(model="vendors")).start()
    nets = [net, og_net]
    for provider in net.providers:
        net.open_account(net.wallet, provider)
    net.provider("ember-bargain").fault("body_changed", times=None)  # the dishonest one
    os.environ.update({name: value for name, value in net.env().items() if name.startswith("ZEROG_")})
    os.environ.update({name: value for name, value in og_net.env().items() if name.endswith("_RPC_URL")})
    os.environ |= {"ROUTER_MODELS": "basil-fast,delta-relay", "ZEROG_API_KEY": net.router.api_key}
    os.environ |= {"OG_PRIVATE_KEY": og_net.wallet.private_key, "OPG_MAX_SPEND": "20"}
    hardware = {"attestation": AttestationOptions(root=net.attestation_root, pccs_url=net.pccs_url)}
else:
    hardware = {}

if "ROUTER_MODELS" in os.environ:
    routed = os.environ["ROUTER_MODELS"].split(",")
    router = {**direct, "backend": "router", "api_key": os.environ["ZEROG_API_KEY"]}
    networks["Router"] = (routed, router)
    networks["Router sealed"] = (routed, {**router, "sealed": True, **hardware})
for _, options in networks.values():
    options["budget"] = None if local else Amount(cap.units // len(networks))
if "OG_PRIVATE_KEY" in os.environ:
    vendors = ["openai/gpt-5-nano", "openai/gpt-5", "anthropic/claude-opus-5"]
    most = Amount(os.environ["OPG_MAX_SPEND"], "OPG")
    wallet = {"private_key": os.environ["OG_PRIVATE_KEY"]}
    networks["OpenGradient"] = (vendors, {**direct, "backend": "opengradient", "budget": most, **wallet})

# %% [markdown]
# ## Run
#
# Calls are streamed, four at a time, and counted against the budget at their upper bound before they are sent. Each
# call to 0G Direct that ends is kept at once: ask again, and it costs nothing.

# %%
results = {name: compare(models, TASKS, **options) for name, (models, options) in networks.items()}
for name, result in results.items():
    print(f"{name}: {len(result)} calls, {result.spent}")
print("asked again, 0G Direct costs", compare(None, TASKS, **direct).spent)

# %% [markdown]
# ## One table, one currency
#
# 0G Direct and the Router are paid in 0G, OpenGradient in OPG: the rates below the table make them comparable.

# %% tags=["summary"]
everything = together(results, currency="USD", rates=RATES)
summary = everything.summary()
summary

# %% [markdown]
# - **prompt**: who can read it. *declared*: the provider says that it stays in an enclave. *sealed*: it was encrypted to
#   an enclave's key. *vendor*: an enclave asked a vendor, who reads it. *open*: nothing is claimed.
# - **verified**: the enclave's key, the one on chain, signed exactly the bytes that arrived, for exactly this request. A
#   service of the kind *standard* signs nothing; through the Router in the clear only the signer is known.
# - **failed**: calls without a usable answer. What was changed after it was signed is billed, and refused.
# - **correct**: what is verified can still be wrong. A right answer's cost counts the wrong and refused ones, too.
# - **≥**: what a gateway of OpenGradient says that it metered; nobody signs that.
#
# ## Which to choose
#
# This paragraph is made of the numbers above: other numbers, another choice.

# %% tags=["choice"]
choice = summary.recommend(verified=0.95, correct=0.75, failed=0.05)
choice

# %% tags=["figure"]
everything.plot()

# %% [markdown]
# Top left: further left is cheaper, and the shape says what was proven; a hollow diamond is TeeTLS, which proves less:
# which vendor was asked, and that vendor reads the prompt. Top right: how many answers can be used; those of TeeTLS are
# hatched, and the numbers at the right are what a right answer cost. Below: how long the first piece and the whole
# answer took, and how many tokens came in a second; OpenGradient's slowest is the first, which signs a permit to pay
# by. `plot("cost")` and `plot("spend")` draw cost against latency, and
# fees added up.
#
# ## The rows
#
# `to_pandas()` has every call; `fee` is an integer in the smallest unit of `currency`.

# %%
table = everything.to_pandas()
table[["target", "prompt", "verdict", "first_token_ms", "total_ms", "tokens_out", "fee", "error", "correct", "answer"]].head(8)

# %% [markdown]
# ## Do the fees match what was settled on chain?
#
# Providers of 0G Direct collect fees in batches. On the local network they are asked to do it now; on a real network it
# takes some minutes, and until then the difference is what is still to be collected.

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


paid = results["Direct"].to_pandas().groupby("provider", sort=False).agg(target=("target", "first"), fee=("fee", "sum"))
if local:
    for provider in net.providers:
        provider.settle()
settled = settled_by_provider()
until = time.monotonic() + 300
while local and any(settled.get(p, 0) < fee for p, fee in paid["fee"].items()) and time.monotonic() < until:
    time.sleep(0.2)  # a settlement may be under way
    settled = settled_by_provider()

check = pd.DataFrame(
    {
        "target": paid["target"],
        "receipts (neuron)": paid["fee"],
        "settled on chain (neuron)": [settled.get(provider, 0) for provider in paid.index],
    }
).set_index("target")
check["difference"] = check["settled on chain (neuron)"] - check["receipts (neuron)"]
for each in nets:
    each.stop()
if local:
    assert (check["difference"] == 0).all(), check
check
