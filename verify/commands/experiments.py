"""``promptcert experiments``: prompts, a low-rank update and all weights trained beside the certified curve."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.table import Table

from constructions.documents import InputError
from constructions.experiments.training import Plan
from constructions.numbers.rational import rational
from verify.commands.answer import Answer, Exit, add_common, positive_int, rendered
from verify.commands.progress import progress_bar
from verify.experiments import RESULT, best, experiments

FIGURES = ("experiments.svg", "experiments.png")
QUICK: dict[str, Any] = {"lengths": (1, 4, 16), "restarts": 1, "steps": 1000}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "experiments", help="train prompts, a low-rank update and all weights beside the certified curve"
    )
    parser.add_argument("--datasets", type=positive_int, default=3, metavar="N", help="datasets (default: 3)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of data and training (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write results, figure, certificates and data here")
    parser.add_argument("--resume", action="store_true", help="keep what an interrupted run in --out has finished")
    parser.add_argument("--jobs", type=positive_int, default=1, metavar="N", help="runs in parallel (default: 1)")
    parser.add_argument("--quick", action="store_true", help="three prompt lengths, one restart, few steps: for a look")
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Answer:
    if args.resume and args.out is None:
        raise InputError("--resume: expected --out, the folder of the run to go on with, as well")
    plan = Plan(datasets=args.datasets, seed=args.seed, **(QUICK if args.quick else {}))
    with progress_bar("experiments") as step:
        result = experiments(plan, out=args.out, jobs=args.jobs, resume=args.resume, on_progress=step)
    if args.out is not None:
        from verify.commands.experiments_plot import write_plot  # matplotlib takes a second to load

        for name in FIGURES:
            write_plot(args.out / name, result)
    return Answer(Exit.AS_CLAIMED if result["as_expected"] else Exit.UNDECIDED, result, _text(result, args.out))


def _text(result: dict[str, Any], out: Path | None) -> str:
    lines = []
    for number, dataset in enumerate(result["datasets"]):
        lines += [rendered(_table(number, dataset)), *(_weights(dataset, method) for method in WEIGHTS)]
    points = sum(run["prompt_length"] is not None for dataset in result["datasets"] for run in dataset["runs"])
    lines.append(f"{points} trained prompts, each evaluated in enclosures: none lies below the certified curve")
    if result["as_expected"]:
        lines.append("low-rank updates and all weights are trained to zero (and the update exists exactly)")
    else:
        lines.append("NOT as expected: a low-rank update or all weights were not trained to zero")
    if out is not None:
        lines.append(f"results: {out / RESULT}; figure: {' and '.join(str(out / name) for name in FIGURES)}")
    return "\n".join(lines)


WEIGHTS = {"low-rank": "low-rank update of the MLP", "all-weights": "all weights"}


def _table(number: int, dataset: dict[str, Any]) -> Table:
    """Two losses side by side: what is certified, and the best of what was trained."""
    table = Table(title=f"dataset {number}: loss of prompts", title_justify="left")
    table.add_column("prompt tokens", justify="right")
    for place in ("before the MLP", "of the outputs"):
        table.add_column(f"{place}:\ncertified", justify="right")
        table.add_column("best\ntrained", justify="right")
    for level in dataset["curve"]:
        length = level["prompt_length"]
        row = ["any number" if length is None else str(length)]
        for key, method in (("loss", "prompt-attention"), ("output_loss", "prompt-output")):
            lower, upper = (float(rational(level[key][end])) for end in ("lower", "upper"))
            row.append(f"{lower:.4f}" if key == "loss" else f"{lower:.4f} to {upper:.4f}")
            row.append("" if length is None else f"{float(best(dataset, method, length)):.4f}")
        table.add_row(*row)
    return table


def _weights(dataset: dict[str, Any], method: str) -> str:
    runs = [run for run in dataset["runs"] if run["method"] == method]
    loss = float(best(dataset, method))
    reached = "below 1e-12" if loss <= 1e-12 else f"{loss:.2g}"
    return f"{WEIGHTS[method]} ({runs[0]['parameters']} parameters), best trained: {reached}"
