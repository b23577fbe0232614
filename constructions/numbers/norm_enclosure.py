"""Spectral norms of matrices of floats, enclosed: rational numbers below and above ‖W‖_2, a stated ratio apart.

Made for the weights of real networks, where :func:`~constructions.numbers.spectral_norm.spectral_norm` would carry
every bit of every weight through its proof. Here W is rounded to integers I in a unit u first, the rounding counted:
``‖W − u I‖ ≤ ½ u √(rc)``. Above: ``ν − I I^T`` is positive definite, because an integer factor leaves a diagonally
dominant rest. Below: ``|x^T I| / |x|`` for an integer vector x. Floats guess the norm, the factor and x; the products
are exact (:mod:`~constructions.numbers.dyadic`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy
from flint import fmpq

from constructions.numbers.dyadic import Floats, Integers, dominant, power_of_two, row_products
from constructions.numbers.spectral_norm import above, below, root_above, root_below

FINEST = fmpq(1, 2**30)
"""The least relative error: the floats that guess do not reach much further."""
LOOSEST = fmpq(1, 2)
_DIRECT = 24
"""Sizes up to which all eigenvalues are computed to guess the largest."""


@dataclass(frozen=True)
class NormEnclosure:
    """``lower ≤ ‖W‖_2 ≤ upper``, both proved; both 0 for W = 0."""

    lower: fmpq
    upper: fmpq

    @property
    def relative_error(self) -> fmpq:
        """``upper / lower − 1``: by how much ``upper`` can be too large, at most."""
        return self.upper / self.lower - 1 if self.upper else fmpq(0)

    def times_root(self, square: fmpq) -> NormEnclosure:
        """The norm of ``√square · W``; exact where the root is rational.

        >>> NormEnclosure(fmpq(1), fmpq(2)).times_root(fmpq(1, 64))
        NormEnclosure(lower=1/8, upper=1/4)
        """
        return NormEnclosure(self.lower * root_below(square), self.upper * root_above(square))

    def __mul__(self, other: NormEnclosure) -> NormEnclosure:
        return NormEnclosure(self.lower * other.lower, self.upper * other.upper)


ZERO = NormEnclosure(fmpq(0), fmpq(0))


def check_relative_error(error: fmpq) -> None:
    """Raises ValueError unless the relative error is one that can be reached."""
    if not FINEST <= error <= LOOSEST:
        raise ValueError(f"relative error: expected between 2^-30 and 1/2, found {error}")


def enclose_norm(W: Floats, error: fmpq = fmpq(1, 1000)) -> NormEnclosure:  # noqa: B008
    """‖W‖_2 for a matrix of finite floats (r×c), with a relative error of at most ``error``.

    Raises ValueError for an error out of range; ArithmeticError when no proof is found, which no matrix is known to
    cause.

    >>> found = enclose_norm(np.array([[3.0, 0.0], [0.0, 4.0]]), fmpq(1, 100))
    >>> found.lower <= 4 <= found.upper <= fmpq(101, 100) * found.lower
    True
    """
    check_relative_error(error)
    if 0 in W.shape or not W.any():
        return ZERO
    wide = W if W.shape[0] <= W.shape[1] else W.T
    exponent = int(np.frexp(np.max(np.abs(wide)))[1])

    def rounded(bits: int) -> tuple[Integers, bool]:
        """I with |2^(bits−exponent) W − I| ≤ 1/2 entry by entry, and whether it is 0."""
        I = np.rint(np.ldexp(wide, bits - exponent)).astype(np.int64)
        scale = exponent - bits
        return I, scale > -1000 and bool(np.array_equal(np.ldexp(I.astype(np.float64), scale), wide))

    return enclose_rounded(np.ldexp(wide, -exponent), rounded, exponent, error)


def enclose_rounded(
    table: Floats, rounded: Callable[[int], tuple[Integers, bool]], exponent: int, error: fmpq
) -> NormEnclosure:
    """The norm of W = ``2^exponent`` times a matrix T (n×m, n ≤ m, entries at most 1, T ≠ 0), of which ``table`` are
    floats, and ``rounded(bits)`` integers within 1/2 of ``2^bits T``, with the word whether they are exact.

    Raises ArithmeticError when no proof is found.
    """
    n, m = table.shape
    share = float(error.p) / float(error.q)
    for more, thorough in ((0, False), (2, True), (5, True), (9, True)):
        square, direction = top_eigenvector(table @ table.T, thorough)
        guess = math.sqrt(square)
        bits = max(4, math.ceil(math.log2(4 * math.sqrt(n * m) / (share * guess))))
        if bits + more > 62:
            break
        I, exact = rounded(bits + more)
        # ½ √(nm) in units of the last bit
        lost = fmpq(0) if exact else fmpq(math.isqrt(n * m) + 1, 2)
        unit = power_of_two(exponent - bits - more)
        upper = _above(I, guess * 2.0 ** (bits + more), share)
        lower = _below(I, direction) - lost
        if upper is None or lower <= 0:
            continue
        found = NormEnclosure(below(lower * unit, 64), above((upper + lost) * unit, 64))
        if found.relative_error <= error:
            return found
    raise ArithmeticError(f"no proof found for a norm of about {math.ldexp(guess, exponent):.6g}")


def top_eigenvector(G: Floats, thorough: bool = False) -> tuple[float, Floats]:
    """The largest eigenvalue of a symmetric matrix (n×n) and its vector, guessed by Lanczos' method or, ``thorough``,
    from all eigenvalues."""
    if len(G) > _DIRECT and not thorough:
        try:
            values, vectors = scipy.sparse.linalg.eigsh(
                G, k=1, which="LA", v0=np.random.default_rng(0).standard_normal(len(G))
            )
            return float(values[0]), vectors[:, 0]
        except scipy.sparse.linalg.ArpackError:
            pass
    values, vectors = np.linalg.eigh(G)
    return float(values[-1]), vectors[:, -1]


def _above(I: Integers, guess: float, share: float) -> fmpq | None:
    """A number above ‖I‖, about ``1 + share/2`` times the guess, with its proof checked; None when that fails."""
    target = guess * (1 + share / 2)
    square = int((fmpq(*target.as_integer_ratio()) ** 2).ceil())
    G = row_products(I)
    # the sums and differences below need one bit more than the products
    N = -(G if square < 2**61 else G.astype(object))
    N[np.diag_indices(len(N))] += square
    scaled = np.array(N / float(square), dtype=np.float64)
    try:
        factor = np.linalg.cholesky(scaled - share / 4 * np.eye(len(N)))
    except np.linalg.LinAlgError:
        return None
    F = np.rint(factor * math.sqrt(square)).astype(np.int64)
    return root_above(fmpq(square), 80) if dominant(N - row_products(F)) else None


def _below(I: Integers, direction: Floats) -> fmpq:
    """|x^T I| / |x| for the direction, rounded to integers."""
    x = np.rint(direction * 2.0**24).astype(np.int64)
    wide = int(abs(I).max()).bit_length() + 25 + len(x).bit_length() > 62
    y = x.astype(object) @ I.astype(object) if wide else x @ I
    length = sum(int(entry) ** 2 for entry in y)
    return root_below(fmpq(length, sum(int(entry) ** 2 for entry in x)), 80)
