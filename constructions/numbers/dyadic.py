"""Floats as the exact dyadic numbers they are: integer matrices over a power of two, and their exact products.

A product of two integer matrices is formed in floats where no partial sum can reach 2^53: every number that occurs is
then an integer that a float holds exactly, in whatever order the sums are taken. Otherwise flint forms it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from flint import fmpq, fmpz, fmpz_mat

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[Any]
"""Integers in numpy: of 64 bits, or Python's own where those could overflow."""

EXACT = 2.0**53


def power_of_two(exponent: int) -> fmpq:
    """``2^exponent``.

    >>> power_of_two(3), power_of_two(-2)
    (8, 1/4)
    """
    return fmpq(fmpz(1) << exponent) if exponent >= 0 else fmpq(1, fmpz(1) << -exponent)


def dyadic(W: Floats) -> tuple[fmpz_mat, int]:
    """Integers M (the shape of W, r×c) and e with ``W = M 2^e``, exactly; W is finite.

    >>> dyadic(np.array([[0.75, -2.0], [0.0, 0.1]]))[1]
    -55
    >>> dyadic(np.array([[0.75, -2.0], [0.0, 0.5]]))
    ([3, -8]
    [0,  2], -2)
    """
    rows, columns = W.shape
    if not W.any():
        return fmpz_mat(rows, columns), 0
    fractions, exponents = np.frexp(W)
    mantissas = np.ldexp(fractions, 53).astype(np.int64)
    zeros = np.frexp((mantissas & -mantissas).astype(np.float64))[1] - 1  # of the mantissa, at its end
    lowest = exponents - 53 + zeros
    used = mantissas != 0
    least, greatest = int(lowest[used].min()), int(exponents[used].max())
    if greatest - least <= 62:
        values = np.ldexp(W, -least).astype(np.int64).ravel().tolist()
    else:
        odd = (mantissas >> np.where(used, zeros, 0)).ravel().tolist()
        shifts = np.where(used, lowest - least, 0).ravel().tolist()
        values = [m << shift for m, shift in zip(odd, shifts, strict=True)]
    return fmpz_mat(rows, columns, values), least


def dyadic_vector(values: Floats) -> list[fmpq]:
    """The same for a vector, as rationals.

    >>> dyadic_vector(np.array([0.75, -2.0]))
    [3/4, -2]
    """
    return [fmpq(*float(value).as_integer_ratio()) for value in values]


def row_products(A: Integers) -> Integers:
    """``A A^T`` for an integer matrix (n×m), exactly.

    >>> row_products(np.array([[1, 2], [3, 4]]))
    array([[ 5, 11],
           [11, 25]])
    """
    if A.dtype == np.int64:
        floats = A.astype(np.float64)
        # |partial sums| ≤ the product of two rows' lengths; the margin covers the rounding of this sum
        if float(np.max(np.sum(floats * floats, axis=1), initial=0.0)) * (1 + 1e-6) < EXACT:
            return np.asarray((floats @ floats.T).astype(np.int64))
    M = fmpz_mat(A.shape[0], A.shape[1], A.ravel().tolist())
    return integers((M * M.transpose()).tolist())


def integers(rows: Sequence[Sequence[fmpz]]) -> Integers:
    """Rows of flint integers as an array of Python's integers."""
    return np.array([[int(x) for x in row] for row in rows], dtype=object)


def dominant(R: Integers) -> bool:
    """Whether a symmetric integer matrix (n×n) is strictly diagonally dominant with positive diagonal, exactly; then it
    is positive definite (Gershgorin).

    >>> dominant(np.array([[2, -1], [-1, 2]])), dominant(np.array([[2, -2], [-2, 2]]))
    (True, False)
    """
    sizes = abs(R)
    if R.dtype == np.int64 and int(sizes.max(initial=0)) * len(R) >= 1 << 62:
        return dominant(R.astype(object))
    diagonal = R.diagonal()
    return bool(np.all(diagonal > 0) and np.all(2 * diagonal > sizes.sum(axis=1)))


def floats(M: fmpz_mat) -> tuple[Floats, int]:
    """Floats T below 1 and an even e with ``M ≈ T 2^e``; for guesses.

    >>> floats(fmpz_mat([[3, -1]]))
    (array([[ 0.75, -0.25]]), 2)
    """
    entries = M.entries()
    exponent = max((abs(x).bit_length() for x in entries), default=0)
    exponent += exponent % 2
    shift = max(exponent - 60, 0)
    table = np.array([float(int(x >> shift)) for x in entries]).reshape(M.nrows(), M.ncols())
    return np.ldexp(table, shift - exponent), exponent
