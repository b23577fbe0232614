"""Proofs that the spectral norm of a matrix is below a number."""

from dataclasses import dataclass
from itertools import islice
from operator import mul

from limits import bounded, demand
from rational import Matrix, Scalar, identity, is_positive_definite, read_matrix, read_scalar
from reading import Field
from rounding import rounded_up


def gram_size(W: Matrix) -> int:
    """The size of G below."""
    return min(len(W.rows), W.width)


def minus_gram(bound: Scalar, W: Matrix) -> Matrix:
    """v 1 - G with G = W^T W or W W^T, whichever is smaller (the first if they are of one size)."""
    tall = W if len(W.rows) < W.width else W.transposed()
    size = len(tall.rows)
    below = bounded(sum(map(mul, tall.rows[i], tall.rows[j])) for i in range(size) for j in range(i + 1))
    triangle = [list(islice(below, i + 1)) for i in range(size)]
    minus_G = tuple(tuple(-triangle[max(i, j)][min(i, j)] for j in range(size)) for i in range(size))
    multiple = tuple(tuple(bound.num * x for x in row) for row in identity(size).rows)
    return Matrix(multiple, bound.den, size) + Matrix(minus_G, W.den**2, size)


@dataclass(frozen=True)
class NormProof:
    """A number, and a factor that shows it above the norm; without a factor, for a matrix that is zero."""

    bound: Scalar
    factor: Matrix | None

    def above_norm(self, W: Matrix, where: str) -> Scalar:
        """The bound s, rounded upwards: s^2 - G is positive definite, hence |W|^2 = |G| < s^2."""
        if self.factor is None:
            demand(not any(n for row in W.rows for n in row), f"{where}: not zero, and no factor")
            demand(self.bound.sign() >= 0, f"{where}: the bound is negative")
        else:
            demand(self.bound.sign() > 0, f"{where}: the bound is not positive")
            demand(
                is_positive_definite(minus_gram(self.bound * self.bound, W), self.factor),
                f"{where}: the norm is not shown to be below its bound by the factor",
            )
        return rounded_up(self.bound)


def read_norm_proof(field: Field, size: int) -> NormProof:
    """A norm proof of a matrix for which G has that size."""
    bound, factor = field.record("bound", "factor")
    return NormProof(read_scalar(bound), None if factor.is_null() else read_matrix(factor, size, size))
