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
# # Auditing: receipts against the chain, and a provider that takes too much
#
# *Holds for: 0G Direct, 0G Router, OpenGradient.*
#
# Whoever pays for answers can check, afterwards, that each receipt is true, that nobody collected more than the receipts
# allow, and hand all of it to an auditor who has neither key nor network.
#
# Without settings this runs on local networks, where a provider and a gateway take more than they are owed. On a real
# network (`ZEROG_NETWORK`, `ZEROG_PRIVATE_KEY`, a funded `ZEROG_PROVIDER`, `ZEROG_MAX_SPEND` in 0G) it asks that provider
# only.

# %%
import os

from zg_core import og
from zg_core.compare import estimate

if earlier := globals().get("net"):  # this cell is run again
    earlier.stop()
net = None
if earlier or "ZEROG_NETWORK" not in os.environ:
    from zg_core.localnet import LocalNet, ProviderSettings

    # Fees are collected when this notebook says so, not in between.
    net = LocalNet(providers=3, router=True, settings=ProviderSettings(settle_interval=None)).start()
    for provider in net.providers:
        net.open_account(net.wallet, provider)
    os.environ.update({name: value for name, value in net.env().items() if name.startswith("ZEROG_")})

PROVIDERS = [each.address for each in net.providers] if net else [os.environ["ZEROG_PROVIDER"]]
QUESTIONS = ["What is the capital of France?", "What is 17 times 23?"]
MAX_TOKENS = 100

plan = estimate(PROVIDERS, QUESTIONS, max_tokens=MAX_TOKENS, cache=None)
print(f"This notebook costs at most {plan.most} on {plan.network.name}.")
if net is None and plan.most > og(os.environ.get("ZEROG_MAX_SPEND") or "0"):
    raise SystemExit(f"Set ZEROG_MAX_SPEND to at least {plan.most} to go on.")

# %% [markdown]
# ## A run, and what it leaves
#
# `named_run` gives the receipts of a run one name. `keep_bytes` keeps request and response: with them an auditor can
# check more than hashes. They hold prompts and answers, so it is off by default.

# %%
from zg_core import ChatClient
from zg_core.receipts import named_run

receipts = []
with named_run("audit-demo"):
    for provider in PROVIDERS:
        with ChatClient(provider=provider, verify="warn", keep_bytes=True) as client:
            for question in QUESTIONS:
                reply = client.create({"messages": [{"role": "user", "content": question}], "max_tokens": MAX_TOKENS})
                receipts.append(reply.receipt)

# %% [markdown]
# ## Is each receipt true?
#
# A receipt names its signer itself, so by itself it can only be consistent. The anchor is the chain: the record of the
# provider in the network's own contract. Hashes are computed again, the signer recovered again, the fee again.

# %%
import pandas as pd

from zg_core import Broker
from zg_core.receipts import check

with Broker() as broker:
    checks = [check(each.to_dict(), broker.anchor(each)) for each in receipts]

pd.DataFrame(
    {
        "model": receipt.model,
        "kind": str(receipt.kind),
        "by itself": check(receipt.to_dict()).result,
        "against the chain": checked.result,
        "fee (neuron)": receipt.fee.amount.units,
        "fields nobody vouches for": len(checked.unvouched),
    }
    for receipt, checked in zip(receipts, checks, strict=True)
)

# %% [markdown]
# `unvouched` names what is only the word of whoever made the receipt, such as its times:

# %%
print(", ".join(checks[0].unvouched))

# %% [markdown]
# A receipt that was embellished does not pass. Here the fee is made smaller, then the answer another:

# %%
import base64
import json

with Broker() as broker:
    anchor = broker.anchor(receipts[0])

cheaper = receipts[0].to_dict()
cheaper["payment"] |= {"fee": "1", "lower": "1", "upper": "1"}
other = receipts[0].to_dict()
body = base64.b64decode(other["response"]["body"]).replace(b"Paris", b"Lyons")
other["response"]["body"] = base64.b64encode(body).decode()
for document in (cheaper, other):
    found = check(document, anchor)
    print(f"{found.result}: {found.reason}")

# %% [markdown]
# ## Did the providers take what the receipts allow?
#
# Fees are collected in batches, long after the calls, by transactions that the provider's enclave signs. For each
# provider must hold: what it settled, and says it has still to collect, is what the receipts come to. On the local
# network they collect now, and the second one asks for twice of what is in its own books.

# %%
if net is not None:
    net.providers[1].fault("settlement_inflated", factor=2)
    for provider in net.providers:
        provider.settle()

with Broker() as broker:
    audit = broker.audit(receipts)

names = {each.provider.lower(): each.model for each in receipts}
rows = []
for each in audit.providers:
    charged = each.settled + each.unsettled if each.unsettled is not None else each.settled
    codes = [finding.code for finding in audit.findings if finding.provider.lower() == each.provider.lower()]
    rows.append(
        {
            "provider": names[each.provider.lower()],
            "calls": each.calls,
            "receipts (neuron)": each.exact.units,
            "settled or claimed (neuron)": charged.units,
            "finding": ", ".join(codes) or "none",
        }
    )
pd.DataFrame(rows)

# %%
for finding in audit.findings:
    print(f"{names[finding.provider.lower()]}: {finding.code}, {finding.excess} beyond what {len(finding.receipts)} receipts allow")
if net is not None:
    assert [finding.code for finding in audit.findings] == ["settled_too_much"]

# %% [markdown]
# ## The same elsewhere
#
# The Router has a book, OpenGradient's gateways take money by permits on another chain. Both are compared call by call.
# (This part is for the local networks: there the Router says of a call that it cost nothing, and charges it all the
# same; the gateway takes twice of what it metered, by a permit that two calls share.)

# %%
audits = {}
if net is not None:
    from zg_core import OpenGradientAccount, RouterAccount
    from zg_core.localnet import OpenGradientNet

    def ask(text, **way):
        with ChatClient(verify="warn", **way) as client:
            return client.create({"messages": [{"role": "user", "content": text}], "max_tokens": MAX_TOKENS}).receipt

    router = {"backend": "router", "api_key": net.router.api_key, "model": net.providers[0].model}
    router["minimum"] = "signer_only"  # what a reply in the clear can prove
    routed = [ask(QUESTIONS[0], **router)]
    net.router.fault("cost_wrong", factor=0)
    routed.append(ask(QUESTIONS[1], **router))
    with RouterAccount(management_key=net.router.management_key) as account:
        audits["Router"] = account.audit(routed)

    with OpenGradientNet(gateways=1) as og_net:
        where = {name: value for name, value in og_net.env().items() if name.endswith("_RPC_URL")}
        os.environ.update(where)
        wallet = {"network": "local", "private_key": og_net.wallet.private_key}
        gateway = {"backend": "opengradient", "model": "openai/gpt-5-nano", **wallet}
        paid = [ask(question, **gateway) for question in QUESTIONS]
        og_net.gateways[0].fail("settlement_inflated")
        og_net.settle()
        with OpenGradientAccount(private_key=og_net.wallet.private_key) as account:
            audits["OpenGradient"] = account.audit(paid)

for name, found in audits.items():
    print(f"{name}: {', '.join(finding.code for finding in found.findings) or 'nothing to find'}")
pd.DataFrame(
    {
        "network": name,
        "result": call.result,
        "receipt": str(call.said),
        "charged": "with others" if call.charged is None else str(call.charged),
    }
    for name, found in audits.items()
    for call in found.calls
)

# %% [markdown]
# ## A bundle, for an auditor without key and network
#
# All receipts of the run go into one file, signed by the wallet. The auditor has that file, and pins: which key each
# provider has, as the chain said it to somebody he believes. The network is stopped first: nothing below needs it.

# %%
from pathlib import Path

from zg_core import Wallet
from zg_core.receipts import read_bundle, write_bundle
from zg_core.receipts.anchors import read_pins

with Broker.read_only() as broker:
    pins = {each.provider: each.signer for each in broker.services()}
Path("pins.json").write_text(json.dumps(pins))
write_bundle("run.zip", receipts, run="audit-demo", wallet=Wallet.from_env())
if net is not None:
    net.stop()

bundle = read_bundle("run.zip")
lines = bundle.check(lambda receipt: read_pins(Path("pins.json"), receipt.provider, receipt.chain_id))
print(f"run {bundle.run}, signed by the wallet: {bundle.signer.lower() == Wallet.from_env().address.lower()}")
pd.DataFrame(
    {"model": line.receipt.model, "result": line.check.result, "anchor": line.check.anchor, "reason": line.check.reason}
    for line in lines
)

# %% [markdown]
# A bundle that was changed on its way is refused as a whole:

# %%
import io
import zipfile

from zg_core import ConfigError

changed = io.BytesIO()
with zipfile.ZipFile("run.zip") as old, zipfile.ZipFile(changed, "w") as new:
    for name in old.namelist():
        new.writestr(name, old.read(name).replace(b'"exact":true', b'"exact":false'))
try:
    read_bundle(changed)
except ConfigError as error:
    print("refused:", error.message)

# %% [markdown]
# The same on the command line: `zerog receipts verify`, `zerog receipts audit`, `zerog receipts bundle`.
