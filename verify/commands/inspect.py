"""``promptcert inspect``: ranks, norms and conditions of the layers of a pretrained transformer."""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flint import fmpq
from rich.table import Table

from constructions.checkpoints.conditions import Condition, layer_conditions, stack_condition
from constructions.checkpoints.coverage import Remark, remarks
from constructions.checkpoints.measure import HeadReport, LayerReport, measure
from constructions.checkpoints.naming import Naming, find_naming, read_mapping
from constructions.checkpoints.tensors import Tensors, open_tensors
from constructions.checkpoints.weights import HeadCount, count_heads, read_layer
from constructions.documents import InputError
from constructions.numbers.digits import decimal_bound
from constructions.numbers.norm_enclosure import NormEnclosure, check_relative_error
from constructions.numbers.rank import RankProof
from verify.commands.answer import Answer, Exit, OverLimitsError, add_common, positive_int, rational_option, rendered
from verify.commands.progress import progress_bar

MATRICES = ("W_q", "W_k", "W_v")
NORMS = (
    ("W_q", "‖W_q‖/√s"),
    ("W_k", "‖W_k‖"),
    ("W_v", "‖W_v‖"),
    ("W_o", "‖W_o‖"),
    ("bilinear", "‖A‖"),
    ("value", "‖V‖"),
)


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "inspect", help="ranks, norms and conditions of the layers of a pretrained transformer"
    )
    parser.add_argument(
        "weights", nargs="+", metavar="WEIGHTS.safetensors", help="the file, or all files of one network in parts"
    )
    parser.add_argument("--heads", type=positive_int, metavar="N", help="attention heads of a layer")
    parser.add_argument(
        "--kv-heads", type=positive_int, metavar="N", help="key and value heads of a layer (default: from the shapes)"
    )
    parser.add_argument("--layers", metavar="A-B", help="only these layers, as numbered in the file (or one: A)")
    parser.add_argument("--mapping", metavar="FILE.json", help="how the tensors are named, for other networks")
    parser.add_argument(
        "--radius", metavar="R", default="1", help="length of the tokens that conditions are for (default: 1)"
    )
    parser.add_argument(
        "--relative-error", metavar="E", default="1/1000", help="of every norm, from 2^-30 to 1/2 (default: 1/1000)"
    )
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class Inspection:
    """All that is printed."""

    tensors: Tensors
    naming: Naming
    count: HeadCount
    radius: fmpq
    error: fmpq
    layers: tuple[LayerReport, ...]
    conditions: tuple[tuple[Condition, ...], ...]
    stack: Condition
    remarks: tuple[Remark, ...]


def run(args: argparse.Namespace) -> Answer:
    radius, error = rational_option(args, "radius"), rational_option(args, "relative-error")
    if radius < 0:
        raise InputError(f"--radius: expected a number of at least 0, found {radius}")
    try:
        check_relative_error(error)
    except ValueError as problem:
        raise InputError(f"--relative-error: {problem}") from None
    mapping = None if args.mapping is None else read_mapping(args.mapping)
    tensors = open_tensors(args.weights)
    naming = find_naming(tensors, mapping)
    chosen = _chosen(args.layers, naming.layers)
    count = count_heads(tensors, naming, args.heads, args.kv_heads)
    found = _inspect(tensors, naming, chosen, count, radius, error)
    return Answer(Exit.AS_CLAIMED, _document(found), _text(found))


def _chosen(text: str | None, present: Sequence[int]) -> list[int]:
    """The layers that are asked for."""
    if text is None:
        return list(present)
    match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text, re.ASCII)
    if match is None:
        raise InputError(f"--layers: expected A-B or A, such as 0-3, found {text[:60]!r}")
    first, last = int(match[1]), int(match[2] or match[1])
    chosen = [layer for layer in present if first <= layer <= last]
    if first > last or not chosen:
        numbers = _numbers(present)
        raise InputError(f"--layers: expected some of the layers {numbers} that the file holds, found {text}")
    return chosen


def _numbers(layers: Sequence[int]) -> str:
    """A short form of the numbers of layers."""
    if list(layers) == list(range(layers[0], layers[-1] + 1)):
        return str(layers[0]) if len(layers) == 1 else f"{layers[0]}-{layers[-1]}"
    return ", ".join(map(str, layers))


def _inspect(
    tensors: Tensors, naming: Naming, chosen: Sequence[int], count: HeadCount, radius: fmpq, error: fmpq
) -> Inspection:
    family = naming.family
    layers: list[LayerReport] = []
    read = []
    total, done = len(chosen) * (count.heads + 1), itertools.count(1)
    with progress_bar("reading") as bar:

        def step(name: str) -> None:
            bar(next(done), total, name)

        for index in chosen:
            weights = read_layer(tensors, naming, index, count)
            if layers and weights.width != layers[0].width:
                raise InputError(
                    f"{tensors.file(weights.names['W_o'])}: layer {index}: expected the width {layers[0].width} of "
                    f"layer {layers[0].index}, found {weights.width}"
                )
            read.append(weights.names)
            try:
                layers.append(measure(weights, error, causal=family.causal, scaled=family.scaled, step=step))
            except ArithmeticError as problem:
                raise OverLimitsError(f"layer {index}: {problem}; another --relative-error may help") from None
    return Inspection(
        tensors,
        naming,
        count,
        radius,
        error,
        tuple(layers),
        tuple(tuple(layer_conditions(layer, radius)) for layer in layers),
        stack_condition(layers, radius),
        tuple(remarks(tensors, naming, chosen, read, count.activation)),
    )


# ---------------------------------------------------------------------------------------------
# Numbers as they are printed


def _enclosed(found: NormEnclosure | None) -> dict[str, str] | None:
    if found is None:
        return None
    return {"lower": decimal_bound(found.lower, False), "upper": decimal_bound(found.upper, True)}


# ---------------------------------------------------------------------------------------------
# The document


def _document(found: Inspection) -> dict[str, Any]:
    family = found.naming.family
    return {
        "files": list(found.tensors.files),
        "naming": family.name,
        "prefix": family.prefix,
        "heads_from": found.count.source,
        "layers_present": list(found.naming.layers),
        "relative_error": str(found.error),
        "radius": str(found.radius),
        "layers": [
            _layer_document(layer, conditions) for layer, conditions in zip(found.layers, found.conditions, strict=True)
        ],
        "stack": _condition_document(found.stack),
        "remarks": [
            {"topic": each.topic, "covered": each.covered, "says": each.says, "tensors": list(each.tensors)}
            for each in found.remarks
        ],
    }


def _layer_document(layer: LayerReport, conditions: Sequence[Condition]) -> dict[str, Any]:
    return {
        "layer": layer.index,
        "width": layer.width,
        "head_size": layer.head_size,
        "heads": [
            {
                "head": head.head,
                "kv_head": head.group,
                "ranks": {name: _rank_document(head.ranks[name]) for name in MATRICES},
                "norms": {name: _enclosed(getattr(head, name)) for name, _ in NORMS},
                "bias": _enclosed(head.bias),
            }
            for head in layer.heads
        ],
        "norms": {
            "W_o": _enclosed(layer.output),
            "W_1": _enclosed(layer.W_1),
            "W_2": _enclosed(layer.W_2),
            "W_gate": _enclosed(layer.W_gate),
        },
        "conditions": [_condition_document(condition) for condition in conditions],
    }


def _rank_document(proof: RankProof) -> dict[str, Any]:
    return {
        "rank": proof.rank,
        "full": proof.full,
        "prime": proof.prime,
        "rows": list(proof.rows),
        "columns": list(proof.columns),
        "relations": [{str(i): hex(c) for i, c in relation} for relation in proof.relations],
    }


def _condition_document(condition: Condition) -> dict[str, Any]:
    return {
        "condition": condition.slug,
        "says": condition.says,
        "status": condition.status,
        "found": _enclosed(condition.found),
        "below": None if condition.below is None else str(condition.below),
        "detail": condition.detail,
    }


# ---------------------------------------------------------------------------------------------
# The text


def _text(found: Inspection) -> str:
    family, first = found.naming.family, found.layers[0]
    called = (
        f"{family.name} names" if found.naming.family.prefix == "" else f"{family.name} names after {family.prefix}"
    )
    lines = [
        f"{', '.join(found.tensors.files)}: {called}; inspected layers: {_inspected(found)}",
        f"width d = {first.width}, {len(first.heads)} heads of size s = {first.head_size} ({found.count.source})"
        + _groups(first.heads),
        f"all norms are upper bounds, at most {decimal_bound(100 * found.error, True, 3)}% too large; "
        f"A = W_k^T W_q{'/√s' if family.scaled else ''} and V = W_o W_v of each head",
    ]
    for layer, conditions in zip(found.layers, found.conditions, strict=True):
        lines += [
            "",
            rendered(_heads_table(layer, family.scaled)),
            _mlp_line(layer),
            rendered(_conditions_table(conditions)),
        ]
    lines += ["", *_summary(found), ""]
    lines.append("all of this is about the model of the theory with these weights, and not about")
    lines += [_remark(each) for each in found.remarks if not each.covered]
    lines.append("covered:")
    lines += [_remark(each) for each in found.remarks if each.covered]
    return "\n".join(lines)


def _inspected(found: Inspection) -> str:
    chosen = [layer.index for layer in found.layers]
    everything = len(chosen) == len(found.naming.layers)
    return _numbers(chosen) + ("" if everything else f" (of {_numbers(found.naming.layers)})")


def _groups(heads: Sequence[HeadReport]) -> str:
    groups = len({head.group for head in heads})
    return "" if groups == len(heads) else f", {groups} key and value heads"


def _heads_table(layer: LayerReport, scaled: bool) -> Table:
    table = Table(title=f"layer {layer.index}", title_justify="left")
    for name in ("head", *(f"rank {name}" for name in MATRICES), *(title for _, title in NORMS)):
        table.add_column(name if scaled else name.removesuffix("/√s"), justify="right")
    for head in layer.heads:
        ranks = [f"{head.ranks[name].rank}/{head.ranks[name].full}" for name in MATRICES]
        norms = [decimal_bound(getattr(head, name).upper, True, 4) for name, _ in NORMS]
        table.add_row(str(head.head), *ranks, *norms)
    return table


def _mlp_line(layer: LayerReport) -> str:
    norms = (("[W_o … W_o]", layer.output), ("W_1", layer.W_1), ("W_2", layer.W_2), ("W_gate", layer.W_gate))
    return ", ".join(f"‖{name}‖ ≤ {decimal_bound(x.upper, True, 4)}" for name, x in norms if x is not None)


def _conditions_table(conditions: Sequence[Condition]) -> Table:
    table = Table()
    for name in ("condition", "found", "verdict", ""):
        table.add_column(name)
    for condition in conditions:
        table.add_row(condition.says, _found(condition), _verdict(condition), condition.detail)
    return table


def _found(condition: Condition) -> str:
    if condition.found is None or condition.slug == "small-heads":
        return ""
    side = condition.found.lower if condition.status == "fails" else condition.found.upper
    up = condition.status != "fails"
    return ("≤ " if up else "≥ ") + decimal_bound(side, up, 4)


def _verdict(condition: Condition) -> str:
    found, bound = condition.found, condition.below
    if condition.status == "fails" and found is not None and bound and found.lower > bound:
        return f"fails, {decimal_bound(found.lower / bound, False, 3)} times too large"
    return condition.status


def _summary(found: Inspection) -> list[str]:
    lines = []
    for place, condition in enumerate(found.conditions[0]):
        statuses = [conditions[place].status for conditions in found.conditions]
        counts = ", ".join(
            f"{status} in {statuses.count(status)} of {len(statuses)}"
            for status in ("holds", "fails", "undecided", "not covered")
            if status in statuses
        )
        lines.append(f"{condition.says}: {counts}")
    stack = found.stack
    numbers = ""
    if stack.found is not None:
        numbers = f"{decimal_bound(stack.found.lower, False, 4)} to {decimal_bound(stack.found.upper, True, 4)}; "
    lines.append(f"{stack.says}: {stack.status} ({numbers}{stack.detail})")
    return lines


def _remark(remark: Remark) -> str:
    shown = ", ".join(remark.tensors[:2]) + (", …" if len(remark.tensors) > 2 else "")
    count = f" [{len(remark.tensors)}: {shown}]" if remark.tensors else ""
    return f"  {remark.topic}: {remark.says}{count}"
