"""``promptcert show``: a certificate told in words and numbers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from verify.commands import other_files
from verify.commands.answer import Answer, Exit, add_common
from verify.commands.show_counterexample import counterexample_answer
from verify.commands.show_record import record_answer
from verify.counterexample import read_counterexample
from verify.kernel_process import ANSWERS, check_files, printable
from verify.target_record import read_record

NOTHING: dict[str, Any] = {"certificate": None, "record": None, "counterexample": None}
MAX_BITS = 128
"""Rationals with a longer numerator or denominator than this are told by their length."""
MAX_SHOWN = 12
"""Vectors and matrices with more entries in a row or column than this are told by their shape."""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("show", help="tell a certificate or a counterexample in words and numbers")
    parser.add_argument("certificate", metavar="CERT.json")
    add_common(parser, long_running=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Answer:
    checked = check_files([args.certificate])[0]
    code = Exit(ANSWERS[checked.verdict])
    record = read_record(args.certificate) if code is Exit.BAD_INPUT else None
    if record is not None:
        return record_answer(args.certificate, record)
    found = read_counterexample(args.certificate) if code is Exit.BAD_INPUT else None
    if found is not None:
        return counterexample_answer(args.certificate, found)
    if code in (Exit.BAD_INPUT, Exit.OVER_LIMITS):
        said = (other_files.sentence(args.certificate) if code is Exit.BAD_INPUT else None) or checked.sentence
        text = f"{printable(args.certificate)}: {checked.verdict}: {said}"
        return Answer(code, {**NOTHING, "kernel": checked.verdict, "sentence": said, "told": [text]}, text)
    document = json.loads(Path(args.certificate).read_text(encoding="utf-8"))
    try:
        told = TELLERS[document["claim"]](document["instance"], document["witness"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError):
        told = ["its instance or witness is not what the format asks for"]
    lines = [
        f"{document['claim']}: {document['relation']} ({document['evidence']})",
        f"kernel: {checked.verdict}: {checked.sentence}",
        *told,
        "made by " + ", ".join(f"{name} {number}" for name, number in sorted(document["toolkit"].items())),
        f"sha256 {document['sha256']}",
    ]
    content = {key: document[key] for key in ("claim", "relation", "evidence", "toolkit", "sha256")}
    return Answer(
        code,
        {**NOTHING, "certificate": content, "kernel": checked.verdict, "sentence": checked.sentence, "told": told},
        "\n".join(lines),
    )


def _integer(value: int | str) -> int:
    return int(value, 16) if isinstance(value, str) else value


def _fraction(num: int | str, den: int) -> str:
    x = Fraction(_integer(num), den)
    if max(x.numerator.bit_length(), x.denominator.bit_length()) > MAX_BITS:
        return f"a rational of {x.numerator.bit_length()} over {x.denominator.bit_length()} bits"
    return str(x)


def _value(part: dict[str, Any]) -> str:
    """A scalar, vector or matrix of the format as text, or its shape when it is long."""
    num, den = part["num"], _integer(part["den"])

    def fraction(n: int | str) -> str:
        return _fraction(n, den)

    if not isinstance(num, list):
        return fraction(num)
    if num and isinstance(num[0], list):
        if max(len(num), len(num[0])) > MAX_SHOWN:
            return f"a {len(num)}×{len(num[0])} matrix"
        return "[" + "; ".join(", ".join(fraction(x) for x in row) for row in num) + "]"
    if len(num) > MAX_SHOWN:
        return f"a vector of {len(num)}"
    return "(" + ", ".join(fraction(x) for x in num) + ")"


def _sum(part: dict[str, Any]) -> str:
    den_c, den_q = _integer(part["coefficients"]["den"]), _integer(part["exponents"]["den"])
    terms = zip(part["coefficients"]["num"], part["exponents"]["num"], strict=True)
    shown = [f"{_fraction(c, den_c)}·e^({_fraction(q, den_q)})" for c, q in terms]
    return " + ".join(shown[:MAX_SHOWN]) + (f" + … ({len(shown)} terms)" if len(shown) > MAX_SHOWN else "") or "0"


def _head_lines(heads: list[dict[str, Any]]) -> list[str]:
    return [
        f"head {j}: " + ", ".join(f"{name} = {_value(head[name])}" for name in ("W_q", "W_k", "W_v", "W_o", "b_q"))
        for j, head in enumerate(heads)
    ]


def _tell_pair(instance: dict[str, Any], witness: dict[str, Any]) -> list[str]:
    layer, mlp = instance["layer"], instance["layer"]["mlp"]
    hidden = len(mlp["b_1"]["num"])
    lines = [
        f"layer: {len(layer['heads'])} head(s), {hidden} hidden units" + (", causal mask" if layer["causal"] else "")
    ]
    lines += _head_lines(layer["heads"])
    if hidden:
        lines.append("MLP: " + ", ".join(f"{name} = {_value(mlp[name])}" for name in ("W_1", "b_1", "W_2", "b_2")))
    for k, query in enumerate(instance["queries"], start=1):
        lines.append(
            f"X_{k} = {_value(query['X'])}, asked at token {query['column']}: y_{k} = {_value(query['target'])}"
        )
    argument = witness["argument"]
    if argument == "contradictory-data":
        lines.append("the same input is asked for two different outputs")
    elif argument == "out-of-range":
        lines.append(
            "the target has no preimage under the MLP: every activation pattern is empty by its Farkas multipliers"
        )
    else:
        for k, proof in enumerate(witness["preimages"], start=1):
            if proof["kind"] == "point":
                lines.append(f"y_{k} has the only preimage z_{k} = {_value(proof['z'])} (M + M^T is positive definite)")
            else:
                lines.append(
                    f"y_{k} has {_pieces(proof['tree'])} preimage piece(s), "
                    "by a tree over the signs of the hidden units"
                )
        for i, row in enumerate(witness["pairs"]):
            for j, item in enumerate(row):
                lines.append(
                    f"pieces {i} and {j}: {item['argument']} at head {item['head']} with w = {_value(item['w'])}"
                )
    return lines


def _pieces(node: dict[str, Any]) -> int:
    if "leaf" in node:
        return int(node["leaf"] == "piece")
    return _pieces(node["active"]) + _pieces(node["inactive"])


def _tell_split(instance: dict[str, Any], witness: dict[str, Any]) -> list[str]:
    lines = _head_lines(instance["heads"])
    lines.append(f"x = {_value(instance['token'])}, X = {_value(instance['X'])}, P = {_value(instance['P'])}")
    for j, fraction in enumerate(witness["fractions"]):
        lines.append(f"λ of head {j} = ({_sum(fraction['numerators'][0])}) / ({_sum(fraction['denominator'])})")
    return lines


def _tell_direction(instance: dict[str, Any], witness: dict[str, Any]) -> list[str]:
    lines = _head_lines([instance["head"]])
    lines.append(f"x_0 = {_value(instance['token'])}, κ = e^({_value(instance['rho'])})")
    for name, part in (("A", instance["output"]), ("x_1", witness["x_1"])):
        entries = "; ".join(_sum(x) for x in part["numerators"])
        lines.append(f"{name} = [{entries}] / ({_sum(part['denominator'])})")
    return lines


def _tell_injectivity(instance: dict[str, Any], witness: dict[str, Any]) -> list[str]:
    lines = ["MLP: " + ", ".join(f"{name} = {_value(instance['mlp'][name])}" for name in ("W_1", "b_1", "W_2", "b_2"))]
    if "bounds" in witness:
        lines.append("‖W_1‖² < {}, ‖W_2‖² < {}".format(*[_value(bound) for bound in witness["bounds"]]))
    if instance["y"] is not None:
        lines.append(f"y = {_value(instance['y'])} has the only preimage z = {_value(witness['z'])}")
    return lines


def _layer_and_queries(instance: dict[str, Any]) -> list[str]:
    lines = _head_lines(instance["layer"]["heads"])
    mlp = instance["layer"]["mlp"]
    if mlp["b_1"]["num"]:
        lines.append("MLP: " + ", ".join(f"{name} = {_value(mlp[name])}" for name in ("W_1", "b_1", "W_2", "b_2")))
    for k, query in enumerate(instance.get("inputs", instance.get("queries", []))):
        target = f": y_{k} = {_value(query['target'])}" if "target" in query else ""
        lines.append(f"X_{k} = {_value(query['X'])}, asked at token {query['column']}{target}")
    return lines


def _queries(instance: dict[str, Any]) -> list[str]:
    """The layer and queries of a claim about prompts of limited length."""
    lines = _layer_and_queries(instance)
    length = instance["length"]
    lines.append("prompts of any length" if length is None else f"prompts of at most {_integer(length)} tokens")
    return lines


def _tell_prompt_law(instance: dict[str, Any], witness: dict[str, Any]) -> list[str]:
    lines = _queries(instance)
    if "lower" in witness:
        lines.append(f"no prompt has a loss below {_value(witness['lower']['value'])}")
        parts = sum(len(cover["breakpoints"]["num"]) + 1 for cover in witness["lower"]["covers"])
        lines.append(f"by {parts} parts of the axis of prompt masses")
        upper = witness["upper"]
        if upper is not None and "tokens" in upper:
            counts = [_integer(n) for n in upper["counts"]]
            lines.append(f"a prompt of {sum(counts)} tokens has a loss of at most {_value(upper['value'])}:")
            lines.append(f"tokens {_value(upper['tokens'])}, taken {', '.join(map(str, counts))} times")
        elif upper is not None:
            lines.append(f"prompts too long to write down have a loss of at most {_value(upper['value'])}")
    elif "combinations" in witness:
        for k, argument in enumerate(witness["combinations"]):
            lines.append(f"preimages no. {k}: impossible by {argument['argument']}")
    else:
        lines.append("preimages " + ", ".join(_value(point) for point in witness["points"]))
        free = "every prompt mass solves the equations" if witness["equation"] is None else "one prompt mass solves all"
        lines.append(free)
    return lines


def _tell_several(instance: dict[str, Any], witness: dict[str, Any]) -> list[str]:
    lines = _queries(instance)
    if "box" in witness:
        sides = [f"[{_value(low)}, {_value(high)}]" for low, high in witness["box"]]
        lines.append("every entropy and divergence is positive for log masses in " + " × ".join(sides))
    elif "unknowns" in witness:
        lines += _tell_near(witness)
    else:
        for k, argument in enumerate(witness["combinations"]):
            boxes = f", {_boxes(argument['tree'])} boxes refuted" if argument["argument"] == "tree" else ""
            lines.append(f"preimages no. {k}: impossible by {argument['argument']}{boxes}")
    return lines


def _tell_heads(instance: dict[str, Any], witness: dict[str, Any]) -> list[str]:
    if "flow" in witness:
        lines = _head_lines(instance["layer"]["heads"])
        lines.append(f"tokens {_value(instance['tokens'])}, one η for each pair of a token and a head:")
        lines.append(f"η = {_value(instance['values'])}")
        lines.append(f"by the flow {_value(witness['flow'])} between the pairs")
        return lines
    lines = _queries(instance)
    if "heights" in witness:
        order = sorted(range(len(witness["heights"]["num"])), key=lambda k: -_integer(witness["heights"]["num"][k]))
        lines.append("pairs of a query and a head peel off in the order " + ", ".join(map(str, order)))
        lines.append(f"heights {_value(witness['heights'])}, directions {_value(witness['directions'])}")
    elif "duals" in witness:
        fixed = sum(equation is not None for equation in witness["equations"])
        lines.append(f"{len(witness['equations'])} logit vectors, at {fixed} of them the mass of the prompt is fixed")
    elif "unknowns" in witness:
        lines += _tell_near(witness)
    else:
        for k, argument in enumerate(witness["combinations"]):
            if "w" in argument:
                lines.append(f"preimages no. {k}: no heads give what query {argument['query']} asks for")
            else:
                lines.append(f"preimages no. {k}: impossible, {_boxes(argument)} boxes refuted")
    return lines


def _tell_near(witness: dict[str, Any]) -> list[str]:
    """Krawczyk's test around a prompt."""
    lines = [f"an exact prompt lies within {_value(witness['radius'])} of {_value(witness['tokens'])}"]
    counts = [_integer(n) for n in witness["counts"]]
    if max(counts) > 1:
        lines.append(f"its tokens taken {', '.join(map(str, counts))} times")
    return [*lines, f"by Krawczyk's test in {len(witness['unknowns'])} of its entries"]


def _boxes(node: dict[str, Any]) -> int:
    return 1 if "entropy" in node else _boxes(node["below"]) + _boxes(node["above"])


def _tell_length(instance: dict[str, Any], witness: dict[str, Any]) -> list[str]:
    lines = _queries(instance) if "length" in instance else _layer_and_queries(instance)
    if "prompt" in instance:
        lines.append(f"prompt {_value(instance['prompt'])}")
    if "points" in witness:
        lines.append("preimages " + ", ".join(_value(point) for point in witness["points"]))
        return lines
    trees = witness["combinations"] if "combinations" in witness else [witness["tree"]]
    if "queries" in witness:
        lines.append(f"queries {', '.join(map(str, witness['queries']))} ask for independent contributions")
    else:
        lines.append("the inputs ask for independent contributions")
    lines.append(f"by dominant rows on {sum(_leaves(tree) for tree in trees)} boxes of attention weights")
    return lines


def _leaves(node: dict[str, Any]) -> int:
    return 1 if "rows" in node else _leaves(node["below"]) + _leaves(node["above"])


def _tell_update(instance: dict[str, Any], witness: dict[str, Any]) -> list[str]:
    lines = _layer_and_queries(instance)
    if "neurons" in witness:
        lines.append(f"W_1' = {_value(witness['W_1'])}, b_1' = {_value(witness['b_1'])}")
        pairs = zip(witness["neurons"], witness["order"], strict=True)
        lines.append("first to fire: " + ", ".join(f"unit {unit} at query {k}" for unit, k in pairs))
    elif "W_2" in witness:
        lines += [f"{name}' = {_value(witness[name])}" for name in ("W_1", "b_1", "W_2", "b_2")]
    else:
        first, second = witness["queries"]
        lines.append(f"queries {first} and {second} look the same to the MLP")
    return lines


def _tell_grid(instance: dict[str, Any], witness: dict[str, Any]) -> list[str]:
    """The claims of universality: numbers only."""
    lines = [f"d = {instance['d']}, m = {instance['m']}, k = {instance['k']}"]
    named = {"L": "L", "p": "p", "bound": "bound", "epsilon": "ε"}
    lines += [f"{shown} = {_value(instance[name])}" for name, shown in named.items() if name in instance]
    if "G" in instance:
        lines.append(f"global shift G = {_fraction(instance['G'], 1)}")
    if "t" in witness:
        lines.append(f"inverse temperature {_value(witness['t'])}, ramps of width {_value(witness['eta'])}")
    if "contexts" in witness:
        for codes, column in zip(witness["contexts"], witness["columns"], strict=True):
            lines.append(f"column {column} of the context ({', '.join(map(str, codes))})")
    return lines


def _tell_depth(instance: dict[str, Any], witness: dict[str, Any]) -> list[str]:
    """The claims of depth: region and numbers, then what is special to the relation."""
    if "factors" in witness:
        return _tell_collapse(instance, witness)
    lines = []
    stack = instance.get("stack")
    layers = stack["layers"] if stack is not None else instance.get("layers", [instance.get("layer")])
    lines.append(f"{len(layers)} layer(s) of width {len(layers[0]['mlp']['b_2']['num'])}")
    if stack is not None:
        lines.append(
            f"{_integer(stack['prompt_length'])} prompt token(s) within {_value(stack['prompt_radius'])}, "
            f"{_integer(stack['input_length'])} input token(s) within {_value(stack['input_radius'])}, "
            f"norm {stack['norm']}"
        )
    named = ("norm", "kind", "bound", "half_width", "radius", "p", "product", "factor", "floor", "error")
    for name in named:
        if name in instance:
            part = instance[name]
            lines.append(f"{name.replace('_', ' ')}: {part if isinstance(part, str) else _value(part)}")
    for name in ("P", "X", "Y", "Z", "basis"):
        if name in instance:
            lines.append(f"{name} = {_value(instance[name])}")
    for name in ("inputs", "x"):
        if instance.get(name):
            lines.append(f"{name}: " + ", ".join(_value(part) for part in instance[name][:MAX_SHOWN]))
    if "direction" in witness:
        lines += [f"{name} = {_value(witness[name])}" for name in ("P", "X", "direction")]
    return lines


def _tell_collapse(instance: dict[str, Any], witness: dict[str, Any]) -> list[str]:
    lines = [f"{_integer(instance['prompt_length'])} prompt token(s), one input token, uniform attention"]
    for i, layer in enumerate(instance["layers"]):
        head = layer["heads"][0]
        lines.append(f"layer {i}: W_v = {_value(head['W_v'])}, W_o = {_value(head['W_o'])}")
    return lines


TELLERS: dict[str, Callable[[dict[str, Any], dict[str, Any]], list[str]]] = {
    "unmemorizable-pair": _tell_pair,
    "attention-split": _tell_split,
    "direction-lemma": _tell_direction,
    "mlp-injectivity": _tell_injectivity,
    "prompt-law": _tell_prompt_law,
    "several-queries": _tell_several,
    "several-heads": _tell_heads,
    "prompt-length-bound": _tell_length,
    "low-rank-memorization": _tell_update,
    "quantisation": _tell_grid,
    "contextual-mapping": _tell_grid,
    "universality-hardmax": _tell_grid,
    "universality-softmax": _tell_grid,
    "attention-lipschitz": _tell_depth,
    "joint-injectivity": _tell_depth,
    "prompted-injectivity": _tell_depth,
}
