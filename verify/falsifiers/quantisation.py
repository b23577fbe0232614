"""Falsifier of the quantisation bound: piecewise linear functions, whose distance from their table is a closed form.

For p = 1 everything is rational and the bound is attained: by the sawtooth that falls on both sides of each centre from
the lower end of a grid interval. For other p the two sides are compared in balls. Source: THEORY section 6.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import flint
from flint import arb, fmpq

from constructions.numbers.exponential import midpoint
from constructions.verdict import Evidence
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore, in_turn
from verify.falsifiers.falsifier import Falsifier, Search, Trial

SLUG = "quantisation"
LIPSCHITZ, RANGE, NORM, CENTRE, MIDDLE = (
    "f is L-Lipschitz",
    "f within [0, 1]",
    "p ≥ 1",
    "read at centres",
    "read in the middle",
)
BOUND, SLOPE, ROUNDING = "bound", "slope's share", "rounding's share"
PRECISION = 128
Number = fmpq | arb


@dataclass(frozen=True)
class Line:
    """A continuous function of one variable on [0, 1], linear between equally spaced knots.

    >>> Line((fmpq(0), fmpq(1), fmpq(0)))(fmpq(1, 4))
    1/2
    """

    heights: tuple[fmpq, ...]

    @property
    def parts(self) -> int:
        return len(self.heights) - 1

    @property
    def slope(self) -> fmpq:
        """The least Lipschitz constant."""
        return max(abs(y - x) for x, y in pairwise(self.heights)) * self.parts

    def __call__(self, x: fmpq) -> fmpq:
        i = min(int((x * self.parts).floor()), self.parts - 1)
        return self.heights[i] + (x * self.parts - i) * (self.heights[i + 1] - self.heights[i])


def sawtooth(k: int, L: fmpq) -> Line:
    """1 − δ − L·(distance to the nearest centre of a grid interval): the worst case for p = 1."""
    top = 1 - fmpq(1, k)
    return Line(tuple(top - (0 if i % 2 else L / (2 * k)) for i in range(2 * k + 1)))


def table_values(f: Line, k: int, *, at: fmpq = fmpq(1, 2), read: fmpq = fmpq(1, 2)) -> list[fmpq]:  # noqa: B008
    """What the table says on each grid interval: the grid value below f at the centre, plus δ/2. ``at`` is where in
    the interval f is looked at, ``read`` where in the grid interval of the value it is read."""
    found = []
    for cell in range(k):
        digit = int((f((cell + at) / k) * k).floor())
        found.append((max(0, min(digit, k - 1)) + read) / k)
    return found


def error_power(f: Line, values: Sequence[fmpq], p: fmpq) -> Number:
    """∫ |f − values|^p over [0, 1], values given on equal intervals: rational for whole p, else a ball.

    >>> error_power(sawtooth(2, fmpq(1)), table_values(sawtooth(2, fmpq(1)), 2), fmpq(1))
    3/8
    """
    k = len(values)
    total: Number = fmpq(0)
    for x, y in pairwise(sorted({fmpq(i, f.parts) for i in range(f.parts + 1)} | {fmpq(i, k) for i in range(k + 1)})):
        read = values[int(((x + y) / 2 * k).floor())]
        a, b = f(x) - read, f(y) - read
        # |t|^p t/(p+1) is an integral of |t|^p
        mean = _power(abs(a), p) if a == b else (_power(abs(b), p) * b - _power(abs(a), p) * a) / ((p + 1) * (b - a))
        total = mean * (y - x) + total
    return total


def _power(x: fmpq, p: fmpq) -> Number:
    if p.q == 1:
        return x ** int(p.p)
    return arb(0) if x == 0 else arb(x) ** arb(p)


def exact_error(f: Line, values: Sequence[fmpq]) -> fmpq:
    """∫ |f − values|: the case p = 1."""
    found = error_power(f, values, fmpq(1))
    assert isinstance(found, fmpq)
    return found


@dataclass(frozen=True)
class Instance:
    """One function for each entry of the input, each of its own entry; ``L`` is what is said of them."""

    d: int
    m: int
    k: int
    p: fmpq
    lines: tuple[Line, ...]
    L: fmpq

    def shares(self, search: Search) -> tuple[Number, Number]:
        """The two parts of Q for these, of the slope and of rounding: rational for p = 1."""
        half = search.factor(BOUND) / (2 * self.k)
        slope, rounding = half * search.factor(SLOPE) * self.L, half * search.factor(ROUNDING)
        if self.p == 1:
            return self.d * self.m * slope / 2, self.d * self.m * rounding
        inverse = 1 / arb(self.p)
        root = arb(self.d * self.m) ** inverse
        return root * slope / arb(self.p + 1) ** inverse, root * rounding


def _judge(search: Search, one: Instance, about: str = BOUND) -> Trial:
    """The distance from the table against Q; the slack is that of Q, or of one of its two parts."""
    at = fmpq(1, 2) if search.keeps(CENTRE) else fmpq(0)
    read = fmpq(1, 2) if search.keeps(MIDDLE) else fmpq(0)
    with flint.ctx.workprec(PRECISION):
        errors = [error_power(f, table_values(f, one.k, at=at, read=read), one.p) for f in one.lines]
        error: Number = errors[0]
        for other in errors[1:]:
            error = other + error
        if one.p != 1:
            error = arb(error) ** (1 / arb(one.p))
        slope, rounding = one.shares(search)
        bound = slope + rounding
        broken = bool(error > bound)
        part = {BOUND: bound, SLOPE: slope, ROUNDING: rounding}[about]
        share = (bound - error) / part if part != 0 else None
        slack = midpoint(share.upper()) if isinstance(share, arb) else share
    what = f"d = {one.d}, m = {one.m}, k = {one.k}, p = {one.p}, L = {float(one.L):.4g}"
    found = None
    if broken:
        sentence = f"{what}: a distance of {float(error):.6g} from the table, above {float(bound):.6g}"
        parts = {
            "d": one.d,
            "m": one.m,
            "k": one.k,
            "L": one.L,
            "p": one.p,
            "heights": [list(f.heights) for f in one.lines],
            "table": [table_values(f, one.k, at=at, read=read) for f in one.lines],
        }
        found = Counterexample(SLUG, sentence, parts, Evidence.EXACT if one.p == 1 else Evidence.ENCLOSED)
    return Trial(what, slack, found, constant=about)


def _made(search: Search, d: int, m: int, k: int, p: fmpq, lines: Sequence[Line]) -> Instance:
    chosen = tuple(lines[i % len(lines)] for i in range(d * m))
    L = max(f.slope for f in chosen)
    return Instance(d, m, k, p, chosen, L if search.keeps(LIPSCHITZ) else L / 2)


def _structured(search: Search) -> Iterator[Instance]:
    """Sawtooths, constants at both ends of a grid interval, lines down and up, hats."""
    ends = [fmpq(0), fmpq(1)] if search.keeps(RANGE) else [fmpq(2), fmpq(-1)]
    for p in [fmpq(1), fmpq(2), fmpq(7)] if search.keeps(NORM) else [fmpq(1, 2)]:
        for d, m, k in ((1, 1, 2), (1, 1, 4), (2, 1, 3), (2, 2, 4)):
            for lines in (
                [sawtooth(k, fmpq(2 * (k - 1)))],
                [sawtooth(k, fmpq(1))],
                [Line((end, end)) for end in ends],
                [Line((fmpq(1), fmpq(0)))],
                [Line((fmpq(0), fmpq(1), fmpq(0))), Line((fmpq(0), fmpq(1)))],
            ):
                yield _made(search, d, m, k, p, lines)


def trials(search: Search) -> Iterator[Trial]:
    low, high = (0, 60) if search.keeps(RANGE) else (-60, 120)

    def height(rng: random.Random) -> fmpq:
        return fmpq(rng.choice([low, high, rng.randint(low, high)]), 60)

    def draw(rng: random.Random) -> Instance:
        d, m, k = rng.randint(1, 2), rng.randint(1, 2), rng.randint(2, 6)
        p = fmpq(rng.randint(2, 8), 2) if search.keeps(NORM) else fmpq(1, 2)
        lines = []
        for _ in range(rng.randint(1, d * m)):
            if rng.random() < 0.5:
                lines.append(sawtooth(k, fmpq(rng.randint(0, 4 * (k - 1)), 2)))
            else:
                lines.append(Line(tuple(height(rng) for _ in range(rng.randint(2, 2 * k + 1)))))
        return _made(search, d, m, k, p, lines)

    def vary(rng: random.Random, best: Instance) -> Instance:
        lines = [list(f.heights) for f in best.lines]
        chosen = rng.choice(lines)
        place = rng.randrange(len(chosen))
        moved = chosen[place] + fmpq(rng.randint(-60, 60), 600)
        chosen[place] = min(max(moved, fmpq(low, 60)), fmpq(high, 60))
        return _made(search, best.d, best.m, best.k, best.p, [Line(tuple(one)) for one in lines])

    # the sawtooth leaves nothing to climb to, so the climb has a stream of its own
    return in_turn(
        (_judge(search, one, about) for one in _structured(search) for about in (BOUND, SLOPE, ROUNDING)),
        explore(search, lambda one: _judge(search, one), draw=draw, vary=vary),
    )


FALSIFIER = Falsifier(
    SLUG,
    trials,
    conditions={
        LIPSCHITZ: "‖f(X) − f(X')‖_p ≤ L ‖X − X'‖_p; dropped: L is half of that",
        RANGE: "the values of f lie between 0 and 1; dropped: between −1 and 2",
        NORM: "dropped: p = 1/2, where Minkowski's inequality fails",
        CENTRE: "the table looks at f in the centre of a cell; dropped: at its corner",
        MIDDLE: "a grid value is read in the middle of its grid interval; dropped: at its lower end",
    },
    constants={
        BOUND: "(dm)^{1/p} (δ/2) (L/(p+1)^{1/p} + 1)",
        SLOPE: "L/(p+1)^{1/p} in it",
        ROUNDING: "1 in it",
    },
    budget=240,
)
