"""``promptcert compare``: how many parameters do a prompt, a low-rank update and full fine-tuning take?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.table import Table

from constructions.documents import InputError
from constructions.files import read_data, read_model
from constructions.single_layer.compare import Comparison, compare
from constructions.verdict import Memorization
from verify.certificate import Certificate
from verify.claims import low_rank_memorization, prompt_length_bound
from verify.commands.answer import Answer, Exit, add_common, add_model_and_data, add_out, rendered
from verify.commands.certificates import decision_certificates, write_checked


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("compare", help="parameters of a prompt, a low-rank update and full fine-tuning")
    add_model_and_data(parser)
    add_out(parser)
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Answer:
    model = read_model(args.model)
    data = read_data(args.data, model.width)
    try:
        found = compare(model, data)
    except ValueError as error:
        raise InputError(f"{args.model} with {args.data}: {error}") from None
    certificates = decision_certificates(model, found.decision, None)
    if found.rank_bound is not None:
        certificates.append(("-rank-bound", prompt_length_bound.too_short_certificate(model, found.rank_bound)))
    if found.update is not None:
        certificates.append(("-update", _update_certificate(model, found)))
    paths = write_checked(args.out, Path(args.data).stem, certificates)
    d = found.width
    verdict = found.decision.verdict
    document = {
        "queries": len(found.queries),
        "width": d,
        "prompt": {
            "verdict": verdict.value,
            "tokens_at_least": found.at_least,
            "tokens_at_most": found.at_most,
            "parameters_at_least": None if found.at_least is None else found.at_least * d,
            "parameters_at_most": None if found.at_most is None else found.at_most * d,
        },
        "low_rank": {
            "possible": found.update is not None,
            "reason": found.no_update,
            "rank": None if found.update is None else found.update.rank,
            "columns": None if found.update is None else len(found.queries),
            "parameters": None if found.update is None else found.update.parameters,
        },
        "full": {"parameters": found.full},
        "certificates": [str(path) for path, _ in paths],
    }
    decided = verdict is not Memorization.UNDECIDED
    return Answer(Exit.AS_CLAIMED if decided else Exit.UNDECIDED, document, _text(found, paths))


def _update_certificate(model: Any, found: Comparison) -> Certificate:
    assert found.update is not None
    return low_rank_memorization.triangular_certificate(model, found.queries, found.update)


def _text(found: Comparison, paths: list[tuple[Path, str]]) -> str:
    d, n = found.width, len(found.queries)
    rows = [("prompt", *_prompt(found))]
    if found.update is not None:
        what = f"rank {found.update.rank} in W_1, n entries of b_1, n columns of W_2 (n = {n})"
        rows.append(("low-rank update", str(found.update.parameters), what))
    else:
        rows.append(("low-rank update", "none", found.no_update or ""))
    rows.append(("full fine-tuning", str(found.full), "all weights of the layer"))
    queries = "1 query" if n == 1 else f"{n} queries"
    shown = Table(title=f"parameters that memorize {queries} of width {d}", title_justify="left")
    shown.add_column("way")
    shown.add_column("parameters", justify="right")
    shown.add_column("what")
    for row in rows:
        shown.add_row(*row)
    lines = [rendered(shown)]
    for path, sentence in paths:
        lines += [f"certificate: {path}", f"  kernel: {sentence}"]
    return "\n".join(lines)


def _prompt(found: Comparison) -> tuple[str, str]:
    d, decision = found.width, found.decision
    if found.at_least is None:
        return "none", f"no prompt of any length memorizes ({decision.argument or 'rank bound'})"
    if found.at_most == 0:
        return "0", "none needed: the layer meets every target without a prompt"
    if found.at_most is None:
        some = "some prompt memorizes" if decision.verdict is Memorization.MEMORIZABLE else "undecided whether one does"
        return f"≥ {found.at_least * d}", f"at least {_tokens(found.at_least)}; {some}"
    if found.at_most == found.at_least:
        return str(found.at_least * d), f"exactly {_tokens(found.at_least)}"
    what = f"at least {_tokens(found.at_least)}, {found.at_most} are proved to do"
    return f"{found.at_least * d} to {found.at_most * d}", what


def _tokens(number: int) -> str:
    return "1 token" if number == 1 else f"{number} tokens"
