"""``zerog compare``: the same prompts to several providers or models, within a budget."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from zg_core.cli.terminal.failures import ERROR
from zg_core.cli.terminal.options import Yes, amount_of, ask, command, consent
from zg_core.cli.terminal.output import money
from zg_core.cli.terminal.run import Run
from zg_core.compare import Plan, estimate, read_prompts
from zg_core.compare.cache import default_directory
from zg_core.errors import ConfigError
from zg_core.money import Amount

__all__ = ["compare"]


@command
def compare(
    run: Run,
    prompts: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help='One prompt a line, or JSON lines: {"prompt": "…", "expected": "…"}, {"messages": […]}.',
        ),
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES",
            help="Models, provider addresses or ADDRESS/model, with commas between; may be given several times. "
            "Default: every chat service.",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="How often each prompt goes to each.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls under way at once.")] = 4,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT", help="The most to spend, in 0G; default ZEROG_MAX_SPEND, else what it can cost at most."
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one row per call here.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it: .png, .svg or .pdf.")] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where finished calls are kept; default in ~/.zerog.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Know of no finished call, and keep none.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Make known calls again that ended in an error.")] = False,
    yes: Yes = False,
) -> None:
    """Send the same prompts to several providers and compare answers, verdicts, times and fees.

    A call that was made before is not made and paid again. Exit code 1 if no call had an answer.
    """
    _can_draw(plot)
    asked = read_prompts(prompts)
    targets = [name.strip() for part in models for name in part.split(",") if name.strip()] if models else None
    cap = None if budget is None else amount_of(budget, name="--budget")
    options = {"cache": None if no_cache else cache or default_directory(), **run.where}
    with run.out.waiting("reading the providers"):
        plan = estimate(targets, asked, budget=cap, repeats=repeats, max_tokens=max_tokens, again=again, **options)
    if plan.budget is None:
        plan = replace(plan, budget=plan.most)  # what the user is asked about is what may be spent
    if plan.new:
        _consent(run, plan, yes)
    result = _made(run, plan, concurrency, options)
    summary = result.summary()
    cells = summary.cells()
    run.out.table(list(cells[0]), [list(row.values()) for row in cells])
    run.out.facts(("spent", result.spent), ("cost", f"{result.cost} with what was known" if not plan.new else None))
    if csv is not None:
        result.to_csv(csv)
        run.out.note(f"rows: {csv}")
    if plot is not None:
        _draw(result, plot)
        run.out.note(f"picture: {plot}")
    run.out.document(_document(plan, result, summary))
    if all(row.error for row in result):
        raise typer.Exit(ERROR)


def _consent(run: Run, plan: Plan, yes: bool) -> None:
    what = f"{len(plan.new)} calls to {len(plan.targets)} targets"
    consent(yes, f"{what}, which cost at most {plan.most}")
    if not plan.enough:
        run.out.warn(plan.shortfall())
    if plan.unpriced:
        run.out.warn(f"the price of {', '.join(plan.unpriced)} is not on chain: not asked")
    known = plan.calls - len(plan.new)
    ask(
        run,
        yes,
        what,
        ("targets", ", ".join(plan.targets)),
        ("at most", plan.most if plan.enough else f"the budget of {plan.budget}"),
        *([("known", f"{known} more calls, made before")] if known else []),
        ("network", plan.network.name),
    )


def _made(run: Run, plan: Plan, concurrency: int, options: dict[str, Any]) -> Any:
    import asyncio
    import warnings

    from zg_core.compare import BudgetWarning
    from zg_core.compare.runner import run_plan

    with warnings.catch_warnings(), run.out.waiting("comparing"):
        warnings.simplefilter("ignore", BudgetWarning)  # said already
        return asyncio.run(run_plan(plan, concurrency=concurrency, **{**options, "on_progress": run.out.step}))


def _document(plan: Plan, result: Any, summary: Any) -> dict[str, Any]:
    rows = []
    for row in result:
        facts = row.record()
        rows.append({**facts, "fee": money(row.fee)})
    targets = [
        {name: money(value) if isinstance(value := getattr(one, name), Amount) else value for name in one.record()}
        for one in summary
    ]
    return {
        "network": plan.network.name,
        "chain_id": plan.network.chain_id,
        "calls": plan.calls,
        "spent": money(result.spent),
        "cost": money(result.cost),
        "summary": targets,
        "rows": rows,
    }


def _can_draw(path: Path | None) -> None:
    """See that there will be a picture, before anything is paid for it.

    Raises:
        ConfigError: no matplotlib, or a file type that it does not write.
    """
    if path is None:
        return
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError:
        raise ConfigError(
            "--plot needs matplotlib", code="missing_extra", hint="pip install 'zerog-integrations[notebooks]'"
        ) from None
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise typer.BadParameter("a picture is a .png, .svg or .pdf", param_hint="--plot")


def _draw(result: Any, path: Path) -> None:
    try:
        result.plot().savefig(path, dpi=150)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", code="bad_file", hint="--plot FILE") from None
