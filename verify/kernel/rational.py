"""Exact rational scalars, vectors and matrices: integers over one positive denominator.

Values are never reduced to lowest terms: greatest common divisors of long integers take too much time.
Lengths are checked at every product: `map` and `zip` would silently stop at the shorter operand.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from math import gcd
from operator import mul

import limits
from limits import DEADLINE, OverLimits, bounded
from reading import Field

GCD_BITS = 1 << 14


@dataclass(frozen=True)
class Scalar:
    """num / den with den > 0."""

    num: int
    den: int

    def __add__(self, other: "Scalar") -> "Scalar":
        return Scalar(self.num * other.den + other.num * self.den, self.den * other.den)

    def __neg__(self) -> "Scalar":
        return Scalar(-self.num, self.den)

    def __sub__(self, other: "Scalar") -> "Scalar":
        return self + -other

    def __mul__(self, other: "Scalar") -> "Scalar":
        return Scalar(self.num * other.num, self.den * other.den)

    def sign(self) -> int:
        """-1, 0 or 1."""
        return (self.num > 0) - (self.num < 0)


ONE = Scalar(1, 1)


@dataclass(frozen=True)
class Vector:
    """num / den, entry by entry, with den > 0."""

    num: tuple[int, ...]
    den: int

    def __len__(self) -> int:
        return len(self.num)

    def __add__(self, other: "Vector") -> "Vector":
        total = Matrix((self.num,), self.den, len(self)) + Matrix((other.num,), other.den, len(other))
        return Vector(total.rows[0], total.den)

    def __neg__(self) -> "Vector":
        return Vector(tuple(-n for n in self.num), self.den)

    def __sub__(self, other: "Vector") -> "Vector":
        return self + -other

    def dot(self, other: "Vector") -> Scalar:
        """The inner product with a vector of the same length."""
        return Scalar(_dot(self.num, other.num), self.den * other.den)

    def is_zero(self) -> bool:
        """Whether every entry is zero."""
        return not any(self.num)


@dataclass(frozen=True)
class Matrix:
    """rows / den with den > 0; `width` is the number of columns, also when there is no row."""

    rows: tuple[tuple[int, ...], ...]
    den: int
    width: int

    def __matmul__(self, vector: Vector) -> Vector:
        """Matrix times vector."""
        return Vector(tuple(bounded(_dot(row, vector.num) for row in self.rows)), self.den * vector.den)

    def __add__(self, other: "Matrix") -> "Matrix":
        if (len(self.rows), self.width) != (len(other.rows), other.width):
            raise ValueError("a sum of matrices of different shapes")
        a, b, den = common_denominator(self.den, other.den)
        entries = (
            a * x + b * y for pair in zip(self.rows, other.rows, strict=True) for x, y in zip(*pair, strict=True)
        )
        return Matrix(_rows(entries, len(self.rows), self.width), den, self.width)

    def times(self, other: "Matrix") -> "Matrix":
        """Matrix times matrix: only for the positive definiteness checks, all else goes by vectors."""
        columns = other.transposed().rows
        entries = (_dot(row, column) for row in self.rows for column in columns)
        return Matrix(_rows(entries, len(self.rows), other.width), self.den * other.den, other.width)

    def transposed(self) -> "Matrix":
        """The transpose; a matrix without rows becomes rows without entries."""
        rows = tuple(zip(*self.rows, strict=True)) if self.rows else ((),) * self.width
        return Matrix(rows, self.den, len(self.rows))

    def row(self, k: int) -> Vector:
        """Row k."""
        return Vector(self.rows[k], self.den)

    def equals(self, other: "Matrix") -> bool:
        """Equality of shape and value."""
        if (len(self.rows), self.width) != (len(other.rows), other.width):
            return False
        return all(
            x * other.den == y * self.den
            for pair in zip(self.rows, other.rows, strict=True)
            for x, y in zip(*pair, strict=True)
        )


def common_denominator(a: int, b: int) -> tuple[int, int, int]:
    """Factors f, g and a denominator c with 1/a = f/c and 1/b = g/c; c is the least one unless they are long."""
    if a == b:
        return 1, 1, a
    shared = gcd(a, b) if max(a, b).bit_length() <= GCD_BITS else 1
    c = a // shared * b
    if c.bit_length() > limits.MAX_COMPUTED_BITS:
        raise OverLimits("the denominator of an intermediate result is too long")
    return b // shared, a // shared, c


def _dot(u: tuple[int, ...], v: tuple[int, ...]) -> int:
    if len(u) != len(v):
        raise ValueError(f"a product of vectors of lengths {len(u)} and {len(v)}")
    return sum(map(mul, u, v))


def _rows(entries: Iterable[int], count: int, width: int) -> tuple[tuple[int, ...], ...]:
    source = bounded(entries)
    return tuple(tuple(islice(source, width)) for _ in range(count))


def identity(size: int) -> Matrix:
    """The identity matrix."""
    return Matrix(tuple(tuple(int(i == j) for j in range(size)) for i in range(size)), 1, size)


def is_positive_definite(symmetric: Matrix, factor: Matrix) -> bool:
    """Whether N - F F^T is strictly diagonally dominant with positive diagonal (N symmetric, F square).

    Then N - F F^T is positive definite (Gershgorin), and so is N. With N = n/p and F = f/r, the entries
    of n r^2 - p f f^T decide; those below the diagonal suffice, each counts in its row and in its column.
    """
    scale, size = factor.den**2, len(symmetric.rows)
    diagonal, others = [0] * size, [0] * size
    for i, row in enumerate(symmetric.rows):
        for j in range(i + 1):
            DEADLINE.check()
            entry = scale * row[j] - symmetric.den * _dot(factor.rows[i], factor.rows[j])
            if i == j:
                diagonal[i] = entry
            else:
                others[i] += abs(entry)
                others[j] += abs(entry)
    return all(entry > rest for entry, rest in zip(diagonal, others, strict=True))


def read_den(field: Field) -> int:
    """A positive integer."""
    den = field.integer()
    if den <= 0:
        field.fail("a positive integer")
    return den


def read_scalar(field: Field) -> Scalar:
    """{"den": D, "num": N}."""
    den, num = field.record("den", "num")
    return Scalar(num.integer(), read_den(den))


def read_vector(field: Field, length: int | None = None) -> Vector:
    """{"den": D, "num": [...]}, of that length if one is given."""
    den, num = field.record("den", "num")
    return Vector(num.numbers(length), read_den(den))


def read_matrix(field: Field, height: int, width: int | None = None) -> Matrix:
    """{"den": D, "num": [[...], ...]} of that height; without a width, of that of its first row."""
    den, num = field.record("den", "num")
    rows: list[tuple[int, ...]] = []
    for row in num.items(height):
        rows.append(row.numbers(width))
        width = len(rows[0])
    return Matrix(tuple(rows), read_den(den), width or 0)
