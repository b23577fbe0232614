"""``promptcert floor``: how much loss remains, at which prompt length, certified from both sides."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flint import fmpq
from rich.table import Table

from constructions.data import Dataset, Query
from constructions.documents import InputError, write_json
from constructions.files import PromptBox, prompt_json, read_data, read_model
from constructions.numbers.rational import RationalMatrix, decimal
from constructions.single_layer.curve import LossBounds, RationalPrompt, loss_curve
from constructions.single_layer.decide import by_logit_vector
from constructions.single_layer.loss_problem import LossProblem, NoLossProblemError
from constructions.single_layer.output_loss import output_factors
from constructions.single_layer.preimage import preimage
from constructions.transformer import Transformer
from constructions.verdict import Undecided
from verify.claims.prompt_law import loss_certificate
from verify.commands.answer import (
    Answer,
    Exit,
    add_common,
    add_model_and_data,
    add_out,
    certificate_path,
    positive_int,
    rendered,
)
from verify.kernel_process import accepted


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "floor", help="certified bounds of the least loss that prompts of a given length can reach"
    )
    add_model_and_data(parser)
    lengths = parser.add_mutually_exclusive_group()
    lengths.add_argument(
        "--prompt-length", type=positive_int, metavar="N", help="prompts of at most N tokens (default: any length)"
    )
    lengths.add_argument("--curve", type=positive_int, metavar="N", help="every length from 1 to N, and any length")
    parser.add_argument("--prompt", type=Path, metavar="FILE", help="write the prompt of the upper bound here")
    add_out(parser)
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class Point:
    """Bounds at one prompt length: ``upper`` None where the queries have several logit vectors."""

    length: int | None
    lower: fmpq
    upper: fmpq | None
    groups: tuple[LossBounds, ...]

    def document(self, factor: fmpq | None) -> dict[str, Any]:
        upper = None if self.upper is None else decimal(self.upper)
        output = None if factor is None else decimal(_decimal_below(self.lower * factor))
        return {
            "prompt_length": self.length,
            "loss": {"lower": decimal(self.lower), "upper": upper},
            "output_loss_lower": output,
        }


def run(args: argparse.Namespace) -> Answer:
    model = read_model(args.model)
    data = read_data(args.data, model.width)
    lengths: list[int | None] = [args.prompt_length]
    if args.curve is not None:
        lengths = [None, *range(1, args.curve + 1)]
    try:
        problems = _problems(model, data)
        lengths = _with_embedding(model, data, args) or lengths
        points = _points(problems, lengths, exact_length=model.E is not None)
    except (NoLossProblemError, Undecided) as reason:
        document = {
            "prompt_length": args.prompt_length,
            "loss": None,
            "output_loss_lower": None,
            "reason": str(reason),
            "curve": None,
            "certificate": None,
            "further_certificates": [],
            "prompt": None,
        }
        return Answer(Exit.UNDECIDED, document, f"undecided\n  why: {reason}")
    except ValueError as error:
        raise InputError(f"{args.model} with {args.data}: {error}") from None
    factors = output_factors(model.layers[0].mlp)
    factor = None if factors is None else factors[0]
    certified = _certify(args, model, points)
    told = _write_prompt(args.prompt, model, points[0])
    document = {
        **points[0].document(factor),
        "reason": None,
        "curve": None if args.curve is None else [point.document(factor) for point in points[1:]],
        "certificate": str(certified[0][0]) if certified else None,
        "further_certificates": [str(path) for path, _ in certified[1:]],
        "prompt": None if told is None else str(args.prompt),
    }
    return Answer(Exit.AS_CLAIMED, document, _text(points, factor, certified, told))


def _problems(model: Transformer, data: Dataset) -> list[LossProblem]:
    """One problem for each logit vector. Raises NoLossProblemError."""
    queries: list[Query] = list(data.queries(model))
    layer = model.layers[0]
    if len(model.layers) > 1:
        raise NoLossProblemError(f"the model has {len(model.layers)} layers; the prompt law is about a single layer")
    if layer.attention.kind != "softmax":
        raise NoLossProblemError("hardmax attention: the prompt law is about softmax")
    if layer.mlp.units is not None:
        raise NoLossProblemError("preimages are computed for ReLU units only, this MLP has piecewise-linear ones")
    if len(layer.attention.heads) > 1:
        raise NoLossProblemError(f"the layer has {len(layer.attention.heads)} heads; the prompt law is about one")
    return [
        LossProblem.of(layer, group, [preimage(layer.mlp, query.target) for query in group])
        for group in by_logit_vector(model, queries)
    ]


def _with_embedding(model: Transformer, data: Dataset, args: argparse.Namespace) -> list[int | None] | None:
    """With an embedding the prompt length is fixed: it is the only one that can be asked for."""
    if model.E is None:
        return None
    fixed = model.E.shape[1] - data.examples[0].X.shape[1]
    if args.curve is not None or args.prompt_length not in (None, fixed):
        raise ValueError(f"prompt length: E fixes it to {fixed}; expected that number or no option")
    return [fixed]


def _points(problems: Sequence[LossProblem], lengths: Sequence[int | None], *, exact_length: bool) -> list[Point]:
    curves = [list(loss_curve(problem, lengths, exact_length=exact_length)) for problem in problems]
    points = []
    for i, length in enumerate(lengths):
        groups = tuple(curve[i] for curve in curves)
        lower = sum((bounds.lower for bounds in groups), fmpq(0))
        points.append(Point(length, lower, groups[0].upper if len(groups) == 1 else None, groups))
    return points


def _decimal_below(x: fmpq) -> fmpq:
    return fmpq((x * 10**24).floor()) / fmpq(10) ** 24


def _certify(args: argparse.Namespace, model: Transformer, points: Sequence[Point]) -> list[tuple[Path, str]]:
    """Write the certificates: of every point with ``--out DIR``, else of the first; the kernel checks each."""
    kept = points if args.out is not None and args.out.suffix != ".json" else points[:1]
    paths = []
    for point in kept:
        for k, bounds in enumerate(point.groups):
            length = "any" if point.length is None else str(point.length)
            group = f"-group-{k}" if len(point.groups) > 1 else ""
            try:
                path = certificate_path(args.out, f"{Path(args.data).stem}-floor-{length}{group}.cert.json")
                if k > 0 and args.out is not None and args.out.suffix == ".json":
                    path = path.with_name(path.stem + f"{group}.json")
                loss_certificate(model, bounds).write(path)
            except InputError as error:
                if args.out is not None:
                    raise
                print(f"no certificate written: {error}", file=sys.stderr)
                return []
            paths.append(path)
    return list(zip(paths, accepted(paths), strict=True))


def _write_prompt(path: Path | None, model: Transformer, point: Point) -> str | None:
    """Write the prompt of the upper bound, before the embedding; what was written, in words."""
    if path is None:
        return None
    prompt = point.groups[0].prompt if len(point.groups) == 1 else None
    tokens = prompt.expanded() if isinstance(prompt, RationalPrompt) else None
    if tokens is None:
        why = "the queries have several logit vectors" if prompt is None else "it has too many tokens"
        print(f"no prompt written to {path}: {why}", file=sys.stderr)
        return None
    if model.E is not None:
        tokens = RationalMatrix(tokens.mat - model.E.columns(0, tokens.shape[1]).mat)
    write_json(path, prompt_json(PromptBox(tokens, fmpq(0))))
    return f"{path} ({tokens.shape[1]} tokens, exact)"


def _text(points: Sequence[Point], factor: fmpq | None, certified: list[tuple[Path, str]], told: str | None) -> str:
    table = Table(title="least loss over prompts", title_justify="left")
    for column in ("prompt tokens", "certified lower bound", "certified upper bound", "outputs, at least"):
        table.add_column(column, justify="right")
    for point in points:
        upper = "several logit vectors: none" if point.upper is None else _short(point.upper)
        output = "" if factor is None else _short(_decimal_below(point.lower * factor))
        table.add_row("any number" if point.length is None else f"≤ {point.length}", _short(point.lower), upper, output)
    lines = [rendered(table)]
    if told is not None:
        lines.append(f"prompt: {told}")
    for path, sentence in certified:
        lines += [f"certificate: {path}", f"kernel: {sentence}"]
    return "\n".join(lines)


def _short(x: fmpq) -> str:
    """Twelve significant digits for reading; the exact decimals are in the JSON document."""
    return f"{float(x):.12g}"
