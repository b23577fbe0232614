"""Numbers of the second evaluation: fractions read from a certificate, exponential sums, signs by balls of 500 bits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from flint import arb, ctx, fmpq

Json = Any
Vector = list[Fraction]
Matrix = list[Vector]
Sum = dict[Fraction, Fraction]  # Σ c e^q as {q: c}
BITS = 500
ZERO, ONE = Fraction(0), Fraction(1)


class UnsureError(Exception):
    """A sign that balls of 500 bits do not show."""


def whole(value: Json) -> int:
    return int(value, 16) if isinstance(value, str) else int(value)


def read(value: Json) -> Any:
    """A scalar, vector or matrix as (lists of) fractions."""
    den = whole(value["den"])

    def over(num: Json) -> Any:
        return [over(x) for x in num] if isinstance(num, list) else Fraction(whole(num), den)

    return over(value["num"])


def inner(u: Vector, v: Vector) -> Fraction:
    assert len(u) == len(v)
    return sum((a * b for a, b in zip(u, v, strict=True) if a and b), ZERO)


def image(A: Matrix, v: Vector) -> Vector:
    return [inner(row, v) for row in A]


def turned(A: Matrix, width: int) -> Matrix:
    """The transpose, also of a matrix without rows."""
    return [[row[j] for row in A] for j in range(width)]


def product(A: Matrix, B: Matrix, width: int) -> Matrix:
    columns = turned(B, width)
    return [[inner(row, column) for column in columns] for row in A]


def added(u: Vector, v: Vector, factor: Fraction = ONE) -> Vector:
    return [a + factor * b for a, b in zip(u, v, strict=True)]


def ball(x: Fraction) -> arb:
    return arb(fmpq(x.numerator, x.denominator))


def merged(pairs: Iterator[tuple[Fraction, Fraction]] | list[tuple[Fraction, Fraction]]) -> Sum:
    """Terms (exponent, coefficient) with equal exponents added."""
    total: Sum = defaultdict(Fraction)
    for q, c in pairs:
        total[q] += c
    return {q: c for q, c in total.items() if c}


def times(a: Sum, b: Sum) -> Sum:
    return merged([(p + q, c * d) for p, c in a.items() for q, d in b.items()])


def plus(a: Sum, b: Sum, factor: Fraction = ONE) -> Sum:
    return merged([*a.items(), *((q, factor * c) for q, c in b.items())])


def scaled(a: Sum, factor: Fraction) -> Sum:
    return merged([(q, factor * c) for q, c in a.items()])


def sign(a: Sum) -> int:
    if not a:
        return 0
    top = max(a)
    with ctx.workprec(BITS):
        total = sum((ball(c) * ball(q - top).exp() for q, c in a.items()), arb(0))
        if total > 0:
            return 1
        if total < 0:
            return -1
    raise UnsureError(f"{len(a)} terms")


def exp_sum(value: Json) -> Sum:
    return merged(list(zip(read(value["exponents"]), read(value["coefficients"]), strict=True)))


def exp_fractions(value: Json) -> tuple[list[Sum], Sum]:
    return [exp_sum(entry) for entry in value["numerators"]], exp_sum(value["denominator"])


def positive_definite(N: Matrix) -> bool:
    """Of a symmetric matrix, by elimination: all pivots positive."""
    N = [list(row) for row in N]
    for k in range(len(N)):
        if N[k][k] <= 0:
            return False
        for i in range(k + 1, len(N)):
            N[i] = added(N[i], N[k], -N[i][k] / N[k][k])
    return True


def dominated(N: Matrix, factor: Matrix) -> bool:
    """N − F F^T strictly diagonally dominant with positive diagonal."""
    n = len(N)
    rest = [added(N[i], [inner(factor[i], factor[j]) for j in range(n)], -ONE) for i in range(n)]
    return all(rest[i][i] > sum((abs(x) for j, x in enumerate(rest[i]) if j != i), ZERO) for i in range(n))
