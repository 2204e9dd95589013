"""What a provider says about itself, against what it has on chain and bills."""

import pytest

from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.localnet.provider import catalog


class Bare:
    """A model server that knows nothing of its model."""

    async def models(self):
        return []


@pytest.fixture(scope="module")
def net():
    specs = [
        ProviderSpec(model="a"),
        ProviderSpec(model="bare", upstream=Bare(), context_length=99),
        ProviderSpec(model="v", upstream=Bare(), service_type="embedding", cache_divisor=None),
    ]
    with LocalNet(providers=specs) as running:
        yield running


def entry_of(net, http, model):
    (entry,) = http.get(net.provider(model).url + "/v1/models").json()["data"]
    return entry


def test_the_models_own_words_are_kept_and_the_terms_added(net, http):
    entry = entry_of(net, http, "a")
    assert entry["owned_by"] == "local"
    assert "response_format" in entry["supported_parameters"]
    assert entry["verifiability"] == "TeeML"


@pytest.mark.parametrize("model", ["a", "bare", "v"])
def test_every_field_of_the_schema_is_there(net, http, model):
    entry = entry_of(net, http, model)
    assert set(entry) >= {
        "id",
        "object",
        "created",
        "owned_by",
        "name",
        "description",
        "type",
        "context_length",
        "max_completion_tokens",
        "architecture",
        "supported_parameters",
        "default_parameters",
        "pricing",
        "verifiability",
        "tee_attested",
        "tee_type",
        "tee_verifier",
    }
    assert set(entry["architecture"]) == {
        "modality",
        "input_modalities",
        "output_modalities",
        "instruct_type",
        "tokenizer",
    }
    assert all(isinstance(entry["pricing"][name], str) for name in ("prompt", "completion"))


def test_a_silent_model_server_gets_the_specs_words(net, http):
    assert entry_of(net, http, "bare")["context_length"] == 99
    entry = entry_of(net, http, "v")
    assert (entry["type"], entry["architecture"]["output_modalities"]) == ("embedding", ["embedding"])
    assert "cache_token_billing" not in entry["pricing"]


def test_prices_are_those_of_now(net, http):
    provider = net.provider("a")
    provider.set_price(123, 456)
    assert entry_of(net, http, "a")["pricing"]["prompt"] == "123"
    provider.set_price(provider.spec.input_price, provider.spec.output_price)


def test_an_adapter_belongs_to_whoever_asks(net):
    state = net._states[0]
    one, other = (catalog.adapter_entries(state, user)[0] for user in ("0xA", "0xB"))
    assert (one["userAddress"], other["userAddress"]) == ("0xA", "0xB")
    assert one["adapterName"] == other["adapterName"] == state.adapter
    assert set(one) == {"adapterName", "taskId", "baseModel", "state", "userAddress", "storageRootHash"}
    assert catalog.adapter_entries(net._states[2], "0xA") == []
