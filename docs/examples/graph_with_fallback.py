"""A LangGraph graph with two providers: what one of them answers falsely, the other answers again.

``python docs/examples/graph_with_fallback.py 0xDRAFTER 0xREVIEWER`` (the wallet needs a sub-account at both).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypedDict

from langgraph.graph import END, START, StateGraph

from langchain_zerog import ChatZeroG, get_zerog_receipts
from zg_core import RequestError, VerificationFailed, VerificationUnavailable

if TYPE_CHECKING:
    from langchain_zerog import ZeroGReceiptsHandler

# A reply that is not proven, a provider that fails: another one is asked. Anything else is for a person to see.
ASK_ANOTHER = (VerificationFailed, VerificationUnavailable, RequestError)


class State(TypedDict, total=False):
    """What the graph works on."""

    question: str
    draft: str
    review: str


def build(drafter: str, reviewer: str) -> Any:
    """A graph that drafts with one provider and reviews with the other; each stands in for the other."""
    first = ChatZeroG(provider=drafter, verify="require", temperature=0)
    second = ChatZeroG(provider=reviewer, verify="require", temperature=0)
    drafting = first.with_fallbacks([second], exceptions_to_handle=ASK_ANOTHER)
    reviewing = second.with_fallbacks([first], exceptions_to_handle=ASK_ANOTHER)

    def draft(state: State) -> State:
        return {"draft": drafting.invoke(state["question"]).text}

    def review(state: State) -> State:
        return {"review": reviewing.invoke(f"Repeat: {state['draft']}").text}

    graph = StateGraph(State)
    graph.add_node("drafting", draft)
    graph.add_node("reviewing", review)
    graph.add_edge(START, "drafting")
    graph.add_edge("drafting", "reviewing")
    graph.add_edge("reviewing", END)
    return graph.compile()


def ask(drafter: str, reviewer: str, question: str) -> tuple[State, ZeroGReceiptsHandler]:
    """The final state, and the receipts of all that was paid for, the refused reply included."""
    with get_zerog_receipts() as receipts:
        state = build(drafter, reviewer).invoke({"question": question})
    return state, receipts


def main() -> None:
    """Ask a question and show who was paid for what."""
    state, receipts = ask(*sys.argv[1:3], "What is 2 + 3?")
    print(state["review"])
    for total in receipts.totals:
        print(f"{total.model} at {total.provider}: {total}")


if __name__ == "__main__":
    main()
