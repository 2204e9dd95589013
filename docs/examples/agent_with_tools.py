"""An agent with three tools: every answer is proven before a tool runs on it, and the run has a budget.

Run it with the settings of `ChatZeroG` in the environment: ``python docs/examples/agent_with_tools.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain_core.tools import tool

from langchain_zerog import ChatZeroG, get_zerog_receipts
from langchain_zerog.middleware import ZeroGBudgetMiddleware, ZeroGVerificationMiddleware
from zg_core import og

if TYPE_CHECKING:
    from langchain_zerog import ZeroGReceiptsHandler

STOCK = {"apple": 12, "pear": 30}


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


@tool
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


@tool
def stock(fruit: str) -> int:
    """How many pieces of a fruit are in stock."""
    return STOCK.get(fruit.lower(), 0)


def ask(question: str) -> tuple[list[Any], ZeroGReceiptsHandler]:
    """The messages of one run, and the receipts of what it paid for."""
    # The check runs in the background while the reply is read; the middleware waits for it before a tool runs.
    model = ChatZeroG(verify="background", temperature=0)
    agent = create_agent(
        model,
        [multiply, add, stock],
        middleware=[ZeroGBudgetMiddleware(og("0.05")), ZeroGVerificationMiddleware()],
    )
    with get_zerog_receipts() as receipts:
        messages = agent.invoke({"messages": [("human", question)]})["messages"]
    model.close()
    return messages, receipts


def main() -> None:
    """Ask a question and show what was said, proven and paid."""
    messages, receipts = ask("What is 6 times 7? Use the multiply tool.")
    for message in messages:
        print(f"{message.type}: {message.text or message.tool_calls}")
    for receipt in receipts:
        print(receipt.chat_id, receipt.verdict, receipt.fee.amount)
    print("paid:", receipts.spent("0G"))


if __name__ == "__main__":
    main()
