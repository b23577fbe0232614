"""What is true of a certificate, decided a second time and by other means than the kernel's.

Two questions about a well-formed document. :func:`witness_holds`: do the conditions of docs/certificate-format.md hold
(fractions, dense matrices, balls of 500 bits for signs)? :func:`relation_holds`: is the relation itself true — with the
polyhedra of a preimage given to z3, positive definiteness by elimination, attention evaluated in balls — using of the
witness only what the relation cannot be decided without (the vector w, the case distinction)? The claims prompt-law and
several-queries are in :mod:`mutation_prompts`, several-heads is in :mod:`mutation_heads`; the campaign adds them to
CLAIMS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

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
    dominated,
    exp_fractions,
    image,
    inner,
    merged,
    plus,
    positive_definite,
    product,
    read,
    scaled,
    sign,
    times,
    turned,
    whole,
)

try:
    import z3
except ImportError:  # the polyhedral part then rests on the multipliers alone
    z3 = None

__all__ = ["CLAIMS", "UnsureError", "relation_holds", "whole", "witness_holds"]


# --- the MLP and its preimages -----------------------------------------------------------------------------------


class Mlp:
    """z ↦ z + W_2 ReLU(W_1 z + b_1) + b_2, with M = I + W_1 W_2."""

    def __init__(self, value: Json) -> None:
        self.W_1, self.b_1, self.W_2, self.b_2 = (read(value[name]) for name in ("W_1", "b_1", "W_2", "b_2"))
        self.r, self.d = len(self.b_1), len(self.b_2)
        W = product(self.W_1, self.W_2, self.r)
        self.M = [[W[i][j] + (i == j) for j in range(self.r)] for i in range(self.r)]

    def __call__(self, z: Vector) -> Vector:
        hidden = [max(x, ZERO) for x in added(image(self.W_1, z), self.b_1)]
        return added(added(z, image(self.W_2, hidden)), self.b_2)

    @property
    def symmetric(self) -> Matrix:
        return [[self.M[i][j] + self.M[j][i] for j in range(self.r)] for i in range(self.r)]

    def offset(self, y: Vector) -> Vector:
        return added(y, self.b_2, -ONE)

    def c(self, y: Vector) -> Vector:
        return added(image(self.W_1, self.offset(y)), self.b_1)

    def proved_bound(self, y: Vector, fixed: dict[int, bool], f: Vector, multipliers: Vector) -> Fraction | None:
        """λ·c where the multipliers prove f·h ≤ λ·c on the leaf."""
        back = image(turned(self.M, self.r), multipliers)
        for i in range(self.r):
            if multipliers[i] > 0 and fixed.get(i) is not True:
                return None
            if f[i] > back[i] and fixed.get(i) is not False:
                return None
        return inner(multipliers, self.c(y))


@lru_cache(maxsize=4096)
def _impossible(
    M: tuple[tuple[Fraction, ...], ...],
    c: tuple[Fraction, ...],
    fixed: tuple[tuple[int, bool], ...],
    f: tuple[Fraction, ...],
    relation: str,
    bound: Fraction,
) -> bool:
    """z3: no h on the leaf has f·h > bound (or ≥)."""
    solver = z3.SolverFor("QF_LRA")
    r = len(c)
    h = [z3.Real(f"h{i}") for i in range(r)]

    def number(x: Fraction) -> Any:
        return z3.Q(x.numerator, x.denominator)

    def form(row: tuple[Fraction, ...]) -> Any:
        return z3.Sum([number(a) * x for a, x in zip(row, h, strict=True)]) if r else number(ZERO)

    signs = dict(fixed)
    for i in range(r):
        solver.add(h[i] >= 0, form(M[i]) >= number(c[i]))
        active, inactive = form(M[i]) == number(c[i]), h[i] == 0
        solver.add(z3.Or(active, inactive) if i not in signs else active if signs[i] else inactive)
    solver.add(form(f) > number(bound) if relation == ">" else form(f) >= number(bound))
    answer = solver.check()
    assert answer != z3.unknown
    return bool(answer == z3.unsat)


def impossible(mlp: Mlp, y: Vector, fixed: dict[int, bool], f: Vector, relation: str, bound: Fraction) -> bool:
    rows = tuple(tuple(row) for row in mlp.M)
    return _impossible(rows, tuple(mlp.c(y)), tuple(sorted(fixed.items())), tuple(f), relation, bound)


def leaves(node: Json, fixed: dict[int, bool]) -> Iterator[tuple[dict[int, bool], Json]]:
    if "unit" in node:
        i = whole(node["unit"])
        yield from leaves(node["active"], {**fixed, i: True})
        yield from leaves(node["inactive"], {**fixed, i: False})
    else:
        yield fixed, node


Piece = dict[int, bool] | Vector  # a leaf or a point


def covering(mlp: Mlp, y: Vector, proof: Json, by_witness: bool) -> list[Piece] | None:
    """The pieces, if they are proved (or, not ``by_witness``, known) to cover the preimage of y."""
    if proof["kind"] == "point":
        z = read(proof["z"])
        unique = dominated(mlp.symmetric, read(proof["factor"])) if by_witness else positive_definite(mlp.symmetric)
        return [z] if mlp(z) == y and unique else None
    pieces: list[Piece] = []
    nothing = [ZERO] * mlp.r
    for fixed, leaf in leaves(proof["tree"], {}):
        if leaf["leaf"] == "piece":
            pieces.append(fixed)
        elif by_witness or z3 is None:
            bound = mlp.proved_bound(y, fixed, nothing, read(leaf["multipliers"]))
            if bound is None or bound >= 0:
                return None
        elif not impossible(mlp, y, fixed, nothing, ">=", ZERO):
            return None
    return pieces


class Side:
    """One query of a separation, with one piece of its preimage; ``w`` is to be bounded from above on it."""

    def __init__(self, mlp: Mlp, y: Vector, x: Vector, piece: Piece, w: Vector, multipliers: Json) -> None:
        self.mlp, self.y, self.piece = mlp, y, piece
        self.exact = inner(w, added(piece, x, -ONE)) if isinstance(piece, list) else None
        self.base = inner(w, added(mlp.offset(y), x, -ONE))
        self.f = [-a for a in image(turned(mlp.W_2, mlp.r), w)]
        self.multipliers = None if multipliers is None else read(multipliers)

    def bound(self, by_witness: bool) -> Fraction | None:
        """The bound that the witness claims, if it is one."""
        if self.exact is not None:
            return self.exact
        assert isinstance(self.piece, dict)
        if self.multipliers is None:
            return None
        if by_witness or z3 is None:
            bound = self.mlp.proved_bound(self.y, self.piece, self.f, self.multipliers)
            return None if bound is None else self.base + bound
        bound = inner(self.multipliers, self.mlp.c(self.y))
        return self.base + bound if impossible(self.mlp, self.y, self.piece, self.f, ">", bound) else None

    def never(self, relation: str) -> bool:
        """Whether w·a > 0 (or ≥ 0) for no a of the piece, whatever the multipliers."""
        if self.exact is not None:
            return self.exact <= 0 if relation == ">" else self.exact < 0
        assert isinstance(self.piece, dict)
        if z3 is None:
            bound = self.bound(True)
            return bound is not None and (bound <= 0 if relation == ">" else bound < 0)
        return impossible(self.mlp, self.y, self.piece, self.f, relation, -self.base)


# --- attention ---------------------------------------------------------------------------------------------------


class Head:
    """W_q, W_k, W_v (s×d), W_o (d×s), b_q (s), with V = W_o W_v."""

    def __init__(self, value: Json, d: int) -> None:
        self.W_q, self.W_k, self.W_v, self.W_o, self.b_q = (
            read(value[name]) for name in ("W_q", "W_k", "W_v", "W_o", "b_q")
        )
        self.V = product(self.W_o, self.W_v, d)
        self.d = d

    def logit_vector(self, x: Vector) -> Vector:
        return image(turned(self.W_k, self.d), added(image(self.W_q, x), self.b_q))

    def mass(self, q: Vector, tokens: Matrix) -> Sum:
        return merged([(inner(q, z), ONE) for z in tokens])

    def along(self, q: Vector, tokens: Matrix, g: Vector) -> Sum:
        """Σ e^{q·z} g·z."""
        return merged([(inner(q, z), inner(g, z)) for z in tokens])


def attention_balls(head: Head, x: Vector, tokens: Matrix) -> list[arb]:
    """Att(x, tokens) in balls, from the definition: softmax of the scores, shifted by the largest."""
    q = head.logit_vector(x)
    scores = [inner(q, z) for z in tokens]
    top = max(scores)
    weights = [ball(score - top).exp() for score in scores]
    total = sum(weights, arb(0))
    values = [image(head.V, z) for z in tokens]
    return [sum((p * ball(v[i]) for p, v in zip(weights, values, strict=True)), arb(0)) / total for i in range(head.d)]


def fraction_ball(numerator: Sum, denominator: Sum) -> arb:
    top = max(denominator)
    both = [sum((ball(c) * ball(q - top).exp() for q, c in part.items()), arb(0)) for part in (numerator, denominator)]
    return both[0] / both[1]


def same(a: arb, b: arb) -> bool:
    """Equal to about 100 digits, relative to the larger or to 1."""
    difference = a - b
    size = max(float(abs(a).upper()), float(abs(b).upper()), 1.0)
    return bool(difference.contains(0)) and float(difference.rad()) < 1e-100 * size


# --- the claims without prompts -----------------------------------------------------------------------------------


def attention_split(document: Json, by_witness: bool) -> bool:
    instance, witness = document["instance"], document["witness"]
    x = read(instance["token"])
    d = len(x)
    X, P = (turned(read(instance[name]), len(read(instance[name])[0])) for name in ("X", "P"))
    for value, fraction in zip(instance["heads"], witness["fractions"], strict=True):
        head = Head(value, d)
        (numerator,), denominator = exp_fractions(fraction)
        q = head.logit_vector(x)
        side = sign(denominator)
        if side == 0 or sign(numerator) != side or sign(plus(denominator, numerator, -ONE)) != side:
            return False
        S_X, S_P = head.mass(q, X), head.mass(q, P)
        if times(numerator, plus(S_X, S_P)) != times(denominator, S_X):
            return False
        if not by_witness:
            with ctx.workprec(BITS):
                share = fraction_ball(numerator, denominator)
                joined, on_X, on_P = (attention_balls(head, x, tokens) for tokens in (P + X, X, P))
                if not all(same(a, share * b + (1 - share) * c) for a, b, c in zip(joined, on_X, on_P, strict=True)):
                    return False
    return True


def direction_lemma(document: Json, by_witness: bool) -> bool:
    instance = document["instance"]
    x_0, rho = read(instance["token"]), read(instance["rho"])
    head = Head(instance["head"], len(x_0))
    (a, r), (n, p) = exp_fractions(instance["output"]), exp_fractions(document["witness"]["x_1"])
    if sign(r) == 0 or sign(p) == 0:
        return False
    q = head.logit_vector(x_0)
    score: Sum = {}
    for weight, entry in zip(q, n, strict=True):
        score = plus(score, entry, weight)
    if score != scaled(p, inner(q, x_0) - rho):
        return False
    kappa: Sum = {rho: ONE}
    one_plus = plus({ZERO: ONE}, kappa)
    for i, row in enumerate(head.V):
        value: Sum = {}
        for weight, entry in zip(row, n, strict=True):
            value = plus(value, entry, weight)
        left = plus(times(value, r), times(scaled(kappa, inner(row, x_0)), times(p, r)))
        if left != times(one_plus, times(a[i], p)):
            return False
    if not by_witness and all(abs(e) < 1000 for part in (r, p, *a, *n) for e in part):
        with ctx.workprec(BITS):
            x_1 = [fraction_ball(entry, p) for entry in n]
            weights = [sum((ball(u) * v for u, v in zip(q, x_1, strict=True)), arb(0)), ball(inner(q, x_0))]
            share = 1 / (1 + (weights[1] - weights[0]).exp())
            for i, row in enumerate(head.V):
                new = sum((ball(u) * v for u, v in zip(row, x_1, strict=True)), arb(0))
                if not same(share * new + (1 - share) * ball(inner(row, x_0)), fraction_ball(a[i], r)):
                    return False
    return True


def mlp_injectivity(document: Json, by_witness: bool) -> bool:
    instance, witness = document["instance"], document["witness"]
    mlp = Mlp(instance["mlp"])
    if (instance["y"] is None) != (witness["z"] is None):
        return False
    if instance["y"] is not None and mlp(read(witness["z"])) != read(instance["y"]):
        return False
    if document["relation"] == "monotone":
        return dominated(mlp.symmetric, read(witness["factor"])) if by_witness else positive_definite(mlp.symmetric)
    bounds = [read(bound) for bound in witness["bounds"]]
    shapes = ((mlp.W_1, mlp.r, mlp.d), (mlp.W_2, mlp.d, mlp.r))
    for (W, height, width), bound, factor in zip(shapes, bounds, witness["factors"], strict=True):
        columns = turned(W, width)
        smaller, larger = (columns, W) if width <= height else (W, columns)
        if by_witness:
            if not dominated(bound_minus_gram(bound, smaller), read(factor)):
                return False
        elif smaller and not positive_definite(bound_minus_gram(bound, larger)):  # the same norm, another matrix
            return False
    return bool(bounds[0] * bounds[1] < 1)


def bound_minus_gram(bound: Fraction, vectors: Matrix) -> Matrix:
    n = range(len(vectors))
    return [[bound * (i == j) - inner(vectors[i], vectors[j]) for j in n] for i in n]


def unmemorizable_pair(document: Json, by_witness: bool) -> bool:
    instance, witness = document["instance"], document["witness"]
    layer = instance["layer"]
    mlp = Mlp(layer["mlp"])
    E = None if layer["E"] is None else read(layer["E"])
    contexts, tokens, targets = [], [], []
    for query in instance["queries"]:
        X = read(query["X"])
        m, k = len(X[0]), whole(query["column"])
        if E is not None:
            X = [added(row, extra[len(extra) - m :]) for row, extra in zip(X, E, strict=True)]
        columns = turned(X, m)
        tokens.append(columns[k])
        contexts.append(columns[: k + 1] if layer["causal"] else columns)
        targets.append(read(query["target"]))
    if witness["argument"] == "contradictory-data":
        return contexts[0] == contexts[1] and tokens[0] == tokens[1] and targets[0] != targets[1]
    if witness["argument"] == "out-of-range":
        return covering(mlp, targets[0], witness["preimage"], by_witness) == []
    covers = [covering(mlp, y, proof, by_witness) for y, proof in zip(targets, witness["preimages"], strict=True)]
    if covers[0] is None or covers[1] is None:
        return False
    heads = [Head(value, mlp.d) for value in layer["heads"]]
    for piece_1, line in zip(covers[0], witness["pairs"], strict=True):
        for piece_2, step in zip(covers[1], line, strict=True):
            w, chosen = read(step["w"]), whole(step["head"])
            head = heads[chosen]
            q, other_q = (head.logit_vector(x) for x in tokens)
            others = [other for j, other in enumerate(heads) if j != chosen]
            if q != other_q or any(any(image(turned(other.V, mlp.d), w)) for other in others):
                return False
            sides = (
                Side(mlp, targets[0], tokens[0], piece_1, w, step["multipliers"][0]),
                Side(mlp, targets[1], tokens[1], piece_2, [-a for a in w], step["multipliers"][1]),
            )
            g = image(turned(head.V, mlp.d), w)
            B = [head.along(q, context, g) for context in contexts]
            S = [head.mass(q, context) for context in contexts]
            decide = cone if step["argument"] == "cone" else closeness
            if not decide(sides, B, S, by_witness):
                return False
    return True


def cone(sides: tuple[Side, Side], B: list[Sum], S: list[Sum], by_witness: bool) -> bool:
    first, second = sign(B[0]), sign(B[1])
    if first < 0 or second > 0:
        return False
    if by_witness:
        M_1, minus_m_2 = (side.bound(True) for side in sides)
        if M_1 is None or minus_m_2 is None or M_1 > 0 or minus_m_2 > 0:
            return False
        return first > 0 or second < 0 or M_1 < 0 or minus_m_2 < 0
    if not all(side.never(">") for side in sides):
        return False
    return first > 0 or second < 0 or any(side.never(">=") for side in sides)


def closeness(sides: tuple[Side, Side], B: list[Sum], S: list[Sum], by_witness: bool) -> bool:
    M_1, minus_m_2 = (side.bound(by_witness) for side in sides)
    if M_1 is None or minus_m_2 is None:
        return False
    gap = -minus_m_2 - M_1
    value = sign(plus(plus(plus(B[0], B[1], -ONE), S[0], -M_1), S[1], -minus_m_2))
    return gap >= 0 and value >= 0 and (gap > 0 or value > 0)


CLAIMS: dict[str, Callable[[Json, bool], bool]] = {
    "attention-split": attention_split,
    "direction-lemma": direction_lemma,
    "mlp-injectivity": mlp_injectivity,
    "unmemorizable-pair": unmemorizable_pair,
}


def witness_holds(document: Json) -> bool:
    """Whether the written conditions hold. Raises UnsureError where 500 bits are too few."""
    return CLAIMS[document["claim"]](document, True)


def relation_holds(document: Json) -> bool:
    """Whether the relation is true, as far as the witness names what to look at. Raises UnsureError likewise."""
    return CLAIMS[document["claim"]](document, False)
