"""Making vectors and matrices of others."""

from collections.abc import Iterable, Sequence

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
