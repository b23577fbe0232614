"""Low-rank updates of the MLP that memorize without a prompt, explicitly, with exact parameter counts.

The MLP sees query k as its feature ``f_k = x_k + Σ_j A_jk``. A direction v with distinct ``v·f_k`` and a threshold
below each make n neurons whose values at the n features form a triangular matrix with positive diagonal; their
columns of W_2 then solve for any targets. So a rank-one update of W_1, n entries of b_1 and n columns of W_2 memorize
any n queries with distinct features. Source: THEORY section 5 (cf. Theorem 3 of the paper); proofs in
docs/theory/low-rank.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, pairwise
from operator import mul
from typing import Literal

import flint
import numpy as np
from flint import arb, fmpq, fmpq_mat

from constructions.data import Query
from constructions.numbers import linear
from constructions.numbers.exponential import ExpFraction, ExpSum, midpoint
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.context import HeadView
from constructions.transformer import FeedForward, Layer

Row = list[fmpq]
Biases = Literal["updated", "kept"]


class NoUpdateError(ValueError):
    """No update of the kind that was asked for: names the condition that fails."""


@dataclass(frozen=True)
class Feature:
    """``f = x + Σ_j A_j``: numerators (d) over one positive denominator, exact."""

    numerators: tuple[ExpSum, ...]
    denominator: ExpSum

    @classmethod
    def of(cls, layer: Layer, query: Query) -> Feature:
        views = [HeadView.of(head, query.token, query.context) for head in layer.attention.heads]
        masses = [view.mass for view in views]
        whole = reduce(mul, masses, ExpSum.of(1))
        total = [whole * x for x in query.token]
        for j, view in enumerate(views):
            rest = reduce(mul, (mass for k, mass in enumerate(masses) if k != j), ExpSum.of(1))
            total = [t + rest * b for t, b in zip(total, view.sums, strict=True)]
        return cls(tuple(total), whole)

    def along(self, w: Sequence[fmpq], b: fmpq) -> ExpSum:
        """``(w·f + b)`` times the denominator: its sign is that of w·f + b."""
        return ExpSum.combination([b, *w], [self.denominator, *self.numerators])

    def equals(self, other: Feature) -> bool:
        return all(
            x * other.denominator == y * self.denominator
            for x, y in zip(self.numerators, other.numerators, strict=True)
        )

    def as_rational(self) -> Row | None:
        """The feature, if all entries are rational."""
        values = [ExpFraction(x, self.denominator).as_rational() for x in self.numerators]
        return None if any(x is None for x in values) else [x for x in values if x is not None]

    def approximate(self, bits: int = 64) -> Row:
        """Rationals within ``2^(1 − bits)`` of the entries."""
        precision, power = bits + 64, fmpq(2) ** bits
        while True:
            with flint.ctx.workprec(precision):
                below = self.denominator.enclosure()
                balls = [x.enclosure() / below for x in self.numerators]
                if all(ball.rad() * arb(power) < 1 for ball in balls):
                    return [fmpq((midpoint(ball) * power).floor()) / power for ball in balls]
            precision *= 2


@dataclass(frozen=True)
class TriangularUpdate:
    """W_1' (r×d) and b_1' (r×1), and which neuron t is the first to fire at which query: neuron ``neurons[t]`` fires at
    query ``order[t]`` and not at ``order[s]``, s < t. Their columns of W_2 can then solve for any targets."""

    layer: Layer
    features: tuple[Feature, ...]
    W_1: RationalMatrix
    b_1: RationalMatrix
    neurons: tuple[int, ...]
    order: tuple[int, ...]
    biases: Biases

    @property
    def rank(self) -> int:
        """The rank of W_1' − W_1."""
        return (self.W_1 - self.layer.mlp.W_1).rank()

    @property
    def parameters(self) -> int:
        """Numbers that may change: d + n for the factors of the rank-one update of W_1 and n entries of b_1, or n rows
        of W_1 when the biases are kept; and n columns of W_2."""
        n, d = len(self.order), self.layer.width
        first = d + n if self.biases == "updated" else n * d
        return first + (n if self.biases == "updated" else 0) + n * d

    def activations(self) -> list[list[ExpSum]]:
        """Row k, column l: the value of unit l at query k times the denominator of its feature, exact."""
        found = []
        for feature in self.features:
            row = []
            for l, w in enumerate(self.W_1.rows()):
                value = feature.along(w, self.b_1[l, 0])
                row.append(value if value.sign() > 0 else ExpSum({}))
            found.append(row)
        return found


def triangular_update(layer: Layer, queries: Sequence[Query], *, biases: Biases = "updated") -> TriangularUpdate:
    """An update of W_1 (rank one) and b_1, or of rows of W_1 alone with ``biases="kept"``. Raises NoUpdateError.

    >>> I = RationalMatrix.identity(2)
    >>> from constructions.data import Dataset, Example
    >>> from constructions.transformer import Attention, Head, Transformer
    >>> R = RationalMatrix.of
    >>> mlp = FeedForward(R([[1, 0], [0, 1]]), R([[0], [0]]), R([[1, 0], [0, 1]]), R([[0], [0]]))
    >>> model = Transformer((Layer(Attention((Head(I, I, I),)), mlp),))
    >>> data = Dataset((Example(R([[1], [0]]), R([[5], [7]])), Example(R([[0], [2]]), R([[1], [1]]))))
    >>> update = triangular_update(model.layers[0], list(data.queries(model)))
    >>> update.rank, update.parameters
    (1, 10)
    """
    mlp, n = layer.mlp, len(queries)
    if mlp.units is not None:
        raise NoUpdateError("piecewise-linear units: expected ReLU")
    if mlp.hidden < n:
        raise NoUpdateError(f"hidden units: expected at least {n} (one for each query), found {mlp.hidden}")
    features = [Feature.of(layer, query) for query in queries]
    for i, k in combinations(range(n), 2):
        if features[i].equals(features[k]):
            same = queries[i].target == queries[k].target
            raise NoUpdateError(
                f"{queries[i]} and {queries[k]} have the same feature"
                + ("; ask for it once" if same else " and different targets: no MLP tells them apart")
            )
    found = _with_biases(layer, features) if biases == "updated" else _without_biases(layer, features)
    _check(found)
    return found


def _check(update: TriangularUpdate) -> None:
    """The triangular pattern, with exact signs."""
    for t, l in enumerate(update.neurons):
        w, b = update.W_1.rows()[l], update.b_1[l, 0]
        for s, k in enumerate(update.order[: t + 1]):
            sign = update.features[k].along(w, b).sign()
            if sign > 0 if s < t else sign <= 0:
                raise ArithmeticError("low-rank update: the pattern of activations is not triangular")


def _directions(d: int) -> Iterator[Row]:
    """Directions that tell points apart: short ones first."""
    yield from ([fmpq(int(i == j)) for j in range(d)] for i in range(d))
    rng = np.random.default_rng(0)
    for k in range(200):
        yield [fmpq(int(x)) for x in rng.integers(-2 - k, 3 + k, size=d)]


def _told_apart(d: int, features: Sequence[Feature]) -> tuple[list[Row], Row]:
    """Rationals near the features, and the direction along which the smallest gap is largest for its length."""
    for bits in (64, 256, 1024, 4096):
        points = [feature.approximate(bits) for feature in features]
        best: tuple[fmpq, Row] | None = None
        for v in _directions(d):
            values = sorted(dot(v, f) for f in points)
            gap = min((y - x for x, y in pairwise(values)), default=fmpq(1))
            size = dot(v, v)
            if size and (best is None or gap * gap / size > best[0]):
                best = gap * gap / size, v
                if len(points) == 1:
                    break
        assert best is not None
        # an entry is off by at most 2^(1 − bits), a value v·f by √d |v| times that: little beside the gap
        if best[0] > fmpq(d, 2**bits):
            return points, best[1]
    raise NoUpdateError("no direction was found along which the features differ by more than 2^-2000")


def _with_biases(layer: Layer, features: Sequence[Feature]) -> TriangularUpdate:
    mlp, n = layer.mlp, len(features)
    points, v = _told_apart(layer.width, features)
    order = sorted(range(n), key=lambda k: dot(v, points[k]))
    values = [dot(v, points[k]) for k in order]
    thresholds = [_short_between(values[0] - 2, values[0])]
    thresholds += [_short_between(x, y) for x, y in pairwise(values)]
    neurons = list(range(n))
    kappa = fmpq(1)
    for l, theta in zip(neurons, thresholds, strict=True):
        w, b = mlp.W_1.rows()[l], mlp.b_1[l, 0]
        for f, value in zip(points, (dot(v, f) for f in points), strict=True):
            kappa = max(kappa, abs(dot(w, f) + b) / abs(value - theta))
    kappa = fmpq((kappa * fmpq(1025, 1024)).floor() + 1)  # room for what the values are off by
    W_1, b_1 = mlp.W_1.rows(), mlp.b_1.column(0)
    for l, theta in zip(neurons, thresholds, strict=True):
        W_1[l] = [x + kappa * y for x, y in zip(W_1[l], v, strict=True)]
        b_1[l] -= kappa * theta
    return TriangularUpdate(
        layer, tuple(features), RationalMatrix.of(W_1), column_vector(b_1), tuple(neurons), tuple(order), "updated"
    )


def _short_between(low: fmpq, high: fmpq) -> fmpq:
    """A rational with a short denominator in the middle half of an interval."""
    middle, room = (low + high) / 2, (high - low) / 4
    bits = 0
    while fmpq(1, 2**bits) > room:
        bits += 1
    rounded: fmpq = fmpq((middle * 2**bits + fmpq(1, 2)).floor()) / 2**bits
    return rounded


def _without_biases(layer: Layer, features: Sequence[Feature]) -> TriangularUpdate:
    """Rows of W_1 alone: each row is free, its unit fires where ``w·f > −b``. Built from the last neuron to the first,
    by linear programs; a unit with b < 0 can always take a feature outside of the hull of 0 and those before."""
    mlp, n = layer.mlp, len(features)
    biases = mlp.b_1.column(0)
    if all(b == 0 for b in biases):
        raise NoUpdateError("all biases are zero and kept: features on one ray cannot be told apart in general")
    points = [feature.approximate(128) for feature in features]
    units = sorted((l for l in range(mlp.hidden) if biases[l] != 0), key=lambda l: (biases[l] > 0, l))
    if len(units) < n:
        raise NoUpdateError(f"kept biases: expected at least {n} units with a bias other than 0, found {len(units)}")
    remaining = list(range(n))
    order: list[int] = []
    rows: list[Row] = []
    chosen: list[int] = []
    # Negative biases first in `units`; the last neurons must fire at one feature and not at many: they get these.
    for l in units[:n]:
        for k in remaining:
            others = [i for i in remaining if i != k]
            w = _separating(points[k], [points[i] for i in others], biases[l])
            if w is not None:
                order.append(k)
                rows.append(w)
                chosen.append(l)
                remaining.remove(k)
                break
        else:
            raise NoUpdateError(
                f"kept biases: no row of W_1 was found that makes unit {l} fire at one of the {len(remaining)} features"
                " left and not at the others"
            )
    W_1 = mlp.W_1.rows()
    for l, w in zip(chosen, rows, strict=True):
        W_1[l] = w
    return TriangularUpdate(
        layer,
        tuple(features),
        RationalMatrix.of(W_1),
        mlp.b_1,
        tuple(reversed(chosen)),
        tuple(reversed(order)),
        "kept",
    )


def _separating(point: Row, others: Sequence[Row], b: fmpq) -> Row | None:
    """w with ``w·point + b > 0`` and ``w·other + b < 0`` for all others, with room; None if there is none."""
    rows = [[-x for x in point], *[list(f) for f in others]]
    G = fmpq_mat(len(rows), len(point), [x for row in rows for x in row])
    for bits in (4, 12, 24):
        room = abs(b) / 2**bits
        answer = linear.feasible(G, [b - room, *[-b - room for _ in others]])
        if not isinstance(answer, linear.Infeasible):
            break
    else:
        return None
    for bits in (4, 8, 16, 32):
        w = [fmpq((x * 2**bits + fmpq(1, 2)).floor()) / 2**bits for x in answer.point]
        if 2 * (dot(w, point) + b) > room and all(2 * (dot(w, f) + b) < -room for f in others):
            return w
    return answer.point


# -- the second layer -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExactSolution:
    """The n columns of W_2' in Frac(E): entry c of neuron t is ``numerators[c][t]`` over ``pivots[0] ⋯ pivots[t]``."""

    update: TriangularUpdate
    numerators: tuple[tuple[ExpSum, ...], ...]
    pivots: tuple[ExpSum, ...]

    def entry(self, c: int, t: int) -> ExpFraction:
        return ExpFraction(self.numerators[c][t], reduce(mul, self.pivots[: t + 1]))

    def meets(self, queries: Sequence[Query]) -> bool:
        """Whether the updated MLP gives every target, as an identity in Frac(E)."""
        values = self.update.activations()
        for k, query in enumerate(queries):
            rest = _asked(self.update, k, query, values[k])
            for c, numerators in enumerate(self.numerators):
                total = -rest[c]
                for l, x, pivot in zip(self.update.neurons, numerators, self.pivots, strict=True):
                    total = total * pivot + values[k][l] * x
                if not total.is_zero:
                    return False
        return True


def _asked(update: TriangularUpdate, k: int, query: Query, values: Sequence[ExpSum]) -> list[ExpSum]:
    """What the n neurons have to add at query k, times the denominator of its feature: the target less the feature, b_2
    and the other neurons."""
    mlp, feature = update.layer.mlp, update.features[k]
    others = [l for l in range(mlp.hidden) if l not in update.neurons and not values[l].is_zero]
    found = []
    for c in range(update.layer.width):
        total = feature.denominator * (query.target[c] - mlp.b_2[c, 0]) - feature.numerators[c]
        for l in others:
            total = total - values[l] * mlp.W_2[c, l]
        found.append(total)
    return found


def solve_exactly(update: TriangularUpdate, queries: Sequence[Query]) -> ExactSolution:
    """The n columns of W_2' that give the targets, by forward substitution without a division. The number of terms
    multiplies with every query: meant for n ≤ 8."""
    values = update.activations()
    asked = [_asked(update, k, query, values[k]) for k, query in enumerate(queries)]
    pivots = [values[k][l] for k, l in zip(update.order, update.neurons, strict=True)]
    rows: list[tuple[ExpSum, ...]] = []
    for c in range(update.layer.width):
        numerators: list[ExpSum] = []
        for k in update.order:
            total = asked[k][c]
            for l, x, pivot in zip(update.neurons, numerators, pivots, strict=False):  # the neurons before this one
                total = total * pivot - values[k][l] * x
            numerators.append(total)
        rows.append(tuple(numerators))
    return ExactSolution(update, tuple(rows), tuple(pivots))


def solve_rational(update: TriangularUpdate, queries: Sequence[Query]) -> FeedForward | None:
    """The whole updated MLP, rational, when all features are (equal scores, one-token contexts); None otherwise."""
    mlp = update.layer.mlp
    features = [feature.as_rational() for feature in update.features]
    points = [f for f in features if f is not None]
    if len(points) < len(features):
        return None
    d, n = update.layer.width, len(queries)
    F = RationalMatrix.of_columns(points)
    ones = RationalMatrix.of([[1] * n])
    values = RationalMatrix(update.W_1.times(F).mat + update.b_1.times(ones).mat).relu()
    W_2 = mlp.W_2.rows()
    for l in update.neurons:
        for c in range(d):
            W_2[c][l] = fmpq(0)
    others = RationalMatrix.of(W_2, columns=mlp.hidden)
    asked = RationalMatrix.of_columns([list(query.target) for query in queries])
    rest = asked.mat - F.mat - mlp.b_2.times(ones).mat - others.times(values).mat
    square = RationalMatrix.of([values.rows()[l] for l in update.neurons])  # W square = rest
    solution = square.T.mat.solve(rest.transpose()).transpose()
    for t, l in enumerate(update.neurons):
        for c in range(d):
            W_2[c][l] = solution[c, t]
    return FeedForward(update.W_1, update.b_1, RationalMatrix.of(W_2, columns=mlp.hidden), mlp.b_2)


@dataclass(frozen=True)
class EnclosedUpdate:
    """W_2' rounded to rationals, and a proved bound of how far any output is from its target."""

    W_2: RationalMatrix
    residual: fmpq


def solve_enclosed(update: TriangularUpdate, queries: Sequence[Query], bits: int = 256) -> EnclosedUpdate:
    """W_2' near the exact solution for any number of queries, with a certified residual (largest entry)."""
    mlp, n, d = update.layer.mlp, len(queries), update.layer.width
    with flint.ctx.workprec(bits):
        denominators = [feature.denominator.enclosure() for feature in update.features]
        values = [
            [x.enclosure() / below for x in row] for row, below in zip(update.activations(), denominators, strict=True)
        ]
        features = [
            [x.enclosure() / below for x in feature.numerators]
            for feature, below in zip(update.features, denominators, strict=True)
        ]
        power = fmpq(2) ** (bits // 2)
        W_2 = mlp.W_2.rows()
        for c in range(d):
            for t in range(n):
                k, l = update.order[t], update.neurons[t]
                rest = arb(queries[k].target[c] - mlp.b_2[c, 0]) - features[k][c]
                for other in range(mlp.hidden):
                    if other not in update.neurons[t:]:
                        rest -= arb(W_2[c][other]) * values[k][other]
                W_2[c][l] = fmpq((midpoint(rest / values[k][l]) * power).floor()) / power
        worst = arb(0)
        for k, query in enumerate(queries):
            for c in range(d):
                total = features[k][c] + arb(mlp.b_2[c, 0]) - arb(query.target[c])
                for l in range(mlp.hidden):
                    total += arb(W_2[c][l]) * values[k][l]
                worst = worst.max(abs(total))
        bound = fmpq((midpoint(worst.abs_upper()) * power).floor() + 1) / power
    return EnclosedUpdate(RationalMatrix.of(W_2, columns=mlp.hidden), bound)
