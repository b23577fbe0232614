"""``promptcert universality``: a prompt with which one network computes this function, certified."""

from __future__ import annotations

import argparse
from math import inf, nextafter
from pathlib import Path
from typing import Any

import flint
from flint import arb, fmpq

from constructions.documents import InputError, write_json, write_text
from constructions.files import PromptBox, prompt_json
from constructions.numbers.rational import RationalMatrix, rational
from constructions.universality.families import run_softmax
from constructions.universality.for_all import Budget, Size, TooLargeError, budget
from constructions.universality.grid import Digits
from constructions.universality.hardmax_network import HardmaxNetwork
from constructions.universality.lipschitz import (
    RANGE_TOLERANCE,
    SteepPair,
    check_range,
    lipschitz_bound,
)
from constructions.universality.one_function import error_bound, table_of
from constructions.universality.quantisation import check_norm, root
from constructions.universality.softmax_network import SoftmaxNetwork
from constructions.universality.target import Target, bounded, lower, upper
from constructions.verdict import Undecided
from verify.claims.universality_softmax import certificate
from verify.commands.answer import Answer, Exit, OverLimitsError, add_common, rational_option
from verify.commands.certificates import write_checked
from verify.commands.constants import add_sizes
from verify.target_record import Enclosed, record, record_path, text_of

MAX_CELLS = 4096


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("universality", help="a prompt with which one network computes this function")
    parser.add_argument(
        "--target",
        nargs="+",
        required=True,
        metavar="EXPR",
        help="one expression for each entry of f, column by column, in x or x11 … xdm",
    )
    add_sizes(parser, required=False)
    parser.add_argument(
        "--at",
        nargs="+",
        action="append",
        default=[],
        metavar="X",
        help="evaluate the network here, entries column by column (may be given several times)",
    )
    parser.add_argument("--prompt", type=Path, metavar="FILE", help="write the prompt here")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="folder or .json file for the certificate; the record goes beside it (default: current folder)",
    )
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Answer:
    stated, p, epsilon = rational_option(args, "lipschitz"), rational_option(args, "p"), rational_option(args, "eps")
    try:
        f = Target.parse(args.target, args.d, args.m)
        check_norm(p, stated)
        if epsilon <= 0:
            raise InputError(f"--eps: expected an accuracy above 0, found {epsilon}")
        values = check_range(f)
        L = lipschitz_bound(f, p, stated)
    except ValueError as reason:  # TargetError, OutOfRangeError and what check_norm says among them
        raise InputError(str(reason)) from None
    if isinstance(L, SteepPair):
        return _refuted(L, stated)
    try:
        # f is known to stay in [0, 1] up to the tolerance only: the certificate is for f clamped, which is that close
        around = RANGE_TOLERANCE * root(fmpq(args.d * args.m), p, up=True)
        if epsilon <= around:  # then the grid has more than 10^8 values
            raise OverLimitsError("--eps: so small asks for numbers of more than 10^9 bits")
        found = budget(args.d, args.m, max(L, stated), p, epsilon - around)
    except TooLargeError as limit:
        raise OverLimitsError(str(limit)) from None
    table = table_of(f, found.grid) if found.grid.cells <= MAX_CELLS else None
    error = None if table is None else error_bound(f, found.grid, table, p)
    outputs = [] if table is None else [_output(found, f, table, point) for point in args.at]
    proof = certificate(found)
    paths = write_checked(args.out, "universality", [("", proof)])
    recorded = None
    if paths:
        known = Enclosed(args.target, epsilon, stated, L, values, around, table, error)
        recorded = record_path(paths[0][0])
        write_text(recorded, text_of(record(known, found, proof.document(), paths[0][0].name)))
    written = None
    if args.prompt is not None and table is not None:
        write_json(args.prompt, prompt_json(PromptBox(found.grid.prompt(table, found.grid.delta / 4), fmpq(0))))
        written = str(args.prompt)
    document = {
        "verdict": "proved",
        "k": found.grid.k,
        "prompt_length": found.grid.prompt_length,
        "lipschitz": {"stated": str(stated), "certified": str(L)},
        "temperature": str(found.t),
        "ramp": str(found.eta),
        "bound": _above(_total(found) + around),
        "error_of_this_function": None if error is None else _above(error + _rest(found)),
        "outputs": outputs,
        "layers_log10": Size.of(HardmaxNetwork.of(found.grid, found.G).layer_count).log10,
        "prompt": written,
        "certificate": str(paths[0][0]) if paths else None,
        "record": None if recorded is None else str(recorded),
        "counterexample": None,
    }
    text = _text(found, epsilon, L, stated, error, outputs, written, paths)
    if recorded is not None:
        text += f"\n  record of this function: {recorded}"
    return Answer(Exit.AS_CLAIMED, document, text)


def _output(found: Budget, f: Target, table: list[Digits], texts: list[str]) -> dict[str, Any]:
    """The network's output at one input, enclosed, beside f."""
    grid = found.grid
    if len(texts) != grid.d * grid.m:
        raise InputError(f"--at: expected {grid.d * grid.m} numbers, found {len(texts)}")
    try:
        entries = [rational(text) for text in texts]
        X = RationalMatrix.of([[entries[j * grid.d + i] for j in range(grid.m)] for i in range(grid.d)])
        network = SoftmaxNetwork(found)
        enclosure = run_softmax(network, network.prompt(table), X)
    except (ValueError, TypeError, ZeroDivisionError) as reason:
        raise InputError(f"--at: {reason}") from None
    values = [enclosure[i, j] for j in range(grid.m) for i in range(grid.d)]
    with flint.ctx.workprec(96):
        exact = f.values([arb(x) for x in entries])
        if not all(bounded(y) for y in exact):
            raise Undecided(f"--at: the target is not enclosed at ({', '.join(map(str, entries))})")
    return {
        "input": [str(x) for x in entries],
        "f": [float(y) for y in exact],
        "network": [[_below(lower(y)), _above(upper(y))] for y in values],
        "on_ramp": network.on_ramp(X),
    }


def _above(x: fmpq) -> float:
    """A float of at least x."""
    return nextafter(float(x), inf)


def _below(x: fmpq) -> float:
    """A float of at most x."""
    return nextafter(float(x), -inf)


def _rest(found: Budget) -> fmpq:
    """What softmax and ramps add to the error of the table."""
    return found.epsilon_s * found.root_m + found.epsilon_r


def _total(found: Budget) -> fmpq:
    return found.quantisation + _rest(found)


def _refuted(pair: SteepPair, stated: fmpq) -> Answer:
    points = [[str(x) for x in point] for point in (pair.first, pair.second)]
    document: dict[str, Any] = {
        "verdict": "refuted",
        "k": None,
        "prompt_length": None,
        "lipschitz": {"stated": str(stated), "certified": None},
        "temperature": None,
        "ramp": None,
        "bound": None,
        "error_of_this_function": None,
        "outputs": [],
        "layers_log10": None,
        "prompt": None,
        "certificate": None,
        "record": None,
        "counterexample": {"points": points, "quotient": _below(pair.quotient)},
    }
    text = (
        f"refuted: the target is not {stated}-Lipschitz\n  between ({', '.join(points[0])}) and "
        f"({', '.join(points[1])}) it changes by at least {_below(pair.quotient):.6g} times the distance"
    )
    return Answer(Exit.NOT_AS_CLAIMED, document, text)


def _text(
    found: Budget,
    epsilon: fmpq,
    L: fmpq,
    stated: fmpq,
    error: fmpq | None,
    outputs: list[dict[str, Any]],
    written: str | None,
    paths: list[tuple[Path, str]],
) -> str:
    grid = found.grid
    layers = Size.of(HardmaxNetwork.of(grid, found.G).layer_count)
    with flint.ctx.workprec(64):
        lines = [
            f"proved: a prompt of {grid.prompt_length} tokens (k = {grid.k}) makes the network compute f within "
            f"{epsilon} in d_{found.p}",
            f"  Lipschitz constant: at most {_above(L):.9g} (stated {stated})",
            f"  network: class T^{{2,1,4}} with query biases, {layers} layers",
            f"  inverse temperature {Size.of(int(found.t))}, ramps of width {float(found.eta):.3g}",
            f"  bound for every such function: {_above(_total(found)):.6g}",
        ]
        if error is not None:
            lines.append(f"  bound for this function: {_above(error + _rest(found)):.6g} (enclosed cell by cell)")
    for output in outputs:
        where = ", ".join(output["input"])
        shown = ", ".join(f"{low:.9g} … {high:.9g}" for low, high in output["network"])
        note = " (on a ramp: nothing more is claimed)" if output["on_ramp"] else ""
        lines.append(f"  at ({where}): f = {', '.join(f'{y:.9g}' for y in output['f'])}, network {shown}{note}")
    if written is not None:
        lines.append(f"  prompt: {written}")
    for path, sentence in paths:
        lines += [f"  certificate: {path}", f"  kernel: {sentence}"]
    return "\n".join(lines)
