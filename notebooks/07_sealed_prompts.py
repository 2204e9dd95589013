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
# # Sealed prompts: what operator and Router saw
#
# *Holds for: 0G Direct, 0G Router.*
#
# An enclave keeps secrets, the way to it does not: whoever runs the machine in front of it, or the Router, passes every
# byte on. Here their eyes are open, on a local network that shows what passed them. First in the clear, then sealed:
# encrypted to a key that only the attested enclave holds.
#
# Without settings this runs on a local network. On a real one (`ZEROG_NETWORK`, `ZEROG_API_KEY` of the Router, `SEALED_MODEL`,
# `ZEROG_MAX_SPEND` in 0G) the sealed call is made, and what others saw is not yours to print.

# %%
import os

from zg_core import Budget, ChatClient, og

if earlier := globals().get("net"):  # this cell is run again
    earlier.stop()
net = None
if earlier or "ZEROG_NETWORK" not in os.environ:
    from zg_core.localnet import LocalNet

    net = LocalNet(providers=1, router=True).start()
    net.open_account(net.wallet, net.providers[0])
    os.environ.update({name: value for name, value in net.env().items() if name.startswith("ZEROG_")})

if net is None and "ZEROG_MAX_SPEND" not in os.environ:
    raise SystemExit("Set ZEROG_MAX_SPEND (in 0G) to go on: the most that this notebook may cost.")
most = og(os.environ.get("ZEROG_MAX_SPEND") or "0.01")
# All calls below share it. What the Router lists as prices nobody signs, so it is said what to put aside for a call.
budget = Budget(per_run=most, unpriced=og("0.001"))
print(f"This notebook costs at most {most}.")

SECRET = "swordfish"
QUESTION = {"messages": [{"role": "user", "content": f"Say: the password is {SECRET}"}], "max_tokens": 100}

# %% [markdown]
# ## Who is asked
#
# Genuine hardware is known by Intel's root, that of a local network by its own.

# %%
if net is not None:
    from zg_core.verify.attestation import AttestationOptions

    hardware = {"attestation": AttestationOptions(root=net.attestation_root, pccs_url=net.pccs_url)}
    router = {"backend": "router", "api_key": net.router.api_key, "model": net.providers[0].model}
else:
    hardware = {}
    router = {"backend": "router", "api_key": os.environ["ZEROG_API_KEY"], "model": os.environ["SEALED_MODEL"]}

# %% [markdown]
# ## What is looked for
#
# `report` searches all that passed somebody for the secret, and prints what he could read of a request.

# %%
import json


def shortened(value):
    """JSON with long texts cut, so that it can be read here."""
    if isinstance(value, dict):
        return {name: shortened(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shortened(each) for each in value]
    return value[:40] + "…" if isinstance(value, str) and len(value) > 40 else value


def body_of(passed):
    """The JSON body in what passed: a request with or without its headers."""
    return json.loads(passed[passed.index(b"{") : passed.rindex(b"}") + 1])


def report(who, passed):
    """What `who` saw: whether the secret was in it, and the request."""
    everything = b"\n".join(passed)
    asked = next(each for each in passed if b'"messages"' in each or b'"_e2ee"' in each)
    print(f"{who} could read the secret: {SECRET.encode() in everything}")
    print(json.dumps(shortened(body_of(asked)), indent=1, ensure_ascii=False))


# %% [markdown]
# ## In the clear
#
# The operator of a genuine provider stands in front of its enclave. The answer is verified: he changed nothing. He has
# read it all the same, so the receipt says `declared` of the prompt, and no more.

# %%
if net is not None:
    with net.operator(net.providers[0]) as operator:
        with ChatClient(provider=net.providers[0].address, verify="require", budget=budget) as client:
            reply = client.create(QUESTION)
        print(reply.text, "-", reply.receipt.verdict.status, "- prompt:", reply.receipt.verdict.prompt, "\n")
        report("The operator", [each.body for each in operator.seen if each.is_call])

# %% [markdown]
# The Router takes requests apart and puts them together again, so in the clear not even the signature fits what was
# sent: only the signer is known.

# %%
if net is not None:
    net.router.forget()
    with ChatClient(**router, verify="warn", minimum="signer_only", budget=budget) as client:
        reply = client.create(QUESTION)
    print(reply.text, "-", reply.receipt.verdict.status, "- prompt:", reply.receipt.verdict.prompt, "\n")
    report("The Router", net.router.seen)

# %% [markdown]
# ## Sealed, past the Router
#
# The enclave's quote is verified, its encryption key taken from there, and the request encrypted to it (HPKE). The answer
# comes back encrypted; the enclave signs both envelopes, so it is `verified` although the Router stands in between.

# %%
if net is not None:
    net.router.forget()
with ChatClient(**router, **hardware, sealed=True, verify="require", budget=budget) as client:
    sealed = client.create(QUESTION)
print(sealed.text, "-", sealed.receipt.verdict.status, "- prompt:", sealed.receipt.verdict.prompt, "\n")
if net is not None:
    report("The Router", net.router.seen)
    assert SECRET.encode() not in b"".join(net.router.seen)

# %% [markdown]
# What it still sees: the model, parameters such as `max_tokens`, token counts, sizes and times. Nothing is ever sent in
# the clear instead: what has no sealed form is refused (`cannot_seal`).
#
# ## Sealed, past the operator
#
# The same without a Router: he has the machine, and sees noise.

# %%
if net is not None:
    with net.operator(net.providers[0]) as operator:
        with ChatClient(
            provider=net.providers[0].address, sealed=True, **hardware, verify="require", budget=budget
        ) as client:
            reply = client.create(QUESTION)
        print(reply.text, "-", reply.receipt.verdict.status, "- prompt:", reply.receipt.verdict.prompt, "\n")
        report("The operator", [each.body for each in operator.seen if each.is_call])
        assert not any(SECRET.encode() in each.body for each in operator.seen)

# %% [markdown]
# ## An answer from the Router itself
#
# A Router that cannot read can still answer by itself. It does not get far: what is not sealed by the enclave and signed
# by it is refused.

# %%
from zg_core import ZeroGError

if net is not None:
    net.router.fault("plaintext_answer")
    try:
        with ChatClient(**router, **hardware, sealed=True, verify="require", budget=budget) as client:
            print(client.create(QUESTION).text)
    except ZeroGError as error:
        print("refused:", error.code)
    net.stop()
