"""Numbers rounded upwards: never below the true ones, close to them, and short."""

from fractions import Fraction
from math import isqrt

import pytest
import rounding
from hypothesis import given, settings
from hypothesis import strategies as st
from rational import GCD_BITS, Scalar, Vector

CLOSE = Fraction(1, 2**96)
integers = st.one_of(st.integers(-50, 50), st.integers(-(2**2000), 2**2000), st.integers(-(2**200), 2**200))
positive = st.one_of(st.integers(1, 50), st.integers(1, 2**900), st.integers(1, 2**20000))


def value(scalar: Scalar) -> Fraction:
    return Fraction(scalar.num, scalar.den)


@settings(max_examples=8 * settings.default.max_examples, deadline=None)
@given(integers, positive)
def test_up_and_down(num: int, den: int) -> None:
    exact = Fraction(num, den)
    up, down = rounding.rounded_up(Scalar(num, den)), rounding.rounded_down(Scalar(num, den))
    assert value(down) <= exact <= value(up)
    assert value(up) - value(down) <= 2 * CLOSE * abs(exact)
    for scalar in (up, down):
        assert scalar.den > 0
        assert len(bin(scalar.num).rstrip("0")) <= rounding.KEPT + 5
    if max(exact.numerator.bit_length(), exact.denominator.bit_length()) <= rounding.KEPT and den < 2**9000:
        assert value(up) == exact == value(down)


@settings(max_examples=8 * settings.default.max_examples, deadline=None)
@given(integers.map(abs), positive)
def test_roots(num: int, den: int) -> None:
    exact = Fraction(num, den)
    root = value(rounding.root_above(Scalar(num, den)))
    assert root**2 >= exact
    assert root == 0 or (root * (1 - CLOSE)) ** 2 < exact


@given(st.integers(0, 10**30), st.integers(1, 10**30))
def test_rational_roots_are_exact_where_short(num: int, den: int) -> None:
    assert value(rounding.root_above(Scalar(num**2, den**2))) == Fraction(num, den)


@pytest.mark.parametrize("bits", [130, 1000, GCD_BITS, GCD_BITS + 7, 50000])
def test_long_numbers(bits: int) -> None:
    for num, den in ((3 << bits, 1), (1, 3 << bits), ((1 << bits) - 1, 3), ((1 << 2 * bits) + 1, (1 << bits) + 1)):
        root = value(rounding.root_above(Scalar(num, den)))
        assert Fraction(num, den) <= root**2 <= Fraction(num, den) * (1 + CLOSE)
        up = value(rounding.rounded_up(Scalar(num, den)))
        assert Fraction(num, den) <= up <= Fraction(num, den) * (1 + CLOSE)
    assert value(rounding.root_above(Scalar(0, 1 << bits))) == 0


def test_order() -> None:
    a, b, c = Scalar(1, 2), Scalar(2, 3), Scalar(2, 4)
    assert rounding.at_most(a, b)
    assert rounding.at_most(a, c)
    assert not rounding.at_most(b, a)
    assert rounding.below(a, b)
    assert not rounding.below(a, c)
    assert value(rounding.larger(a, b)) == value(rounding.larger(b, a)) == Fraction(2, 3)
    assert value(rounding.smaller(a, b)) == value(rounding.smaller(b, a)) == Fraction(1, 2)
    assert value(rounding.square(b)) == Fraction(4, 9)
    assert value(rounding.whole(7)) == 7
    assert value(rounding.length_above(Vector((3, 4), 10))) == Fraction(1, 2)
    length = value(rounding.length_above(Vector((1, 1), 1)))
    assert 2 <= length**2 <= 2 * (1 + CLOSE)
    assert length >= Fraction(isqrt(2 * 10**40), 10**20)
