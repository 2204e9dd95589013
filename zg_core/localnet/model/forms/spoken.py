"""Answers whose form a prompt asks for in words: judgements, scores, keywords, sub-questions in JSON.

Frameworks write such prompts for evaluators, extractors and question generators, and parse what comes back.
"""

import json
import re
from collections.abc import Callable
from typing import Final

from zg_core.localnet.model.json import find_objects
from zg_core.localnet.model.words import keywords, stem, topic, words

_ENOUGH: Final = 0.5
"""The part of a text's keywords that another one has to hold to support it."""
_MOST_KEYWORDS: Final = 50
_YES_NO: Final = re.compile(r"\bYES ?(?:/|or) ?NO\b|\bAnswer YES if\b")
_CLAIM: Final = re.compile(
    r".*(?:^|\n)(?:Information|Query and Response):(.*?)\n\s*Context:(.*?)(?:\n\s*Answer:\s*)?$", re.DOTALL
)
_REFINED: Final = re.compile(
    r"context information:(.*?)\n.*existing YES/NO answer:\s*(\w+).*?-{4,}(.*?)-{4,}", re.DOTALL
)
_RESULT: Final = re.compile(r"\[RESULT\]")
_GRADED: Final = re.compile(r".*\nQuery:(.*?)\n\s*(?:Context|Response):(.*?)(?:\n\s*Feedback:\s*)?$", re.DOTALL)
_POINTS: Final = re.compile(r"question above is worth (\d+) points?")
_SCORED: Final = re.compile(r"## Reference Answer\n(.*?)\n+## Generated Answer\n(.*)", re.DOTALL)
_COMPARED: Final = re.compile(
    r"\[User Question\](.*?)\[The Start of Reference\](.*?)\[The End of Reference\]"
    r".*?\[The Start of Assistant A\W+s Answer\](.*?)\[The End"
    r".*?\[The Start of Assistant B\W+s Answer\](.*?)\[The End",
    re.DOTALL,
)
_KEYWORDS: Final = re.compile(r"(.*)\bGive (\d{1,3}) unique keywords\b.*comma separated", re.DOTALL)
_QUESTIONS: Final = re.compile(r".*<User Question>\s*(.*?)\s*(?:<Output>\s*)?$", re.DOTALL)
_PARTS: Final = re.compile(
    r"\?\s+|[,;]?\s+and\s+(?=(?:how|what|who|where|when|which|why|is|are|does|do)\b)", re.IGNORECASE
)


def spoken_answer(text: str, system: str) -> str | None:
    """The answer to a prompt that asks for one of these forms; None if it asks for none.

    Args:
        text: The last user turn.
        system: All system prompts, where some say the form.
    """
    for form in _FORMS:
        if (answer := form(text, system)) is not None:
            return answer
    return None


def _yes_or_no(text: str, system: str) -> str | None:
    if not _YES_NO.search(text) and not _YES_NO.search(system):
        return None
    if refined := _REFINED.search(text):
        claim, before, context = refined.groups()
        return "YES" if before.upper() == "YES" or _supports(context, claim) else "NO"
    if (match := _CLAIM.match(text)) is None:
        return None
    claim, context = match.groups()
    _, _, response = claim.rpartition("Response:")
    return "YES" if _supports(context, response) else "NO"


def _result(text: str, system: str) -> str | None:
    match = _GRADED.match(text)
    if match is None or not (_RESULT.search(text) or _RESULT.search(system)):
        return None
    query, said = match.groups()
    points = int(found[1]) if (found := _POINTS.search(text)) else 1
    questions = len(re.findall(r"^\d\. ", text[: match.start(1)], re.MULTILINE)) or 1
    share = 1.0 if _supports(said, query) else _shared(said, query)
    return f"{_verdict(share)}\n[RESULT] {round(share * points * questions, 1)}"


def _score(text: str, system: str) -> str | None:
    match = _SCORED.search(text)
    if match is None or "score" not in f"{system}\n{text}".lower():
        return None
    share = _shared(match[2], match[1])
    return f"{1 + 4 * share:.1f}\n{_verdict(share)}"


def _comparison(text: str, system: str) -> str | None:
    match = _COMPARED.search(text)
    if match is None or "[[A]]" not in f"{system}\n{text}":
        return None
    query, reference, one, other = match.groups()
    wanted = reference if keywords(reference) and reference.strip() != "None" else query
    first, second = _shared(one, wanted), _shared(other, wanted)
    verdict = "[[C]]" if first == second else "[[A]]" if first > second else "[[B]]"
    return f"The answers are compared by what they share with what was asked for. {verdict}"


def _keywords(text: str, system: str) -> str | None:  # noqa: ARG001 - as all of them
    match = _KEYWORDS.match(text)
    if match is None:
        return None
    known: dict[str, str] = {}
    for word in words(match[1]):
        if keywords(word):
            known.setdefault(stem(word.lower()), word)
    return ", ".join(list(known.values())[: min(int(match[2]), _MOST_KEYWORDS)]) or topic(match[1])


def _sub_questions(text: str, system: str) -> str | None:  # noqa: ARG001 - as all of them
    if "sub-questions" not in text or "<Tools>" not in text or (match := _QUESTIONS.match(text)) is None:
        return None
    offered = find_objects(text.rpartition("<Tools>")[2].partition("<User Question>")[0])
    tools = {name: str(about) for name, about in (offered[0] if offered else {}).items()}
    if not tools:
        return None
    items = []
    for part in filter(None, (part.strip() for part in _PARTS.split(match[1]))):
        asked = f"{part[:1].upper()}{part[1:]}".removesuffix("?") + "?"
        best = max(tools, key=lambda name: _shared(f"{name} {tools[name]}", asked))
        items.append({"sub_question": asked, "tool_name": best})
    return f"```json\n{json.dumps({'items': items}, indent=4)}\n```"


def _shared(text: str, wanted: str) -> float:
    """The part of the keywords of `wanted` that `text` has; 0 where there are none."""
    asked = set(keywords(wanted))
    return len(asked & set(keywords(text))) / len(asked) if asked else 0.0


def _supports(text: str, wanted: str) -> bool:
    return _shared(text, wanted) >= _ENOUGH


def _verdict(share: float) -> str:
    return f"{round(100 * share)} % of what is asked for is there."


_FORMS: Final[tuple[Callable[[str, str], str | None], ...]] = (
    _sub_questions,
    _comparison,
    _score,
    _result,
    _yes_or_no,
    _keywords,
)
