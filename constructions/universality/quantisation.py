"""The quantisation error: how far a Lipschitz function is from its table, and the coarsest grid that is fine enough.

``Q = (dm)^{1/p} (δ/2) (L/(p+1)^{1/p} + 1)``: on a cell f differs from its value at the centre by at most L times the
distance, whose p-th power has the mean ``dm (δ/2)^p/(p+1)``, and the table's value from that by δ/2 in every entry
(Minkowski). Source: THEORY section 6, "Quantisation" (ours); proof in docs/theory/universality.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import flint
from flint import arb, fmpq, fmpz

from constructions.numbers.exponential import midpoint

ROOT_BITS = 64
MAX_NORM = 10_000
"""Numerator and denominator of p are exponents of exact numbers."""


@dataclass(frozen=True)
class Roots:
    """Rationals ``above ≥ (dm)^{1/p}`` and ``below ≤ (p+1)^{1/p}``, close to these."""

    above: fmpq
    below: fmpq


def check_norm(p: fmpq, L: fmpq) -> None:
    """Raises ValueError unless p ≥ 1, its numerator and denominator are at most 10^4, and L ≥ 0."""
    if p < 1:
        raise ValueError(f"p: expected a rational of at least 1, found {p}")
    if p.p > MAX_NORM or p.q > MAX_NORM:
        found = str(p) if len(str(p)) <= 40 else f"{str(p)[:37]}…"
        raise ValueError(f"p: expected a numerator and a denominator of at most 10^4, found {found}")
    if L < 0:
        raise ValueError(f"L: expected a Lipschitz constant of at least 0, found {L}")


def root(value: fmpq, p: fmpq, *, up: bool) -> fmpq:
    """A rational near ``value^{1/p}``, not below it (``up``) or not above it, checked by integer powers.

    >>> root(fmpq(2), fmpq(2), up=True)**2 >= 2, root(fmpq(4), fmpq(2), up=False)
    (True, 2)
    """
    a, b = int(p.p), int(p.q)  # value^{b/a}
    power = fmpq(2) ** ROOT_BITS
    with flint.ctx.workprec(4 * ROOT_BITS):
        near = midpoint((arb(value).log() * b / a).exp())
    for bits in (0, ROOT_BITS):  # exact roots first
        scale = fmpq(2) ** bits
        guess = fmpq((near * scale + fmpq(1, 2)).floor()) / scale
        if guess > 0 and guess**a == value**b:
            return guess
    guess = fmpq((near * power).floor()) / power
    while (guess**a < value**b) if up else (guess**a > value**b):
        guess += (1 if up else -1) / power
    return guess


def roots(d: int, m: int, p: fmpq) -> Roots:
    """For the quantisation bound."""
    return Roots(root(fmpq(d * m), p, up=True), root(p + 1, p, up=False))


def quantisation_bound(k: int, L: fmpq, found: Roots) -> fmpq:
    """A rational of at least Q, and very close to it.

    >>> quantisation_bound(2, fmpq(1), roots(1, 1, fmpq(1)))
    3/8
    """
    return found.above * (L / found.below + 1) / (2 * k)


def coarsest_grid(d: int, m: int, L: fmpq, p: fmpq, epsilon: fmpq, share: fmpq) -> int:
    """The least k ≥ 2 with Q below ``share`` of epsilon, by the rational bound.

    >>> coarsest_grid(1, 1, fmpq(1), fmpq(2), fmpq(1, 100), fmpq(1))
    79
    """
    check_norm(p, L)
    found = roots(d, m, p)
    per_delta = quantisation_bound(1, L, found)
    return max(2, int(fmpz((per_delta / (epsilon * share)).ceil())))


def textbook_grid(d: int, m: int, L: fmpq, p: fmpq, epsilon: fmpq) -> int:
    """The k of the usual choice ``(L+1)(dm)^{1/p} δ ≤ ε/2``."""
    check_norm(p, L)
    return max(2, int(fmpz((2 * (L + 1) * roots(d, m, p).above / epsilon).ceil())))
