"""A second reading of the claim several-queries, by meaning where that is possible.

The largest values of the functions of a leaf are taken exactly (in flint's balls), by their stationary points and not
by the rule of the format; inequalities on a box are tried at many of its points; a prompt is found by Newton's method.
What the kernel believes must hold here; the converse is not asked for.
"""

import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import mpmath
from flint import arb, ctx, fmpq
from kernel_oracle import (
    Mlp,
    Sum,
    UnsureError,
    apply,
    bound,
    combined,
    dot,
    leaves,
    logit_vector,
    minus,
    number,
    pieces,
    sign,
    times,
    transposed,
    values,
)

Json = Any
ONE = Fraction(1)


def ball(x: Any) -> arb:
    return arb(fmpq(x.numerator, x.denominator)) if isinstance(x, Fraction) else x


def value(terms: Sum) -> arb:
    ctx.prec = 400
    return sum((ball(c) * ball(q).exp() for q, c in terms.items()), arb(0))


def definitely(less: arb, more: arb) -> bool:
    """less < more; raises where the balls do not tell."""
    if less < more:
        return True
    if less >= more:
        return False
    raise UnsureError


class Data:
    """The instance, and for one point of each query a, C and the groups."""

    def __init__(self, instance: Json) -> None:
        layer = instance["layer"]
        (head,) = layer["heads"]
        self.head = {name: values(entry) for name, entry in head.items()}
        self.V = times(self.head["W_o"], self.head["W_v"])
        self.mlp = Mlp(layer["mlp"])
        self.tokens, self.contexts, self.targets = [], [], []
        for query in instance["queries"]:
            columns, k = transposed(values(query["X"])), number(query["column"])
            self.contexts.append(columns[: k + 1] if layer["causal"] else columns)
            self.tokens.append(columns[k])
            self.targets.append(values(query["target"]))
        self.q = [logit_vector(self.head, x) for x in self.tokens]
        self.groups: list[list[int]] = []
        for k, q in enumerate(self.q):
            for group in self.groups:
                if self.q[group[0]] == q:
                    group.append(k)
                    break
            else:
                self.groups.append([k])
        self.length = None if instance["length"] is None else number(instance["length"])

    def choose(self, points: Sequence[Any]) -> None:
        self.a = [minus(z, x) for z, x in zip(points, self.tokens, strict=True)]
        self.C: list[list[Sum]] = []
        for q, a, context in zip(self.q, self.a, self.contexts, strict=True):
            rows = [minus(apply(self.V, z), a) for z in context]
            exponents = [dot(q, z) for z in context]
            self.C.append(
                [combined(*((r[c], {e: ONE}) for r, e in zip(rows, exponents, strict=True))) for c in range(len(a))]
            )

    def equation(self, place: Json) -> tuple[Fraction, Sum]:
        i, j, c = map(number, place)
        return self.a[i][c] - self.a[j][c], combined((ONE, self.C[i][c]), (-ONE, self.C[j][c]))

    def together(self, places: Sequence[Json]) -> bool:
        named = {number(n) for place in places for n in place[:2]}
        return any(named <= set(group) for group in self.groups)

    def equations_hold(self, places: Sequence[Json]) -> bool:
        for group, place in zip(self.groups, places, strict=True):
            pairs = [self.equation([i, j, c]) for i, j in product(group, group) for c in range(len(self.a[0]))]
            if place is None:
                if any(delta or sign(gamma) for delta, gamma in pairs):
                    return False
                continue
            if not self.together([place]) or number(place[0]) not in group:
                return False
            delta, gamma = self.equation(place)
            if not delta or sign(gamma) * delta <= 0:
                return False
            if any(sign(combined((delta, g), (-d, gamma))) for d, g in pairs):
                return False
        return True

    def bracketed(self, place: Json, bracket: Json) -> bool:
        delta, gamma = self.equation(place)
        low, high = map(values, bracket)
        size = abs(delta)
        gamma = combined((delta / size, gamma))
        return (
            sign(combined((ONE, gamma), (-size, {low: ONE}))) >= 0 >= sign(combined((ONE, gamma), (-size, {high: ONE})))
        )

    def inverse_holds(self, inverse: Json) -> bool:
        d = len(self.V)
        return times(self.V, values(inverse)) == [[int(i == j) for j in range(d)] for i in range(d)]

    def mean(self, g: int, inverse: Any, decay: arb) -> list[arb]:
        """The mean of the prompt at group g for e^{-sigma} = decay, without reference to the kernel's forms r_k."""
        i = self.groups[g][0]
        u = [ball(a) - value(C) * decay for a, C in zip(self.a[i], self.C[i], strict=True)]
        return [sum((ball(x) * y for x, y in zip(row, u, strict=True)), arb(0)) for row in inverse]

    def constants(self, g: int, inverse: Any) -> tuple[Any, Any]:
        """alpha and beta."""
        i = self.groups[g][0]
        alpha = apply(inverse, self.a[i])
        beta = [combined(*((-x, C) for x, C in zip(row, self.C[i], strict=True))) for row in inverse]
        return alpha, beta


def memorizable(data: Data, witness: Json) -> bool:
    points = [values(z) for z in witness["points"]]
    if any(data.mlp(z) != y for z, y in zip(points, data.targets, strict=True)):
        return False
    data.choose(points)
    if not data.inverse_holds(witness["inverse"]) or not data.equations_hold(witness["equations"]):
        return False
    q = [data.q[group[0]] for group in data.groups]
    G = len(q)
    if times(values(witness["dual"]), transposed(q)) != [[int(i == j) for j in range(G)] for i in range(G)]:
        return False
    box = [tuple(map(values, pair)) for pair in witness["box"]]
    for place, (low, high), pair in zip(witness["equations"], box, witness["box"], strict=True):
        if low > high or (place is not None and not data.bracketed(place, pair)):
            return False
    inverse = values(witness["inverse"])
    corners = list(product(*box)) if G < 6 else [tuple(low for low, _ in box)]
    rng = random.Random(0)
    inner = [tuple(low + (high - low) * Fraction(rng.random()) for low, high in box) for _ in range(8)]
    for sigma in corners + inner:
        for g in range(G):
            p = data.mean(g, inverse, (-ball(sigma[g])).exp())
            scores = [sum((ball(x) * y for x, y in zip(row, p, strict=True)), arb(0)) for row in q]
            if not definitely(scores[g], ball(sigma[g])):
                return False
            if not all(definitely(ball(sigma[g] - sigma[k]), scores[g] - scores[k]) for k in range(G) if k != g):
                return False
    return True


def largest(A: Fraction, b: arb, gamma: Sum, low: Fraction | None, high: Fraction | None) -> arb | None:
    """The supremum of A s + b + gamma e^{-s} on an interval that is not empty; None: infinite."""
    s = sign(gamma)
    if (high is None and A > 0) or (low is None and (s > 0 or (s == 0 and A < 0))):
        return None
    candidates = []
    for end in (low, high):
        if end is not None:
            candidates.append(ball(A * end) + b + value(gamma) * (-ball(end)).exp())
    if high is None and A == 0:
        candidates.append(b)
    if low is None and s == 0 and A == 0:
        candidates.append(b)
    if s < 0 and A < 0:  # stationary at e^{-s} = A/gamma
        decay = ball(A) / value(gamma)
        at = -decay.log()
        if (low is None or not at < ball(low)) and (high is None or not at > ball(high)):
            candidates.append(ball(A) * at + b + ball(A))
    result = candidates[0]
    for other in candidates[1:]:
        result = result.max(other)
    return result


def refuted(data: Data, witness: Json) -> bool:
    if not data.inverse_holds(witness["inverse"]):
        return False
    if data.length is not None:
        low, high = map(values, witness["log_length"])
        if not ball(low).exp() <= data.length <= ball(high).exp():
            return False
    points = []
    for y, proof in zip(data.targets, witness["preimages"], strict=True):
        mine = finite(data.mlp, y, proof)
        if mine is None:
            return False
        points.append(mine)
    inverse = values(witness["inverse"])
    for choice, argument in zip(product(*points), witness["combinations"], strict=True):
        data.choose(choice)
        if argument["argument"] == "tree":
            if not tree(data, argument, inverse):
                return False
        else:
            places = [argument["equation"]] if argument["argument"] == "sign" else argument["equations"]
            if not data.together(places):
                return False
            (delta, gamma), (other_delta, other_gamma) = map(data.equation, (places[0], places[-1]))
            if argument["argument"] == "sign":
                if (sign(gamma) == 0) if not delta else (sign(gamma) * delta > 0):
                    return False
            elif not delta or not other_delta or not sign(combined((other_delta, gamma), (-delta, other_gamma))):
                return False
    return True


def finite(mlp: Mlp, y: Any, proof: Json) -> Any:
    """The points of the preimage, or None when the proof fails."""
    found = pieces(mlp, y, proof)
    if found is None or proof["kind"] == "point":
        return found
    points = []
    for fixed, entry in zip(found, proof["points"], strict=True):
        z = values(entry["z"])
        if mlp(z) != y:
            return None
        for c, pair in enumerate(entry["multipliers"]):
            for side, multipliers in zip((1, -1), pair, strict=True):
                f = [Fraction(-side) * x for x in mlp.W_2[c]]
                limit = bound(mlp, y, fixed, f, values(multipliers))
                if limit is None or side * (y[c] - mlp.b_2[c]) + limit != side * z[c]:
                    return None
        points.append(z)
    assert len(leaves(proof["tree"], {})) >= len(points)
    return points


def tree(data: Data, argument: Json, inverse: Any) -> bool:
    if not data.equations_hold(argument["equations"]):
        return False
    G = len(data.groups)
    root: list[tuple[Fraction | None, Fraction | None]] = []
    for place, bracket in zip(argument["equations"], argument["brackets"], strict=True):
        if place is not None and not data.bracketed(place, bracket):
            return False
        root.append((None, None) if place is None else tuple(map(values, bracket)))
    constants = [data.constants(g, inverse) for g in range(G)]
    q = [data.q[group[0]] for group in data.groups]
    ctx.prec = 400
    log_length = arb(1 if data.length is None else data.length).log()

    def leaf(node: Json, box: Any) -> bool:
        entropy, divergence = values(node["entropy"]), values(node["divergence"])
        length = [Fraction(0)] * G if node["length"] is None else values(node["length"])
        if min([*entropy, *length, *(x for r in divergence for x in r)]) < 0:
            return False
        A, b, gamma = [Fraction(0)] * G, [arb(0)] * G, [combined() for _ in range(G)]

        def add(factor: Fraction, slopes: dict[int, int], g: int, direction: Any) -> None:
            """factor (sum of slope sigma + direction.p_g)"""
            alpha, beta = constants[g]
            for k, slope in slopes.items():
                A[k] += slope * factor
            b[g] += ball(factor * dot(direction, alpha))
            gamma[g] = combined((ONE, gamma[g]), *((factor * x, y) for x, y in zip(direction, beta, strict=True)))

        for g in range(G):
            opposite = [-x for x in q[g]]
            add(entropy[g], {g: 1}, g, opposite)
            add(length[g], {g: -1}, g, q[g])
            b[g] += ball(length[g]) * log_length
            for k in range(G):
                if k != g:
                    add(divergence[g][k], {k: 1, g: -1}, g, minus(q[g], q[k]))
        total = arb(0)
        for g in range(G):
            top = largest(A[g], b[g], gamma[g], *box[g])
            if top is None:
                return False
            total += top
        return definitely(total, arb(0))

    stack = [(argument["tree"], root)]
    while stack:
        node, box = stack.pop()
        if any(low is not None and high is not None and low > high for low, high in box):
            continue
        if "group" in node:
            g, at = number(node["group"]), values(node["at"])
            low, high = box[g]
            below = at if high is None else min(at, high)
            above = at if low is None else max(at, low)
            stack.append((node["below"], [*box[:g], (low, below), *box[g + 1 :]]))
            stack.append((node["above"], [*box[:g], (above, high), *box[g + 1 :]]))
        elif not leaf(node, box):
            return False
    return True


def prompt(data: Data, witness: Json) -> bool:
    points = [values(z) for z in witness["points"]]
    if any(data.mlp(z) != y for z, y in zip(points, data.targets, strict=True)):
        return False
    data.choose(points)
    counts = [number(n) for n in witness["counts"]]
    if not data.equations_hold(witness["equations"]) or min(counts) < 1 or sum(counts) != data.length:
        return False
    with mpmath.workdps(50):

        def real(x: Fraction) -> mpmath.mpf:
            return mpmath.mpf(x.numerator) / x.denominator

        def off(tokens: Any) -> list[Any]:
            """sum e^{q.p} (V p - a) + C for every query, the further queries of a group included, divided by S."""
            result = []
            for q, a, context in zip(data.q, data.a, data.contexts, strict=True):
                everything = [*tokens, *([real(x) for x in z] for z in context)]
                times = counts + [1] * (len(everything) - len(tokens))
                weights = [
                    n * mpmath.exp(mpmath.fdot([real(x) for x in q], t)) for n, t in zip(times, everything, strict=True)
                ]
                for row, x in zip(data.V, a, strict=True):
                    values_ = [mpmath.fdot([real(y) for y in row], t) - real(x) for t in everything]
                    result.append(mpmath.fdot(weights, values_) / mpmath.fsum(weights))
            return result

        start = [[real(x) for x in t] for t in transposed(values(witness["tokens"]))]
        tokens, unknowns = [list(t) for t in start], [(number(r), number(j)) for r, j in witness["unknowns"]]
        step = mpmath.mpf(10) ** -20
        for _ in range(12):
            base, columns = off(tokens), []
            for r, j in unknowns:
                moved = [list(t) for t in tokens]
                moved[j][r] += step
                columns.append([(x - y) / step for x, y in zip(off(moved), base, strict=True)])
            J = mpmath.matrix(columns).T
            try:
                change = mpmath.lu_solve(J, mpmath.matrix(base))  # least squares, if a group has several queries
            except (ZeroDivisionError, ValueError):
                return False
            for (r, j), x in zip(unknowns, change, strict=True):
                tokens[j][r] -= x
        radius = real(values(witness["radius"]))
        near = all(abs(x - y) <= radius for t, s in zip(tokens, start, strict=True) for x, y in zip(t, s, strict=True))
        return near and max(map(abs, off(tokens))) < mpmath.mpf(10) ** -25


def holds(certificate: Json) -> bool:
    data, witness = Data(certificate["instance"]), certificate["witness"]
    match certificate["relation"]:
        case "memorizable":
            return memorizable(data, witness)
        case "no-prompt-memorizes":
            return refuted(data, witness)
        case _:
            return prompt(data, witness)
