"""Targets: domains, enclosures of values and slopes, range and Lipschitz constant."""

from __future__ import annotations

import math
from collections.abc import Callable

import flint
import pytest
from flint import arb, fmpq
from hypothesis import example, given
from hypothesis import strategies as st
from universality_oracle import unit_rationals

from constructions.universality.for_all import _ramp
from constructions.universality.grid import Grid
from constructions.universality.lipschitz import (
    RANGE_TOLERANCE,
    TOLERANCE,
    OutOfRangeError,
    SteepPair,
    check_range,
    lipschitz_bound,
)
from constructions.universality.one_function import error_bound, table_of
from constructions.universality.target import HUGE, TINY, NotDefinedError, Target, ball, bounded, lower, upper
from constructions.verdict import Undecided

HALF = fmpq(1, 2)


def parse(text: str) -> Target:
    return Target.parse([text], 1, 1)


# --- domains ---------------------------------------------------------------------------------------------------------

CERTAIN = [
    ("log(x-2)", "logarithm"),
    ("log(x-x)", "logarithm"),
    ("log(-1)", "logarithm"),
    ("sqrt(x-2)", "square root"),
    ("0*sqrt(x-2)", "square root"),
    ("(x-2)**(1/2)", "fractional power"),
    ("(x-2)**(-3/2)", "fractional power"),
    ("(x-x)**(-1/2)", "negative power"),
    ("(x-x)**(-2)", "negative power"),
    ("x/(x-x)", "division"),
    ("Min(1, Max(0, x/0))", "division"),
    ("abs(log(x-2))", "logarithm"),
]


@pytest.mark.parametrize(("text", "which"), CERTAIN)
def test_outside_of_a_domain_evaluation_stops(text: str, which: str) -> None:
    with pytest.raises(NotDefinedError, match=which):
        parse(text).values([arb(HALF)])
    with pytest.raises(OutOfRangeError, match=f"not defined at .*{which}"):
        check_range(parse(text))


@pytest.mark.parametrize("text", ["log(x)", "1/x", "x**(-2)", "x**(-1/2)", "tan(2*x)", "sqrt(x-1/3)", "log(x-1/3)"])
def test_partly_outside_nothing_is_known(text: str) -> None:
    assert not bounded(parse(text).values([ball(fmpq(0), fmpq(1))])[0])


SMOOTH: list[tuple[str, Callable[[float], float]]] = [
    ("log(1+x)*sqrt(1+x)", lambda x: math.log(1 + x) * math.sqrt(1 + x)),
    ("x**(5/2)-(1-x)**(3/2)", lambda x: x**2.5 - (1 - x) ** 1.5),
    ("(x+1)**(-3/2)/(2+x)**(-2)", lambda x: (x + 1) ** -1.5 * (2 + x) ** 2),
    ("tan(x)+sinh(x)*cosh(x)-tanh(x)", lambda x: math.tan(x) + math.sinh(x) * math.cosh(x) - math.tanh(x)),
    ("atan(exp(-x))*cos(pi*x)", lambda x: math.atan(math.exp(-x)) * math.cos(math.pi * x)),
    ("abs(x-1/3)+Min(x,1/2,E*x/4)", lambda x: abs(x - 1 / 3) + min(x, 0.5, math.e * x / 4)),
]


@given(st.sampled_from(SMOOTH), unit_rationals, unit_rationals, unit_rationals)
@example(SMOOTH[1], fmpq(0), fmpq(1), fmpq(0))
@example(SMOOTH[1], fmpq(1), fmpq(0), HALF)
def test_boxes_enclose_values_and_slopes(
    case: tuple[str, Callable[[float], float]], a: fmpq, b: fmpq, share: fmpq
) -> None:
    """The value at a point of the box, computed in floats, and the slope between it and the box's middle."""
    text, f = case
    low, high = min(a, b), max(a, b)
    x, y = float(low + share * (high - low)), float((low + high) / 2)
    with flint.ctx.workprec(96):
        dual = parse(text).duals([ball(low, high)])[0]
    if not bounded(dual.value):  # 1 - x on a box from 0 to 1 is not known to be at least 0
        assert (text, low, high) == ("x**(5/2)-(1-x)**(3/2)", 0, 1)
        return
    assert float(lower(dual.value)) - 1e-9 <= f(x) <= float(upper(dual.value)) + 1e-9
    if abs(x - y) > 1e-3 and bounded(dual.gradient[0]):
        slope = (f(x) - f(y)) / (x - y)
        assert float(lower(dual.gradient[0])) - 1e-9 <= slope <= float(upper(dual.gradient[0])) + 1e-9


@given(unit_rationals, unit_rationals)
@example(fmpq(0), fmpq(1))
@example(fmpq(0), fmpq(1, 3))
@example(fmpq(2, 3), fmpq(1))
def test_a_ball_contains_its_interval_and_stays_in_the_cube(a: fmpq, b: fmpq) -> None:
    low, high = min(a, b), max(a, b)
    with flint.ctx.workprec(96):
        found = ball(low, high)
        assert lower(found) <= low <= high <= upper(found)
        assert lower(found) >= 0 or low > 0
        assert upper(found) <= 1 or low == 0 or high < 1
        assert upper(found) - lower(found) <= (high - low) * (1 + fmpq(1, 2**24)) + fmpq(1, 2**80)


def test_a_sum_of_tiny_and_huge_numbers_is_not_written_out() -> None:
    tiny, huge = (-arb(10**20)).exp(), arb(10**20).exp()
    assert not bounded(huge)
    assert not bounded(arb.nan())
    assert not bounded(arb(0, huge))
    assert bounded(arb(HUGE) / 2)
    for x in (tiny, -tiny, arb(0, tiny), arb(1, tiny), tiny + arb(0, 1)):
        assert lower(x) <= upper(x)
        assert upper(x) - lower(x) >= TINY
        assert upper(x).q.bit_length() <= 20_100
    for x in (huge, -huge, arb.nan()):
        with pytest.raises(ValueError, match="expected a bounded ball"):
            upper(x)


# --- range and Lipschitz constant ------------------------------------------------------------------------------------


@given(unit_rationals, unit_rationals, unit_rationals)
@example(fmpq(0), fmpq(1), fmpq(0))
def test_the_range_of_a_parabola(a: fmpq, b: fmpq, c: fmpq) -> None:
    """a x² + b x (1 − x) + c (1 − x)²: its values at the ends and at the vertex are within the bounds."""
    f = parse(f"{a}*x**2 + {b}*x*(1-x) + {c}*(1-x)**2")
    low, high = check_range(f)
    points = [fmpq(0), fmpq(1)]
    if a - b + c != 0 and 0 <= (vertex := (2 * c - b) / (2 * (a - b + c))) <= 1:
        points.append(vertex)
    values = [a * x**2 + b * x * (1 - x) + c * (1 - x) ** 2 for x in points]
    assert -RANGE_TOLERANCE <= low <= min(values)
    assert max(values) <= high <= 1 + RANGE_TOLERANCE


def test_corners_of_many_dimensions() -> None:
    """Only the two extreme corners of nine dimensions are looked at: quickly out of range."""
    texts = ["x11/3"] * 8 + ["x33 + 1/10"]
    with pytest.raises(OutOfRangeError, match=r"entry 8 above 1 at \(1, 1, 1, 1, 1, 1, 1, 1, 1\)"):
        check_range(Target.parse(texts, 3, 3))


@pytest.mark.parametrize("text", ["Min(1, Max(0, tan(3*x)))", "1/exp(exp(exp(40*x)))", "sqrt(x**2)"])
def test_what_is_not_enclosed_is_undecided(text: str) -> None:
    with pytest.raises(Undecided, match="not enclosed near"):
        check_range(parse(text))


def test_what_needs_many_boxes_is_undecided() -> None:
    f = Target.parse(["4*x11*(1-x21)*x21", "x11"], 2, 1)  # 1 inside of a side
    with pytest.raises(Undecided, match="range of entry 0 was not certified within 5 boxes"):
        check_range(f, 5)
    with pytest.raises(Undecided, match="Lipschitz constant is not certified within 5 boxes"):
        lipschitz_bound(f, fmpq(2), fmpq(4), 5)


def test_a_derivative_that_is_not_enclosed_is_undecided() -> None:
    with pytest.raises(Undecided, match=r"its derivative is not enclosed near \(0\)"):
        lipschitz_bound(parse("x*sqrt(x)"), fmpq(2), fmpq(3, 2))


@pytest.mark.parametrize("p", [fmpq(1), fmpq(3, 2), fmpq(2)])
def test_a_constant_that_is_touched(p: fmpq) -> None:
    """(1 + sin 3x)/2 attains its slope 3/2 at 0; an entry that is constant plays no role."""
    f = Target.parse(["(1+sin(3*x11))/2", "x11/3-x11/3+1/2"], 2, 1)
    bound = lipschitz_bound(f, p, fmpq(3, 2))
    assert isinstance(bound, fmpq)
    assert fmpq(3, 2) <= bound <= fmpq(3, 2) * (1 + TOLERANCE)
    assert isinstance(lipschitz_bound(f, p, fmpq(29, 20)), SteepPair)


@given(st.integers(1, 4), st.sampled_from([fmpq(1), fmpq(3, 2), fmpq(2), fmpq(5)]), unit_rationals)
@example(2, fmpq(2), HALF)
def test_a_steep_pair_is_steep(slope: int, p: fmpq, share: fmpq) -> None:
    """The quotient of the pair's values and points, computed anew in rationals (one variable: p plays no role)."""
    f = parse(f"abs(x-1/3)*{slope}/4")
    pair = lipschitz_bound(f, p, fmpq(slope, 4) * (share * fmpq(9, 10)))
    assert isinstance(pair, SteepPair)
    (x,), (y,) = pair.first, pair.second
    values = [abs(z - fmpq(1, 3)) * slope / 4 for z in (x, y)]
    assert abs(values[0] - values[1]) / abs(x - y) >= pair.quotient > fmpq(slope, 4) * share * fmpq(9, 10)


# --- what is built on them -------------------------------------------------------------------------------------------


def test_where_a_value_is_not_enclosed_its_range_bounds_the_error() -> None:
    """Cells and their parts at the end of a root's domain."""
    for text in ("x**(3/2)", "sqrt(abs(x-1/2))"):
        grid = Grid(1, 1, 3)
        f = parse(text)
        table = table_of(f, grid) if text == "x**(3/2)" else [((2,),)] * 3
        assert 0 < error_bound(f, grid, table, fmpq(2)) < 1
    with pytest.raises(Undecided, match=r"its values at \(1/2\) are not enclosed"):
        table_of(parse("1/(x-1/3+1/3-1/2)"), Grid(1, 1, 3))


@given(
    st.sampled_from([(1, 1, 2), (1, 1, 79), (2, 1, 3), (2, 2, 2)]),
    st.sampled_from([fmpq(1), fmpq(2), fmpq(7, 3), fmpq(101, 99), fmpq(300)]),
    unit_rationals.filter(bool),
)
@example((1, 1, 2), fmpq(1), fmpq(1))
@example((1, 1, 10), fmpq(10_000), fmpq(1, 60))
def test_the_ramp_is_the_largest_power_of_two(size: tuple[int, int, int], p: fmpq, epsilon: fmpq) -> None:
    grid = Grid(*size)
    a, b = int(p.p), int(p.q)

    def allowed(eta: fmpq) -> bool:
        most = fmpq(3, 4) * grid.delta
        return bool((grid.d**2 * grid.m**2 * grid.k * eta) ** b <= epsilon**a and eta < most)

    eta = _ramp(grid, p, epsilon)
    assert eta.p == 1
    assert int(eta.q).bit_count() == 1
    assert allowed(eta)
    assert not allowed(2 * eta)
