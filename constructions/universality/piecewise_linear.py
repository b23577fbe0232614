"""Piecewise linear targets, evaluated exactly, whose Lipschitz constants are known exactly.

Entries are ``b + c·g(w·x)`` with g continuous and piecewise linear on [0, 1]. Source: THEORY section 6 (the class F_L).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from flint import fmpq

from constructions.numbers.rational import dot
from constructions.universality.target import Target

Point = tuple[fmpq, ...]


@dataclass(frozen=True)
class Polyline:
    """The function on [0, 1] through (i/n, ``heights[i]``), i = 0 … n ≥ 1, linear in between.

    >>> g = Polyline((fmpq(0), fmpq(1), fmpq(1, 2)))
    >>> g(fmpq(1, 4)), g(fmpq(3, 4)), g.lipschitz, g.steepest
    (1/2, 3/4, 2, 0)
    """

    heights: tuple[fmpq, ...]

    def __post_init__(self) -> None:
        if len(self.heights) < 2:
            raise ValueError(f"heights: expected at least 2, found {len(self.heights)}")

    @property
    def pieces(self) -> int:
        return len(self.heights) - 1

    @property
    def slopes(self) -> list[fmpq]:
        return [(right - left) * self.pieces for left, right in pairwise(self.heights)]

    @property
    def lipschitz(self) -> fmpq:
        """The largest slope in absolute value: attained on the whole of a piece."""
        return max(abs(slope) for slope in self.slopes)

    @property
    def steepest(self) -> int:
        """The first piece with that slope."""
        return [abs(slope) for slope in self.slopes].index(self.lipschitz)

    def __call__(self, t: fmpq) -> fmpq:
        """Raises ValueError outside of [0, 1]."""
        if not 0 <= t <= 1:
            raise ValueError(f"expected a number in [0, 1], found {t}")
        i = min(int((t * self.pieces).floor()), self.pieces - 1)
        return self.heights[i] + (t - fmpq(i, self.pieces)) * self.slopes[i]

    def expression(self, variable: str) -> str:
        """The function as the expression of a target.

        >>> Polyline((fmpq(0), fmpq(1), fmpq(1, 2))).expression("x")
        '0 + (2)*(x) + (-3)*Max((x) - 1/2, 0)'
        """
        slopes = self.slopes
        terms = [str(self.heights[0])] + ([f"({slopes[0]})*({variable})"] if slopes[0] != 0 else [])
        for i, (left, right) in enumerate(pairwise(slopes), start=1):
            if left != right:
                terms.append(f"({right - left})*Max(({variable}) - {fmpq(i, self.pieces)}, 0)")
        return " + ".join(terms)


@dataclass(frozen=True)
class Entry:
    """``offset + share · shape(weights · x)``: weights of sum at most 1 for the d·m entries of x, column by column."""

    shape: Polyline
    weights: Point
    offset: fmpq = fmpq(0)  # noqa: RUF009 - fmpq is immutable
    share: fmpq = fmpq(1)  # noqa: RUF009

    def __call__(self, x: Sequence[fmpq]) -> fmpq:
        return self.offset + self.share * self.shape(dot(self.weights, x))

    def expression(self, names: Sequence[str]) -> str:
        terms = [f"({w})*{name}" if w != 1 else name for w, name in zip(self.weights, names, strict=True) if w != 0]
        return f"{self.offset} + ({self.share})*({self.shape.expression(' + '.join(terms) or '0')})"


@dataclass(frozen=True)
class PiecewiseLinearTarget:
    """f: [0,1]^{d×m} → [0,1]^{d×m} with the constant ``constant`` in the entrywise p-norm: ``‖f(x) − f(y)‖_p`` is
    at most so many times ``‖x − y‖_p`` everywhere, and equal at ``attained``.

    Points are the d·m entries column by column. The constant is the maker's word; tests hold him to it.
    """

    d: int
    m: int
    entries: tuple[Entry, ...]
    p: fmpq
    constant: fmpq
    attained: tuple[Point, Point]

    def __call__(self, x: Sequence[fmpq]) -> list[fmpq]:
        """All entries, exactly. Raises ValueError outside of the cube."""
        return [entry(x) for entry in self.entries]

    @property
    def expressions(self) -> list[str]:
        """One expression for each entry, in column order: the argument of ``Target.parse`` and of ``--target``."""
        d, m = self.d, self.m
        names = ["x"] if d * m == 1 else [f"x{i + 1}{j + 1}" for j in range(m) for i in range(d)]
        return [entry.expression(names) for entry in self.entries]

    @property
    def target(self) -> Target:
        """The same function for ball arithmetic."""
        return Target.parse(self.expressions, self.d, self.m)
