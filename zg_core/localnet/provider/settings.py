"""What a local provider is (`ProviderSpec`) and how strict and how slow it is (`ProviderSettings`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count as count_from
from itertools import cycle
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zg_core.localnet.media.drawing import Draws
    from zg_core.localnet.model.upstream import Upstream

Kind = Literal["TeeML", "TeeTLS", "TeeML-separated", "standard"]
"""Who signs (0g-direct §4.8): the provider's enclave, the same for a vendor's answer, the model's enclave, nobody."""

ServiceType = Literal["chatbot", "embedding", "text-to-image", "image-editing", "speech-to-text"]

SERVICES: dict[str, ServiceType] = {
    "chat": "chatbot",
    "embedding": "embedding",
    "image": "text-to-image",
    "edit": "image-editing",
    "speech": "speech-to-text",
}
"""What a network can be asked to serve, and how that is called on chain."""

ONE_OG = 10**18
"""One 0G in neuron."""


@dataclass(frozen=True)
class ProviderSettings:
    """Every limit, cache life and interval of a provider. Times in seconds on the network's clock; None lifts a limit.

    `production` has the values of the real network (0g-direct §3.2, §4.5, §4.6, §5.2, §2.5); `fast`, the default of a
    `LocalNet`, is for tests: cache lives and intervals are 1/1000 of that, limits are lifted.
    """

    account_cache: float = 120
    """How long the chain's account record is trusted: a top-up or a revocation is seen after at most this."""
    service_cache: float = 120
    """How long the chain's service record (prices, the owner's acknowledgement) is trusted."""
    session_cache: float = 300
    """How long a checked token signature is remembered (revocation is checked on every request all the same)."""
    ephemeral_lifetime: float = 86_400
    """The longest life of a session token (token id 255). A rule of the protocol: not scaled by `fast`."""
    signature_ttl: float = 1_200
    """How long a response signature can be fetched. It bounds the client, so `fast` does not shorten it."""
    signature_delay: float = 0
    """Seconds between the last byte of a response and its signature becoming available."""

    minimum_balance: int = ONE_OG
    """Neuron that must stay in a sub-account beyond unsettled fees and the estimate of the current one."""
    estimate_input_fee: bool = True
    """Whether the admission check counts an estimate of the prompt's price."""

    requests_per_minute: int | None = 30
    burst: int = 5
    concurrent_per_user: int | None = 5
    concurrent_global: int | None = 20
    tokens_per_minute: int | None = None
    """Off on the real network unless an operator sets it; its burst is a sixth, at least the context length."""
    ip_requests_per_second: float | None = 15
    ip_burst: int = 20

    model_mismatches: int | None = 5
    """So many requests for another model within `model_mismatch_window` block the user for `model_block`."""
    model_mismatch_window: float = 300
    model_block: float = 3_600

    max_body: int = 32 * 1024 * 1024
    """Bytes of a request body; one more is answered with 413."""
    max_silent_read: int = 10 * 1024 * 1024
    """Bytes of an answer still read, and billed, after the client has gone."""

    settle_interval: float | None = 300
    """How often fees older than `settle_buffer` are settled on chain. None: only when `settle()` is called."""
    settle_force_interval: float = 600
    """How often everything is settled, however young."""
    settle_buffer: float = 60

    image_ttl: float = 1_800
    """How long an image can be fetched by its address, and a job be asked about. It bounds the client, as above."""
    job_poll: float = 5
    """Seconds after which a client is told to ask for a job again."""

    error_prefix: str = "Provider proxy: handle proxied service, "
    """What provider versions put before an error's reason; the newest ones use an empty prefix."""

    @classmethod
    def production(cls) -> ProviderSettings:
        """The real network's values."""
        return cls()

    @classmethod
    def fast(cls) -> ProviderSettings:
        """For tests: cache lives and intervals divided by 1,000, limits lifted."""
        real = cls()
        return replace(
            real,
            account_cache=real.account_cache / 1000,
            service_cache=real.service_cache / 1000,
            session_cache=real.session_cache / 1000,
            requests_per_minute=None,
            concurrent_per_user=None,
            concurrent_global=None,
            ip_requests_per_second=None,
            model_mismatches=None,
            model_mismatch_window=real.model_mismatch_window / 1000,
            model_block=real.model_block / 1000,
            job_poll=real.job_poll / 1000,
            settle_interval=0.3,
            settle_force_interval=real.settle_force_interval / 1000,
            settle_buffer=real.settle_buffer / 1000,
        )


@dataclass(frozen=True)
class Tier:
    """One step of tiered prices: applies while the prompt has at most `max_input_tokens` tokens (0: any number)."""

    max_input_tokens: int
    input_multiplier: int = 1
    output_multiplier: int = 1
    input_multiplier_denominator: int = 1
    output_multiplier_denominator: int = 1


@dataclass(frozen=True)
class ProviderSpec:
    """One provider to start.

    Args:
        model: the name on chain and in requests.
        kind: who answers and who signs.
        input_price: neuron per prompt token.
        output_price: neuron per completion token.
        service_type: What it serves: ``chatbot`` /chat/completions, ``embedding`` /embeddings, ``text-to-image``
            /images/generations, ``image-editing`` /images/edits, ``speech-to-text`` /audio/transcriptions. Images cost
            the output price each, speech the input price a second.
        token_delay: seconds between the chunks of a stream.
        first_token_delay: seconds before the first one.
        context_length: tokens a request may have.
        identities: for TeeTLS, the vendors behind it; they take turns. The first one is written on chain.
        acknowledged: whether the contract owner has acknowledged the signer. Unacknowledged providers refuse requests.
        tiers: price steps by prompt length; empty means flat prices.
        cache_divisor: prompt tokens reported as cached cost 1/divisor; None bills them in full.
        usd_prices: what a prompt and a completion token cost in USD, as decimals. Then these are billed instead of the
            prices on chain, at `usd_rate`, and listed as ``pricing_usd`` only.
        usd_rate: neuron for one USD.
        rewrite_body: whether request bodies are re-marshalled before they are forwarded and hashed. None: as the real
            ones, where the model is behind the provider and not inside it (TeeTLS, separated).
        lora: whether one fine-tuned adapter is offered next to the model.
        adapters: further adapters, each a task id and the state it is in (``ready``, ``offloaded``, ``failed``, …).
        async_jobs: whether images can be asked for as jobs.
        image_store: whether images can be fetched by address.
        most_images: images that one request gets at most, however many it asks for; None sets no such limit.
        draws: for chat, whether answers hold pictures where words or ``modalities`` ask for them, and where: in an
            array beside the content (``images``) or among its parts (``parts``). None: the model answers in text.
        speech_usage: how a transcript says what it cost: by ``duration``, ``tokens`` or ``none``.
        speech_sse: whether streamed transcripts come as server-sent events instead of lines of JSON.
        signs_relayed_speech: whether a relay signs transcripts, as the newest brokers do.
        aliases: other names that the provider lists and takes. It puts `model` into the request before it hashes it
            (``ModelAliases`` of the real one), so that such a request is signed under a name nobody asked for.
        upstream_model: the name that it puts in for `model` and its aliases (``UpstreamModel``), which is not on chain.
        upstream: what answers instead of the built-in rule engine.
        settings: this provider's own settings instead of the network's.
        tls_host: with TLS, the host name in the certificate instead of 127.0.0.1 and localhost (to test refusals).
    """

    model: str = "local-chat-1"
    kind: Kind = "TeeML"
    input_price: int = 100_000_000_000
    output_price: int = 400_000_000_000
    service_type: ServiceType = "chatbot"
    token_delay: float = 0.0
    first_token_delay: float = 0.0
    context_length: int = 32_768
    identities: tuple[str, ...] = ("openrouter", "bailian")
    acknowledged: bool = True
    tiers: tuple[Tier, ...] = field(default=())
    cache_divisor: int | None = 4
    usd_prices: tuple[str, str] | None = None
    usd_rate: int = 4 * 10**18
    rewrite_body: bool | None = None
    lora: bool = True
    adapters: tuple[tuple[str, str], ...] = ()
    async_jobs: bool = True
    image_store: bool = True
    most_images: int | None = None
    draws: Draws | None = None
    speech_usage: Literal["duration", "tokens", "none"] = "duration"
    speech_sse: bool = False
    signs_relayed_speech: bool = True
    aliases: tuple[str, ...] = ()
    upstream_model: str | None = None
    upstream: Upstream | None = None
    settings: ProviderSettings | None = None
    tls_host: str | None = None

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("a provider needs a model name")
        if self.input_price < 0 or self.output_price < 0:
            raise ValueError("prices are neuron per token, 0 or more")
        if self.kind == "TeeTLS" and (not self.identities or any(":" in name or not name for name in self.identities)):
            raise ValueError("a TeeTLS provider needs identities, and none may be empty or contain ':'")

    @property
    def signs(self) -> bool:
        """Whether responses get a signature."""
        return self.kind != "standard"

    @property
    def rewrites(self) -> bool:
        """Whether every request body is re-marshalled (see `rewrite_body`)."""
        return self.kind in ("TeeTLS", "TeeML-separated") if self.rewrite_body is None else self.rewrite_body


_STANDARD_MIX: tuple[ProviderSpec, ...] = (
    ProviderSpec(model="local-chat-1"),
    ProviderSpec(
        model="local-chat-2",
        kind="TeeTLS",
        input_price=50_000_000_000,
        output_price=150_000_000_000,
        first_token_delay=0.004,
        aliases=("local-chat-latest",),
    ),
    ProviderSpec(
        model="local-chat-3",
        kind="TeeML-separated",
        input_price=80_000_000_000,
        output_price=320_000_000_000,
        first_token_delay=0.002,
    ),
    ProviderSpec(
        model="local-chat-4",
        kind="standard",
        input_price=20_000_000_000,
        output_price=60_000_000_000,
        first_token_delay=0.001,
    ),
    ProviderSpec(
        model="local-embed-1", service_type="embedding", input_price=10_000_000_000, output_price=0, lora=False
    ),
)
_MEDIA: dict[ServiceType, ProviderSpec] = {
    "text-to-image": ProviderSpec(
        model="local-image", service_type="text-to-image", input_price=0, output_price=3 * 10**15, lora=False
    ),
    "image-editing": ProviderSpec(
        model="local-edit", service_type="image-editing", input_price=0, output_price=4 * 10**15, lora=False
    ),
    "speech-to-text": ProviderSpec(
        model="local-speech", service_type="speech-to-text", input_price=10**13, output_price=0, lora=False
    ),
}


def standard_specs(count: int, services: Sequence[str] = ()) -> list[ProviderSpec]:
    """The first `count` providers of the standard mix: chat of every kind, then embeddings, then more TeeML chat.

    With `services` (names in `SERVICES`): one provider for each of them in this order, then for each in turn, until
    there are `count`.

    Raises:
        ValueError: a negative count, or a service that the local network does not have.
    """
    if count < 0:
        raise ValueError("the number of providers cannot be negative")
    if not services:
        mix = _mix()
        return [next(mix) for _ in range(count)]
    if unknown := [name for name in services if name not in SERVICES]:
        raise ValueError(f"the local network has no {unknown[0]!r} service; it can serve {', '.join(SERVICES)}")
    wanted = list(dict.fromkeys(SERVICES[name] for name in services))
    of: dict[ServiceType, Iterator[ProviderSpec]] = {
        "chatbot": (spec for spec in _mix() if spec.service_type == "chatbot"),
        "embedding": _numbered(next(spec for spec in _STANDARD_MIX if spec.service_type == "embedding")),
        **{name: _numbered(replace(spec, model=f"{spec.model}-1")) for name, spec in _MEDIA.items()},
    }
    turns = cycle(wanted)
    return [next(of[next(turns)]) for _ in range(max(count, len(wanted)))]


def _mix() -> Iterator[ProviderSpec]:
    yield from _STANDARD_MIX
    for number in count_from(len(_STANDARD_MIX)):
        yield ProviderSpec(
            model=f"local-chat-{number}",
            input_price=(60 + 10 * number) * 10**9,
            output_price=(240 + 40 * number) * 10**9,
            token_delay=0.0005 * (number % 4),
        )


def _numbered(first: ProviderSpec) -> Iterator[ProviderSpec]:
    for number in count_from(1):
        yield replace(
            first,
            model=f"{first.model[:-2]}-{number}",
            input_price=number * first.input_price,
            output_price=number * first.output_price,
        )
