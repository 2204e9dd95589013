"""A request sealed for one enclave, and the answer that it seals for us, frame by frame (0g-router §10.4, §10.6).

Anybody who saw the request can seal to its ephemeral key. So that a frame opens keeps strangers out and shows that
nothing of another call was put in its place; who made it is shown by the signature over all of them, at the end.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeGuard

from zg_core.errors import ConfigError
from zg_core.jsontext import encode_body, parse_json
from zg_core.sealing.canonical import associated_data, binding, decode, encode
from zg_core.sealing.hpke import KEM_ID, NotSealed, PrivateKey, receive, send
from zg_core.sealing.profiles import check_clear, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zg_core.sealing.hpke import Context
    from zg_core.sealing.profiles import Profile

__all__ = ["Broken", "EnclaveKey", "Opener", "SealedRequest"]

REQUEST, RESPONSE = b"0g-pc/v1/seal", b"0g-pc/v1/resp"
_ANSWERS_UNBOUND = frozenset({"model", "x_0g_trace"})
_LOCATORS = ("usage", "duration", "response_format")
"""Where an answer says what is billed: clear and bound, always."""


class Broken(ValueError):
    """A sealed answer is not what the enclave made of it.

    Args:
        words: What is wrong, for people.
        altered: Whether a well-formed frame contradicts its place or content; else its form is wrong.
    """

    def __init__(self, words: str, *, altered: bool = False) -> None:
        super().__init__(words)
        self.altered = altered


@dataclass(frozen=True, slots=True)
class EnclaveKey:
    """A key that an enclave has shown in its quote.

    Attributes:
        public: X25519, 32 bytes.
        signer: Address of the key with which the same enclave signs.
    """

    public: bytes
    signer: str

    @property
    def key_id(self) -> str:
        """Its short name on the wire.

        Example:
            >>> public = bytes.fromhex("41852320ff367495fa522c94cb83af391e4e89018392725bbf2098dd931bc424")
            >>> EnclaveKey(public, "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A").key_id
            'xMjN1a1qeK8'
        """
        return encode(hashlib.sha256(self.public).digest()[:8])


@dataclass(frozen=True, slots=True)
class SealedRequest:
    """A sealed request: its bytes, and what is needed to open the answer.

    Attributes:
        data: What is sent.
        binding: What stands for it in the signed text.
        opener: Opens the answer.
    """

    data: bytes
    binding: bytes
    opener: Opener

    @classmethod
    def seal(
        cls,
        payload: Mapping[str, Any],
        profile: Profile,
        key: EnclaveKey,
        *,
        answers: PrivateKey | None = None,
        ephemeral: PrivateKey | None = None,
    ) -> Self:
        """Seal a request for one enclave; every attempt is sealed anew.

        Args:
            payload: The request, with the model's name as the enclave knows it.
            profile: Which of its fields are sealed.
            key: The enclave's.
            answers: To which the answer is to be sealed; for known answers, else a new one.
            ephemeral: That of this request; for known answers, else a new one.

        Raises:
            ConfigError: the rules forbid to send it, or it is not JSON; nothing was sent.
        """
        sealed, rest = split(payload, profile)
        plain, clear = encode_body(sealed), parse_json(encode_body(rest))  # what is bound is what is sent
        answers = answers or PrivateKey()
        try:
            enc, context = send(key.public, REQUEST, ephemeral)
        except NotSealed as error:
            raise ConfigError(f"the enclave's key is none: {error}", code="bad_enclave_key", hint=_OTHER) from None
        seal: dict[str, Any] = {
            "v": 1,
            "kem_id": KEM_ID,
            "key_id": key.key_id,
            "signer_addr": key.signer,
            "client_eph_pub": encode(answers.public),
            "enc": encode(enc),
            "sealed_fields": list(sealed),
            "unbound_fields": ["model"],
        }
        envelope = {**clear, "_e2ee": seal}
        if problem := check_clear(clear, profile, sealed):  # again, of what is about to leave
            raise ConfigError(f"{problem}; nothing was sent", code="cannot_seal", hint="change the request")
        try:
            aad = associated_data(envelope)
        except ValueError as error:
            hint = "send numbers that a double can hold"
            raise ConfigError(f"the request cannot be sealed: {error}", code="cannot_seal", hint=hint) from None
        cipher = context.seal(plain, aad)
        seal["ciphertext"] = encode(cipher)
        return cls(encode_body(envelope), binding(aad, cipher), Opener(answers, profile))


class Opener:
    """Opens the frames of one answer in their order, and refuses what breaks a rule.

    Args:
        key: The one to which the answer is sealed.
        profile: What its frames have to hold.
    """

    def __init__(self, key: PrivateKey, profile: Profile) -> None:
        self._key = key
        self._profile = profile
        self._context: Context | None = None
        self._bindings: list[bytes] = []
        self._counted = False
        self.final = False
        """Whether the last frame was opened: before that, and before its signature, no answer is complete."""

    def open(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """One event, or the whole body, in the clear.

        Raises:
            Broken: it is not sealed, not the next frame, altered, or leaves open what must be sealed or bound.
        """
        if set(said) == {"x_0g_trace"}:  # the Router's own word, which nothing vouches for in any event
            return dict(said)
        if self.final:
            raise Broken("the answer goes on after its final frame", altered=True)
        seal = said.get("_e2ee")
        if not isinstance(seal, dict):
            raise Broken("a part of the answer came in the clear, where all of it has to be sealed")
        self._check(said, seal)
        try:
            aad, cipher = associated_data(said), decode(seal["ciphertext"])
            if self._context is None:
                self._context = receive(self._key, decode(seal["enc"]), RESPONSE)
            opened = parse_json(self._context.open(cipher, aad), unique=True)
        except NotSealed as error:
            raise Broken(f"frame {len(self._bindings)} of the answer: {error}", altered=True) from None
        except (ValueError, RecursionError) as error:
            raise Broken(f"frame {len(self._bindings)} of the answer is malformed: {error}") from None
        if not isinstance(opened, dict) or set(opened) != set(seal["sealed_fields"]):
            raise Broken("what is sealed is not what the frame says is sealed")
        self._bindings.append(binding(aad, cipher))
        clear = {name: value for name, value in said.items() if name != "_e2ee"}
        self._counted = self._counted or self._profile.counted(clear)
        self.final = seal["final"]
        if self.final and not self._counted:
            raise Broken("the answer does not say in the clear what is billed")
        return {**clear, **opened}

    def _check(self, said: Mapping[str, Any], seal: Mapping[str, Any]) -> None:
        """The rules that can be seen without opening."""
        first = self._context is None
        texts = [seal.get("ciphertext"), *([seal.get("enc")] if first else [])]
        if not all(isinstance(text, str) for text in texts) or not isinstance(seal.get("final"), bool):
            raise Broken("a frame lacks a part of its seal")
        if (first or "v" in seal) and (seal.get("v") != 1 or isinstance(seal.get("v"), bool)):
            raise Broken(f"the answer is sealed in version {str(seal.get('v'))[:20]}, not 1")
        if not first and "enc" in seal:
            raise Broken("a later frame begins anew", altered=True)
        sealed, unbound = seal.get("sealed_fields"), seal.get("unbound_fields", [])
        if not _names(sealed) or not _names(unbound):
            raise Broken("a frame does not say which fields are sealed")
        if not set(unbound) <= _ANSWERS_UNBOUND:
            raise Broken("a frame leaves more unbound than the model and the trace")
        if any(name in _LOCATORS for name in sealed):
            raise Broken("a frame seals what says what is billed")
        if any(name in said for name in sealed):
            raise Broken("a field is sealed and in the clear")
        profile = self._profile
        if profile.answer not in sealed:
            raise Broken(f"a frame does not seal {profile.answer!r}")
        if open_ones := [name for name in (*profile.beside, "error") if name in said]:
            raise Broken(f"{open_ones[0]!r} came in the clear")

    @property
    def bindings(self) -> tuple[bytes, ...]:
        """What stands for each frame in the signed text, in their order."""
        return tuple(self._bindings)


def _names(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) for each in value) and len(set(value)) == len(value)


_OTHER = "choose another provider"
