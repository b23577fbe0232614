"""The rigorous inverse of a stack whose layers are the identity plus a contraction.

Layer by layer, from the last to the first: ``z ← y − (MLP(z) − z)``, then ``x ← y − Att(π(x))``, where π takes every
token back into its ball (the plain iteration may leave the region, where nothing is known). Both converge to the only
preimage in the region, if there is one. How near the result is follows from running the stack forward:
``‖Z − Z*‖ ≤ ‖T(Z) − Y‖ / Π (1 − a_l)(1 − b_l)``. Source: THEORY section 7; Banach's theorem.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import flint
from flint import arb, arb_mat, fmpq

from constructions.depth.constants import Region, Stack
from constructions.depth.jacobian import square_length
from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.numbers.spectral_norm import above, root_above
from constructions.transformer import FeedForward, Layer
from constructions.verdict import Undecided

PRECISION = 128
MAX_STEPS = 20_000


@dataclass(frozen=True)
class Inverse:
    """Every token matrix of the region that the stack maps to Y lies within ``error`` of Z, in the stack's norm."""

    stack: Stack
    Y: RationalMatrix
    Z: RationalMatrix
    error: fmpq


def invert(stack: Stack, Y: RationalMatrix, *, precision: int = PRECISION) -> Inverse:
    """The preimage of the output Y (d×(m_p+m), prompt places included) in the region, enclosed.

    Raises Undecided when a layer is not certified as the identity plus a contraction, when the iteration does not
    settle within the precision, or when it settles outside the region (then Y has no preimage there, up to rounding).
    """
    failed = stack.failing()
    if failed is not None:
        raise Undecided(f"layer {failed[0]}: the constant of its {failed[1]} is not below 1: {float(failed[2]):.6g}")
    with flint.ctx.workprec(precision):
        Z = BallMatrix.embed(Y)
        for layer, constants in zip(reversed(stack.model.layers), reversed(stack.layers), strict=True):
            Z = _undo_attention(layer, constants.region, _undo_mlp(layer.mlp, Z))
        if stack.model.E is not None:
            Z = BallMatrix(Z.mat - arb_mat(stack.model.E.mat))
        found = RationalMatrix.of([[midpoint(x) for x in row] for row in Z.mat.tolist()])
        if not stack.region.contains(found):
            found = _drawn_in(found, stack.region)
        return Inverse(stack, Y, found, distance_above(stack, found, Y) / stack.injectivity())


def distance_above(stack: Stack, Z: RationalMatrix, Y: RationalMatrix) -> fmpq:
    """An upper bound of ``‖T(Z) − Y‖`` in the stack's norm, at the current precision."""
    image = stack.model(BallMatrix.embed(Z))
    assert isinstance(image, BallMatrix)
    difference = image.mat - arb_mat(Y.mat)
    d, M = Y.shape
    squares = [square_length([difference[c, j] for c in range(d)]) for j in range(M)]
    total = sum(squares, arb(0)) if stack.norm == "frobenius" else max((s.upper() for s in squares), key=float)
    if not total.is_finite():
        raise Undecided("the outputs are not enclosed")
    return above(root_above(max(midpoint(total.upper()), fmpq(0))) * (1 + fmpq(1, 2**40)), 64)


def _undo_mlp(mlp: FeedForward, Y: BallMatrix) -> BallMatrix:
    def step(Z: BallMatrix) -> BallMatrix:
        image = mlp(Z)
        assert isinstance(image, BallMatrix)
        return BallMatrix(Y.mat - image.mat + Z.mat)

    return _settled(step, Y)


def _undo_attention(layer: Layer, region: Region, Y: BallMatrix) -> BallMatrix:
    def step(X: BallMatrix) -> BallMatrix:
        inside = _projected(X, region)
        image = layer.attention(inside, inside)
        assert isinstance(image, BallMatrix)
        return BallMatrix(Y.mat - image.mat)

    return _settled(step, Y)


def _settled(step: Callable[[BallMatrix], BallMatrix], start: BallMatrix) -> BallMatrix:
    """Iterate on midpoints until they stop changing by more than a few units in the last place."""
    current = BallMatrix(start.mat.mid())
    least = None
    for _ in range(MAX_STEPS):
        following = BallMatrix(step(current).mat.mid())
        change = max((abs(float(x)) for x in (following.mat - current.mat).entries()), default=0.0)
        if change == 0 or (least is not None and change >= least and change < 2.0 ** (16 - flint.ctx.prec)):
            return following
        least = change if least is None else min(least, change)
        current = following
    raise Undecided(f"the inverse iteration has not settled after {MAX_STEPS} steps")


def _projected(X: BallMatrix, region: Region) -> BallMatrix:
    d, M = X.shape
    columns = []
    for j in range(M):
        radius = region.prompt_radius if j < region.prompt_length else region.input_radius
        column = X.column(j)
        length = square_length(column).sqrt()
        columns.append(column if length <= arb(radius) else [x * arb(radius) / length for x in column])
    return BallMatrix(arb_mat(d, M, [columns[j][c] for c in range(d) for j in range(M)]))


def _drawn_in(Z: RationalMatrix, region: Region) -> RationalMatrix:
    """Tokens that rounding left just outside of their balls, brought back. Raises Undecided when more is missing."""
    columns = []
    for j in range(region.length):
        radius = region.prompt_radius if j < region.prompt_length else region.input_radius
        column = Z.column(j)
        square = sum((x * x for x in column), fmpq(0))
        if square > radius * radius * (1 + fmpq(1, 2**30)):
            raise Undecided(f"token {j}: the preimage leaves the region: this output has none in it")
        if square > radius * radius:
            column = [x * radius / root_above(square) for x in column]
        columns.append(column)
    return RationalMatrix.of_columns(columns)


def round_trip(stack: Stack, Z: RationalMatrix, *, precision: int = PRECISION) -> Inverse:
    """Forward through the stack, rounded to rationals, and back: the result encloses a point near Z.

    >>> from constructions.depth.collapse import collapse
    >>> stack = Stack.of(collapse(), Region(fmpq(2), fmpq(2), 1, 1))
    >>> Z = RationalMatrix.of([[1, "1/2"], ["1/3", 0]])
    >>> found = round_trip(stack, Z)
    >>> distance = max(abs(float(x)) for x in (found.Z - Z).mat.entries())
    >>> distance < 1e-30, float(found.error) < 1e-25
    (True, True)
    """
    with flint.ctx.workprec(precision):
        image = stack.model(BallMatrix.embed(Z))
        assert isinstance(image, BallMatrix)
        Y = RationalMatrix.of([[midpoint(x) for x in row] for row in image.mat.tolist()])
    return invert(stack, Y, precision=precision)
