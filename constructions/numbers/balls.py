"""Balls: arbitrary-precision enclosures (flint's arb), and the loop that doubles the precision until decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import flint
from flint import arb, arb_mat, fmpq

from constructions.numbers.exponential import midpoint
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.matrix import Matrix, PiecewiseLinear, require_chain, require_columns, require_same_shape
from constructions.numbers.rational import RationalMatrix
from constructions.verdict import Undecided

START_PRECISION = 64
PRECISION_CAP = 1 << 16
NARROW = fmpq(1, 1 << 20)
"""Radius of a score below which a weight's numerator and denominator need not be enclosed together."""

T = TypeVar("T")


def until_decided(compute: Callable[[], T], start: int = START_PRECISION, cap: int = PRECISION_CAP) -> T:
    """Run ``compute`` at ``start`` bits, doubling the precision whenever it raises Undecided, up to ``cap`` bits.

    Raises the last Undecided past the cap. Inputs must be embedded into balls inside ``compute``.

    >>> def larger() -> bool:
    ...     return decided_sign(arb(2).sqrt() - arb(fmpq(14142135623730950488, 10**19))) > 0
    >>> until_decided(larger)
    True
    """
    precision = start
    while True:
        with flint.ctx.workprec(precision):
            try:
                return compute()
            except Undecided:
                if 2 * precision > cap:
                    raise
        precision *= 2


def decided_sign(ball: arb) -> int:
    """The sign of every number in the ball; Undecided when they differ (NaN included)."""
    if ball > 0:
        return 1
    if ball < 0:
        return -1
    if ball.is_zero():
        return 0
    raise Undecided(f"the ball {ball} straddles zero at {flint.ctx.prec} bits")


def _contains(ball: arb, x: fmpq) -> bool:
    # not arb.contains, which rounds x to the current precision and then asks for all of that ball
    return not ball.is_finite() or abs(x - midpoint(ball)) <= midpoint(ball.rad())


class BallMatrix(Matrix):
    """A matrix of balls at flint's current precision; every operation encloses the exact result.

    >>> BallMatrix.embed(RationalMatrix.of([["1/3"]]))[0, 0].contains(fmpq(1, 3))
    True
    """

    __slots__ = ("mat",)

    def __init__(self, mat: arb_mat) -> None:
        self.mat = mat

    @classmethod
    def embed(cls, matrix: Matrix) -> BallMatrix:
        if isinstance(matrix, BallMatrix):
            return matrix
        rows, width = matrix.shape
        if isinstance(matrix, RationalMatrix):
            return cls(arb_mat(rows, width, [arb(x) for x in matrix.mat.entries()]))
        assert isinstance(matrix, ExpMatrix)
        return cls(arb_mat(rows, width, [x.enclosure() for row in matrix.entries for x in row]))

    @property
    def shape(self) -> tuple[int, int]:
        return self.mat.nrows(), self.mat.ncols()

    def __getitem__(self, position: tuple[int, int]) -> arb:
        return self.mat[position]

    def column(self, j: int) -> list[arb]:
        return [self.mat[i, j] for i in range(self.mat.nrows())]

    def __matmul__(self, other: Matrix) -> BallMatrix:
        require_chain(self.shape, other.shape)
        return BallMatrix(self.mat * BallMatrix.embed(other).mat)

    def __rmatmul__(self, left: Matrix) -> BallMatrix:
        require_chain(left.shape, self.shape)
        return BallMatrix(BallMatrix.embed(left).mat * self.mat)

    def __add__(self, other: Matrix) -> BallMatrix:
        require_same_shape("sum", self.shape, other.shape)
        return BallMatrix(self.mat + BallMatrix.embed(other).mat)

    @property
    def T(self) -> BallMatrix:
        return BallMatrix(self.mat.transpose())

    def columns(self, start: int, stop: int) -> BallMatrix:
        require_columns(self.shape, start, stop)
        rows = self.mat.nrows()
        return BallMatrix(
            arb_mat(rows, stop - start, [self.mat[i, j] for i in range(rows) for j in range(start, stop)])
        )

    def contains(self, exact: Matrix) -> bool:
        """Whether every entry of an exact matrix may lie in its ball (rationals: whether it does, exactly)."""
        if isinstance(exact, RationalMatrix):
            pairs = zip(self.mat.entries(), exact.mat.entries(), strict=True)
            return self.shape == exact.shape and all(_contains(ball, x) for ball, x in pairs)
        return self.shape == exact.shape and bool(self.mat.overlaps(BallMatrix.embed(exact).mat))

    def softmax(self, visible: Callable[[int], int] | None = None) -> BallMatrix:
        rows, width = self.shape
        result = arb_mat(rows, width)
        for j in range(width):
            seen = rows if visible is None else visible(j)
            column = self.column(j)[:seen]
            if all(score.rad() < NARROW for score in column):  # one exponential for each score
                top = max(score.mid() for score in column)
                weights = [(score - top).exp() for score in column]
                total = sum(weights, arb(0))
                for i, weight in enumerate(weights):
                    result[i, j] = weight / total
                continue
            for i, score in enumerate(column):
                # 1/Σ e^{s_l - s_i}: the own term is exactly 1, so wide balls do not lose more than they must.
                others = sum(((other - score).exp() for k, other in enumerate(column) if k != i), arb(1))
                result[i, j] = 1 / others
        return BallMatrix(result)

    def hardmax(self, visible: Callable[[int], int] | None = None) -> BallMatrix:
        """Uniform on the largest entries; Undecided when balls overlap without being equal and exact."""
        rows, width = self.shape
        result = arb_mat(rows, width)
        for j in range(width):
            column = self.column(j)[: rows if visible is None else visible(j)]
            winners = [0]
            for i in range(1, len(column)):
                sign = decided_sign(column[i] - column[winners[0]])
                if sign > 0:
                    winners = [i]
                elif sign == 0:
                    winners.append(i)
            for i in winners:
                result[i, j] = arb(fmpq(1, len(winners)))
        return BallMatrix(result)

    def relu(self) -> BallMatrix:
        return BallMatrix(arb_mat(*self.shape, [x.max(arb(0)) for x in self.mat.entries()]))

    def apply_units(self, units: Sequence[PiecewiseLinear]) -> BallMatrix:
        """Row i through ``units[i]``; Undecided when a ball straddles the start of a piece."""
        rows, width = self.shape
        result = arb_mat(rows, width)
        for i, unit in enumerate(units):
            for j in range(width):
                t = self.mat[i, j]
                piece = unit.pieces[0]
                for candidate in unit.pieces[1:]:
                    if candidate.start is not None and decided_sign(t - arb(candidate.start)) >= 0:
                        piece = candidate
                result[i, j] = arb(piece.slope) * t + arb(piece.intercept)
        return BallMatrix(result)
