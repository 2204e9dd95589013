"""What the model says in words: a list of rules, the first that knows an answer gives it, the last always does."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Final

from zg_core.localnet.model.arithmetic import evaluate, expressions, number_text
from zg_core.localnet.model.context import context_answer
from zg_core.localnet.model.json import compact_json, load_json
from zg_core.localnet.model.values import Media, Message
from zg_core.localnet.model.words import bare, names, quoted, sentences, squeeze, topic, words

_CAPITALS: Final = {
    "argentina": "Buenos Aires",
    "australia": "Canberra",
    "austria": "Vienna",
    "belgium": "Brussels",
    "brazil": "Brasília",
    "canada": "Ottawa",
    "china": "Beijing",
    "denmark": "Copenhagen",
    "egypt": "Cairo",
    "finland": "Helsinki",
    "france": "Paris",
    "germany": "Berlin",
    "greece": "Athens",
    "india": "New Delhi",
    "indonesia": "Jakarta",
    "ireland": "Dublin",
    "italy": "Rome",
    "japan": "Tokyo",
    "kenya": "Nairobi",
    "mexico": "Mexico City",
    "netherlands": "Amsterdam",
    "nigeria": "Abuja",
    "norway": "Oslo",
    "poland": "Warsaw",
    "portugal": "Lisbon",
    "south korea": "Seoul",
    "spain": "Madrid",
    "sweden": "Stockholm",
    "switzerland": "Bern",
    "turkey": "Ankara",
    "ukraine": "Kyiv",
    "united kingdom": "London",
    "united states": "Washington, D.C.",
    "vietnam": "Hanoi",
}
_A: Final = {"image": "an image", "audio": "audio", "file": "a file"}
_GREETING: Final = re.compile(
    r"(?:hi|hello|hey|hiya|howdy|greetings|good (?:morning|afternoon|evening|day))\b[\w\s,'\u2019]{0,30}[!.?]*",
    re.IGNORECASE,
)
_THANKS: Final = re.compile(r"(?:thanks|thank you|thx|well,? thanks)\b[\w\s,'\u2019]{0,40}[!.]*", re.IGNORECASE)
_ECHO: Final = re.compile(
    r"(?:please\s+|now\s+|always\s+)*(?:(repeat|say|echo)|(?:respond|reply|answer)\s+(?:only\s+|just\s+|exactly\s+)*with"
    r"|(print|output|write|return))\b"
    r"(?P<aids>(?:\s+(?:back|after me|exactly|only|just|verbatim|nothing but|this|the following|the exact|the single|"
    r"the words?|the text|the phrase|the sentence|the string|word|words|text|phrase|sentence|string)\b)*)"
    r"\s*[:,-]?\s*(?P<rest>.+)",
    re.IGNORECASE | re.DOTALL,
)
_ONLY: Final = re.compile(
    r"\s*(?:,?\s*and\s+)?(?:(?:absolutely )?nothing (?:else|more)|only)\s*[.!]?\s*$", re.IGNORECASE
)
_NOT_LITERAL: Final = re.compile(
    r"(?:an?|your|my|in|as|something|anything|if|the (?:final |exact )?(?:number|result|answer|name|value|json))\b"
    r"|(?:json|one word|yes or no|true or false|words?|sentences?)\b",
    re.IGNORECASE,
)
_JUST_THE_ANSWER: Final = re.compile(
    r"\b(?:only|just)\b[^.?!]{0,40}\b(?:number|result|answer|name|word)|\b(?:number|result|answer|name) only\b"
    r"|\b(?:one|a single) word\b|\bnothing else\b",
    re.IGNORECASE,
)
_COUNT: Final = re.compile(r"\bcount\b[^.\d]{0,20}?(?:from\s+(\d{1,5})\s+)?(?:up\s+)?to\s+(\d{1,5})\b", re.IGNORECASE)
_CAPITAL: Final = re.compile(
    r"\bcapital(?: city)? (?:of|in) (?:the )?([\w ]{1,40})|\b([A-Z]\w{1,30})['\u2019]s capital", re.IGNORECASE
)
_MY_NAME: Final = re.compile(r"\b(?:my name is|i am called|call me)\s+([^\W\d_][\w'\u2019-]*)", re.IGNORECASE)
_ASKS_MY_NAME: Final = re.compile(
    r"\b(?:what(?:['\u2019]s| is) my name|who am i|do you (?:know|remember) my name)\b", re.IGNORECASE
)
_ASKS_YOU: Final = re.compile(
    r"\b(?:who|what) are you\b|\bwhat(?:['\u2019]s| is) your name\b|\b(?:what|which) model are you\b", re.IGNORECASE
)
_JOKE: Final = re.compile(r"\bjokes?\b", re.IGNORECASE)
_LENGTH: Final = re.compile(r"\b(\d{1,4})[- ]words?\b", re.IGNORECASE)
_COMPOSE: Final = re.compile(
    r"\b(?:write|tell|compose|draft|generate|give)\b[^.?!]{0,40}?\b(story|poem|haikus?|essay|article|letter|email|paragraph|"
    r"report|song|text|words?|sentences?|description)\b",
    re.IGNORECASE,
)
_DEFAULT_LENGTH: Final = 80
_MAX_LENGTH: Final = 4000
_MAX_COUNT: Final = 2000

_OPENINGS: Final = (
    "Here is what can be said about {topic}: it is worth asking, and the answer depends on the details.",
    "About {topic}: start from what you know, check each step, and keep the evidence.",
    "On {topic}: the short answer is that it depends, and the long answer begins with your goal.",
    "As for {topic}: there are several good ways, and the simplest is usually right.",
)
_LINES: Final = (
    "Nobody had expected much of {topic} that morning.",
    "The first sign was small, and almost everyone missed it.",
    "Then the numbers were checked, once by hand and once by machine, and they agreed.",
    "A patient listener would have noticed the change at once.",
    "What remained was simple: to write down what had happened and to sign it.",
    "Later they would say that {topic} had been the turning point.",
    "By evening the ledger was closed, and every entry could be proved.",
    "So the day ended as it began, with a question and an honest answer.",
)
_HAIKU: Final = "Quiet words of {topic}\nA ledger keeps every line\nMorning signs its name"


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a rule may look at.

    Attributes:
        query: The last user turn; of a very long one its beginning and its end.
        whole: All of the last user turn.
        results: What tools returned since then.
        messages: The whole conversation.
    """

    query: str
    whole: str
    results: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()

    @property
    def system(self) -> str:
        """All system prompts."""
        return squeeze("\n".join(message.text for message in self.messages if message.role == "system"))


def text_answer(conversation: Conversation) -> str:
    """The answer in words. Never empty."""
    for rule in _RULES:
        answer = rule(conversation)
        if answer:
            return answer
    return _fallback(conversation)


def _tool_results(conversation: Conversation) -> str | None:
    if not conversation.results:
        return None
    told = [_said(result) for result in conversation.results]
    computed = [found.text for found in expressions(conversation.query)]
    if len(computed) == 1 and re.fullmatch(r"-?[\d.,]+", told[-1]):
        return f"{computed[0]} = {told[-1]}"
    return told[0] if len(told) == 1 else "\n".join(f"- {result}" for result in told)


def _said(result: str) -> str:
    """A tool's result in words: the value of an object with a single one, everything else as it is."""
    try:
        value: Any = load_json(result)
    except ValueError:
        return result.strip() or "The tool returned nothing."
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    return value if isinstance(value, str) and value else compact_json(value)


def _from_context(conversation: Conversation) -> str | None:
    return context_answer(conversation.whole, conversation.system)


def _echo(conversation: Conversation) -> str | None:
    for text in (conversation.query.strip(), *sentences(conversation.query)):
        if (said := _echoed(text)) is not None:
            return said
    for sentence in sentences(conversation.system):
        # A standing order, if it is unconditional and says the words.
        if quoted(sentence) and re.match(r"(?:always|only)\b", sentence, re.IGNORECASE):
            said = _echoed(sentence)
            if said is not None and not re.search(r"\b(?:if|when|unless)\b", sentence, re.IGNORECASE):
                return said
    return None


def _echoed(text: str) -> str | None:
    match = _ECHO.match(text)
    if match is None:
        return None
    rest = match["rest"].strip()
    literals = quoted(rest)
    if literals:
        return literals[0]
    if match.group(2) and not match["aids"].strip():
        return None  # "write a story" asks for one, "write exactly: x" for x
    if _NOT_LITERAL.match(rest):
        return None
    shorter = _ONLY.sub("", rest).strip()
    return shorter.rstrip(".") or None if "\n" not in shorter else shorter


def _media(conversation: Conversation) -> str | None:
    """Attachments of the last user turn, described by what is certain about them."""
    users = [message for message in conversation.messages if message.role == "user"]
    if not users or not users[-1].media:
        return None
    return " ".join(map(_described, users[-1].media))


def _described(media: Media) -> str:
    if not media.size:
        return f"I was given a link to {_A[media.kind]} ({media.digest})."
    return f"I was given {_A[media.kind]} of type {media.media_type} with {media.size} bytes ({media.digest})."


def _arithmetic(conversation: Conversation) -> str | None:
    lines = []
    for found in expressions(conversation.query):
        value = evaluate(found.tree)
        if value is None:
            lines.append(f"{found.text} has no value I can give.")
        elif _JUST_THE_ANSWER.search(conversation.query):
            lines.append(number_text(value))
        else:
            lines.append(f"{found.text} = {number_text(value)}")
    return "\n".join(lines) or None


def _counting(conversation: Conversation) -> str | None:
    match = _COUNT.search(conversation.query)
    if match is None:
        return None
    first, last = int(match.group(1) or 1), int(match.group(2))
    return ", ".join(map(str, range(first, min(last, first + _MAX_COUNT - 1) + 1))) or None


def _capital(conversation: Conversation) -> str | None:
    for match in _CAPITAL.finditer(conversation.query):
        asked = " ".join(words(match.group(1) or match.group(2)))
        for country, city in _CAPITALS.items():
            if re.match(rf"{country}\b", asked, re.IGNORECASE):
                if _JUST_THE_ANSWER.search(conversation.query):
                    return city
                article = "the " if country.startswith(("united", "nether")) else ""
                return f"The capital of {article}{country.title()} is {city}."
    return None


def _memory(conversation: Conversation) -> str | None:
    if not _ASKS_MY_NAME.search(conversation.query):
        return None
    told = [
        match.group(1)
        for message in conversation.messages
        if message.role != "assistant"
        for match in _MY_NAME.finditer(message.text)
    ]
    return f"Your name is {told[-1]}." if told else "You have not told me your name."


def _identity(conversation: Conversation) -> str | None:
    if not _ASKS_YOU.search(conversation.query):
        return None
    return "I am the rule engine of the local 0G network: a deterministic stand-in for a language model."


def _greeting(conversation: Conversation) -> str | None:
    query = conversation.query.strip()
    if _GREETING.fullmatch(query) and not re.search(r"\?.*\w", query):
        return "Hello! How can I help you today?"
    if _MY_NAME.search(query) and len(words(query)) <= 12:
        return f"Nice to meet you, {_MY_NAME.findall(query)[-1]}!"
    return "You are welcome. Is there anything else I can do for you?" if _THANKS.fullmatch(query) else None


def _joke(conversation: Conversation) -> str | None:
    if not _JOKE.search(conversation.query):
        return None
    about = topic(_JOKE.sub("", conversation.query), 2)
    return f"Why did {about} cross the road? To get to the other side of the ledger."


def _composition(conversation: Conversation) -> str | None:
    length = _LENGTH.search(conversation.query)
    wanted = _COMPOSE.search(conversation.query)
    if not wanted:
        return None
    about = _subject(conversation.query, wanted.group(1))
    if wanted.group(1).lower().startswith("haiku"):
        many = re.search(r"\b(\d{1,2})\s+haikus?\b", conversation.query)
        return "\n\n".join([_HAIKU.format(topic=about)] * max(1, int(many.group(1)) if many else 1))
    count = min(int(length.group(1)) if length else _DEFAULT_LENGTH, _MAX_LENGTH)
    start = _choice(conversation.query, len(_LINES))
    lines = (_LINES[(start + index) % len(_LINES)].format(topic=about) for index in cycle(range(len(_LINES))))
    return " ".join(islice((word for line in lines for word in line.split()), max(count, 1)))


def _subject(query: str, form: str) -> str:
    """What a text is to be about, without the words that say what kind of text."""
    plain = re.sub(rf"\b(?:{re.escape(form)}|words?|include|haikus?|\d+)\b", "", query, flags=re.IGNORECASE)
    said = topic(plain, 3)
    return "that" if bare(said.lower()) == form.lower() else said


def _fallback(conversation: Conversation) -> str:
    named = names(conversation.query)
    about = named[0] if named else topic(conversation.query)
    return _OPENINGS[_choice(conversation.query, len(_OPENINGS))].format(topic=about)


def _choice(text: str, options: int) -> int:
    """A number below `options` that depends on `text` alone."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[0] % options


_RULES: Final[tuple[Callable[[Conversation], str | None], ...]] = (
    _tool_results,
    _from_context,
    _echo,
    _media,
    _memory,
    _arithmetic,
    _counting,
    _capital,
    _identity,
    _greeting,
    _joke,
    _composition,
)
