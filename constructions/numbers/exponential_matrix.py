"""Matrices over the exponential field Frac(Q[e^q : q ∈ Q]). Source: THEORY section 0, "Numbers"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from flint import fmpq, fmpq_mat

from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.matrix import (
    FieldError,
    Matrix,
    PiecewiseLinear,
    require_chain,
    require_columns,
    require_same_shape,
)
from constructions.numbers.rational import RationalMatrix


class ExpMatrix(Matrix):
    """A matrix over Frac(E)."""

    __slots__ = ("entries", "width")

    def __init__(self, entries: Sequence[Sequence[ExpFraction]], width: int) -> None:
        self.entries = [list(row) for row in entries]
        self.width = width

    @classmethod
    def embed(cls, matrix: RationalMatrix) -> ExpMatrix:
        return cls([[ExpFraction.of(x) for x in row] for row in matrix.rows()], matrix.shape[1])

    @classmethod
    def softmax_of(cls, scores: RationalMatrix, visible: Callable[[int], int] | None = None) -> ExpMatrix:
        """Column j is e^{score}/Σ over its first ``visible(j)`` rows (all rows when None), zero below."""
        rows, width = scores.shape
        columns: list[list[ExpFraction]] = []
        for j in range(width):
            seen = rows if visible is None else visible(j)
            column = scores.column(j)[:seen]
            mass = ExpSum.weighted([fmpq(1)] * seen, column)
            weights = [ExpFraction(ExpSum.exp(score), mass) for score in column]
            columns.append(weights + [ExpFraction(ExpSum({}), mass)] * (rows - seen))
        return cls([[columns[j][i] for j in range(width)] for i in range(rows)], width)

    def as_rational(self) -> RationalMatrix | None:
        """The same matrix over Q, or None when an entry is not rational."""
        values = [[x.as_rational() for x in row] for row in self.entries]
        known = [[x for x in row if x is not None] for row in values]
        if any(len(row) != self.width for row in known):
            return None
        return RationalMatrix.of(known, columns=self.width)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.entries), self.width

    def __getitem__(self, position: tuple[int, int]) -> ExpFraction:
        return self.entries[position[0]][position[1]]

    def column(self, j: int) -> list[ExpFraction]:
        return [row[j] for row in self.entries]

    def __matmul__(self, other: Matrix) -> Matrix:
        require_chain(self.shape, other.shape)
        if isinstance(other, RationalMatrix):
            other = ExpMatrix.embed(other)
        if not isinstance(other, ExpMatrix):
            return NotImplemented  # the larger field multiplies from the right
        zero = ExpFraction(ExpSum({}))
        rows = []
        for left in self.entries:
            row = []
            for j in range(other.width):
                products = [x * other.entries[k][j] for k, x in enumerate(left) if not x.numerator.is_zero]
                row.append(reduce(ExpFraction.__add__, products) if products else zero)
            rows.append(row)
        return ExpMatrix(rows, other.width)

    def __rmatmul__(self, left: RationalMatrix) -> ExpMatrix:  # type: ignore[misc]
        return _rational_times(left, self)

    def __add__(self, other: Matrix) -> Matrix:
        require_same_shape("sum", self.shape, other.shape)
        if isinstance(other, RationalMatrix):
            other = ExpMatrix.embed(other)
        if not isinstance(other, ExpMatrix):
            return other + self
        pairs = zip(self.entries, other.entries, strict=True)
        return ExpMatrix([[a + b for a, b in zip(left, right, strict=True)] for left, right in pairs], self.width)

    @property
    def T(self) -> ExpMatrix:
        return ExpMatrix([[row[j] for row in self.entries] for j in range(self.width)], len(self.entries))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RationalMatrix):
            other = ExpMatrix.embed(other)
        return isinstance(other, ExpMatrix) and self.shape == other.shape and self.entries == other.entries

    __hash__ = None  # type: ignore[assignment]

    def columns(self, start: int, stop: int) -> ExpMatrix:
        require_columns(self.shape, start, stop)
        return ExpMatrix([row[start:stop] for row in self.entries], stop - start)

    def softmax(self, visible: Callable[[int], int] | None = None) -> ExpMatrix:
        """Softmax of rational entries; FieldError when an entry is not rational."""
        scores = self.as_rational()
        if scores is None:
            raise FieldError(
                "softmax of scores that are not rational leaves the exponential field Frac(Q[e^q]); "
                "evaluate with balls (BallMatrix) instead"
            )
        return ExpMatrix.softmax_of(scores, visible)

    def hardmax(self, visible: Callable[[int], int] | None = None) -> RationalMatrix:
        rows, width = self.shape
        result = [[fmpq(0)] * width for _ in range(rows)]
        for j in range(width):
            column = self.column(j)[: rows if visible is None else visible(j)]
            largest = reduce(lambda a, b: b if a < b else a, column)
            winners = [i for i, x in enumerate(column) if x == largest]
            for i in winners:
                result[i][j] = fmpq(1, len(winners))
        return RationalMatrix.of(result, columns=width)

    def relu(self) -> ExpMatrix:
        zero = ExpSum({})  # over the denominator that is there: a column keeps its common one
        return ExpMatrix(
            [[x if x.sign() > 0 else ExpFraction.over(zero, x.denominator) for x in row] for row in self.entries],
            self.width,
        )

    def apply_units(self, units: Sequence[PiecewiseLinear]) -> ExpMatrix:
        def apply(unit: PiecewiseLinear, t: ExpFraction) -> ExpFraction:
            piece = unit.pieces[0]
            for candidate in unit.pieces[1:]:
                if candidate.start is not None and not t < candidate.start:
                    piece = candidate
            return t * piece.slope + piece.intercept

        rows = [[apply(unit, x) for x in row] for unit, row in zip(units, self.entries, strict=True)]
        return ExpMatrix(rows, self.width)


def _rational_times(left: RationalMatrix, right: ExpMatrix) -> ExpMatrix:
    """``left @ right`` column by column over the column's common denominator: one flint product for all its
    exponents."""
    columns: list[list[ExpFraction]] = []
    for j in range(right.width):
        column = right.column(j)
        denominator = column[0].denominator if column else ExpSum.of(1)
        if any(x.denominator is not denominator and x.denominator != denominator for x in column):
            columns.append(_row_by_row(left, column))
            continue
        exponents = list(dict.fromkeys(q for x in column for q in x.numerator.terms))
        place = {q: k for k, q in enumerate(exponents)}
        coefficients = fmpq_mat(len(column), len(exponents))
        for i, x in enumerate(column):
            for q, c in x.numerator.terms.items():
                coefficients[i, place[q]] = c
        product = (left.mat * coefficients).tolist()
        sums = [ExpSum(dict(zip(exponents, row, strict=True))) for row in product]
        columns.append([ExpFraction.over(x, denominator) for x in sums])
    return ExpMatrix([[column[i] for column in columns] for i in range(left.shape[0])], right.width)


def _row_by_row(left: RationalMatrix, column: Sequence[ExpFraction]) -> list[ExpFraction]:
    zero = ExpFraction(ExpSum({}))
    result = []
    for row in left.rows():
        terms = [x * c for c, x in zip(row, column, strict=True) if c != 0]
        result.append(reduce(ExpFraction.__add__, terms) if terms else zero)
    return result
