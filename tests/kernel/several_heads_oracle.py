"""A second reading of the claim several-heads: dense matrices of fractions, suprema of curves by stationary points,
prompts by Newton's method. What the kernel believes must hold here."""

from fractions import Fraction
from itertools import product
from typing import Any

import mpmath
from flint import arb
from kernel_oracle import (
    Mlp,
    Sum,
    UnsureError,
    apply,
    combined,
    dot,
    logit_vector,
    minus,
    number,
    sign,
    times,
    transposed,
    values,
)
from several_queries_oracle import ball, definitely, finite, largest

Json = Any
ONE = Fraction(1)
DIGITS = 60


class Data:
    """The layer, tokens and what they see, logit vectors of all pairs and groups of these."""

    def __init__(self, instance: Json) -> None:
        layer = instance["layer"]
        self.heads = [{name: values(entry) for name, entry in head.items()} for head in layer["heads"]]
        self.h = len(self.heads)
        self.V = [times(head["W_o"], head["W_v"]) for head in self.heads]
        self.mlp = Mlp(layer["mlp"])
        self.contexts, self.targets = [], []
        if "tokens" in instance:
            self.tokens = transposed(values(instance["tokens"]))
        else:
            self.tokens = []
            for query in instance["queries"]:
                columns, k = transposed(values(query["X"])), number(query["column"])
                self.contexts.append(columns[: k + 1] if layer["causal"] else columns)
                self.tokens.append(columns[k])
                self.targets.append(values(query["target"]))
        self.q = [logit_vector(head, x) for x in self.tokens for head in self.heads]
        distinct = [q for a, q in enumerate(self.q) if q not in self.q[:a]]
        self.groups = [[a for a, mine in enumerate(self.q) if mine == q] for q in distinct]

    def C(self, alpha: int, o: Any) -> list[Sum]:
        V, q = self.V[alpha % self.h], self.q[alpha]
        z = self.contexts[alpha // self.h]
        return [combined(*((apply(V, t)[c] - o[c], {dot(q, t): ONE}) for t in z)) for c in range(len(o))]

    def outputs(self, witness: Json) -> Any:
        """The outputs of the inputs, if they are what the queries ask for."""
        points, inputs = (list(map(values, witness[name])) for name in ("points", "inputs"))
        o = [apply(self.V[a % self.h], u) for a, u in enumerate(inputs)]
        for i, (z, y, x) in enumerate(zip(points, self.targets, self.tokens, strict=True)):
            total = [sum(column) for column in zip(*o[i * self.h : (i + 1) * self.h], strict=True)]
            if self.mlp(z) != y or total != minus(z, x):
                return None
        return o


def zero(v: Any) -> bool:
    return not any(v)


def memorizable(data: Data, witness: Json) -> bool:
    heights, directions = values(witness["heights"]), values(witness["directions"])
    count = len(data.q)
    return (
        data.outputs(witness) is not None
        and all(zero(apply(data.V[a % data.h], directions[a])) for a in range(count))
        and all(
            dot(minus(data.q[b], data.q[a]), directions[a]) < heights[b] - heights[a]
            for a, b in product(range(count), repeat=2)
            if a != b
        )
    )


def shared(data: Data, witness: Json) -> bool:
    o = data.outputs(witness)
    if o is None or any(len({a % data.h for a in group}) > 1 for group in data.groups):
        return False
    C = [data.C(a, o[a]) for a in range(len(o))]
    for group, place in zip(data.groups, witness["equations"], strict=True):
        delta, gamma = Fraction(0), {}
        if place is not None:
            a, b, c = map(number, place)
            if not {a, b} <= set(group):
                return False
            delta, gamma = o[a][c] - o[b][c], combined((ONE, C[a][c]), (-ONE, C[b][c]))
            if not delta or sign(gamma) * delta <= 0:
                return False
        for a, b in product(group, group):
            for c, difference in enumerate(minus(o[a], o[b])):
                other = combined((ONE, C[a][c]), (-ONE, C[b][c]))
                if place is None and (difference or sign(other)):
                    return False
                if place is not None and sign(combined((delta, other), (-difference, gamma))):
                    return False
    for V, dual in zip(data.V, map(values, witness["duals"]), strict=True):
        for g, k in enumerate(dual):
            products = [dot(k, data.q[group[0]]) for group in data.groups]
            if not zero(apply(V, k)) or products != [int(g == other) for other in range(len(data.groups))]:
                return False
    return True


def refuted(data: Data, witness: Json, length: int | None) -> bool:
    log_length = None if length is None else tuple(map(values, witness["log_length"]))
    if log_length is not None and not ball(log_length[0]).exp() <= length <= ball(log_length[1]).exp():
        return False
    points = [finite(data.mlp, y, proof) for y, proof in zip(data.targets, witness["preimages"], strict=True)]
    if None in points:
        return False
    for choice, node in zip(product(*points), witness["combinations"], strict=True):
        if "query" in node:
            i, w = number(node["query"]), values(node["w"])
            if any(any(apply(transposed(V), w)) for V in data.V) or not dot(w, minus(choice[i], data.tokens[i])):
                return False
            continue
        o = [minus(z, x) for z, x in zip(choice, data.tokens, strict=True) for _ in range(data.h)]
        stack: list[Any] = [(node, [(None, None)] * len(data.groups))]
        while stack:
            node, box = stack.pop()
            if "group" in node:
                g, at = number(node["group"]), values(node["at"])
                low, high = box[g]
                for side, part in (
                    ("above", (at if low is None else max(at, low), high)),
                    ("below", (low, at if high is None else min(at, high))),
                ):
                    if None in part or part[0] < part[1]:
                        stack.append((node[side], [*box[:g], part, *box[g + 1 :]]))
            elif not leaf(data, node, box, o, None if log_length is None else log_length[1]):
                return False
    return True


def leaf(data: Data, node: Json, box: Any, o: Any, log_length: Fraction | None) -> bool:
    e, D, y = (values(node[name]) for name in ("entropy", "divergence", "values"))
    n = [Fraction(0)] * len(e) if node["length"] is None else values(node["length"])
    if any(x < 0 for x in [*e, *n, *(x for r in D for x in r)]) or any(D[g][g] for g in range(len(e))):
        return False
    q = [data.q[group[0]] for group in data.groups]
    if any(any(apply(transposed(V), r)) for a, r in enumerate(y) for k, V in enumerate(data.V) if k != a % data.h):
        return False
    total, below = arb(0), False
    for g, group in enumerate(data.groups):
        for c in range(len(q[0])):
            left = sum(D[g][k] * (q[g][c] - q[k][c]) for k in range(len(q))) - (e[g] - n[g]) * q[g][c]
            if left != sum(apply(transposed(data.V[a % data.h]), y[a])[c] for a in group):
                return False
        A = e[g] - n[g] + sum(D[k][g] - D[g][k] for k in range(len(q)))
        b = sum((dot(y[a], o[a]) for a in group), n[g] * (log_length or 0))
        gamma = combined(*((-x, C) for a in group for x, C in zip(y[a], data.C(a, o[a]), strict=True)))
        most = largest(A, ball(b), gamma, *box[g])
        if most is None:
            return False
        below = below or (sign(gamma) < 0 and A == 0 and box[g][1] is None)
        total += most
    if total.overlaps(arb(0)) and below and total.rad() < 1e-20:
        return True
    return definitely(total, arb(0))


def stuck(data: Data, eta: Any, c: Any) -> bool:
    count = len(data.q)
    rows = [apply(transposed(data.V[a % data.h]), eta[a]) for a in range(count)]
    return (
        all(x >= 0 for r in c for x in r)
        and not any(c[a][a] for a in range(count))
        and [sum(r) for r in c] == [sum(r) for r in transposed(c)]
        and all(
            rows[a] == [sum(c[a][b] * (data.q[b][r] - data.q[a][r]) for b in range(count)) for r in range(len(rows[a]))]
            for a in range(count)
        )
        and any(map(any, rows))
    )


def real(x: Fraction) -> mpmath.mpf:
    return mpmath.mpf(x.numerator) / x.denominator


@mpmath.workdps(DIGITS)  # the radius may be far below what 15 digits show
def prompt(data: Data, witness: Json, length: int) -> bool:
    """Newton's method with the stated preconditioner comes to a solution within the radius."""
    counts = list(map(number, witness["counts"]))
    if sum(counts) != length or values(witness["radius"]) <= 0:
        return False
    points = list(map(values, witness["points"]))
    if any(data.mlp(z) != y for z, y in zip(points, data.targets, strict=True)):
        return False
    columns = [[real(x) for x in t] for t in transposed(values(witness["tokens"]))]
    unknowns = [tuple(map(number, u)) for u in witness["unknowns"]]
    Y = mpmath.matrix([[real(x) for x in r] for r in values(witness["preconditioner"])])
    moved = [mpmath.mpf(0)] * len(unknowns)
    for _ in range(60):
        tokens = [list(t) for t in columns]
        for (r, j), x in zip(unknowns, moved, strict=True):
            tokens[j][r] += x
        F = mpmath.matrix(residual(data, tokens, counts, points))
        moved = [x - step for x, step in zip(moved, Y * F, strict=True)]
    return max(map(abs, F)) < mpmath.mpf(10) ** -30 and max(map(abs, moved)) <= real(values(witness["radius"]))


def residual(data: Data, tokens: Any, counts: list[int], points: Any) -> list[Any]:
    result = []
    for i, (context, z, x) in enumerate(zip(data.contexts, points, data.tokens, strict=True)):
        everything, many = tokens + [[real(t) for t in column] for column in context], [*counts, *[1] * len(context)]
        total = [real(a - b) for a, b in zip(x, z, strict=True)]
        for j, V in enumerate(data.V):
            q = [real(t) for t in data.q[i * data.h + j]]
            weights = [n * mpmath.exp(mpmath.fdot(q, t)) for n, t in zip(many, everything, strict=True)]
            mean = [mpmath.fdot(weights, column) / mpmath.fsum(weights) for column in zip(*everything, strict=True)]
            total = [a + mpmath.fdot(map(real, r), mean) for a, r in zip(total, V, strict=True)]
        result += total
    return result


def holds(certificate: Json) -> bool:
    instance, witness, relation = (certificate[name] for name in ("instance", "witness", "relation"))
    data = Data(instance)
    if relation == "stuck":
        return stuck(data, values(instance["values"]), values(witness["flow"]))
    length = None if instance["length"] is None else number(instance["length"])
    if relation == "memorizable":
        return memorizable(data, witness)
    if relation == "memorizable-shared":
        return shared(data, witness)
    if relation == "prompt":
        assert length is not None
        return prompt(data, witness, length)
    return refuted(data, witness, length)


__all__ = ["Data", "UnsureError", "holds"]
