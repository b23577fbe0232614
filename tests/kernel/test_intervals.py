"""The kernel's intervals against fractions: every result contains every result of members, and not much more."""

from fractions import Fraction

import pytest
from flint import arb, ctx, fmpq
from hypothesis import given, settings
from hypothesis import strategies as st
from intervals import Interval, enclosed, enclosed_exp, enclosed_exps, exactly, total
from rational import Scalar, Vector

BITS = 20
numbers = st.integers(-(1 << 24), 1 << 24)
fractions = st.fractions(-1000, 1000, max_denominator=10**6)


@st.composite
def members(draw: st.DrawFn) -> tuple[Interval, Fraction]:
    """An interval and a number in it."""
    lo = draw(numbers)
    width = draw(st.one_of(st.just(0), st.integers(0, 1 << 22)))
    part = draw(st.fractions(0, 1, max_denominator=100))
    return Interval(lo, lo + width, BITS), (lo + width * part) / (1 << BITS)


def contains(interval: Interval, value: Fraction) -> bool:
    return interval.bits == BITS and interval.lo <= value * (1 << BITS) <= interval.hi


@settings(max_examples=6 * settings.default.max_examples, deadline=None)
@given(members(), members(), fractions)
def test_results_contain_those_of_members(
    first: tuple[Interval, Fraction], second: tuple[Interval, Fraction], factor: Fraction
) -> None:
    (X, x), (Y, y) = first, second
    assert contains(X + Y, x + y)
    assert contains(X - Y, x - y)
    assert contains(-X, -x)
    assert contains(X * Y, x * y)
    assert contains(X.square(), x * x)
    assert X.square().lo >= 0
    assert contains(X.clipped(), max(x, Fraction(0)))
    assert X.magnitude() >= abs(x) * (1 << BITS)
    assert contains(X.scaled(Scalar(factor.numerator, factor.denominator)), x * factor)
    assert contains(total([X, Y, X], BITS), 2 * x + y)
    if Y.lo > 0:
        assert contains(X.over(Y), x / y)
    else:
        with pytest.raises(ValueError, match="may be 0"):
            X.over(Y)


@settings(max_examples=4 * settings.default.max_examples, deadline=None)
@given(numbers, numbers, fractions)
def test_points_stay_narrow(n: int, m: int, factor: Fraction) -> None:
    """Of single numbers the result is as narrow as rounding allows."""
    X, Y = exactly(n, BITS), exactly(m, BITS)
    scalar = Scalar(factor.numerator, factor.denominator)
    for result in (X * Y, X.square(), X.scaled(scalar), enclosed(scalar, BITS)):
        assert 0 <= result.hi - result.lo <= 1
    if m > 0:
        assert X.over(Y).hi - X.over(Y).lo <= 1
    assert (exactly(n + m, BITS), exactly(n - m, BITS)) == (X + Y, X - Y)
    assert contains(enclosed(scalar, BITS), factor)


@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(st.fractions(-30, 9, max_denominator=1000), fractions)
def test_exponentials(exponent: Fraction, reference: Fraction) -> None:
    ctx.prec = 200
    truth = arb(fmpq(exponent.numerator, exponent.denominator)).exp() * arb(2) ** BITS
    result = enclosed_exp(Scalar(exponent.numerator, exponent.denominator), BITS)
    assert arb(result.lo) <= truth <= arb(result.hi)
    assert result.hi - result.lo <= 3
    moved = exponent + reference
    vector = Vector((moved.numerator, moved.numerator), moved.denominator)
    both = enclosed_exps(vector, Scalar(reference.numerator, reference.denominator), BITS)
    assert both[0] == both[1]
    assert arb(both[0].lo) <= truth <= arb(both[0].hi)
