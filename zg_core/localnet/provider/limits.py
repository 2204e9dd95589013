"""Rate limits, concurrency, and the block for asking for the wrong model (0g-direct §4.6)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from zg_core.localnet.provider.settings import ProviderSettings

Headers = list[tuple[str, str]]


class RefusedError(Exception):
    """A request is refused with this status and ``error`` value (a string or an object)."""

    def __init__(self, status: int, error: str | dict[str, str], headers: Headers | None = None) -> None:
        super().__init__(error if isinstance(error, str) else error["message"])
        self.status = status
        self.error = error
        self.headers: Headers = headers or []


class TokenBucket:
    """Refills at `rate` a second up to `burst`; may be overdrawn."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def level(self, now: float) -> float:
        """What is in it at a time; negative when overdrawn."""
        return min(self._burst, self._level + max(0.0, now - self._at) * self._rate)

    def take(self, amount: float, now: float) -> None:
        """Take an amount, whether it is there or not."""
        self._level = self.level(now) - amount
        self._at = max(now, self._at)

    def seconds_until(self, amount: float, now: float) -> float:
        """How long until `amount` is in it."""
        return max(0.0, (amount - self.level(now)) / self._rate)


class Limits:
    """The limits of one provider. Used from its server thread only.

    Args:
        settings: the numbers.
        now: the network's clock, unix seconds.
        context_length: the smallest burst of the token limit.
    """

    def __init__(self, settings: ProviderSettings, now: Callable[[], float], context_length: int) -> None:
        self._settings = settings
        self._now = now
        self._context_length = context_length
        self.clear()

    def clear(self) -> None:
        """Forget everything counted so far, except requests still running."""
        self._requests: dict[str, TokenBucket] = {}
        self._tokens: dict[str, TokenBucket] = {}
        self._ips: dict[str, TokenBucket] = {}
        self._mismatches: dict[str, deque[float]] = {}
        self._blocked: dict[str, float] = {}
        self._active: dict[str, int] = getattr(self, "_active", {})
        self._active_total: int = getattr(self, "_active_total", 0)

    def check_ip(self, ip: str) -> None:
        """Count a request of an address, before anything else is looked at.

        Raises:
            RefusedError: 429.
        """
        rate = self._settings.ip_requests_per_second
        if rate is None:
            return
        now = self._now()
        bucket = self._ips.setdefault(ip, TokenBucket(rate, self._settings.ip_burst, now))
        if bucket.level(now) < 1:
            raise RefusedError(429, "Too many requests. Please try again later.")
        bucket.take(1, now)

    def enter(self) -> None:
        """Take a place among all running requests; `leave` returns it.

        Raises:
            RefusedError: 503.
        """
        limit = self._settings.concurrent_global
        if limit is not None and self._active_total >= limit:
            raise RefusedError(503, "Server is currently processing too many requests. Please try again later.")
        self._active_total += 1

    def leave(self) -> None:
        """Return a place taken with `enter`."""
        self._active_total -= 1

    def check_user(self, user: str) -> None:
        """Count a request of a user against the rates.

        Raises:
            RefusedError: 429 with rate headers.
        """
        now = self._now()
        if self._settings.requests_per_minute is not None:
            bucket = self._request_bucket(user, now)
            if bucket.level(now) < 1:
                message = (
                    "Rate limit exceeded. Please slow down your request rate "
                    f"(limit: {self._settings.requests_per_minute} requests/min)."
                )
                raise RefusedError(429, {"type": "rate_limit_error", "message": message}, self.headers(user))
            bucket.take(1, now)
        if self._settings.tokens_per_minute is not None:
            bucket = self._token_bucket(user, now)
            if bucket.level(now) <= 0:
                message = (
                    f"Token rate limit exceeded. Please wait {bucket.seconds_until(0, now):.0f} seconds "
                    f"(limit: {self._settings.tokens_per_minute} tokens/min)."
                )
                raise RefusedError(429, {"type": "rate_limit_error", "message": message}, self.headers(user))

    def enter_user(self, user: str) -> None:
        """Take one of the user's places; `leave_user` returns it.

        Raises:
            RefusedError: 429.
        """
        active, limit = self._active.get(user, 0), self._settings.concurrent_per_user
        if limit is not None and active >= limit:
            raise RefusedError(
                429,
                f"Too many concurrent requests. You have {active} active requests (limit: {limit}). "
                "Please wait for some to complete.",
            )
        self._active[user] = active + 1

    def leave_user(self, user: str) -> None:
        """Return a place taken with `enter_user`."""
        self._active[user] -= 1

    def spend_tokens(self, user: str, tokens: int) -> None:
        """Count the tokens of an answer."""
        if self._settings.tokens_per_minute is not None:
            now = self._now()
            self._token_bucket(user, now).take(tokens, now)

    def headers(self, user: str) -> Headers:
        """The x-ratelimit headers of a user as things stand; the limit for what is not limited is left out."""
        now = self._now()
        headers: Headers = []
        if self._settings.requests_per_minute is not None:
            bucket = self._request_bucket(user, now)
            headers += _rate_headers("requests", self._settings.requests_per_minute, bucket, 1, now)
        if self._settings.tokens_per_minute is not None:
            bucket = self._token_bucket(user, now)
            headers += _rate_headers("tokens", self._settings.tokens_per_minute, bucket, 0, now)
        return headers

    def check_block(self, user: str) -> None:
        """Refuse a user who asked for wrong models too often.

        Raises:
            RefusedError: 429.
        """
        left = self._blocked.get(user, 0.0) - self._now()
        if left > 0:
            raise RefusedError(
                429, f"Rate limit exceeded: too many invalid model requests. Please try again in {go_minutes(left)}"
            )

    def model_mismatch(self, user: str) -> None:
        """Count a request for a model that is not served."""
        limit = self._settings.model_mismatches
        if limit is None:
            return
        now = self._now()
        times = self._mismatches.setdefault(user, deque())
        times.append(now)
        while times[0] <= now - self._settings.model_mismatch_window:
            times.popleft()
        if len(times) >= limit:
            self._blocked[user] = now + self._settings.model_block
            times.clear()

    def _request_bucket(self, user: str, now: float) -> TokenBucket:
        rpm = self._settings.requests_per_minute or 0
        return self._requests.setdefault(user, TokenBucket(rpm / 60, self._settings.burst, now))

    def _token_bucket(self, user: str, now: float) -> TokenBucket:
        tpm = self._settings.tokens_per_minute or 0
        burst = max(tpm // 6, 1, self._context_length)
        return self._tokens.setdefault(user, TokenBucket(tpm / 60, burst, now))


def _rate_headers(name: str, limit: int, bucket: TokenBucket, needed: float, now: float) -> Headers:
    return [
        (f"x-ratelimit-limit-{name}", str(limit)),
        (f"x-ratelimit-remaining-{name}", str(max(0, int(bucket.level(now))))),
        (f"x-ratelimit-reset-{name}", f"{bucket.seconds_until(needed, now):.0f}s"),
    ]


def go_minutes(seconds: float) -> str:
    """A duration rounded to minutes, the way Go prints it: ``1h0m0s``, ``59m0s``, ``0s``."""
    minutes = int(seconds / 60 + 0.5)
    if minutes == 0:
        return "0s"
    hours, rest = divmod(minutes, 60)
    return f"{hours}h{rest}m0s" if hours else f"{rest}m0s"
