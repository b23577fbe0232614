"""The second evaluation of prompt-law and several-queries: memorizable, and no prompt memorizes.

By the written conditions (docs/certificate-format.md); or by meaning: the equations of a group solved anew, preimages
by z3, the entropy in balls, positivity of a combination by its stationary points, of the witness only where to look.
Not covered: relations "loss-bounds" and "prompt", whose conditions are about enclosures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product as choices
from typing import Any

import mutation_truth
from flint import arb, ctx
from mutation_numbers import (
    BITS,
    ONE,
    ZERO,
    Json,
    Matrix,
    Sum,
    UnsureError,
    Vector,
    added,
    ball,
    image,
    inner,
    merged,
    plus,
    product,
    read,
    scaled,
    sign,
    times,
    turned,
    whole,
)
from mutation_truth import Head, Mlp, covering, impossible

Ends = tuple[Fraction | None, Fraction | None]


def reduced(A: Matrix, right: Vector) -> Vector | None:
    """One x with A x = right, by elimination; None without a solution."""
    width = len(A[0])
    rows = [[*row, y] for row, y in zip(A, right, strict=True)]
    pivots: list[int] = []
    for j in range(width):
        i = len(pivots)
        k = next((k for k in range(i, len(rows)) if rows[k][j]), None)
        if k is None:
            continue
        rows[i], rows[k] = rows[k], rows[i]
        rows[i] = [x / rows[i][j] for x in rows[i]]
        rows = [row if k == i else added(row, rows[i], -row[j]) for k, row in enumerate(rows)]
        pivots.append(j)
    if any(row[width] for row in rows[len(pivots) :]):
        return None
    x = [ZERO] * width
    for i, j in enumerate(pivots):
        x[j] = rows[i][width]
    return x


def value(a: Sum) -> arb:
    return sum((ball(c) * ball(q).exp() for q, c in a.items()), arb(0))


def definite(difference: arb) -> int:
    """The sign of a ball, which is not zero."""
    if difference > 0:
        return 1
    if difference < 0:
        return -1
    raise UnsureError("two values too close")


@dataclass
class Setting:
    """The instance; with :meth:`choose` a and C of each query for one point of its preimage."""

    layer: Json
    queries: list[Json]
    length: int | None

    def __init__(self, instance: Json) -> None:
        layer = instance["layer"]
        assert layer["E"] is None
        self.mlp = Mlp(layer["mlp"])
        self.d = self.mlp.d
        self.head = Head(layer["heads"][0], self.d)
        self.V = self.head.V
        self.tokens, self.contexts, self.targets = [], [], []
        for query in instance["queries"]:
            X, k = read(query["X"]), whole(query["column"])
            columns = turned(X, len(X[0]))
            self.tokens.append(columns[k])
            self.contexts.append(columns[: k + 1] if layer["causal"] else columns)
            self.targets.append(read(query["target"]))
        self.q = [self.head.logit_vector(x) for x in self.tokens]
        self.groups = [
            [k for k, other in enumerate(self.q) if other == q] for i, q in enumerate(self.q) if q not in self.q[:i]
        ]
        self.length = None if instance["length"] is None else whole(instance["length"])

    def choose(self, points: Sequence[Vector]) -> None:
        self.a = [added(z, x, -ONE) for z, x in zip(points, self.tokens, strict=True)]
        self.C: list[list[Sum]] = []
        for q, a, context in zip(self.q, self.a, self.contexts, strict=True):
            off = [added(image(self.V, z), a, -ONE) for z in context]
            scores = [inner(q, z) for z in context]
            self.C.append([merged([(e, r[c]) for e, r in zip(scores, off, strict=True)]) for c in range(self.d)])

    def meets(self, points: Sequence[Vector]) -> bool:
        return all(self.mlp(z) == y for z, y in zip(points, self.targets, strict=True))

    def equation(self, place: Json) -> tuple[Fraction, Sum]:
        i, j, c = map(whole, place)
        return self.a[i][c] - self.a[j][c], plus(self.C[i][c], self.C[j][c], -ONE)

    def along(self, v: Vector, k: int) -> Sum:
        """v·C_k."""
        total: Sum = {}
        for weight, entry in zip(v, self.C[k], strict=True):
            total = plus(total, entry, weight)
        return total

    def solution(self, group: Sequence[int]) -> Sum | str:
        """The only mass of a group, or "any", or "none"."""
        pairs = [self.equation([group[0], k, c]) for k in group[1:] for c in range(self.d)]
        chosen = next(((delta, gamma) for delta, gamma in pairs if delta), None)
        if chosen is None:
            return "none" if any(gamma for _, gamma in pairs) else "any"
        s = scaled(chosen[1], 1 / chosen[0])
        if sign(s) <= 0 or any(scaled(s, delta) != gamma for delta, gamma in pairs):
            return "none"
        return s

    def equation_holds(self, group: Sequence[int], place: Json) -> bool:
        """The condition on what is written for a group: null, or an equation that solves all of them."""
        found = self.solution(group)
        if place is None:
            return found == "any"
        if isinstance(found, str) or not set(map(whole, place[:2])) <= set(group):
            return False
        return self.equation(place)[0] != 0

    def points(self, proofs: Sequence[Json], by_witness: bool) -> list[list[Vector]] | None:
        """The points of each preimage, if they are proved (or known) to be all."""
        found = []
        for y, proof in zip(self.targets, proofs, strict=True):
            pieces = covering(self.mlp, y, proof, by_witness)
            if pieces is None:
                return None
            if proof["kind"] == "point":
                found.append(pieces)
                continue
            points = [read(entry["z"]) for entry in proof["points"]]
            for fixed, z, entry in zip(pieces, points, proof["points"], strict=True):
                if self.mlp(z) != y or not self._only(y, fixed, z, entry["multipliers"], by_witness):
                    return None
            found.append(points)
        return found

    def _only(self, y: Vector, fixed: Any, z: Vector, multipliers: Json, by_witness: bool) -> bool:
        for c, pair in enumerate(multipliers):
            for side, proof in zip((ONE, -ONE), pair, strict=True):
                f = [-side * x for x in self.mlp.W_2[c]]
                wanted = side * (z[c] - self.mlp.offset(y)[c])
                if by_witness or mutation_truth.z3 is None:
                    if self.mlp.proved_bound(y, fixed, f, read(proof)) != wanted:
                        return False
                elif not impossible(self.mlp, y, fixed, f, ">", wanted):
                    return False
        return True


# --- one logit vector ------------------------------------------------------------------------------------------------


def entropy_signs(setting: Setting, s: Sum, k: int, g: Vector) -> tuple[int, int | None]:
    """The signs of s e^{−x} − 1 and of s e^{−x} − N, x = g·a_k − g·C_k/s."""
    ga, gC = inner(g, setting.a[k]), setting.along(g, k)
    top = max(s)
    ratio = gC.get(top, ZERO) / s[top]
    if gC == scaled(s, ratio):
        power: Sum = {ga - ratio: ONE}
        low = sign(plus(s, power, -ONE))
        return low, None if setting.length is None else sign(plus(s, power, -Fraction(setting.length)))
    with ctx.workprec(BITS):
        mass = value(s)
        H = mass.log() - ball(ga) + value(gC) / mass
        return definite(H), None if setting.length is None else definite(H - arb(setting.length).log())


def least_sign(setting: Setting, g: Vector) -> int:
    """The sign of the least s e^{−x} over all s, minus N: −1 if it is not attained, or there is no N."""
    c = setting.along(g, 0)
    if setting.length is None or sign(c) <= 0:
        return -1
    least = times(c, {ONE - inner(g, setting.a[0]): ONE})
    return sign(plus(least, {ZERO: ONE}, -Fraction(setting.length)))


def whole_mass(s: Sum) -> int | None:
    number = s.get(ZERO, ZERO)
    return int(number) if set(s) <= {ZERO} and number.denominator == 1 else None


def can_be_had(setting: Setting, s: Sum | None, k: int, g: Vector) -> bool:
    """Whether a prompt has the mass s (None: some mass) and the output that query k asks for, at q ≠ 0."""
    if s is None:
        return least_sign(setting, g) <= 0
    low, high = entropy_signs(setting, s, k, g)
    return low >= 0 and (high is None or high <= 0)


def met(setting: Setting) -> bool:
    """Whether some prompt of the length allowed meets all queries, which share q, at the points chosen."""
    q, V_T = setting.q[0], turned(setting.V, setting.d)
    if any(reduced(setting.V, a) is None for a in setting.a):
        return False
    s = setting.solution(range(len(setting.q)))
    if s == "none":
        return False
    mass = None if isinstance(s, str) else s
    if not any(q):
        number = 1 if mass is None else whole_mass(mass)
        return number is not None and (setting.length is None or number <= setting.length)
    g = reduced(V_T, q)
    return g is None or can_be_had(setting, mass, 0, g)


def prompt_law(document: Json, by_witness: bool) -> bool:
    setting, witness = Setting(document["instance"]), document["witness"]
    if len(setting.groups) != 1:
        return False
    g = None if witness["g"] is None else read(witness["g"])
    if by_witness and g is not None and image(turned(setting.V, setting.d), g) != setting.q[0]:
        return False
    if document["relation"] == "memorizable":
        return some_prompt(setting, witness, g, by_witness)
    points = setting.points(witness["preimages"], by_witness)
    if points is None:
        return False
    for choice, argument in zip(choices(*points), witness["combinations"], strict=True):
        setting.choose(choice)
        if not (excluded(setting, argument, g) if by_witness else not met(setting)):
            return False
    return True


def some_prompt(setting: Setting, witness: Json, g: Vector | None, by_witness: bool) -> bool:
    points = [read(z) for z in witness["points"]]
    if not setting.meets(points):
        return False
    setting.choose(points)
    if not by_witness:
        return met(setting)
    sources = [read(source) for source in witness["sources"]]
    if [image(setting.V, source) for source in sources] != setting.a:
        return False
    place, q = witness["equation"], setting.q[0]
    if not setting.equation_holds(range(len(setting.q)), place):
        return False
    s, k = None, 0
    if place is not None:
        delta, gamma = setting.equation(place)
        s, k = scaled(gamma, 1 / delta), whole(place[0])
    if witness["free"] is not None:
        free = read(witness["free"])
        return not any(image(setting.V, free)) and inner(q, free) != 0
    if not any(q):
        number = 1 if s is None else whole_mass(s)
        return number is not None and (setting.length is None or number <= setting.length)
    return g is not None and can_be_had(setting, s, k, g)


def unsolvable(setting: Setting, argument: Json) -> bool:
    """The arguments "sign" and "masses"."""
    if argument["argument"] == "sign":
        delta, gamma = setting.equation(argument["equation"])
        return bool(gamma) if delta == 0 else sign(gamma) * delta <= 0
    (delta, gamma), (other, other_gamma) = map(setting.equation, argument["equations"])
    return delta != 0 and other != 0 and scaled(gamma, other) != scaled(other_gamma, delta)


def excluded(setting: Setting, argument: Json, g: Vector | None) -> bool:
    """The written conditions on an argument against one combination."""
    kind, q, N = argument["argument"], setting.q[0], setting.length
    if kind in ("sign", "masses"):
        return unsolvable(setting, argument)
    if kind == "range":
        w = read(argument["w"])
        return not any(image(turned(setting.V, setting.d), w)) and inner(w, setting.a[whole(argument["query"])]) != 0
    if kind == "length":
        everything = range(len(setting.q))
        return (
            g is not None
            and any(q)
            and N is not None
            and setting.solution(everything) == "any"
            and least_sign(setting, g) > 0
        )
    delta, gamma = setting.equation(argument["equation"])
    if delta == 0 or sign(gamma) * delta <= 0:
        return False
    s = scaled(gamma, 1 / delta)
    if kind == "integer":
        number = whole_mass(s)
        return not any(q) and (number is None or (N is not None and number > N))
    if g is None or not any(q):
        return False
    return not can_be_had(setting, s, whole(argument["equation"][0]), g)


# --- several logit vectors -------------------------------------------------------------------------------------------


@dataclass
class Curve:
    """A σ + b + γ e^{−σ}."""

    A: Fraction
    b: Fraction
    gamma: Sum

    def at(self, s: Fraction) -> Sum:
        return plus({ZERO: self.A * s + self.b}, times(self.gamma, {-s: ONE}))

    def upper(self, ends: Ends, tangent: Fraction | None) -> Sum | None:
        """The upper bound of the format; None where it fails."""
        low, high = ends
        kind = sign(self.gamma)
        if tangent is not None:
            slope = plus({ZERO: self.A}, times(self.gamma, {-tangent: ONE}), -ONE)
            rising = sign(slope)
            if kind >= 0 or (low is None and high is None):
                return None
            if (high is None and rising > 0) or (low is None and rising < 0):
                return None
            return largest([plus(self.at(tangent), slope, x - tangent) for x in ends if x is not None])
        if kind >= 0:
            if (high is None and self.A > 0) or (low is None and (kind > 0 or self.A < 0)):
                return None
            return largest([self.at(x) for x in ends if x is not None] or [{ZERO: self.b}])
        if (high is None and self.A > 0) or (low is None and self.A < 0):
            return None
        line = [self.A * x for x in ends if x is not None] if self.A else [ZERO]
        result: Sum = {ZERO: max(line) + self.b}
        return result if high is None else plus(result, times(self.gamma, {-high: ONE}))

    def supremum(self, ends: Ends) -> arb | None:
        """The least upper bound on an interval that is not empty, from the end points and the stationary point."""
        low, high = ends
        kind = sign(self.gamma)
        if (high is None and self.A > 0) or (low is None and (kind > 0 or (kind == 0 and self.A < 0))):
            return None
        found = [value(self.at(x)) for x in ends if x is not None]
        if self.A == 0 and (high is None or (low is None and kind == 0)):
            found.append(ball(self.b))
        if kind < 0 and self.A < 0:
            place = -(ball(self.A) / value(self.gamma)).log()
            if (low is None or place > ball(low)) and (high is None or place < ball(high)):
                found.append(ball(self.A) * place + ball(self.b + self.A))
        result = found[0]
        for other in found[1:]:
            result = result.max(other)
        return result


def largest(sums: Sequence[Sum]) -> Sum:
    best = sums[0]
    for other in sums[1:]:
        if sign(plus(other, best, -ONE)) > 0:
            best = other
    return best


def curve(setting: Setting, inverse: Matrix, g: int, direction: Vector, slope: Fraction, constant: Fraction) -> Curve:
    """``slope σ_g + constant + direction·p̄_g``, p̄_g = V^{-1}(a − C e^{−σ})."""
    k = setting.groups[g][0]
    back = image(turned(inverse, setting.d), direction)
    return Curve(slope, constant + inner(back, setting.a[k]), scaled(setting.along(back, k), -ONE))


def bracketed(s: Sum | str, pair: Json) -> bool:
    low, high = map(read, pair)
    if isinstance(s, str):
        return False
    return sign(plus(s, {low: ONE}, -ONE)) >= 0 >= sign(plus(s, {high: ONE}, -ONE))


def several_queries(document: Json, by_witness: bool) -> bool:
    setting, witness = Setting(document["instance"]), document["witness"]
    d, inverse = setting.d, read(witness["inverse"])
    if product(setting.V, inverse, d) != [[Fraction(int(i == j)) for j in range(d)] for i in range(d)]:
        return False
    if document["relation"] == "memorizable":
        points = [read(z) for z in witness["points"]]
        if not setting.meets(points):
            return False
        setting.choose(points)
        return positive(setting, witness, inverse, by_witness)
    if setting.length is not None:
        low, high = ({read(end): ONE} for end in witness["log_length"])
        number: Sum = {ZERO: Fraction(setting.length)}
        if sign(plus(low, number, -ONE)) > 0 or sign(plus(high, number, -ONE)) < 0:
            return False
    found = setting.points(witness["preimages"], by_witness)
    if found is None:
        return False
    for choice, argument in zip(choices(*found), witness["combinations"], strict=True):
        setting.choose(choice)
        if argument["argument"] == "tree":
            if not tree(setting, argument, inverse, witness["log_length"], by_witness):
                return False
            continue
        places = [argument["equation"]] if argument["argument"] == "sign" else argument["equations"]
        named = {whole(k) for place in places for k in place[:2]}
        group = next((group for group in setting.groups if named <= set(group)), None)
        if group is None:
            return False
        if not (unsolvable(setting, argument) if by_witness else setting.solution(group) == "none"):
            return False
    return True


def positive(setting: Setting, witness: Json, inverse: Matrix, by_witness: bool) -> bool:
    """Independent logit vectors, and all H and D positive: on the box by the leaf rule; or, by meaning, at the masses
    that the groups fix and somewhere in the box for the others."""
    q = [setting.q[group[0]] for group in setting.groups]
    G = len(q)
    box = [tuple(map(read, pair)) for pair in witness["box"]]
    masses = [setting.solution(group) for group in setting.groups]
    if not by_witness:
        if any(reduced(q, [Fraction(int(i == g)) for i in range(G)]) is None for g in range(G)) or "none" in masses:
            return False
        with ctx.workprec(BITS):
            sigma = [
                ball(sum(pair) / 2) if isinstance(s, str) else value(s).log()
                for s, pair in zip(masses, box, strict=True)
            ]
            for g, group in enumerate(setting.groups):
                u = [
                    ball(a) - value(C) * (-sigma[g]).exp()
                    for a, C in zip(setting.a[group[0]], setting.C[group[0]], strict=True)
                ]
                mean = [sum((ball(x) * y for x, y in zip(row, u, strict=True)), arb(0)) for row in inverse]
                at = [sum((ball(x) * y for x, y in zip(v, mean, strict=True)), arb(0)) for v in q]
                values = [sigma[g] - at[g], *(sigma[k] - sigma[g] + at[g] - at[k] for k in range(G) if k != g)]
                if any(definite(x) < 0 for x in values):
                    return False
        return True
    if product(read(witness["dual"]), turned(q, setting.d), G) != [
        [Fraction(int(i == j)) for j in range(G)] for i in range(G)
    ]:
        return False
    for group, s, place, pair in zip(setting.groups, masses, witness["equations"], witness["box"], strict=True):
        if not setting.equation_holds(group, place) or (place is not None and not bracketed(s, pair)):
            return False
    if any(low > high for low, high in box):
        return False
    for g in range(G):
        curves = [curve(setting, inverse, g, q[g], -ONE, ZERO)]
        for k in range(G):
            if k != g:
                curves.append(curve(setting, inverse, g, added(q[k], q[g], -ONE), ONE, -box[k][0]))
        for each in curves:
            bound = each.upper(box[g], None)
            if bound is None or sign(bound) >= 0:
                return False
    return True


def tree(setting: Setting, argument: Json, inverse: Matrix, log_length: Json, by_witness: bool) -> bool:
    root: list[Ends] = []
    for group, place, pair in zip(setting.groups, argument["equations"], argument["brackets"], strict=True):
        if not setting.equation_holds(group, place):
            return False
        if place is not None and not bracketed(setting.solution(group), pair):
            return False
        root.append((None, None) if place is None else (read(pair[0]), read(pair[1])))
    log_N = ZERO if log_length is None else read(log_length[1])
    stack = [(argument["tree"], root)]
    while stack:
        node, box = stack.pop()
        if "group" in node:
            g, at = whole(node["group"]), read(node["at"])
            low, high = box[g]
            stack.append((node["below"], [*box[:g], (low, at if high is None else min(at, high)), *box[g + 1 :]]))
            stack.append((node["above"], [*box[:g], (at if low is None else max(at, low), high), *box[g + 1 :]]))
        elif not negative(setting, node, box, inverse, log_N, by_witness):
            return False
    return True


def negative(
    setting: Setting, leaf: Json, box: Sequence[Ends], inverse: Matrix, log_N: Fraction, by_witness: bool
) -> bool:
    """Whether the combination of a leaf is below zero: by the rule, or by the suprema (on an empty box always)."""
    G = len(setting.groups)
    q = [setting.q[group[0]] for group in setting.groups]
    entropy, divergence = read(leaf["entropy"]), read(leaf["divergence"])
    length = [ZERO] * G if leaf["length"] is None else read(leaf["length"])
    if any(x < 0 for x in (*entropy, *length, *(x for row in divergence for x in row))):
        return False
    if any(divergence[g][g] for g in range(G)):
        return False
    if not by_witness and any(low is not None and high is not None and low > high for low, high in box):
        return True
    curves = []
    for g in range(G):
        direction = [(length[g] - entropy[g]) * x for x in q[g]]
        for k in range(G):
            direction = added(direction, added(q[g], q[k], -ONE), divergence[g][k])
        slope = entropy[g] - length[g] - sum(divergence[g]) + sum(row[g] for row in divergence)
        curves.append(curve(setting, inverse, g, direction, slope, length[g] * log_N))
    if by_witness:
        total: Sum = {}
        for each, ends, c in zip(curves, box, leaf["tangents"], strict=True):
            bound = each.upper(ends, None if c is None else read(c))
            if bound is None:
                return False
            total = plus(total, bound)
        return sign(total) < 0
    with ctx.workprec(BITS):
        tops = [each.supremum(ends) for each, ends in zip(curves, box, strict=True)]
        return None not in tops and definite(sum(tops, arb(0))) < 0  # type: ignore[arg-type]


CLAIMS: dict[str, Callable[[Json, bool], bool]] = {"prompt-law": prompt_law, "several-queries": several_queries}
