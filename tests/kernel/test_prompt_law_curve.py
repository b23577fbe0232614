"""The enclosure of the least loss on parts of the axis, against the formulas of the format in many digits."""

import random
from fractions import Fraction
from math import lcm
from typing import Any

import mpmath
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from intervals import Interval
from limits import Refuted
from loss_cover import Axis, _needed, candidate
from loss_curve import Chart, Part, RoundedPoint
from mpmath import mpf
from prompt_law_makers import Problem, dot
from prompt_setting import read_setting
from rational import Scalar, Vector
from reading import Field

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


@settings(max_examples=3 * settings.default.max_examples, deadline=None)
@given(
    charts(),
    st.fractions(-3, 3, max_denominator=50),
    st.sampled_from([Fraction(0), Fraction(1, 1000), Fraction(1, 10), Fraction(2)]),
    st.tuples(*[st.one_of(st.none(), st.integers(-2, 2))] * 2),
    st.lists(st.fractions(0, 1, max_denominator=64), min_size=1, max_size=4),
    st.sampled_from(["middle", "left", "elsewhere"]),
)
def test_value_and_steepness(
    chart: Any,
    begin: Fraction,
    width: Fraction,
    sides: tuple[int | None, int | None],
    places: list[Fraction],
    where: str,
) -> None:
    with mpmath.workdps(60):
        first = mpf(begin.numerator) / begin.denominator
        wide = mpf(width.numerator) / width.denominator
        low, high = sides
        if low is not None and high is not None:
            low, high = min(low, high) - 1, max(low, high)
        slab = tuple(None if side is None else mpf(side) for side in (low, high))
        part = part_of(chart, first, first + wide, slab)
        centre = chart.centre(
            {"middle": part.t.lo + part.t.hi >> 1, "left": part.t.lo, "elsewhere": 2 * part.t.hi + ONE // 9}[where]
        )
        value, steep = mpf(centre.value(part)) / ONE, mpf(centre.steepness(part)) / ONE
        for place in places:
            sigma = first + wide * place.numerator / place.denominator
            f = truth(chart, sigma, slab)
            assert value <= f
            if width == 0 and where != "elsewhere":
                assert value >= f - mpf(2) ** -60 * (1 + f)
            slope = mpmath.diff(lambda x: truth(chart, x, slab), sigma, h=mpf(10) ** -25)
            assert abs(slope) <= steep + mpf(10) ** -18


@settings(max_examples=settings.default.max_examples, deadline=None)
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


def test_far_from_the_centre() -> None:
    """At a single t that is not t_0 all intervals are narrow, and what is said of v* - v_0 - h z_0 has to do."""
    rng = random.Random(3)
    nothing = Interval(0, 0, BITS)
    with mpmath.workdps(60):
        for _ in range(80):
            n, d = rng.randint(2, 4), rng.randint(1, 2)
            points = []
            for _ in range(n):
                a, C = (tuple(rng.randint(-3 * ONE, 3 * ONE) for _ in range(d)) for _ in range(2))
                S = rng.choice([ONE // 50, ONE // 3, ONE, 7 * ONE, 100 * ONE])
                points.append(RoundedPoint(S, a, C, nothing, nothing))
            chart = Chart(rng.random() < 0.5, tuple(points), None, BITS)
            sigma = mpf(rng.randint(-300, 300)) / 100
            part = part_of(chart, sigma, sigma, (None, None))
            centre = chart.centre(part.t.hi * rng.choice([1, 4, 6, 10]) >> 1)
            slope = abs(mpmath.diff(lambda x, c=chart: truth(c, x, (None, None)), sigma, h=mpf(10) ** -20))
            assert slope <= mpf(centre.steepness(part)) / ONE + mpf(10) ** -15
            assert mpf(centre.value(part)) / ONE <= truth(chart, sigma, (None, None))


def axis(length: int | None, loose: Fraction = Fraction(0)) -> Axis:
    log_length = None
    if length is not None:
        middle = Fraction(str(mpmath.log(length)))
        log_length = tuple(scalar(middle + side * (loose + Fraction(1, 2**40))) for side in (-1, 1))
    return Axis(Scalar(3, 10), Vector((1,), 1), log_length, BITS)


def scalar(value: Fraction) -> Scalar:
    return Scalar(value.numerator, value.denominator)


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(
    st.integers(1, 10**6),
    st.fractions(-9, Fraction(-13, 10), max_denominator=20),
    st.fractions(0, 9, max_denominator=20),
    st.sampled_from([Fraction(0), Fraction(1, 3)]),
)
def test_sides_of_the_slab(length: int, end: Fraction, beyond: Fraction, loose: Fraction) -> None:
    """The conditions on g.v at the ends and in both charts contain those of every mass of the part."""
    with mpmath.workdps(60):
        rho = mpf(3) / 10
        log_n = mpmath.log(length)
        low, high = (mpf(x.numerator) / x.denominator for x in (end - beyond, end))
        left, right = axis(length, loose).left_end(scalar(end)), axis(length, loose).right_end(scalar(end))
        place = mpmath.exp(low) * (rho + low)
        assert left.hi.hi >= place * ONE
        assert left.lo.lo <= (place - mpmath.exp(low) * log_n) * ONE
        assert 0 <= mpmath.exp(low) * ONE <= left.t.hi
        assert left.t.lo == right.t.lo == 0
        assert right.hi is None
        assert right.lo.lo <= (rho + high - log_n) * ONE
        assert right.lo.lo >= (rho + high - log_n - mpf(2) ** -30 - mpf(loose.numerator) / loose.denominator) * ONE
        assert mpmath.exp(-high) * ONE <= right.t.hi
        for first in (True, False):
            t = mpmath.exp(low if first else -low)
            part = axis(length, loose).part(interval(t, t), interval(low, low), first)
            beta = t if first else 1
            assert part.hi.lo <= beta * (rho + low) * ONE <= part.hi.hi
            assert part.lo.lo <= beta * (rho + low - log_n) * ONE <= part.lo.hi
            if loose:  # log N is only known to be between its bounds
                assert part.lo.hi - part.lo.lo >= beta * 2 * ONE / 3
        assert axis(None).left_end(scalar(end)).lo is None
        assert axis(None).right_end(scalar(end)).lo is None


@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(st.data())
def test_rounding(data: st.DataObject) -> None:
    """If the loss of the rounded numbers is what is needed for a bound, then the true loss is at least the bound."""
    bits, d, n = 32, data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    vectors = st.lists(st.fractions(-2, 2, max_denominator=7), min_size=d, max_size=d)
    q = data.draw(vectors)
    contexts = [data.draw(st.lists(vectors, min_size=1, max_size=3)) for _ in range(n)]
    points = [[data.draw(vectors)] for _ in range(n)]
    reference = data.draw(st.sampled_from([0, 10, 18]))
    # e^-22 shows at 32 bits; below that the kernel refuses the precision
    assume(all(max(dot(q, t) for t in columns) - reference >= -22 for columns in contexts))
    problem = Problem(q, contexts, points)
    setting = read_setting(Field(problem.instance(), "instance"))
    line = Axis(Scalar(reference, 1), None, None, bits)
    q_vector, zero = setting.logit_vector(), Vector((0,) * d, 1)
    chosen = [candidate(line, setting, k, q_vector, vector(points[k][0]), zero) for k in range(n)]
    with mpmath.workdps(60):
        number = lambda x: mpf(x.numerator) / x.denominator  # noqa: E731
        s = mpmath.exp(data.draw(st.integers(-30, 5)) - mpf(reference)) + mpf(2) ** -bits
        u = [number(x) * 10 ** data.draw(st.integers(0, 9)) for x in data.draw(vectors)]
        loss = rounded = mpf(0)
        for columns, (z,), found in zip(contexts, points, chosen, strict=True):
            weights = [mpmath.exp(number(dot(q, t)) - reference) for t in columns]
            S, point = sum(weights), found.rounded
            for c in range(d):
                a = number(z[c] - columns[-1][c])
                B = sum(w * number(t[c]) for w, t in zip(weights, columns, strict=True))
                loss += ((B - S * a + s * (u[c] - a)) / (S + s)) ** 2
                unit = mpf(2) ** -bits
                rounded += ((point.C[c] * unit + s * (u[c] - point.a[c] * unit)) / (point.S * unit + s)) ** 2
        bound = Fraction(*mpmath.libmp.to_rational(loss._mpf_)) * (1 + Fraction(1, 10**30))
        assert rounded < mpf(_needed(chosen, scalar(bound), bits)) / 2**bits or loss == 0


def vector(values: list[Fraction]) -> Vector:
    den = lcm(*(x.denominator for x in values))
    return Vector(tuple(int(x * den) for x in values), den)


def test_weights_that_vanish() -> None:
    point = RoundedPoint(1 << 100, (0,), (0,), Interval(0, 0, 32), Interval(0, 0, 32))
    chart = Chart(True, (point,), None, 32)
    with pytest.raises(Refuted, match="precision is too low"):
        chart.centre(0)
    small = Chart(False, (point,), None, 32).centre(0)
    assert small.value(Part(Interval(0, 0, 32), None, None)) == 0
    with pytest.raises(Refuted, match="precision is too low"):
        small.value(Part(Interval(0, 1 << 32, 32), None, None))
