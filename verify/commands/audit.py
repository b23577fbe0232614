"""``promptcert audit``: run the claims, write certificates and the report, compare every verdict with the expected
one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from constructions.documents import InputError
from verify.audit import audit
from verify.claims import Settings
from verify.claims.sources import chosen
from verify.commands.answer import Answer, Exit, add_common, positive_int, rendered
from verify.commands.progress import progress_bar
from verify.executor import Dask
from verify.falsified import Searches


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("audit", help="check the claims and compare every verdict with the expected one")
    parser.add_argument("--claim", action="append", metavar="SLUG", help="only this claim (repeatable)")
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        metavar="FILE",
        help="the claims of this Python file, and only these unless --claim names others (repeatable)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write certificates/ and the report here")
    parser.add_argument("--thorough", action="store_true", help="many more random instances")
    parser.add_argument("--jobs", type=positive_int, metavar="N", help="cases in parallel (default: 1)")
    parser.add_argument(
        "--executor", metavar="URL", help="make the cases on the workers of a dask cluster: dask://HOST:PORT"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random instances (default: 0)")
    parser.add_argument("--resume", action="store_true", help="keep what an interrupted run in --out has finished")
    parser.add_argument(
        "--falsify", action="store_true", help="then search for a counterexample to each claim, seeded by --seed"
    )
    parser.add_argument(
        "--falsify-budget",
        type=positive_int,
        metavar="N",
        help="trials for each claim (default: what its falsifier says); implies --falsify",
    )
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Answer:
    if args.resume and args.out is None:
        raise InputError("--resume: expected --out, the folder of the run to go on with, as well")
    if args.executor is not None and args.jobs is not None:
        raise InputError("--jobs: expected without --executor, whose workers say how many cases run at once")
    executor = None if args.executor is None else Dask.at(args.executor)
    claims = chosen(args.claim, args.module)
    settings = Settings(seed=args.seed, thorough=args.thorough)
    searches = Searches(args.falsify_budget) if args.falsify or args.falsify_budget else None
    with progress_bar("audit") as step:
        report = audit(
            claims,
            settings,
            out=args.out,
            jobs=args.jobs or 1,
            executor=executor,
            resume=args.resume,
            searches=searches,
            on_progress=step,
        )
    return Answer(_code(report), report, _text(report, args.out))


def _code(report: dict[str, Any]) -> Exit:
    if report["as_expected"]:
        return Exit.AS_CLAIMED
    wrong = [claim for claim in report["claims"] if not claim["as_expected"]]
    return Exit.UNDECIDED if all(claim["verdict"] == "undecided" for claim in wrong) else Exit.NOT_AS_CLAIMED


def _text(report: dict[str, Any], out: Path | None) -> str:
    table = Table(title="promptcert audit", title_justify="left")
    searched = any(claim["falsifier"] is not None for claim in report["claims"])
    columns = ("claim", "verdict", "expected", "evidence", "cases", "each certificate proves")
    for column in (*columns, "measured tightness") if searched else columns:
        table.add_column(column, overflow="fold")
    for claim in report["claims"]:
        as_expected = sum(case["verdict"] == claim["expected"] for case in claim["cases"])
        table.add_row(
            claim["slug"],
            claim["verdict"],
            claim["expected"],
            claim["evidence"],
            f"{as_expected}/{len(claim['cases'])}",
            escape(claim["scope"]),
            *([escape(_tightness(claim["falsifier"]))] if searched else []),
        )
    lines = [rendered(table)]
    for claim in report["claims"]:
        lines += _searched(claim, out)
        if claim["origin"] is not None:
            lines += _users_claim(claim, out)
            continue
        lines += [
            f"{claim['slug']}/{case['name']}: {case['verdict']}: {case['summary']}"
            for case in claim["cases"]
            if case["verdict"] != claim["expected"]
        ]
    attacks = [
        (f"{claim['slug']}/{case['name']}", case["sampled"])
        for claim in report["claims"]
        for case in claim["cases"]
        if "adversary_best_loss" in case["sampled"]
    ]
    if attacks:
        name, sampled = min(attacks, key=lambda item: item[1]["adversary_best_loss"])
        lines.append(
            f"sampled beside the proofs: over {len(attacks)} unmemorizable datasets, "
            "gradient descent over prompts reached a loss of "
            f"{sampled['adversary_best_loss']:.2g} at best ({name}, {sampled['adversary_prompt_length']} tokens)"
        )
    if out is not None:
        count = sum(case["certificate"] is not None for claim in report["claims"] for case in claim["cases"])
        accepted = f"{count} certificates, all accepted by the kernel: {out / 'certificates'}"
        lines.append(f"{accepted if count else 'no certificates'}; report: {out / 'report.html'}")
    lines.append("everything as claimed" if report["as_expected"] else "NOT everything as claimed")
    return "\n".join(lines)


def _tightness(search: dict[str, Any] | None) -> str:
    """The smallest slack that the falsifier met of each constant."""
    if search is None:
        return ""
    if not search["tightness"]:
        return f"{search['tried']} tried"
    return "\n".join(f"{row['constant']}: {row['slack']:.2g}" for row in search["tightness"])


def _searched(claim: dict[str, Any], out: Path | None) -> list[str]:
    """What a falsifier found, or why it did not end its search."""
    search = claim["falsifier"]
    if search is None:
        return []
    lines = []
    if search["counterexample"] is not None:
        kept = "kept with --out DIR" if out is None else str(out / search["counterexample"])
        lines.append(f"{claim['slug']}: refuted by its falsifier, trial {search['tried']}: {search['sentence']}")
        lines.append(f"    counterexample: {kept}")
    if search["stopped"] is not None:
        lines.append(f"{claim['slug']}: its falsifier stopped after {search['tried']} trials: {search['stopped']}")
    return lines


def _users_claim(claim: dict[str, Any], out: Path | None) -> list[str]:
    """The user's statement, and beside it what each case showed: only the kernel's sentences are proved."""
    lines = [f"{claim['slug']} ({claim['origin']}): {claim['statement']}"]
    for case in claim["cases"]:
        lines.append(f"  {case['name']}: {case['verdict']}: {case['summary']}")
        if case["kernel"] is not None:
            lines.append(f"    kernel: {case['kernel']}")
        if case["counterexample"] is not None:
            kept = "kept with --out DIR" if out is None else str(out / case["counterexample"])
            lines.append(f"    counterexample: {kept}")
    return lines
