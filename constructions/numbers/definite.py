"""Proofs that a rational matrix is positive definite, and rational bounds on spectral norms.

A symmetric N is positive definite when N - F F^T is strictly diagonally dominant with positive
diagonal for some F: the dominant matrix is positive definite by Gershgorin's theorem, and F F^T
takes nothing away. A float Cholesky factor, rounded to short dyadic numbers, is such an F whenever
N is not too near singular; beyond floats, a Cholesky factorisation in long integers finds one.
Whoever doubts it forms one product and compares sums of absolute values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from flint import fmpq, fmpq_mat, fmpz, fmpz_mat

__all__ = ["NormBound", "norm_product_below_one", "positive_definite_factor", "spectral_norm_bound"]

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NormBound:
    """A proof that ||W||_2^2 < ``square``, for the W it was made for.

    ``factor`` proves square * I - Gram positive definite, where Gram is W^T W for ``gram`` =
    'columns' and W W^T for 'rows'; the two have the same largest eigenvalue, ||W||_2^2.
    """

    square: fmpq
    factor: fmpq_mat
    gram: Literal["columns", "rows"]

    def holds_for(self, W: fmpq_mat) -> bool:
        """Whether the factor proves the bound for W, by one exact product.

        >>> from flint import fmpq_mat
        >>> bound = spectral_norm_bound(fmpq_mat([[3, 0], [0, 4]]))
        >>> bound.holds_for(fmpq_mat([[3, 0], [0, 4]])), bound.holds_for(fmpq_mat([[3, 0], [0, 5]]))
        (True, False)
        """
        return _proves(_shifted(W, self.square, self.gram), self.factor)


def positive_definite_factor(N: fmpq_mat, *, max_bits: int = 1024) -> fmpq_mat | None:
    """A dyadic lower-triangular F with N - F F^T strictly diagonally dominant, diagonal positive.

    ``N`` is symmetric, of shape (n, n); otherwise ValueError. F is sought with entries of at most 53
    bits, then of 64, 128, ... up to ``max_bits``, in units of the largest. None when none is found:
    N is not positive definite, or so near singular that ``max_bits`` do not show it (the least
    eigenvalue below about n 2^-max_bits of the largest entry).

    >>> from flint import fmpq_mat
    >>> N = fmpq_mat([[2, 1], [1, 2]])
    >>> F = positive_definite_factor(N)
    >>> N - F * F.transpose()
    [ 7/16, -3/32]
    [-3/32, 15/32]
    >>> positive_definite_factor(fmpq_mat([[1, 2], [2, 1]])) is None
    True
    """
    n = N.nrows()
    if N.ncols() != n:
        raise ValueError(f"shape of N: expected square, found {n} x {N.ncols()}")
    if N.transpose() != N:
        i, j = next((i, j) for i in range(n) for j in range(i) if N[i, j] != N[j, i])
        raise ValueError(f"N is not symmetric: entry ({i}, {j}) is {N[i, j]}, entry ({j}, {i}) is {N[j, i]}")
    if n == 0:
        return fmpq_mat(0, 0)
    if any(N[i, i] <= 0 for i in range(n)):
        return None
    table, exponent = _normalized(N, even=True)
    eigenvalues = np.linalg.eigvalsh(table)
    least, greatest = float(eigenvalues[0]), float(eigenvalues[-1])
    if least < -1e-10 * greatest:  # far beyond the error of the floats: no need to look
        return None
    if least > 1e-13 * greatest:
        F = _float_factor(N, table, exponent, least)
        if F is not None:
            return F
    numerators, denominator = N.numer_denom()
    if numerators.rank() < n:
        return None
    bits = 64
    while bits <= max_bits:
        F = _integer_factor(numerators, denominator, exponent, bits)
        if F is not None and _proves(N, F):
            return F
        bits *= 2
    return None


def spectral_norm_bound(W: fmpq_mat, relative_error: fmpq = fmpq(1, 100)) -> NormBound:  # noqa: B008
    """A short dyadic nu with a proof that ||W||_2^2 < nu <= (1 + relative_error)^2 ||W||_2^2.

    The left inequality is proved, the right one rests on a float estimate of the norm; W = 0 gets
    nu = 2^-64. ``W`` has shape (r, c); the Gram matrix is the smaller one, that of the columns when
    r = c. ValueError for a relative error below 2^-40, which the estimate does not reach;
    ArithmeticError when no proof is found, which no matrix is known to cause.

    >>> from flint import fmpq, fmpq_mat
    >>> bound = spectral_norm_bound(fmpq_mat([[3, 0, 0], [0, 4, 0]]))
    >>> bound.square, bound.gram                    # the square of the norm is 16
    (259/16, 'rows')
    """
    if relative_error < _FINEST:
        raise ValueError(f"relative_error: expected at least 2^-40, found {relative_error}")
    estimate = _square_estimate(W)
    nu = _short_above(estimate, relative_error) if estimate != 0 else fmpq(1, 2**64)
    bound = _prove(W, nu)
    if bound is None:
        raise ArithmeticError(f"no proof found that the squared norm, about {_show(estimate)}, is below {nu}")
    return bound


def norm_product_below_one(W_1: fmpq_mat, W_2: fmpq_mat) -> tuple[NormBound, NormBound] | None:
    """Bounds nu_1 on ||W_1||_2^2 and nu_2 on ||W_2||_2^2 with nu_1 nu_2 < 1, so ||W_1|| ||W_2|| < 1.

    None when the float estimate of the product is 1 or more, or no proof is found. The loosest
    relative error that does is taken: looser bounds have shorter proofs.

    >>> from flint import fmpq, fmpq_mat
    >>> pair = norm_product_below_one(fmpq_mat([[3, 4]]), fmpq_mat([[fmpq(1, 6)]]))
    >>> [bound.square for bound in pair]
    [27, 61/2048]
    >>> norm_product_below_one(fmpq_mat([[3, 4]]), fmpq_mat([[fmpq(1, 5)]])) is None
    True
    """
    estimates = [_square_estimate(W_1), _square_estimate(W_2)]
    if estimates[0] == 0 or estimates[1] == 0:  # any nu serves for 0: one small enough for the other
        other = estimates[0] + estimates[1]
        nu = _short_above(other, fmpq(1, 4)) if other != 0 else fmpq(1, 2)
        small = _power(-1 - _exponent(nu))
        pair = [_prove(W, nu if e != 0 else small) for W, e in zip((W_1, W_2), estimates, strict=True)]
        return _below_one(*pair)
    error = fmpq(1, 4)
    while error >= _FINEST:
        if estimates[0] * estimates[1] * (1 + error) ** 4 < 1:
            first, second = (_short_above(e, error) for e in estimates)
            found = _below_one(_prove(W_1, first), _prove(W_2, second))
            if found is not None:
                return found
        error /= 4
    return None


def _below_one(first: NormBound | None, second: NormBound | None) -> tuple[NormBound, NormBound] | None:
    if first is None or second is None or first.square * second.square >= 1:
        return None
    return first, second


# ---------------------------------------------------------------------------------------------
# The check


def _proves(N: fmpq_mat, F: fmpq_mat) -> bool:
    """Whether N - F F^T is strictly diagonally dominant with positive diagonal, exactly."""
    n = N.nrows()
    if (N.ncols(), F.nrows(), F.ncols()) != (n, n, n):
        return False
    M, d = N.numer_denom()
    L, e = F.numer_denom()
    common = d.lcm(e * e)
    R = (M * (common // d) - (L * L.transpose()) * (common // (e * e))).tolist()
    # R_ii > sum of the other |R_ij|, the diagonal counted on both sides
    return all(2 * row[i] > sum(map(abs, row), fmpz(0)) and row[i] > 0 for i, row in enumerate(R))


def _shifted(W: fmpq_mat, nu: fmpq, gram: Literal["columns", "rows"]) -> fmpq_mat:
    """nu I - Gram, over one denominator."""
    M, d = W.numer_denom()
    product = M.transpose() * M if gram == "columns" else M * M.transpose()
    n = product.nrows()
    diagonal = fmpz_mat(n, n)
    for i in range(n):
        diagonal[i, i] = nu.p * d * d
    return fmpq_mat(diagonal - product * nu.q) / (nu.q * d * d)


def _prove(W: fmpq_mat, nu: fmpq) -> NormBound | None:
    gram: Literal["columns", "rows"] = "columns" if W.ncols() <= W.nrows() else "rows"
    factor = positive_definite_factor(_shifted(W, nu, gram))
    return None if factor is None else NormBound(nu, factor, gram)


# ---------------------------------------------------------------------------------------------
# Estimates and factors, which nobody needs to trust

_FINEST = fmpq(1, 2**40)


def _power(exponent: int) -> fmpq:
    return fmpq(fmpz(1) << exponent) if exponent >= 0 else fmpq(1, fmpz(1) << -exponent)


def _exponent(value: fmpq) -> int:
    """An integer e with |value| < 2^e, and at most four times too large; value is not 0."""
    return abs(value.p).bit_length() - value.q.bit_length() + 1


def _normalized(matrix: fmpq_mat, even: bool = False) -> tuple[_Floats, int]:
    """Floats of matrix / 2^e, all below 1, and e (even, if asked)."""
    numerators, denominator = matrix.numer_denom()
    entries = numerators.entries()
    size = max(v.bit_length() for v in entries)
    exponent = size - denominator.bit_length() + 1
    exponent += exponent % 2 if even else 0
    # 60 bits after the point lose less than the floats do
    shift = 60 - exponent
    up, down = fmpz(1) << max(shift, 0), denominator << max(-shift, 0)
    table = np.array([float(v * up // down) for v in entries]) / 2.0**60
    return table.reshape(matrix.nrows(), matrix.ncols()), exponent


def _square_estimate(W: fmpq_mat) -> fmpq:
    """||W||_2^2 to about 50 bits; 0 only for W = 0."""
    if not any(W.entries()):
        return fmpq(0)
    table, exponent = _normalized(W)
    numerator, denominator = float(np.linalg.norm(table, 2)).as_integer_ratio()
    return (fmpq(numerator, denominator) * _power(exponent)) ** 2


def _short_above(estimate: fmpq, relative_error: fmpq) -> fmpq:
    """A dyadic number between the squares of 1 + error/2 and 1 + error, times the estimate."""
    low, high = estimate * (1 + relative_error / 2) ** 2, estimate * (1 + relative_error) ** 2
    unit = _power(_exponent(high - low) - 2)  # at most the gap
    return (low / unit).ceil() * unit


def _show(value: fmpq) -> str:
    return f"{float(value.p) / float(value.q):.6g}" if max(value.p, value.q) < 2**1000 else "out of range"


def _float_factor(N: fmpq_mat, table: _Floats, exponent: int, least: float) -> fmpq_mat | None:
    """Half the least eigenvalue is left on the diagonal, to outweigh what rounding does."""
    n = len(table)
    try:
        lower = np.linalg.cholesky(table - least / 2 * np.eye(n))
    except np.linalg.LinAlgError:
        return None
    # Rounding to units u perturbs a row of F F^T by about u n |F_i| in all; signs cancel in part.
    bits = max(4, math.ceil(math.log2(n * float(np.max(np.abs(lower))) / least)))
    while bits <= 52:
        rounded = np.rint(lower * 2.0**bits).astype(np.int64)
        F = fmpq_mat(fmpz_mat(rounded.tolist())) * _power(exponent // 2 - bits)
        if _proves(N, F):
            return F
        bits += 3
    return None


def _integer_factor(M: fmpz_mat, denominator: fmpz, exponent: int, bits: int) -> fmpq_mat | None:
    """Cholesky in integers: S holds N / 2^exponent - 4 n 2^-bits I in units of 2^(-2 bits).

    Each step takes v v^T from S, exactly; only v, a column over the root of its pivot, is rounded,
    which leaves less than the root behind in each entry, so about n 2^-bits in each row.
    """
    n = M.nrows()
    shift = 2 * bits - exponent
    up, down = fmpz(1) << max(shift, 0), denominator << max(-shift, 0)
    S = fmpz_mat(n, n, [v * up // down for v in M.entries()])
    for i in range(n):
        S[i, i] = S[i, i] - ((4 * n) << bits)
    columns: list[list[fmpz]] = []
    for j in range(n):
        pivot = S[j, j]
        if pivot <= 0:
            return None
        root = pivot.isqrt()
        column = [fmpz(0)] * j + [S[i, j] // root for i in range(j, n)]
        column[j] = root
        v = fmpz_mat(n, 1, column)
        S -= v * v.transpose()
        columns.append(column)
    F = fmpz_mat(n, n, [v for column in columns for v in column]).transpose()
    return fmpq_mat(F) * _power(exponent // 2 - bits)
