"""Buckets, places and blocks: on a clock that stands still, then over real sockets with the real network's numbers."""

import concurrent.futures
import threading
from dataclasses import replace

import pytest

from tests.patience import PATIENCE
from zg_core.localnet import LocalNet, ProviderSpec
from zg_core.localnet.model.upstream import UpstreamReply
from zg_core.localnet.provider.limits import Limits, RefusedError, TokenBucket, go_minutes
from zg_core.localnet.provider.settings import ProviderSettings

USER, OTHER = "0xA", "0xB"


class Time:
    now = 5000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


def limits(time, **changes):
    return Limits(replace(ProviderSettings.production(), **changes), time, 100)


def test_a_bucket_refills_up_to_its_burst():
    bucket = TokenBucket(rate=0.5, burst=5, now=0)
    for _ in range(5):
        bucket.take(1, 0)
    assert bucket.level(0) == 0
    assert bucket.seconds_until(1, 0) == 2
    assert bucket.level(2) == 1
    assert bucket.level(1000) == 5


def test_a_bucket_can_be_overdrawn():
    bucket = TokenBucket(rate=10, burst=100, now=0)
    bucket.take(150, 0)
    assert bucket.level(0) == -50
    assert bucket.seconds_until(0, 0) == 5


def test_the_sixth_request_of_a_minute_is_refused_with_headers(time):
    one = limits(time)
    for _ in range(5):
        one.check_user(USER)
    with pytest.raises(RefusedError) as refused:
        one.check_user(USER)
    assert refused.value.status == 429
    assert refused.value.error == {
        "type": "rate_limit_error",
        "message": "Rate limit exceeded. Please slow down your request rate (limit: 30 requests/min).",
    }
    assert dict(refused.value.headers) == {
        "x-ratelimit-limit-requests": "30",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "2s",
    }
    one.check_user(OTHER)
    time.now += 2
    one.check_user(USER)


def test_headers_count_down(time):
    one = limits(time)
    one.check_user(USER)
    one.check_user(USER)
    headers = dict(one.headers(USER))
    assert headers["x-ratelimit-remaining-requests"] == "3"
    assert headers["x-ratelimit-reset-requests"] == "0s"


def test_lifted_limits_send_no_headers(time):
    one = Limits(ProviderSettings.fast(), time, 100)
    for _ in range(1000):
        one.check_user(USER)
        one.check_ip("127.0.0.1")
        one.enter()
        one.enter_user(USER)
        one.model_mismatch(USER)
    one.check_block(USER)
    assert one.headers(USER) == []


def test_tokens_are_counted_after_the_answer(time):
    one = limits(time, requests_per_minute=None, tokens_per_minute=600)
    one.check_user(USER)
    assert dict(one.headers(USER))["x-ratelimit-remaining-tokens"] == "100"
    one.spend_tokens(USER, 250)  # burst 100 (the context length), so 150 overdrawn at 10 a second
    with pytest.raises(RefusedError) as refused:
        one.check_user(USER)
    assert refused.value.error["message"] == (
        "Token rate limit exceeded. Please wait 15 seconds (limit: 600 tokens/min)."
    )
    assert dict(refused.value.headers)["x-ratelimit-reset-tokens"] == "15s"
    time.now += 15.1
    one.check_user(USER)


def test_a_user_has_five_places(time):
    one = limits(time)
    for _ in range(5):
        one.enter_user(USER)
    with pytest.raises(RefusedError) as refused:
        one.enter_user(USER)
    assert refused.value.error == (
        "Too many concurrent requests. You have 5 active requests (limit: 5). Please wait for some to complete."
    )
    one.enter_user(OTHER)
    one.leave_user(USER)
    one.enter_user(USER)


def test_all_users_share_twenty_places(time):
    one = limits(time)
    for _ in range(20):
        one.enter()
    with pytest.raises(RefusedError) as refused:
        one.enter()
    assert (refused.value.status, refused.value.error) == (
        503,
        "Server is currently processing too many requests. Please try again later.",
    )
    one.leave()
    one.enter()


def test_an_address_has_fifteen_requests_a_second_after_a_burst_of_twenty(time):
    one = limits(time)
    for _ in range(20):
        one.check_ip("127.0.0.1")
    with pytest.raises(RefusedError) as refused:
        one.check_ip("127.0.0.1")
    assert (refused.value.status, refused.value.error) == (429, "Too many requests. Please try again later.")
    time.now += 1
    for _ in range(15):
        one.check_ip("127.0.0.1")
    with pytest.raises(RefusedError):
        one.check_ip("127.0.0.1")


def test_five_wrong_models_in_five_minutes_block_for_an_hour(time):
    one = limits(time)
    for _ in range(4):
        one.model_mismatch(USER)
        one.check_block(USER)
    one.model_mismatch(USER)
    with pytest.raises(RefusedError) as refused:
        one.check_block(USER)
    assert (refused.value.status, refused.value.error) == (
        429,
        "Rate limit exceeded: too many invalid model requests. Please try again in 1h0m0s",
    )
    one.check_block(OTHER)
    time.now += 3599
    with pytest.raises(RefusedError, match="in 0s"):
        one.check_block(USER)
    time.now += 1
    one.check_block(USER)


def test_wrong_models_far_apart_do_not_block(time):
    one = limits(time)
    for _ in range(20):
        one.model_mismatch(USER)
        one.check_block(USER)
        time.now += 75  # four in any five minutes


def test_clearing_keeps_those_who_are_inside(time):
    one = limits(time)
    one.enter_user(USER)
    one.enter()
    for _ in range(5):
        one.check_user(USER)
        one.model_mismatch(USER)
    one.clear()
    one.check_user(USER)
    one.check_block(USER)
    for _ in range(4):
        one.enter_user(USER)
    with pytest.raises(RefusedError):
        one.enter_user(USER)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (29, "0s"), (31, "1m0s"), (3540, "59m0s"), (3600, "1h0m0s"), (7230, "2h1m0s"), (7229, "2h0m0s")],
)
def test_durations_are_written_as_go_does(seconds, text):
    assert go_minutes(seconds) == text


# over real sockets

PRODUCTION = replace(ProviderSettings.production(), settle_interval=None)
ROOMY = replace(PRODUCTION, requests_per_minute=None, ip_requests_per_second=None)


@pytest.fixture(scope="module")
def net():
    with LocalNet(settings=replace(PRODUCTION, ip_requests_per_second=None)) as running:
        yield running


@pytest.fixture
def caller(net, connect, reverting):
    reverting(net)
    return lambda: connect(net)


def test_thirty_requests_a_minute_after_a_burst_of_five(net, caller, tools):
    one, other = caller(), caller()
    response = one.chat()
    assert response.status_code == 200
    assert response.headers["x-ratelimit-limit-requests"] == "30"
    assert response.headers["x-ratelimit-remaining-requests"] == "4"
    assert "x-ratelimit-reset-requests" in response.headers["access-control-expose-headers"]
    answered = 1
    while (response := one.chat()).status_code == 200:
        answered += 1
        assert answered < 30, "a slow machine may see a few refills, but not this many"
    assert answered >= 5
    assert response.status_code == 429
    assert response.json() == {
        "error": {
            "type": "rate_limit_error",
            "message": "Rate limit exceeded. Please slow down your request rate (limit: 30 requests/min).",
        }
    }
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    assert response.headers["x-ratelimit-reset-requests"] in ("0s", "1s", "2s")
    assert other.chat().status_code == 200
    net.clock.advance(2)
    assert one.chat().status_code == 200


def test_a_refused_session_does_not_count_as_a_request(caller):
    one = caller()
    for _ in range(10):
        assert one.post(b"{}", token=None).status_code == 400
    assert one.chat().status_code == 200


def test_tokens_a_minute(connect, tools):
    settings = replace(ROOMY, tokens_per_minute=60)
    reply = UpstreamReply(
        200, {}, b'{"id":"x","usage":{"prompt_tokens":100,"completion_tokens":30,"total_tokens":130}}'
    )

    class Fixed:
        async def complete(self, path, body):
            return reply

        async def models(self):
            return []

    spec = ProviderSpec(settings=settings, context_length=100, upstream=Fixed())
    with LocalNet(providers=[spec]) as net:
        one = connect(net)
        response = one.chat()
        assert response.headers["x-ratelimit-limit-tokens"] == "60"
        assert response.headers["x-ratelimit-remaining-tokens"] == "100"
        response = one.chat()
        assert response.status_code == 429
        wait = int(response.headers["x-ratelimit-reset-tokens"].removesuffix("s"))
        assert 20 <= wait <= 30
        assert tools.error_of(response)["message"] == (
            f"Token rate limit exceeded. Please wait {wait} seconds (limit: 60 tokens/min)."
        )
        net.clock.advance(31)
        assert one.chat().status_code == 200


class Gated:
    """A model that waits until the test lets it answer."""

    def __init__(self):
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)

    async def complete(self, path, body):
        import asyncio

        self.entered.release()
        await asyncio.to_thread(self.open.wait, PATIENCE)
        return UpstreamReply(200, {}, b'{"id":"x"}')

    async def models(self):
        return []


def test_five_at_a_time_for_a_user_and_twenty_for_all(connect, tools):
    gate = Gated()
    with LocalNet(providers=[ProviderSpec(settings=ROOMY, upstream=gate)]) as net:
        callers = [connect(net) for _ in range(5)]
        tokens = {id(one): one.token() for one in callers}
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            waiting = []
            for one in callers[:4]:
                waiting += [pool.submit(one.post, one.body(), token=tokens[id(one)]) for _ in range(5)]
                for _ in range(5):
                    assert gate.entered.acquire(timeout=PATIENCE)
                if one is callers[0]:
                    response = one.chat()
                    assert response.status_code == 429
                    assert tools.error_of(response) == (
                        "Too many concurrent requests. You have 5 active requests (limit: 5). "
                        "Please wait for some to complete."
                    )
            response = callers[4].chat()
            assert response.status_code == 503
            assert tools.error_of(response) == (
                "Server is currently processing too many requests. Please try again later."
            )
            gate.open.set()
            assert [done.result().status_code for done in waiting] == [200] * 20
        assert callers[0].chat().status_code == 200


def test_an_address_is_limited_whatever_it_asks(connect):
    settings = replace(PRODUCTION, requests_per_minute=None, ip_requests_per_second=0.01)
    with LocalNet(providers=[ProviderSpec(settings=settings)]) as net:
        one = connect(net)
        assert [one.get("/v1/models").status_code for _ in range(21)] == [200] * 20 + [429]
        response = one.chat()
        assert response.status_code == 429
        assert response.json() == {"error": "Too many requests. Please try again later."}
        assert one.http.get(one.provider.url + "/_local/log").status_code == 200
        net.clock.advance(100)
        assert one.chat().status_code == 200
