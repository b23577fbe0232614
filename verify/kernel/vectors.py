"""Making vectors and matrices of others."""

from collections.abc import Iterable, Sequence

from limits import bounded
from rational import ONE, Matrix, Scalar, Vector, common_denominator


def unit(c: int, size: int, value: Scalar = ONE) -> Vector:
    """The vector with that value in coordinate c, and 0 elsewhere."""
    return Vector(tuple(value.num if k == c else 0 for k in range(size)), value.den)


def stacked(rows: Sequence[Vector]) -> Matrix:
    """The matrix with these rows, at least one."""
    den = 1
    for row in rows:
        _, _, den = common_denominator(den, row.den)
    numbers = tuple(tuple(n * (den // row.den) for n in row.num) for row in rows)
    return Matrix(numbers, den, len(rows[0]))


def entry(vector: Vector, k: int) -> Scalar:
    """Coordinate k."""
    return Scalar(vector.num[k], vector.den)


def sum_of(numbers: Iterable[Scalar]) -> Scalar:
    """The sum over a common denominator: that of a sum of many terms stays short if theirs have much in common."""
    num, den = 0, 1
    for number in numbers:
        f, g, den = common_denominator(den, number.den)
        num = f * num + g * number.num
    return Scalar(num, den)


def rank(rows: Sequence[tuple[int, ...]]) -> int:
    """The rank of an integer matrix: elimination without fractions (Bareiss), where every division leaves no rest."""
    left, previous, count = [list(row) for row in rows], 1, 0
    while True:
        left = [row for row in left if any(row)]
        if not left:
            return count
        pivot_row = left.pop()
        column = next(c for c, n in enumerate(pivot_row) if n)
        pivot = pivot_row[column]
        left = [
            list(bounded((pivot * n - row[column] * m) // previous for n, m in zip(row, pivot_row, strict=True)))
            for row in left
        ]
        previous, count = pivot, count + 1
