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
# # Images and speech, signed like answers
#
# *Holds for: 0G Direct.*
#
# Providers draw images, edit them, and write down recordings. Each reply has a receipt as an answer has: the enclave
# signs the hash of every image, and of every transcript, so a picture can be shown to be the one that was paid for.
#
# Without settings this runs on a local network. On a real one (`ZEROG_NETWORK`, `ZEROG_PRIVATE_KEY`, `ZEROG_MAX_SPEND` in
# 0G) set `IMAGE_MODEL` and `SPEECH_MODEL` to models whose providers you have funded (`zerog providers`), and put a
# recording of yours into `said.wav`.

# %%
import os

from zg_core import Amount, Broker, Budget, og

if earlier := globals().get("net"):  # this cell is run again
    earlier.stop()
net = None
if earlier or "ZEROG_NETWORK" not in os.environ:
    from zg_core.localnet import LocalNet

    net = LocalNet(services=["chat", "image", "speech"]).start()
    for provider in net.providers:
        net.open_account(net.wallet, provider)
    chosen = ("ZEROG_PROVIDER", "ZEROG_MODEL")  # of chat; here models choose their providers
    os.environ.update({k: v for k, v in net.env().items() if k.startswith("ZEROG_") and k not in chosen})

IMAGE_MODEL = os.environ.get("IMAGE_MODEL", "local-image-1")
SPEECH_MODEL = os.environ.get("SPEECH_MODEL", "local-speech-1")

if net is None and "ZEROG_MAX_SPEND" not in os.environ:
    raise SystemExit("Set ZEROG_MAX_SPEND (in 0G) to go on: the most that this notebook may cost.")
most = og(os.environ.get("ZEROG_MAX_SPEND") or "0.05")
budget = Budget(per_run=most)  # all calls below share it; one that could cost more than is left is not sent
print(f"This notebook costs at most {most}.")

# %% [markdown]
# ## Prices
#
# An image has a price of its own, speech costs by the second.

# %%
import pandas as pd

with Broker.read_only() as broker:
    services = broker.services()

pd.DataFrame(
    {
        "model": service.model,
        "serves": service.service_type,
        "kind": str(service.kind),
        "0G": str(Amount(max(service.input_price, service.output_price))).split()[0],
        "for each": {"text-to-image": "image", "speech-to-text": "second"}[service.service_type],
    }
    for service in services
    if service.service_type in ("text-to-image", "speech-to-text") and service.acknowledged
)

# %% [markdown]
# ## An image
#
# It shows itself; `image.save("lighthouse")` writes a file, and never over one.

# %%
from zg_core import ImageClient

drawing = ImageClient(model=IMAGE_MODEL, verify="require", budget=budget)
images = drawing.generate("A lighthouse on a cliff, at dawn", size="256x128")
print(images.receipt.verdict, "-", images.receipt.fee.amount, "-", images[0].size)
images[0]

# %% [markdown]
# The receipt holds what the enclave signed, so whoever has the file can compare it:

# %%
import hashlib

print("this file:", hashlib.sha256(images[0].data).hexdigest()[:16], "…")
print("signed:   ", images.receipt.evidence.facts["images"][0].removeprefix("0x")[:16], "…")

# %% [markdown]
# ## An image that was exchanged on the way
#
# On the local network the provider is told to hand out another picture than the one that was signed. (On a real
# network nobody can be asked for that, and another picture is simply paid for.)

# %%
from zg_core import VerificationFailed

if net is not None:
    next(each for each in net.providers if each.model == IMAGE_MODEL).fault("image_swapped")
try:
    print(drawing.generate("A lighthouse on a cliff, at dusk", size="256x128").receipt.verdict)
except VerificationFailed as error:
    print("refused:", error.receipt.verdict.explain())

# %% [markdown]
# ## A recording
#
# The local model hears the words of `speak(…)`. The price follows from the seconds that the answer states; a length that
# the recording cannot have is flagged.

# %%
from pathlib import Path

from zg_core import SpeechClient

if net is not None:
    from zg_core.localnet import speak

    Path("said.wav").write_bytes(speak("Every word of this recording is paid for and proven.", seconds=4))

hearing = SpeechClient(model=SPEECH_MODEL, verify="require", budget=budget)
said = hearing.transcribe("said.wav", response_format="verbose_json")
print(said.text)
print(said.receipt.verdict, "-", said.receipt.fee.amount)

# %% [markdown]
# Subtitles, and a stream: its pieces come as they are heard, its verdict at the end.

# %%
print(hearing.transcribe("said.wav", response_format="srt").text)
stream = hearing.transcribe_stream("said.wav")
print("|".join(stream), "-", stream.receipt.verdict)

# %% [markdown]
# ## In an agent
#
# In LangChain drawing is a tool: the model gets a sentence, your program the image. A recording is a document.

# %%
from langchain_zerog import ZeroGImageGenerator, ZeroGTranscriptionLoader

draw = ZeroGImageGenerator(model=IMAGE_MODEL, verify="require", size="256x128", budget=budget)
call = {"name": draw.name, "args": {"prompt": "a red fox"}, "id": "1", "type": "tool_call"}
message = draw.invoke(call)
print(message.text)
(document,) = ZeroGTranscriptionLoader("said.wav", model=SPEECH_MODEL, budget=budget).load()
print(document.page_content, "-", document.metadata["zerog"]["status"])
message.artifact[0]

# %% [markdown]
# ## What it cost
#
# What was refused is billed all the same, so it is in the list.

# %%
receipts = [*drawing.receipts, *hearing.receipts]
table = pd.DataFrame(
    {
        "task": receipt.task,
        "verdict": str(receipt.verdict.status),
        "fee (0G)": str(receipt.fee.amount).split()[0],
        "exact": receipt.fee.exact,
    }
    for receipt in receipts
)
spent = sum((receipt.fee.amount for receipt in receipts), start=og("0"))
print(f"{spent} for these {len(receipts)} calls, within {most}")
assert spent <= most
drawing.close()
hearing.close()
if net is not None:
    net.stop()
table
