"""Certificates of the claims prompt-length-bound and low-rank-memorization: data in fractions, witnesses by hand or by
bisection with rounded inverse matrices."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import kernel_certificates as make
import length_oracle as oracle
import mpmath
from kernel_oracle import transposed
from several_heads_makers import Head, Row, number, rounded

Json = Any
ONE = Fraction(1)
Box = list[tuple[Fraction, Fraction]]


@dataclass
class Problem:
    """Query k has the columns contexts[k], its token is the last of those seen. `hidden` are columns behind it."""

    heads: list[Head]
    contexts: list[list[Row]]
    targets: list[Row] = field(default_factory=list)
    mlp: Json = None
    hidden: list[list[Row]] = field(default_factory=list)

    @property
    def d(self) -> int:
        return len(self.contexts[0][0])

    @property
    def layer(self) -> Json:
        heads = [head.json(self.d) for head in self.heads]
        return make.layer(heads, self.mlp or make.mlp(self.d), causal=bool(self.hidden))

    @property
    def inputs(self) -> list[Json]:
        result = []
        for k, columns in enumerate(self.contexts):
            everything = columns + (self.hidden[k] if self.hidden else [])
            result.append({"X": make.matrix(transposed(everything)), "column": len(columns) - 1})
        return result

    @property
    def queries(self) -> list[Json]:
        pairs = zip(self.inputs, self.targets, strict=True)
        return [{**one, "target": make.vector(y)} for one, y in pairs]


def length_certificate(relation: str, instance: Json, witness: Json) -> Json:
    return make.certificate("prompt-length-bound", relation, instance, witness)


def leaf(rows: Json, weights: Json = None) -> Json:
    return {"rows": make.matrix(rows), "weights": make.vector(weights or [1] * len(rows))}


def cut(pair: int, at: Json, below: Json, above: Json) -> Json:
    return {"pair": pair, "at": make.scalar(at), "below": below, "above": above}


def too_short(
    problem: Problem, *trees: Json, length: int | None = None, used: list[int] | None = None, proofs: Json = None
) -> Json:
    """Without an MLP, unless preimage proofs are given."""
    used = list(range(len(problem.contexts))) if used is None else used
    instance = {"layer": problem.layer, "queries": problem.queries, "length": length}
    witness = {
        "queries": used,
        "preimages": proofs or [make.point(problem.targets[k]) for k in used],
        "combinations": list(trees),
    }
    return length_certificate("too-short", instance, witness)


def tight(problem: Problem, prompt: list[Row], tree: Json, length: int | None, factor: Json = ()) -> Json:
    instance = {
        "layer": problem.layer,
        "inputs": problem.inputs,
        "prompt": make.matrix(transposed(prompt)),
        "length": length,
    }
    return length_certificate("tight", instance, {"factor": make.matrix(list(factor)), "tree": tree})


def independent(problem: Problem, prompt: list[Row], tree: Json) -> Json:
    instance = {"layer": problem.layer, "inputs": problem.inputs, "prompt": make.matrix(transposed(prompt))}
    return length_certificate("independent", instance, {"tree": tree})


def stated(problem: Problem, prompt: list[Row], points: list[Row]) -> Json:
    instance = {"layer": problem.layer, "queries": problem.queries, "prompt": make.matrix(transposed(prompt))}
    return length_certificate("prompt", instance, {"points": [make.vector(z) for z in points]})


# --- trees -----------------------------------------------------------------------------------------------------


def value(total: Any) -> Any:
    return mpmath.fsum(number(c) * mpmath.exp(number(e)) for e, c in total.items())


def at_point(vectors: Any, weights: list[Fraction]) -> Any:
    """The contributions at a point, as columns."""
    h, d = len(vectors[0][1]), len(vectors[0][0])
    units = [[ONE * (c == r) for c in range(d)] for r in range(d)]
    columns = [[value(oracle.at(v, e, weights[k * h : (k + 1) * h])) for e in units] for k, v in enumerate(vectors)]
    return mpmath.matrix(columns).T


def found_tree(data: oracle.Data, asked: list[Any], depth: int = 6) -> Json:
    """A tree for queries that want these outputs: rows from the pseudoinverse in the middle, the widest side is cut."""
    vectors = [oracle.vectors(data, k, a) for k, a in enumerate(asked)]

    def node(box: Box, left: int) -> Json:
        columns = at_point(vectors, [(low + high) / 2 for low, high in box])
        weights = [ONE] * len(vectors)
        try:
            inverse = mpmath.inverse(columns.T * columns) * columns.T
        except ZeroDivisionError:  # dependent: no rows do
            return leaf([[0] * data.d] * len(vectors), weights)
        rows = [[rounded(x, 20) for x in r] for r in inverse.tolist()]
        if not left or oracle.leaf(vectors, box, rows, weights):
            return leaf(rows, weights)
        g = max(range(len(box)), key=lambda k: (box[k][1] - box[k][0], -k))
        low, high = box[g]
        middle = (low + high) / 2
        below, above = (node([*box[:g], side, *box[g + 1 :]], left - 1) for side in ((low, middle), (middle, high)))
        return cut(g, middle, below, above)

    return node([(Fraction(0), ONE)] * (len(vectors) * len(data.heads)), depth)


def with_tree(problem: Problem, length: int | None) -> Json:
    """Too-short, without an MLP."""
    instance = {"layer": problem.layer, "queries": problem.queries}
    data = oracle.Data(instance)
    asked = [
        ([oracle.constant(y - x) for y, x in zip(target, token, strict=True)], oracle.UNIT)
        for target, token in zip(data.targets, data.tokens, strict=True)
    ]
    return too_short(problem, found_tree(data, asked), length=length)


def with_tree_of_prompt(problem: Problem, prompt: list[Row]) -> Json:
    data = oracle.Data({"layer": problem.layer, "inputs": problem.inputs, "prompt": make.matrix(transposed(prompt))})
    return found_tree(data, [data.output(k, prompt) for k in range(len(problem.contexts))])


# --- low rank --------------------------------------------------------------------------------------------------


def low_rank(relation: str, problem: Problem, witness: Json) -> Json:
    instance = {"layer": problem.layer, "queries": problem.queries}
    return make.certificate("low-rank-memorization", relation, instance, witness)


def triangular(problem: Problem, W_1: Json, b_1: Json, neurons: list[int], order: list[int]) -> Json:
    witness = {"W_1": make.matrix(W_1), "b_1": make.vector(b_1), "neurons": neurons, "order": order}
    return low_rank("triangular-update", problem, witness)


def updated(problem: Problem, W_1: Json, b_1: Json, W_2: Json, b_2: Json) -> Json:
    witness = {"W_1": make.matrix(W_1), "b_1": make.vector(b_1), "W_2": make.matrix(W_2), "b_2": make.vector(b_2)}
    return low_rank("updated", problem, witness)


def impossible(problem: Problem, i: int, k: int) -> Json:
    return low_rank("impossible", problem, {"queries": [i, k]})
