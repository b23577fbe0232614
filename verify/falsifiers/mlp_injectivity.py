"""Falsifier of the injective MLP (THEORY section 2): MLPs with two preimages are looked for, by solving for every
choice of pieces, and their norms are made as small as they get; pairs of points are moved to where the MLP contracts
most.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from flint import fmpq

from constructions.numbers.matrix import Piece, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.numbers.spectral_norm import root_above, root_below, spectral_norm
from constructions.transformer import FeedForward
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore, in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial
from verify.falsifiers.words import digits
from verify.instances import random_matrix

SLUG = "mlp-injectivity"
HYPOTHESIS = "‖W_1‖‖W_2‖ < 1, or M + M^T positive definite"
BELOW, DEFINITE = "strictness of ‖W_1‖‖W_2‖ < 1", "strictness of M + M^T > 0"
RELU = "ReLU units"
ONE, SEPARATION = "the 1 of ‖W_1‖‖W_2‖ < 1", "1 − ‖W_1‖‖W_2‖"
ReLU = PiecewiseLinear((Piece(None, fmpq(0), fmpq(0)), Piece(fmpq(0), fmpq(1), fmpq(0))))


@dataclass(frozen=True)
class Points:
    """An MLP and two points (d×1)."""

    mlp: FeedForward
    z: RationalMatrix
    other: RationalMatrix


def norm_product_square(mlp: FeedForward) -> fmpq:
    """(‖W_1‖‖W_2‖)² from above; exact for a single unit."""
    if mlp.hidden == 1:
        row, column = mlp.W_1.rows()[0], mlp.W_2.column(0)
        return dot(row, row) * dot(column, column)
    product_above = spectral_norm(mlp.W_1).bound * spectral_norm(mlp.W_2).bound
    return product_above * product_above


def definite(mlp: FeedForward, strictly: bool) -> bool:
    """Whether M + M^T is positive (semi)definite, by its principal minors (at most two units)."""
    M = RationalMatrix(RationalMatrix.identity(mlp.hidden).mat + mlp.W_1.times(mlp.W_2).mat)
    S = RationalMatrix(M.mat + M.T.mat)
    minors = [S[i, i] for i in range(mlp.hidden)]
    if mlp.hidden == 2:
        minors.append(S[0, 0] * S[1, 1] - S[0, 1] * S[1, 0])
    return all(x > 0 or (x == 0 and not strictly) for x in minors)


def output(mlp: FeedForward, z: RationalMatrix) -> RationalMatrix:
    found = mlp(z)
    assert isinstance(found, RationalMatrix)
    return found


def second_preimage(mlp: FeedForward, z: RationalMatrix) -> RationalMatrix | None:
    """Another point with the output of z, over all choices of a piece for each unit; None if there is none."""
    y = output(mlp, z)
    units = mlp.units or (ReLU,) * mlp.hidden
    identity = RationalMatrix.identity(mlp.width)
    for pieces in product(*[unit.pieces for unit in units]):
        sloped = RationalMatrix.of([[p.slope * x for x in row] for p, row in zip(pieces, mlp.W_1.rows(), strict=True)])
        J = RationalMatrix(identity.mat + mlp.W_2.times(sloped).mat)
        constants = [p.slope * b + p.intercept for p, b in zip(pieces, mlp.b_1.column(0), strict=True)]
        right = [a - b - c for a, b, c in zip(y.column(0), mlp.b_2.column(0), mlp.W_2.apply(constants), strict=True)]
        found = J.solve(right)
        candidates = [] if found is None else [column_vector(found)]
        for direction in J.nullspace():
            for k in range(-3, 7):
                step = fmpq(1, 2**k) if k >= 0 else fmpq(2**-k)
                candidates += [RationalMatrix(z.mat + column_vector(direction).mat * s) for s in (step, -step)]
        for candidate in candidates:
            if candidate != z and output(mlp, candidate) == y:
                return candidate
    return None


def judge_preimages(search: Search, instance: Points) -> Trial:
    """An MLP with two preimages must not meet the hypothesis; its norms measure how far the hypothesis is from it."""
    mlp, what = instance.mlp, f"d = {instance.mlp.width}, units: {instance.mlp.hidden}"
    other = second_preimage(mlp, instance.z)
    if other is None:
        return Trial(f"{what}: one preimage")
    square = norm_product_square(mlp)
    bound = search.factor(ONE)
    met = not search.keeps(HYPOTHESIS)
    met |= square < bound * bound or (square == bound * bound and not search.keeps(BELOW))
    if mlp.units is None:
        met |= definite(mlp, strictly=search.keeps(DEFINITE))
    if met:
        parts: dict[str, object] = {"mlp": mlp, "z": instance.z, "other": other}
        if mlp.units is not None:
            parts["units"] = [[(p.start, p.slope, p.intercept) for p in unit.pieces] for unit in mlp.units]
        sentence = f"‖W_1‖‖W_2‖ ≤ {digits(root_above(square))}: two points with one output"
        return Trial(what, counterexample=Counterexample(SLUG, sentence, parts))
    slack = 1 - 1 / root_above(square) if mlp.units is None else None
    return Trial(f"{what}, two preimages, ‖W_1‖‖W_2‖ = {digits(root_above(square))}", slack, constant=ONE)


def judge_separation(search: Search, instance: Points) -> Trial:
    """|MLP(z) − MLP(z')| ≥ (1 − ρ)|z − z'|, ρ = ‖W_1‖‖W_2‖ rounded upwards."""
    mlp, what = instance.mlp, f"d = {instance.mlp.width}, units: {instance.mlp.hidden}"
    step = (instance.z - instance.other).column(0)
    moved = (output(mlp, instance.z) - output(mlp, instance.other)).column(0)
    rho = root_above(norm_product_square(mlp))
    if dot(step, step) == 0 or not 0 < rho < 1 or mlp.units is not None:
        return Trial(f"{what}: nothing to compare")
    allowed = (1 - rho) * search.factor(SEPARATION)
    if dot(moved, moved) < allowed * allowed * dot(step, step):
        ratio = root_below(dot(moved, moved) / dot(step, step))
        sentence = f"expected |MLP(z) − MLP(z')| / |z − z'| ≥ {digits(allowed)}, found {digits(ratio)}"
        parts = {"mlp": mlp, "z": instance.z, "other": instance.other}
        return Trial(what, counterexample=Counterexample(SLUG, sentence, parts))
    ratio = root_above(dot(moved, moved) / dot(step, step))
    return Trial(f"{what}, ‖W_1‖‖W_2‖ = {digits(rho)}", 1 - allowed / ratio, constant=SEPARATION)


def trials(search: Search) -> Iterator[Trial]:
    def random_unit(rng: random.Random) -> PiecewiseLinear:
        starts = sorted(rng.sample(range(-2, 3), 2))
        return PiecewiseLinear(
            tuple(
                Piece(None if i == 0 else fmpq(starts[i - 1]), fmpq(rng.randint(-6, 6)), fmpq(rng.randint(-4, 4)))
                for i in range(3)
            )
        )

    def draw(rng: random.Random) -> Points:
        d, r = rng.randint(1, 2), rng.randint(1, 2)
        scale = rng.choice([1, 2, 4])
        W_1, W_2 = random_matrix(rng, r, d, denominator=scale), random_matrix(rng, d, r, denominator=scale)
        units = None if search.keeps(RELU) else tuple(random_unit(rng) for _ in range(r))
        mlp = FeedForward(W_1, random_matrix(rng, r, 1), W_2, random_matrix(rng, d, 1), units)
        z, other = (random_matrix(rng, d, 1, size=6, denominator=2) for _ in range(2))
        return Points(mlp, z, other)

    def vary(rng: random.Random, points: Points) -> Points:
        """Everything moves a little, at a random scale; weights on a coarse grid, so that numbers stay short."""
        size = 2 ** rng.randint(0, 8)

        def moved(M: RationalMatrix) -> RationalMatrix:
            r, c = M.shape
            return RationalMatrix(M.mat + random_matrix(rng, r, c, size=1, denominator=size).mat)

        mlp = points.mlp
        weights = FeedForward(moved(mlp.W_1), mlp.b_1, moved(mlp.W_2), mlp.b_2, mlp.units)
        return rng.choice([replace(points, mlp=weights), Points(mlp, moved(points.z), moved(points.other))])

    R = RationalMatrix.of
    zero = RationalMatrix.zeros
    none = Points(FeedForward(zero(1, 1), zero(1, 1), zero(1, 1), zero(1, 1)), R([[0]]), R([[1]]))
    flat = Points(FeedForward(R([[1]]), zero(1, 1), R([[-1]]), zero(1, 1)), R([[1]]), R([[2]]))
    slope = Points(FeedForward(R([[1]]), zero(1, 1), R([["-1/2"]]), zero(1, 1)), R([[1]]), R([[2]]))
    turned = FeedForward(R([["3/5", "4/5"]]), zero(1, 1), R([["-3/5"], ["-4/5"]]), zero(2, 1))
    structured = [none, flat, slope, Points(turned, R([[1], [0]]), R([[0], [1]]))]
    return in_turn(
        explore(search, lambda i: judge_preimages(search, i), draw=draw, structured=structured, vary=vary),
        explore(search, lambda i: judge_separation(search, i), draw=draw, structured=structured, vary=vary),
    )


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        HYPOTHESIS: "the norms of the weights, or the matrix of the complementarity problem",
        BELOW: "the product of the norms is not 1",
        DEFINITE: "M + M^T is not only semidefinite",
        RELU: "each unit is max(t, 0)",
    },
    constants={
        ONE: "below which the product of the norms has to be",
        SEPARATION: "the least |MLP(z) − MLP(z')| / |z − z'|",
    },
    raised=frozenset({ONE, SEPARATION}),
    budget=300,
)
