"""What Direct offers: models beside the one on chain and adapters are candidates; and what speaks against each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.zg_core.backends.direct.test_backend import FUNDED, KEY, STANDARD, Provider, World
from zg_core.backends.base import Offer
from zg_core.backends.direct.credentials import ApiKeyCredential, NoCredential
from zg_core.backends.direct.session import make_token
from zg_core.errors import InsufficientFunds, ModelNotServed, NotAcknowledged, VerificationUnavailable
from zg_core.http.transport import run
from zg_core.routing.failover import Chooser
from zg_core.tasks.base import CHAT, EMBEDDINGS
from zg_core.verify.policy import Policy
from zg_core.verify.verdict import Status
from zg_core.wallet import Wallet

SEVERAL = '{"MultiModel": true}'
LISTED = {"data": [{"id": "m"}, {"id": "other", "pricing": {"prompt": "3", "completion": "5"}}]}


@pytest.fixture
def world(node: Any) -> World:
    return World(node)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.stop()


def offers(world: World, model: str | None, **changes: Any) -> dict[str, Offer]:
    found = run(world.backend(**changes).offers(CHAT, model))
    return {offer.service.provider: offer for offer in found}


class TestModelsBesideTheOneOnChain:
    def test_one_that_a_provider_of_several_lists_is_a_candidate_at_its_own_price(
        self, world: World, provider: Provider
    ) -> None:
        provider.says("/v1/models", (200, LISTED))
        several = world.offer(1, url=provider.url, balance=FUNDED, additional_info=SEVERAL)
        world.offer(2, balance=FUNDED)
        found = offers(world, "other")
        assert list(found) == [several]
        service = found[several].service
        assert (service.model, service.reach) == ("other", Status.VERIFIED)
        assert service.tariff is not None
        assert (service.tariff.input_price, service.tariff.output_price, service.tariff.listed) == (3, 5, True)
        assert run(world.target(model="other").route(None)).service.provider == several

    def test_one_that_it_does_not_list_is_served_by_nobody(self, world: World, provider: Provider) -> None:
        provider.says("/v1/models", (200, LISTED))
        world.offer(1, url=provider.url, balance=FUNDED, additional_info=SEVERAL)
        with pytest.raises(ModelNotServed):
            run(world.target(model="third").route(None))

    @pytest.mark.parametrize("trouble", [(503, b""), (299, b"half"), (200, b"<html>")])
    def test_one_that_does_not_tell_stands_in_nobodys_way(self, world: World, provider: Provider, trouble: Any) -> None:
        provider.says("/v1/models", trouble)
        world.offer(1, url=provider.url, price=1, balance=FUNDED, additional_info=SEVERAL, model="n")
        good = world.offer(2, balance=FUNDED)
        assert list(offers(world, "m")) == [good]

    def test_an_adapter_is_found_where_it_was_trained(self, world: World, provider: Provider) -> None:
        provider.says("/v1/lora/adapters", (200, {"adapters": [{"adapterName": "ft-mine"}]}))
        mine = world.offer(1, url=provider.url, balance=FUNDED)
        found = offers(world, "ft-mine")
        assert list(found) == [mine]
        assert found[mine].service.reach is Status.RESPONSE_BOUND  # every broker rewrites it to its base
        assert run(world.target(model="ft-mine").route(None)).model == "ft-mine"

    def test_adapters_are_asked_for_only_where_somebody_pays(self, world: World, provider: Provider) -> None:
        world.offer(1, url=provider.url)
        assert offers(world, "ft-mine") == {}
        assert all(path != "/v1/lora/adapters" for path, _ in provider.asked)

    def test_why_one_is_chosen_is_explained_with_its_price(self, world: World, provider: Provider) -> None:
        provider.says("/v1/models", (200, LISTED))
        several = world.offer(1, url=provider.url, balance=FUNDED, additional_info=SEVERAL)
        backend = world.backend(model="other")
        explanation = run(Chooser(None, backend, CHAT, world.transport).explain("other", several))
        assert explanation.chosen is not None
        assert explanation.chosen.service.provider == several
        assert "0.000000000003 / 0.000000000005" in str(explanation)


class TestWhatSpeaksAgainstThem:
    def test_is_said_of_each(self, world: World) -> None:
        good = world.offer(1, balance=FUNDED)
        poor = world.offer(2)
        unknown = world.offer(3, balance=FUNDED, acknowledged=False)
        silent = world.offer(4, balance=FUNDED, additional_info=STANDARD)
        found = offers(world, "m", policy=Policy("require"))
        assert found[good].objection is None
        assert isinstance(found[poor].objection, InsufficientFunds)
        assert isinstance(found[unknown].objection, NotAcknowledged)
        assert isinstance(found[silent].objection, VerificationUnavailable)
        assert found[silent].service.reach is Status.NOT_VERIFIABLE

    def test_who_only_reads_is_told_what_there_is(self, world: World) -> None:
        poor = world.offer(1)
        assert offers(world, None, credential=NoCredential())[poor].objection is None

    def test_another_task_is_another_catalogue(self, world: World) -> None:
        world.offer(1, balance=FUNDED)
        other = world.offer(2, balance=FUNDED, service_type="embedding", model="e")
        found = run(world.backend().offers(EMBEDDINGS, None))
        assert [(offer.service.provider, offer.service.task) for offer in found] == [(other, "embeddings")]

    def test_a_key_is_offered_its_own_provider_only(self, world: World) -> None:
        world.offer(1, price=1, balance=FUNDED)
        mine = world.offer(2, balance=FUNDED)
        key = make_token(Wallet.from_key(KEY), mine, now_ms=1, generation=0, token_id=3, expires_at=0)
        assert list(offers(world, "m", credential=ApiKeyCredential(key))) == [mine]
        assert all("getAllServices" not in asked for asked in world.node.asked)

    def test_a_service_is_the_same_object_until_its_record_is_read_again(self, world: World) -> None:
        world.offer(1, balance=FUNDED)
        backend = world.backend()
        (offer,) = run(backend.offers(CHAT, "m"))
        first = run(backend.route(offer.service, "m")).service
        assert run(backend.route(offer.service, "m")).service is first
