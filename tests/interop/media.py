"""The official Python client's image and speech paths, as its documentation shows them, against a local network.

Prints one JSON line for each type of service. What it needs is in the environment: RPC_URL, PRIVATE_KEY, LEDGER,
INFERENCE, PROVIDERS (of images and of speech, both funded); the recording is its argument.
"""

import base64
import hashlib
import json
import os
import sys
import traceback
from pathlib import Path

import requests
from zerog_py_sdk import create_broker
from zerog_py_sdk.verifier import ResponseVerifier, verify_tee_response

PATIENCE = 600  # as in tests.patience, which this environment has not

# The client prints while it works; our lines have to stay whole.
report_to, sys.stdout = sys.stdout, sys.stderr
broker = create_broker(os.environ["PRIVATE_KEY"], rpc_url=os.environ["RPC_URL"])
DRAWER, HEARER = os.environ["PROVIDERS"].split(",")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def check(holds, otherwise):
    """Fail the step unless `holds`."""
    if not holds:
        raise AssertionError(otherwise)


def signed(provider, chat_id, model):
    """The signed text under a key, checked with the client's own function."""
    service = broker.inference.get_service(provider)
    check(verify_tee_response(service, service.tee_signer_address, True, chat_id), "the signature function said no")
    check(broker.inference.process_response(provider, "", chat_id), "process_response said no")
    return ResponseVerifier.fetch_signature_by_chat_id(service.url, chat_id, model).text


def image():
    metadata = broker.inference.get_service_metadata(DRAWER)
    request = {"model": metadata["model"], "prompt": "A cute baby sea otter", "n": 2, "size": "256x256"}
    body = json.dumps(request).encode()
    headers = {"Content-Type": "application/json", **broker.inference.get_request_headers(DRAWER)}
    response = requests.post(f"{metadata['endpoint']}/images/generations", headers=headers, data=body, timeout=PATIENCE)
    check(response.ok, response.text)
    images = [base64.b64decode(entry["b64_json"]) for entry in response.json()["data"]]
    text = signed(DRAWER, response.headers["ZG-Res-Key"], metadata["model"])
    check(text == f"{sha256(body)}:{','.join(map(sha256, images))}", f"signed is {text}")
    return {"images": len(images), "kind": images[0][1:4].decode()}


def speech():
    metadata = broker.inference.get_service_metadata(HEARER)
    request = requests.Request(
        "POST",
        f"{metadata['endpoint']}/audio/transcriptions",
        headers=broker.inference.get_request_headers(HEARER),
        files={"file": ("said.wav", Path(sys.argv[1]).read_bytes(), "audio/wav")},
        data={"model": metadata["model"], "response_format": "json"},
    ).prepare()
    response = requests.Session().send(request, timeout=PATIENCE)
    check(response.ok, response.text)
    text = signed(HEARER, response.headers["ZG-Res-Key"], metadata["model"])
    check(text == f"{sha256(request.body)}:{sha256(response.content)}", f"signed is {text}")
    return {"text": response.json()["text"]}


good = True
for step in (image, speech):
    line = {"step": step.__name__}
    try:
        line |= {"ok": True, "facts": step()}
    except Exception as error:
        line |= {"ok": False, "said": f"{type(error).__name__}: {error}", "where": traceback.format_exc()}
    print(json.dumps(line), file=report_to, flush=True)
    good = good and line["ok"]
sys.exit(0 if good else 1)
