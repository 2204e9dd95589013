"""Buckets, places and blocks on a clock that stands still."""

import pytest

from zg_core.localnet.limits import Limits, RefusedError, TokenBucket, go_minutes
from zg_core.localnet.settings import ProviderSettings

USER, OTHER = "0xA", "0xB"


class Time:
    now = 5000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


def limits(time, **changes):
    from dataclasses import replace

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
