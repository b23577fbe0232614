"""The quantisation bound against exact integrals of piecewise linear functions, and where it is attained."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import flint
import pytest
from flint import arb, fmpq
from hypothesis import example, given
from hypothesis import strategies as st
from universality_oracle import unit_rationals

from constructions.numbers.rational import RationalMatrix
from constructions.universality.grid import Grid
from constructions.universality.quantisation import (
    ROOT_BITS,
    coarsest_grid,
    quantisation_bound,
    root,
    roots,
    textbook_grid,
)

positive = st.fractions("1/50", 200, max_denominator=50).map(lambda x: fmpq(x.numerator, x.denominator))
norms = st.fractions(1, 9, max_denominator=6).map(lambda x: fmpq(x.numerator, x.denominator))


class Line:
    """A continuous function on [0, 1], linear between equally spaced knots."""

    def __init__(self, heights: Sequence[fmpq]) -> None:
        self.heights = list(heights)
        self.parts = len(heights) - 1

    @property
    def slope(self) -> fmpq:
        """The least Lipschitz constant."""
        return max(abs(y - x) for x, y in pairwise(self.heights)) * self.parts

    def __call__(self, x: fmpq) -> fmpq:
        i = min(int((x * self.parts).floor()), self.parts - 1)
        return self.heights[i] + (x * self.parts - i) * (self.heights[i + 1] - self.heights[i])

    def cuts(self, k: int) -> list[fmpq]:
        """Between these both f and its table are linear."""
        return sorted({fmpq(i, self.parts) for i in range(self.parts + 1)} | {fmpq(i, k) for i in range(k + 1)})

    def error(self, k: int, p: int) -> fmpq:
        """∫ |f − table|^p, exactly: |y|^p y/(p+1) is an integral of |y|^p."""
        grid = Grid(1, 1, k)
        table = grid.table(lambda X: RationalMatrix.of([[self(X[0, 0])]]))
        total = fmpq(0)
        for x, y in pairwise(self.cuts(k)):
            read = grid.target(table, grid.cell_of(RationalMatrix.of([[(x + y) / 2]])))[0, 0]
            a, b = self(x) - read, self(y) - read
            total += (
                abs(a) ** p * (y - x) if a == b else (abs(b) ** p * b - abs(a) ** p * a) * (y - x) / ((p + 1) * (b - a))
            )
        return total


lines = st.lists(unit_rationals, min_size=2, max_size=7).map(Line)


@given(lines, st.integers(2, 6), st.integers(1, 4))
@example(Line([fmpq(0), fmpq(1)]), 2, 1)
@example(Line([fmpq(1), fmpq(1)]), 3, 2)
def test_one_entry(f: Line, k: int, p: int) -> None:
    bound = quantisation_bound(k, f.slope, roots(1, 1, fmpq(p)))
    assert f.error(k, p) <= bound**p


@given(
    st.lists(lines, min_size=4, max_size=4),
    st.sampled_from([(1, 2), (2, 1), (2, 2)]),
    st.integers(2, 4),
    st.integers(1, 3),
)
def test_several_entries(rows: list[Line], shape: tuple[int, int], k: int, p: int) -> None:
    """Each entry of f(X) is a function of one entry of X (a different one each time): L is the largest slope, and the
    p-th powers add up."""
    d, m = shape
    chosen = rows[: d * m]
    bound = quantisation_bound(k, max(f.slope for f in chosen), roots(d, m, fmpq(p)))
    assert sum((f.error(k, p) for f in chosen), fmpq(0)) <= bound**p


def sawtooth(k: int, L: fmpq) -> Line:
    """1 − δ − L·(distance to the nearest centre): at each centre on the lower end of its grid interval, and falling."""
    low = 1 - fmpq(1, k) - L / (2 * k)
    assert low >= 0
    heights = [low if i % 2 == 0 else 1 - fmpq(1, k) for i in range(2 * k + 1)]
    return Line(heights)


@given(st.integers(2, 9), unit_rationals)
@example(2, fmpq(1))
@example(9, fmpq(0))
def test_the_bound_is_attained_for_p_1(k: int, share: fmpq) -> None:
    """With the same sawtooth in every entry, for every L ≤ 2(k − 1)."""
    L = 2 * (k - 1) * share
    f = sawtooth(k, L)
    assert f.slope == L
    for d, m in ((1, 1), (1, 2), (2, 1), (2, 3)):
        assert d * m * f.error(k, 1) == quantisation_bound(k, L, roots(d, m, fmpq(1)))


@given(st.integers(2, 9), unit_rationals.filter(bool), st.integers(2, 9))
@example(9, fmpq(1), 9)
def test_the_bound_is_strict_for_larger_p_and_the_pointwise_form_is_attained(k: int, share: fmpq, p: int) -> None:
    """One entry: the mean of (δ/2 + L|s|)^p over s in [−δ/2, δ/2] is (δ/2)^p ((L+1)^{p+1} − 1)/(L(p+1))."""
    L = 2 * (k - 1) * share
    error = sawtooth(k, L).error(k, p)
    assert error == fmpq(1, 2 * k) ** p * ((L + 1) ** (p + 1) - 1) / (L * (p + 1))
    bound = quantisation_bound(k, L, roots(1, 1, fmpq(p)))
    assert fmpq(94, 100) ** p * bound**p < error < bound**p


def test_how_far_the_bound_is_above_the_pointwise_form() -> None:
    """One entry: the least ratio over all p and L is 0.9405, at about p = 6.9, L = 0.88."""

    def ratio(p: float, L: float) -> float:
        return float((((L + 1) ** (p + 1) - 1) / (L * (p + 1))) ** (1 / p) / (L * (p + 1) ** (-1 / p) + 1))

    least = min(ratio(1 + i / 10, 2 ** (j / 8)) for i in range(1, 400) for j in range(-24, 80))
    assert 0.9404 < least < 0.9406


@given(positive, norms, st.booleans())
@example(fmpq(4), fmpq(2), True)
@example(fmpq(4), fmpq(2), False)
@example(fmpq(8), fmpq(3, 2), True)
@example(fmpq(1), fmpq(7, 3), False)
@example(fmpq(7, 3), fmpq(1), False)
def test_roots_are_on_the_right_side_and_close(value: fmpq, p: fmpq, up: bool) -> None:
    a, b = int(p.p), int(p.q)
    found = root(value, p, up=up)
    step = fmpq(2, 1 << ROOT_BITS) * (-1 if up else 1)
    assert found > 0
    if up:
        assert found**a >= value**b > (found + step) ** a
    else:
        assert found**a <= value**b < (found + step) ** a


@given(st.integers(2, 12), st.integers(1, 4), st.integers(1, 4))
def test_roots_of_powers_are_exact(x: int, a: int, b: int) -> None:
    p = fmpq(a, b)
    if p >= 1:
        for up in (True, False):
            assert root(fmpq(x) ** int(p.p), p, up=up) == fmpq(x) ** int(p.q)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(2, 100), positive, norms)
@example(1, 1, 79, fmpq(1), fmpq(2))
def test_the_rational_bound_is_barely_above_the_formula(d: int, m: int, k: int, L: fmpq, p: fmpq) -> None:
    with flint.ctx.workprec(256):
        true = ((arb(d * m).log() / p).exp() / (2 * k)) * (L / (arb(p + 1).log() / p).exp() + 1)
        bound = quantisation_bound(k, L, roots(d, m, p))
        assert not bound < true
        assert bound <= true * (1 + arb(2) ** -60)


@given(st.integers(1, 3), st.integers(1, 3), positive, norms, st.sampled_from([fmpq(1), fmpq(1, 2)]))
@example(1, 1, fmpq(1), fmpq(2), fmpq(1))
def test_the_coarsest_grid(d: int, m: int, L: fmpq, p: fmpq, share: fmpq) -> None:
    """One step coarser breaks the bound; the textbook's grid is at least 4·share times as fine, but for rounding."""
    epsilon = fmpq(1, 50)
    found, k = roots(d, m, p), coarsest_grid(d, m, L, p, epsilon, share)
    assert quantisation_bound(k, L, found) <= share * epsilon
    assert k == 2 or quantisation_bound(k - 1, L, found) > share * epsilon
    assert textbook_grid(d, m, L, p, epsilon) >= 4 * share * (k - 1)


@pytest.mark.parametrize(("L", "p", "said"), [("1", "1/2", "p: expected"), ("-1", "2", "L: expected")])
def test_arguments_out_of_range(L: str, p: str, said: str) -> None:
    values = [fmpq(*(int(x) for x in text.split("/"))) for text in (L, p)]
    with pytest.raises(ValueError, match=said):
        coarsest_grid(1, 1, values[0], values[1], fmpq(1, 10), fmpq(1))
    with pytest.raises(ValueError, match=said):
        textbook_grid(1, 1, values[0], values[1], fmpq(1, 10))
