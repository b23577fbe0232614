"""Numbers of an instance in a few digits, for sentences and slacks, never for decisions."""

from __future__ import annotations

from collections.abc import Callable

import flint
from flint import arb, fmpq

from constructions.numbers.exponential import ExpFraction, ExpSum, midpoint


def digits(x: int | fmpq | arb | ExpSum | ExpFraction) -> str:
    """About ten significant digits.

    >>> digits(fmpq(1, 3)), digits(ExpSum.exp(1)), digits(arb(2).sqrt())
    ('0.3333333333', '2.718281828', '1.414213562')
    """
    if isinstance(x, (ExpSum, ExpFraction)):
        x = x.enclosure()
    value = x.mid() if isinstance(x, arb) else x
    return f"{float(value):.10g}"


def near(value: Callable[[], arb]) -> fmpq:
    """A rational near a number that balls enclose, at most 2^-60 too small: for slacks."""
    with flint.ctx.workprec(192):
        return fmpq((midpoint(value()) * 2**60).floor(), 2**60)
