"""Norms of products such as W_k^T W_q, by products and proofs of s×s matrices only, s the head's size.

With ``G_B = B B^T`` and ``G_C = C C^T`` (B s×c, C s×d) the norm of the product ``B^T C`` needs no c×d matrix: if
``L L^T − G_B`` is positive definite, then ``‖B^T C‖² ≤ ‖L^T C‖² = λ_max(L^T G_C L)``, and for every w
``‖B^T C‖² ≥ w^T G_C G_B G_C w / w^T G_C w`` (the vector C^T w). L is a float Cholesky factor of G_B with a little
added, so it serves unless ``B^T C`` is tiny beside ``‖B‖ ‖C‖``; then, and where s is not much smaller than c and d, the
product itself is formed.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from flint import fmpq, fmpq_mat, fmpz, fmpz_mat

from constructions.numbers.definite import positive_definite_factor
from constructions.numbers.dyadic import Floats, Integers, dominant, dyadic, floats, integers, power_of_two
from constructions.numbers.norm_enclosure import (
    ZERO,
    NormEnclosure,
    check_relative_error,
    enclose_rounded,
    top_eigenvector,
)
from constructions.numbers.spectral_norm import above, below, root_above, root_below


class Rows:
    """A matrix ``M 2^exponent`` (s×d) with integers M, for s that is not large.

    >>> Rows(fmpz_mat([[3, 4]]), -1).gram
    [25]
    """

    def __init__(self, M: fmpz_mat, exponent: int) -> None:
        self.M = M
        self.exponent = exponent

    @classmethod
    def of(cls, W: Floats) -> Rows:
        """A matrix of floats, exactly."""
        return cls(*dyadic(W))

    @cached_property
    def gram(self) -> fmpz_mat:
        """``M M^T``."""
        return self.M * self.M.transpose()


def product_norm(B: Rows, C: Rows, error: fmpq) -> NormEnclosure:
    """‖B^T C‖_2 for B s×c, C s×d, with a relative error of at most ``error``.

    Raises ValueError for an error out of range; ArithmeticError when no proof is found.

    >>> found = product_norm(Rows(fmpz_mat([[1, 2]]), 0), Rows(fmpz_mat([[3, 4]]), 0), fmpq(1, 100))
    >>> found.lower ** 2 <= 5 * 25 <= found.upper ** 2
    True
    """
    check_relative_error(error)
    if not any(B.gram.entries()) or not any(C.gram.entries()):
        return ZERO
    exponent = B.exponent + C.exponent
    small = 2 * B.M.nrows() <= min(B.M.ncols(), C.M.ncols())
    cover = _cover(B.gram) if small else None
    if cover is not None:
        L, scale = cover
        K = L.transpose() * C.gram * L
        w = L * _top_vector(K)
        image = C.gram * w
        length = _inner(w, image)
        square = fmpq(_inner(image, B.gram * image), length) if length else fmpq(0)
        if square:
            upper = _root_of_largest(K, square * power_of_two(-2 * scale), error)
            if upper is not None:
                found = _enclosure(root_below(square, 80), upper * power_of_two(scale), exponent)
                if found.relative_error <= error:
                    return found
    return _direct(B.M.transpose() * C.M, exponent, error)


def _cover(G: fmpz_mat) -> tuple[fmpz_mat, int] | None:
    """Integers L and e with ``L L^T 2^(2e) − G`` positive definite and small, proved; None when floats find none."""
    table, exponent = floats(G)
    for bits in (45, 41, 36):
        try:
            factor = np.linalg.cholesky(table + 2.0**-bits * np.eye(len(table)))
        except np.linalg.LinAlgError:
            continue
        L = fmpz_mat(len(table), len(table), np.rint(factor * 2.0**54).astype(np.int64).ravel().tolist())
        scale = exponent // 2 - 54
        up, down = max(2 * scale, 0), max(-2 * scale, 0)
        if dominant(integers((L * L.transpose() * (fmpz(1) << up) - G * (fmpz(1) << down)).tolist())):
            return L, scale
    return None


def _root_of_largest(K: fmpz_mat, guess: fmpq, error: fmpq) -> fmpq | None:
    """σ above the root of the largest eigenvalue, ``1 + error/2`` times the root of the guess, proved; else None."""
    square = above(guess * (1 + error / 2) ** 2, 64)
    n = K.nrows()
    N = fmpz_mat(n, n)
    for i in range(n):
        N[i, i] = square.p
    if positive_definite_factor(fmpq_mat(N - K * square.q)) is None:
        return None
    return root_above(square, 80)


def _direct(A: fmpz_mat, exponent: int, error: fmpq) -> NormEnclosure:
    """‖A‖ 2^exponent for the product itself."""
    if not any(A.entries()):
        return ZERO
    if A.nrows() > A.ncols():
        A = A.transpose()
    table, size = floats(A)
    values = integers(A.tolist())

    def rounded(bits: int) -> tuple[Integers, bool]:
        shift = size - bits
        if shift <= 0:
            return (values << -shift).astype(np.int64), True
        return ((values + (1 << shift - 1)) >> shift).astype(np.int64), False

    return enclose_rounded(table, rounded, exponent + size, error)


def _enclosure(lower: fmpq, upper: fmpq, exponent: int) -> NormEnclosure:
    unit = power_of_two(exponent)
    return NormEnclosure(below(lower * unit, 64), above(upper * unit, 64))


def _top_vector(K: fmpz_mat) -> fmpz_mat:
    """An eigenvector of the largest eigenvalue, guessed, in integers (n×1)."""
    table, _ = floats(K)
    x = np.rint(top_eigenvector(table)[1] * 2.0**40).astype(np.int64)
    return fmpz_mat(len(x), 1, x.tolist())


def _inner(x: fmpz_mat, y: fmpz_mat) -> fmpz:
    return (x.transpose() * y)[0, 0]
