"""The zero of an increasing function, enclosed: guessed by Newton's method, proved by signs on both sides of it."""

from __future__ import annotations

from collections.abc import Callable

import flint
from flint import arb, fmpq

from constructions.numbers.exponential import midpoint
from constructions.verdict import Undecided

Increasing = Callable[[arb], tuple[arb, arb]]
"""The value and the slope at a point."""

GUESS_BITS = 64
SQUARINGS = 40


def enclosed_root(increasing: Increasing, start: fmpq) -> arb:
    """A ball that contains a zero of a continuous function on [start, ∞), start ≥ 0, at flint's current precision.

    It is to increase from at most 0 at ``start`` (or from −∞) to above 0. What proves the ball are the signs left and
    right of the guess; that the function is at most 0 at 0, where it is finite there, is taken from the caller. Slopes
    are for the guess only. Raises Undecided where those signs do not show.

    >>> enclosed_root(lambda x: (x * x - 2, 2 * x), fmpq(0)).overlaps(arb(2).sqrt())
    True
    """
    x: arb | None = None
    precision = min(GUESS_BITS, flint.ctx.prec)
    while True:
        with flint.ctx.workprec(precision):
            bracket = _around(increasing, x) or _bracket(increasing, start)
            x = None if bracket is None else _newton(increasing, *bracket)
        if precision == flint.ctx.prec:
            return _near_zero(increasing) if x is None else _proved(increasing, midpoint(x), start)
        precision = min(2 * precision, flint.ctx.prec)


def _around(increasing: Increasing, x: arb | None) -> tuple[arb, arb, arb] | None:
    """A bracket around the guess of a lower precision, if that was a good one."""
    if x is None:
        return None
    low, high = x / 2, 2 * x
    return (low, x, high) if increasing(low)[0].mid() < 0 < increasing(high)[0].mid() else None


def _bracket(increasing: Increasing, start: fmpq) -> tuple[arb, arb, arb] | None:
    """Exact balls left of the zero, at a guess, and right of it, as far as midpoints tell: within a factor of 4. None
    where only 0 itself is left of it."""
    low, step = arb(start).mid(), arb(max(start, fmpq(1))).mid()
    high = (low + step).mid()
    for _ in range(SQUARINGS):
        if increasing(high)[0].mid() > 0:
            break
        low, step = high, 2 * step * step
        high = (high + step).mid()
    else:
        raise Undecided("no point with a positive value was found")
    share = arb(fmpq(1, 2))
    for _ in range(SQUARINGS):
        if low > 0:
            break
        low = (share * high).mid()
        if increasing(low)[0].mid() > 0:
            low, share = arb(0), share * share / 2
    else:
        return None
    for _ in range(64 * SQUARINGS):
        if high <= 4 * low:
            break
        middle = (low * high).sqrt().mid()
        low, high = (low, middle) if increasing(middle)[0].mid() > 0 else (middle, high)
    return low, high, high


def _newton(increasing: Increasing, low: arb, x: arb, high: arb) -> arb:
    """Newton's steps within (low, high), halving where a step leaves it."""
    bits = flint.ctx.prec
    for _ in range(2 * bits):
        value, slope = increasing(x)
        if value.mid() > 0:
            high = x
        else:
            low = x
        new = (x - value / slope).mid()
        if abs(new - x) <= x * arb(2) ** (8 - bits):
            return new
        x = new if low < new < high else ((low + high) / 2).mid()
    return x


def _near_zero(increasing: Increasing) -> arb:
    """A small ball from 0 on, at whose end the function is above 0."""
    if not increasing(arb(0))[0].is_finite():
        raise Undecided("no point with a negative value was found")
    high = fmpq(1)
    while increasing(arb(high / 4))[0] > 0 and high > fmpq(2) ** -flint.ctx.prec:
        high /= 4
    if not increasing(arb(high))[0] > 0:
        raise Undecided("no point with a positive value was found near 0")
    return arb(0).union(arb(high))


def _proved(increasing: Increasing, x: fmpq, start: fmpq) -> arb:
    """The smallest ball around x, of widths that grow, whose ends have the signs that a zero between them needs."""
    value, slope = increasing(arb(x))
    width = x * fmpq(2) ** (10 - flint.ctx.prec)
    error = (2 * value.rad() / slope).mid()
    if error.is_finite():
        width = max(width, midpoint(error))
    while width <= 4 * x:
        low, high = max(x - width, start), x + width
        left = increasing(arb(low))[0]
        if (left < 0 or (low == 0 and left.is_finite())) and increasing(arb(high))[0] > 0:
            return arb(low).union(arb(high))
        width *= 4
    raise Undecided("the function is too flat at its zero to enclose it at this precision")
