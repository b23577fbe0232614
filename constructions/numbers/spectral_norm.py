"""Spectral norms, proved: a rational number σ above ‖W‖_2, and a factor that shows ``σ² I − Gram`` positive definite.

No estimate is believed: a float guess of the norm is enlarged by a stated relative error, and the proof is one exact
product (:mod:`constructions.numbers.definite`). Square roots are rounded upwards in integers.
"""

from __future__ import annotations

from dataclasses import dataclass

from flint import fmpq, fmpz

from constructions.numbers.definite import spectral_norm_bound
from constructions.numbers.rational import RationalMatrix

BITS = 128
"""Significant bits that are kept when a number is rounded."""
TIGHT = fmpq(1, 2**20)
"""The relative error of a norm unless another is asked for."""


@dataclass(frozen=True)
class NormProof:
    """‖W‖_2 < ``bound`` for the W it was made for, by ``factor``; for W = 0 the bound is 0 and there is no factor, nor
    is there one where the bound was proved in another way (:mod:`constructions.numbers.norm_enclosure`).

    The Gram matrix is that of the columns, or of the rows where W has fewer of them.
    """

    bound: fmpq
    factor: RationalMatrix | None


def spectral_norm(W: RationalMatrix, relative_error: fmpq = TIGHT) -> NormProof:
    """A short rational bound above ‖W‖_2 (r×c), with its proof; at most ``1 + relative_error`` times too large.

    Raises ArithmeticError when no proof is found, which no matrix is known to cause.

    >>> spectral_norm(RationalMatrix.of([[3, 0], [0, 4]]), fmpq(1, 100)).bound
    1027/256
    >>> spectral_norm(RationalMatrix.zeros(2, 3)).bound
    0
    """
    if not any(W.mat.entries()):
        return NormProof(fmpq(0), None)
    found = spectral_norm_bound(W.mat, relative_error / 2)
    bits = max(8, (1 / relative_error).ceil().bit_length() + 3)
    # bound² is no smaller than the square, so the factor leaves a rest that is no less dominant
    return NormProof(root_above(found.square, bits), RationalMatrix(found.factor))


def within_norm(W: RationalMatrix, bound: fmpq, bits: int = 4) -> RationalMatrix:
    """W itself where ‖W‖_2 ≤ ``bound`` is shown, else W times a dyadic number of so many bits for which it is.

    >>> within_norm(RationalMatrix.identity(2), fmpq(1)) == RationalMatrix.identity(2)
    True
    >>> within_norm(RationalMatrix.of([[3, 0], [0, 4]]), fmpq(1)).rows()
    [[3/4, 0], [0, 1]]
    """
    rows, columns = ([[abs(x) for x in line] for line in lines] for lines in (W.rows(), W.T.rows()))
    sums = [max((sum(line, fmpq(0)) for line in lines), default=fmpq(0)) for lines in (rows, columns)]
    square = sums[0] * sums[1]  # ‖W‖_2² ≤ ‖W‖_1 ‖W‖_∞, equal where there is one entry a row and all are equal
    if square <= bound * bound:
        return W
    norm = min(spectral_norm(W, fmpq(1, 64)).bound, root_above(square))
    return W if norm <= bound else W.scaled(below(bound / norm, bits))


def above(x: fmpq, bits: int = BITS) -> fmpq:
    """x ≥ 0 rounded upwards to about so many significant bits.

    >>> above(fmpq(1, 3), 4)
    11/32
    """
    if x == 0:
        return fmpq(0)
    shift = bits - (x.p.bit_length() - x.q.bit_length())
    scaled = x * _power(shift)
    return fmpq(scaled.ceil()) * _power(-shift)


def below(x: fmpq, bits: int = BITS) -> fmpq:
    """x ≥ 0 rounded downwards."""
    if x == 0:
        return fmpq(0)
    shift = bits - (x.p.bit_length() - x.q.bit_length())
    return fmpq((x * _power(shift)).floor()) * _power(-shift)


def root_above(x: fmpq, bits: int = BITS) -> fmpq:
    """A rational number at or above √x, x ≥ 0, to about so many significant bits.

    >>> root_above(fmpq(2), 8), root_above(fmpq(0))
    (363/256, 0)
    """
    if x == 0:
        return fmpq(0)
    shift = bits - (x.p.bit_length() - x.q.bit_length()) // 2
    scaled = (x * _power(2 * shift)).ceil()
    root = scaled.isqrt()
    return fmpq(root if root * root == scaled else root + 1) * _power(-shift)


def root_below(x: fmpq, bits: int = BITS) -> fmpq:
    """A rational number at or below √x, x ≥ 0."""
    if x == 0:
        return fmpq(0)
    shift = bits - (x.p.bit_length() - x.q.bit_length()) // 2
    return fmpq((x * _power(2 * shift)).floor().isqrt()) * _power(-shift)


def _power(exponent: int) -> fmpq:
    return fmpq(fmpz(1) << exponent) if exponent >= 0 else fmpq(1, fmpz(1) << -exponent)
