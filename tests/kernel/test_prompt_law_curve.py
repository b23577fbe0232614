"""The enclosure of the least loss on parts of the axis, against the formulas of the format in many digits."""

from fractions import Fraction
from typing import Any

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intervals import Interval
from limits import Refuted
from loss_curve import Chart, Part, RoundedPoint
from mpmath import mpf
from rational import Scalar

BITS = 96
ONE = 1 << BITS


@st.composite
def charts(draw: st.DrawFn) -> Chart:
    n, d = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    coordinate = st.integers(-3 * ONE, 3 * ONE)
    vectors = st.tuples(*[coordinate] * d)
    g = draw(st.one_of(st.none(), st.tuples(*[st.integers(-4, 4)] * d).filter(any)))
    points = []
    for _ in range(n):
        a, C = draw(vectors), draw(vectors)
        along = [Interval(*[sum(x * y for x, y in zip(g or a, v, strict=True)) if g else 0] * 2, BITS) for v in (a, C)]
        S = draw(st.sampled_from([ONE // 50, ONE // 3, ONE, 7 * ONE, 100 * ONE]))
        points.append(RoundedPoint(S + draw(st.integers(0, 1000)), a, C, *along))
    square = None if g is None else Scalar(sum(x * x for x in g), 1)
    chart = Chart(draw(st.booleans()), tuple(points), square, BITS)
    object.__setattr__(chart, "g", g)  # for the tests alone
    return chart


def truth(chart: Any, sigma: mpf, slab: tuple[mpf | None, mpf | None]) -> mpf:
    """f(sigma): slab holds lo and hi as log s - constant, for g.u."""
    t = mpmath.exp(sigma)
    alpha, beta = (mpf(1), t) if chart.first else (1 / t, mpf(1))
    w, y = [], []
    for point in chart.points:
        S = mpf(point.S) / ONE
        w.append(1 / (alpha * S + beta) ** 2)
        y.append([beta * mpf(a) / ONE - alpha * mpf(c) / ONE for a, c in zip(point.a, point.C, strict=True)])
    d = range(len(y[0]))
    v = [sum(x * r[c] for x, r in zip(w, y, strict=True)) / sum(w) for c in d]
    value = sum(x * sum((r[c] - v[c]) ** 2 for c in d) for x, r in zip(w, y, strict=True))
    if chart.g_square is not None:
        at = sum(x * z for x, z in zip(chart.g, v, strict=True))
        low, high = (None if side is None else beta * (sigma + side) for side in slab)
        outside = max(at - high, 0) if high is not None else mpf(0)
        outside += min(at - low, 0) if low is not None else mpf(0)
        value += sum(w) * outside**2 / chart.g_square.num
    return value


def interval(low: mpf, high: mpf) -> Interval:
    return Interval(int(mpmath.floor(low * ONE)), int(mpmath.ceil(high * ONE)), BITS)


def part_of(chart: Any, begin: mpf, end: mpf, slab: tuple[mpf | None, mpf | None]) -> Part:
    ends = (begin, end) if chart.first else (-end, -begin)
    t = interval(mpmath.exp(ends[0]), mpmath.exp(ends[1]))
    sides = []
    for side in slab:
        if side is None or chart.g_square is None:
            sides.append(None)
        else:
            along = interval(begin + side, end + side)
            sides.append(t * along if chart.first else along)
    return Part(t, *sides)


@settings(max_examples=150, deadline=None)
@given(
    charts(),
    st.fractions(-3, 3, max_denominator=50),
    st.sampled_from([Fraction(0), Fraction(1, 1000), Fraction(1, 10), Fraction(2)]),
    st.tuples(*[st.one_of(st.none(), st.integers(-2, 2))] * 2),
    st.lists(st.fractions(0, 1, max_denominator=64), min_size=1, max_size=4),
    st.booleans(),
)
def test_value_and_steepness(
    chart: Any,
    begin: Fraction,
    width: Fraction,
    sides: tuple[int | None, int | None],
    places: list[Fraction],
    middle: bool,
) -> None:
    with mpmath.workdps(60):
        first = mpf(begin.numerator) / begin.denominator
        wide = mpf(width.numerator) / width.denominator
        low, high = sides
        if low is not None and high is not None:
            low, high = min(low, high) - 1, max(low, high)
        slab = tuple(None if side is None else mpf(side) for side in (low, high))
        part = part_of(chart, first, first + wide, slab)
        centre = chart.centre(part.t.lo + part.t.hi >> 1 if middle else part.t.lo)
        value, steep = mpf(centre.value(part)) / ONE, mpf(centre.steepness(part)) / ONE
        for place in places:
            sigma = first + wide * place.numerator / place.denominator
            f = truth(chart, sigma, slab)
            assert value <= f
            if width == 0:
                assert value >= f - mpf(2) ** -60 * (1 + f)
            slope = mpmath.diff(lambda x: truth(chart, x, slab), sigma, h=mpf(10) ** -25)
            assert abs(slope) <= steep + mpf(10) ** -18


@settings(max_examples=60, deadline=None)
@given(charts(), st.fractions(-3, 3, max_denominator=50))
def test_narrow_parts_lose_little(chart: Any, begin: Fraction) -> None:
    """The steepness of a short part is the slope up to its width: else covers would need too many parts."""
    with mpmath.workdps(60):
        sigma = mpf(begin.numerator) / begin.denominator
        slab = (mpf(-3), mpf(1))
        width = mpf(10) ** -6
        part = part_of(chart, sigma, sigma + width, slab)
        centre = chart.centre(part.t.lo)
        slope = abs(mpmath.diff(lambda x: truth(chart, x, slab), sigma + width / 2, h=mpf(10) ** -25))
        assert mpf(centre.steepness(part)) / ONE <= slope + mpf("0.05") * (1 + truth(chart, sigma, slab))
        assert mpf(centre.value(part)) / ONE >= truth(chart, sigma, slab) * (1 - mpf("0.001")) - mpf("0.001")


def test_weights_that_vanish() -> None:
    point = RoundedPoint(1 << 100, (0,), (0,), Interval(0, 0, 32), Interval(0, 0, 32))
    chart = Chart(True, (point,), None, 32)
    with pytest.raises(Refuted, match="precision is too low"):
        chart.centre(0)
    small = Chart(False, (point,), None, 32).centre(0)
    assert small.value(Part(Interval(0, 0, 32), None, None)) == 0
    with pytest.raises(Refuted, match="precision is too low"):
        small.value(Part(Interval(0, 1 << 32, 32), None, None))
