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
# # Answers from your documents, with a receipt for each
#
# *Holds for: 0G Direct.*
#
# LlamaIndex splits documents, embeds them, finds what a question needs, and lets the model answer from that. With
# `ZeroG` every call to the model leaves a receipt: what was sent, what came back, what it cost, and what was proven.
#
# Without settings this runs on a local network, which also has an embedding service. On a real network
# (`ZEROG_NETWORK`, `ZEROG_PRIVATE_KEY`, a funded `ZEROG_PROVIDER`, `ZEROG_MAX_SPEND`) set `EMBEDDING` below to an
# embedding model of yours, for example `"local:BAAI/bge-small-en-v1.5"`, or to one that a provider serves.

# %%
import os

from zg_core import og
from zg_core.compare import estimate

if earlier := globals().get("net"):  # this cell is run again
    earlier.stop()
net = None
if earlier or "ZEROG_NETWORK" not in os.environ:
    from zg_core.localnet import LocalNet

    net = LocalNet(providers=5).start()
    for provider in net.providers:
        net.open_account(net.wallet, provider)
    os.environ.update({name: value for name, value in net.env().items() if name.startswith("ZEROG_")})

PROVIDER = os.environ["ZEROG_PROVIDER"]
EMBEDDING = "local-embed-1"
QUESTIONS = ["How high is the Halden lighthouse?", "Who built the Halden lighthouse?", "When was the lamp replaced?"]
MAX_TOKENS = 200

# An answer is one call, whose prompt is the question, LlamaIndex's own words, and what was found: under 4,000 bytes here.
# The last question is asked again at the end.
plan = estimate(PROVIDER, ["x" * 4_000] * (len(QUESTIONS) + 1), max_tokens=MAX_TOKENS, cache=None)
embeddings = og("0.0001")  # some hundred tokens
print(f"This notebook costs at most {plan.most + embeddings} on {plan.network.name}.")
if net is None and plan.most + embeddings > og(os.environ.get("ZEROG_MAX_SPEND") or "0"):
    raise SystemExit(f"Set ZEROG_MAX_SPEND to at least {plan.most + embeddings} to go on.")

# %% [markdown]
# ## Documents and index

# %%
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter

from llama_index_zerog import ZeroG, ZeroGEmbedding, get_zerog_receipts

documents = [
    Document(text="The Halden lighthouse is 41 metres high. It stands on a rock two miles off the coast."),
    Document(text="Ingrid Solberg built the Halden lighthouse. She finished it in 1887, after six winters."),
    Document(text="The lamp was replaced in 1954. The new one is seen from 22 miles away."),
    Document(text="The keeper's garden grows cabbage, kale and thyme. Nothing else stands the salt."),
]
Settings.llm = ZeroG(provider=PROVIDER, verify="require", max_tokens=MAX_TOKENS, temperature=0)
Settings.embed_model = ZeroGEmbedding(model=EMBEDDING)
index = VectorStoreIndex.from_documents(documents, transformations=[SentenceSplitter(chunk_size=128, chunk_overlap=0)])
engine = index.as_query_engine(similarity_top_k=2)

# %% [markdown]
# ## Questions

# %%
rows = []
for question in QUESTIONS:
    with get_zerog_receipts() as receipts:
        answer = engine.query(question)
    print(question, "->", answer)
    rows += [(question, receipt) for receipt in receipts.receipts]

# %% [markdown]
# ## The receipts of each answer
#
# An answer has one receipt for each call it took: embedding the question, and writing the answer. Embeddings are paid
# like answers.

# %%
import pandas as pd

pd.DataFrame(
    {
        "question": question,
        "model": receipt.model,
        "verdict": str(receipt.verdict.status),
        "fee (0G)": str(receipt.fee.amount).split()[0],
    }
    for question, receipt in rows
)

# %% [markdown]
# ## An answer that was changed on the way
#
# The documents may be right and the index, too: the answer is still what one provider says. If a letter of it is
# changed after it was signed, the query raises, and no answer comes out. (On a real network the question is simply
# asked again.)

# %%
from zg_core import VerificationFailed

if net is not None:
    net.providers[0].fault("body_changed")
try:
    print(engine.query(QUESTIONS[-1]))
except VerificationFailed as error:
    print("refused:", error.receipt.verdict.explain())

# %%
spent = sum((receipt.fee.amount for _, receipt in rows), start=og("0"))
print(f"{len(QUESTIONS)} answers cost {spent}, to the last neuron: {all(receipt.fee.exact for _, receipt in rows)}")
if net is not None:
    net.stop()
