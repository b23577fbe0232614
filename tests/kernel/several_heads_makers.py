"""Certificates of the claim several-heads: data in fractions; witnesses by hand, prompts aimed at in mpmath."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import kernel_certificates as make
import mpmath
from kernel_oracle import Sum, apply, combined, dot, times, transposed
from prompt_law_makers import row

Json = Any
Row = list[Fraction]
ONE = Fraction(1)
mpmath.mp.dps = 60


def number(x: Any) -> mpmath.mpf:
    return mpmath.mpf(Fraction(x).numerator) / Fraction(x).denominator


def rounded(x: Any, bits: int = 60) -> Fraction:
    return Fraction(int(mpmath.nint(mpmath.mpf(x) * 2**bits)), 2**bits)


def plus(u: Sequence[Fraction], v: Sequence[Fraction]) -> Row:
    return [x + y for x, y in zip(u, v, strict=True)]


@dataclass
class Head:
    """Matrices as lists of rows."""

    W_q: Json
    W_k: Json
    W_v: Json
    W_o: Json
    b_q: Json = ()

    @cached_property
    def V(self) -> list[Row]:
        return times(list(map(row, self.W_o)), list(map(row, self.W_v)))

    def q(self, x: Row) -> Row:
        inner = [dot(row(r), x) for r in self.W_q]
        if self.b_q:
            inner = plus(inner, row(self.b_q))
        return apply(transposed(list(map(row, self.W_k))), inner)

    def json(self, d: int) -> Json:
        return make.head(d, W_q=self.W_q, W_k=self.W_k, W_v=self.W_v, W_o=self.W_o, b_q=self.b_q)


@dataclass
class Problem:
    """Query i has the columns contexts[i], its token is the last of those seen, and it wants one of points[i] (without
    an MLP: the target itself). `hidden` are columns behind the token, under a causal mask."""

    heads: list[Head]
    contexts: list[list[Row]]
    points: list[list[Row]]
    length: int | None = None
    mlp: Json = None
    proofs: list[Json] | None = None
    targets: list[Row] | None = None
    hidden: list[list[Row]] = field(default_factory=list)

    @property
    def d(self) -> int:
        return len(self.contexts[0][0])

    @property
    def n(self) -> int:
        return len(self.contexts)

    @property
    def h(self) -> int:
        return len(self.heads)

    def token(self, i: int) -> Row:
        return self.contexts[i][-1]

    def q(self, alpha: int) -> Row:
        return self.heads[alpha % self.h].q(self.token(alpha // self.h))

    @property
    def groups(self) -> list[list[int]]:
        found: list[list[int]] = []
        for alpha in range(self.n * self.h):
            mine = next((g for g in found if self.q(g[0]) == self.q(alpha)), None)
            if mine is None:
                found.append([alpha])
            else:
                mine.append(alpha)
        return found

    def C(self, alpha: int, o: Row) -> list[Sum]:
        V, q = self.heads[alpha % self.h].V, self.q(alpha)
        terms = [
            [({dot(q, z): ONE}, x - y) for x, y in zip(apply(V, z), o, strict=True)]
            for z in self.contexts[alpha // self.h]
        ]
        return [combined(*((x, e) for e, x in coordinate)) for coordinate in zip(*terms, strict=True)]

    def wants(self) -> list[Row]:
        return self.targets or [points[0] for points in self.points]

    def instance(self) -> Json:
        queries = []
        for i, (columns, y) in enumerate(zip(self.contexts, self.wants(), strict=True)):
            everything = columns + (self.hidden[i] if self.hidden else [])
            queries.append(make.query(transposed(everything), len(columns) - 1, y))
        heads = [head.json(self.d) for head in self.heads]
        return {
            "layer": make.layer(heads, self.mlp or make.mlp(self.d), causal=bool(self.hidden)),
            "queries": queries,
            "length": None if self.length is None else make.integer(self.length),
        }

    def preimages(self) -> list[Json]:
        return self.proofs or [make.point(points[0]) for points in self.points]

    def certificate(self, relation: str, witness: Json) -> Json:
        evidence = "enclosed" if relation == "prompt" else "exact"
        return make.certificate("several-heads", relation, self.instance(), witness, evidence=evidence)

    def chosen(self) -> list[Json]:
        return [make.vector(points[0]) for points in self.points]


def asking(problem: Problem, inputs: Sequence[Row]) -> Problem:
    """With the points that the outputs of these inputs, one for each pair, add up to."""
    points = []
    for i in range(problem.n):
        z = problem.token(i)
        for j, head in enumerate(problem.heads):
            z = plus(z, apply(head.V, inputs[i * problem.h + j]))
        points.append([z])
    return replace(problem, points=points)


def memorizable(problem: Problem, inputs: Json, heights: Json, directions: Json) -> Json:
    witness = {
        "points": problem.chosen(),
        "inputs": [make.vector(u) for u in inputs],
        "heights": make.vector(heights),
        "directions": make.matrix(directions),
    }
    return problem.certificate("memorizable", witness)


def along(problem: Problem, inputs: Json, kappa: Json) -> Json:
    """Directions that are multiples of a vector that no head sees, and at which all logit vectors differ: on a line
    the square of the position is a height that does."""
    at = [dot(problem.q(alpha), row(kappa)) for alpha in range(problem.n * problem.h)]
    directions = [[2 * x * k for k in row(kappa)] for x in at]
    return memorizable(problem, inputs, [x * x for x in at], directions)


def shared(problem: Problem, inputs: Json, equations: Json, duals: Json) -> Json:
    witness = {
        "points": problem.chosen(),
        "inputs": [make.vector(u) for u in inputs],
        "equations": equations,
        "duals": [make.matrix(dual) for dual in duals],
    }
    return problem.certificate("memorizable-shared", witness)


def refuted(problem: Problem, trees: Sequence[Json], log_length: Json = None) -> Json:
    witness = {
        "preimages": problem.preimages(),
        "log_length": log_length and [make.scalar(x) for x in log_length],
        "combinations": list(trees),
    }
    return problem.certificate("no-prompt-memorizes", witness)


def leaf(problem: Problem, values: Json, **others: Json) -> Json:
    """A leaf without multipliers, unless given."""
    G = len(problem.groups)
    return {
        "entropy": make.vector([0] * G),
        "divergence": make.matrix(make.zeros(G, G)),
        "length": None if problem.length is None else make.vector([0] * G),
        "tangents": [None] * G,
        "values": make.matrix(values),
        **others,
    }


def cut(group: int, at: Json, below: Json, above: Json) -> Json:
    return {"group": group, "at": make.scalar(at), "below": below, "above": above}


# --- prompts -------------------------------------------------------------------------------------------------


def outputs(problem: Problem, tokens: Sequence[Sequence[Any]], counts: Sequence[int]) -> list[mpmath.mpf]:
    """z - x for all queries and coordinates; tokens of the prompt are rows."""
    result = []
    for i, columns in enumerate(problem.contexts):
        everything = [list(t) for t in tokens] + [[number(x) for x in t] for t in columns]
        total = [mpmath.mpf(0)] * problem.d
        for j, head in enumerate(problem.heads):
            q = [number(x) for x in problem.q(i * problem.h + j)]
            weights = [mpmath.exp(mpmath.fdot(q, t)) for t in everything]
            weights = [w * c for w, c in zip(weights, [*counts, *[1] * len(columns)], strict=True)]
            mean = [mpmath.fdot(weights, [t[c] for t in everything]) / mpmath.fsum(weights) for c in range(problem.d)]
            values = [mpmath.fdot([number(x) for x in r], mean) for r in head.V]
            total = [x + y for x, y in zip(total, values, strict=True)]
        result += total
    return result


def prompt(
    problem: Problem, tokens: Sequence[Row], counts: Sequence[int], unknowns: Sequence[tuple[int, int]], **others: Any
) -> Json:
    """Aimed at what these tokens (rows) give, rounded; Y is the inverse of difference quotients."""
    exact = [[number(x) for x in t] for t in tokens]
    F: Callable[[Any], list[Any]] = lambda tokens: outputs(problem, tokens, counts)  # noqa: E731
    base, d = F(exact), problem.d
    points = [[plus([rounded(x) for x in base[i * d : (i + 1) * d]], problem.token(i))] for i in range(problem.n)]
    step, columns = mpmath.mpf(2) ** -60, []
    for r, j in unknowns:
        moved = [list(t) for t in exact]
        moved[j][r] += step
        columns.append([(x - y) / step for x, y in zip(F(moved), base, strict=True)])
    Y = mpmath.inverse(mpmath.matrix(columns).T)
    problem = replace(problem, points=points, length=sum(counts))
    witness = {
        "points": problem.chosen(),
        "references": make.vector([0] * problem.n * problem.h),
        "tokens": make.matrix(transposed(tokens)),
        "counts": [make.integer(c) for c in counts],
        "radius": make.scalar(Fraction(1, 2**40)),
        "unknowns": [list(u) for u in unknowns],
        "preconditioner": make.matrix([[rounded(x, 40) for x in r] for r in Y.tolist()]),
        "precision": 128,
        **others,
    }
    return problem.certificate("prompt", witness)
