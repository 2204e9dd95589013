"""Two hundred prompts at once, and what they cost to the last neuron.

Run it with the settings of `ChatZeroG` in the environment: ``python docs/examples/batch_of_prompts.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_zerog import ChatZeroG, get_zerog_receipts

if TYPE_CHECKING:
    from langchain_zerog import ZeroGReceiptsHandler


def ask(count: int = 200, at_once: int = 16) -> tuple[list[str], ZeroGReceiptsHandler]:
    """The answers in the order of the prompts, and their receipts."""
    prompts = [f"What is {number} + {number}?" for number in range(count)]
    model = ChatZeroG(verify="require", temperature=0)
    with get_zerog_receipts() as receipts:
        replies = model.batch(prompts, {"max_concurrency": at_once})
    model.close()
    return [reply.text for reply in replies], receipts


def main() -> None:
    """Ask and show the sum."""
    _, receipts = ask()
    for total in receipts.totals:
        print(f"{total.model} at {total.provider}: {total}")


if __name__ == "__main__":
    main()
